//go:build unix

package history

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	sdk "github.com/longwire/longwire/device"
	"github.com/longwire/longwire/protocol"
)

// sdkDevice is a program that uses the Go SDK. It ends and starts again, by a
// crash now and then. Its ledger is in a file, which it loses now and then. A tap
// on each connection writes the journal, in the codec of this package.
type sdkDevice struct {
	id      string
	seed    uint64
	dialect protocol.Dialect
	codec   codec
	addr    string
	calm    *atomic.Bool
	rnd     *rand.Rand // owned by run
	j       *journal
	state   string         // path of the ledger
	file    *sdk.FileState // of this life

	mu      sync.Mutex
	dead    bool              // the program has crashed: nothing is saved or sent
	conns   int               // connections so far
	later   map[uint64]int    // times that a delivery was put off
	unsaved map[uint64]entry  // handled, and not in the ledger's file
	refused map[uint64]bool   // rejected: no life with the ledger forgets it
	uplinks map[uint64]digest // numbers that are not acked
	told    int               // uplinks begun so far
	outbox  [maxPending]string
}

func newSDKDevice(t *testing.T, id, addr string, d protocol.Dialect, seed uint64, calm *atomic.Bool, j *journal) *sdkDevice {
	c := codec(framed{})
	if d == protocol.Text {
		c = lines{}
	}
	return &sdkDevice{id: id, seed: seed, dialect: d, codec: c, addr: addr, calm: calm, rnd: random(seed, id), j: j,
		state: filepath.Join(t.TempDir(), "ledger"), later: map[uint64]int{}, unsaved: map[uint64]entry{}, refused: map[uint64]bool{}, uplinks: map[uint64]digest{}}
}

// run starts the program again and again until stop is closed.
func (d *sdkDevice) run(stop <-chan struct{}) {
	for {
		d.live(stop)
		select {
		case <-stop:
			return
		case <-time.After(upTo(d.rnd, 200*time.Millisecond)):
		}
	}
}

// live is one life of the program. The one that sees the calm begin ends with
// stop.
func (d *sdkDevice) live(stop <-chan struct{}) {
	c, err := sdk.New(sdk.Config{ID: d.id, Dialect: d.dialect, State: d, Dial: d.dial, Handler: d.handle,
		Workers: 1 + d.rnd.IntN(4), Window: 4 + d.rnd.IntN(16), Heartbeat: time.Second,
		Backoff: sdk.Backoff{Min: 5 * time.Millisecond, Max: 100 * time.Millisecond}, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		d.j.wrong("sdk", "%v", err)
		<-stop
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	var parts sync.WaitGroup
	parts.Go(func() {
		if err := c.Run(ctx); ctx.Err() == nil {
			d.j.wrong("sdk", "Run has ended: %v", err)
		}
	})
	for i := range d.outbox {
		rnd := rand.New(rand.NewPCG(d.rnd.Uint64(), 0))
		parts.Go(func() { d.tell(ctx, c, i, rnd) })
	}
	crash, wipe, end := d.rnd.IntN(2) == 0, d.rnd.IntN(8) == 0, time.After(200*time.Millisecond+upTo(d.rnd, 5*time.Second))
	select {
	case <-stop:
	case <-end:
	}
	if d.calm.Load() {
		<-stop
		crash, wipe = false, false
	}
	d.mu.Lock()
	d.dead = crash
	d.mu.Unlock()
	cancel()
	parts.Wait()
	d.bury(crash, wipe || d.dialect == protocol.Text)
}

// bury notes what the end of a life has cost, and makes the device ready for the
// next one.
func (d *sdkDevice) bury(crash, wipe bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, e := range d.unsaved {
		if !crash && !wipe && e.code != codeReject { // a handler's error after the end is no verdict
			d.j.wrong("verdict not saved", "delivery %d was handled, and Run has ended in order", e.seq)
		}
		e.what = unsaved
		d.j.write(e)
		delete(d.refused, e.seq)
	}
	for n, payload := range d.uplinks {
		d.j.write(entry{what: given, seq: n, payload: payload})
	}
	clear(d.unsaved)
	clear(d.uplinks)
	switch {
	case wipe:
		os.Remove(d.state)
		clear(d.refused)
		d.j.write(entry{what: forgot, conn: d.conns})
	case crash && d.rnd.IntN(3) == 0: // in the middle of a line
		if f, err := os.OpenFile(d.state, os.O_APPEND|os.O_WRONLY, 0); err == nil {
			f.WriteString(`12345678:{"log":"lo`)
			f.Close()
		}
	}
	d.dead = false
}

var errCrashed = errors.New("the device has crashed")

// Load reads the ledger of the life before.
func (d *sdkDevice) Load() (sdk.Saved, error) {
	d.file = &sdk.FileState{Path: d.state}
	return d.file.Load()
}

// Save keeps a change in the file, unless the device has crashed.
func (d *sdkDevice) Save(c sdk.Change) error {
	d.mu.Lock()
	dead := d.dead
	d.mu.Unlock()
	if dead {
		return errCrashed
	}
	if err := d.file.Save(c); err != nil {
		d.j.wrong("sdk", "save: %v", err)
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for seq := range d.unsaved {
		listed := slices.ContainsFunc(c.Verdicts, func(v sdk.Verdict) bool { return v.Seq == seq })
		if listed || seq <= c.AskThrough && !slices.Contains(c.Holes, seq) {
			delete(d.unsaved, seq)
		}
	}
	return nil
}

// handle acts on a delivery as its plan says.
func (d *sdkDevice) handle(ctx context.Context, m sdk.Message) ([]byte, error) {
	p, began := planFor(d.seed, d.id, string(m.Payload)), time.Now()
	if !m.Ephemeral && d.putsOff(m.Seq, p.later) {
		return nil, sdk.Retry
	}
	for time.Since(began) < p.delay && !d.calm.Load() {
		if p.working {
			sdk.Progress(ctx, "half way")
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(min(p.delay-time.Since(began), 300*time.Millisecond)):
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.dead {
		return nil, errCrashed
	}
	e := entry{what: handled, conn: d.conns, seq: m.Seq, ephemeral: m.Ephemeral, code: p.verdict.code, payload: digestOf(m.Payload), result: digestOf(p.verdict.result)}
	d.j.write(e)
	if !m.Ephemeral {
		d.unsaved[m.Seq] = e
		d.refused[m.Seq] = e.code == codeReject
	}
	if p.verdict.code == codeReject {
		return nil, errors.New(string(p.verdict.result))
	}
	return p.verdict.result, nil
}

func (d *sdkDevice) rejects(seq uint64) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.refused[seq]
}

func (d *sdkDevice) putsOff(seq uint64, times int) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	off := d.later[seq] < times && !d.calm.Load()
	if off {
		d.later[seq]++
	}
	return off
}

// tell sends uplinks, one at a time, until ctx ends. The one that a life has not
// finished is the first of the next.
func (d *sdkDevice) tell(ctx context.Context, c *sdk.Client, place int, rnd *rand.Rand) {
	for ctx.Err() == nil {
		payload := d.pending(ctx, place, rnd)
		if payload == "" {
			return
		}
		switch err := c.Send(ctx, []byte(payload)); {
		case err == nil:
			d.j.write(entry{what: done, payload: digestOf([]byte(payload))})
			d.outbox[place] = ""
		case ctx.Err() == nil:
			d.j.wrong("uplink refused", "%q: %v", payload, err)
			return
		}
	}
}

// pending is the uplink of a place: the one that is not done, or a new one after a
// while, or none in the calm.
func (d *sdkDevice) pending(ctx context.Context, place int, rnd *rand.Rand) string {
	if d.outbox[place] != "" {
		return d.outbox[place]
	}
	select {
	case <-ctx.Done():
		return ""
	case <-time.After(upTo(rnd, 600*time.Millisecond)):
	}
	if d.calm.Load() {
		return ""
	}
	d.mu.Lock()
	d.told++
	name := fmt.Sprintf("%s up %d", d.id, d.told)
	d.mu.Unlock()
	d.outbox[place] = padded(rnd, name, 16<<rnd.IntN(6))
	d.j.write(entry{what: wanted, payload: digestOf([]byte(d.outbox[place]))})
	return d.outbox[place]
}

func (d *sdkDevice) dial(ctx context.Context, _ string) (net.Conn, error) {
	dialer := net.Dialer{Timeout: time.Second}
	socket, err := dialer.DialContext(ctx, "tcp", d.addr)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.conns++
	return &tap{Conn: socket, d: d, number: d.conns, heard: map[uint64]bool{}, online: map[uint64]digest{}}, nil
}

// tap is a connection of the SDK that notes each message in the journal.
type tap struct {
	net.Conn
	d       *sdkDevice
	number  int
	in, out []byte // owned by the SDK's reader and writer
	broken  atomic.Bool

	mu     sync.Mutex
	hello  hello
	agreed bool
	heard  map[uint64]bool   // what came or was asked for
	online map[uint64]digest // payloads of online deliveries
	asked  []int             // for each HEARTBEAT under way: the journal's length when it was sent
}

func (t *tap) Read(b []byte) (int, error) {
	n, err := t.Conn.Read(b)
	t.in = t.follow(append(t.in, b[:n]...), t.received)
	return n, err
}

// Write notes what it writes before, for the connection may take it and be lost.
func (t *tap) Write(b []byte) (int, error) {
	t.d.mu.Lock()
	dead := t.d.dead
	t.d.mu.Unlock()
	if dead {
		return 0, errCrashed
	}
	t.out = t.follow(append(t.out, b...), t.sends)
	return t.Conn.Write(b)
}

// follow notes each whole message and returns the rest.
func (t *tap) follow(b []byte, note func(message)) []byte {
	for !t.broken.Load() {
		rest := bytes.NewReader(b)
		r := bufio.NewReader(rest)
		m, err := t.d.codec.read(r)
		switch {
		case err == io.EOF || err == io.ErrUnexpectedEOF:
			return b
		case err != nil:
			t.d.j.wrong("protocol", "%v", err)
			t.broken.Store(true)
			return nil
		}
		t.mu.Lock()
		note(m)
		t.mu.Unlock()
		b = b[len(b)-rest.Len()-r.Buffered():]
	}
	return nil
}

// received notes what the gateway has sent. The caller holds mu.
func (t *tap) received(m message) {
	j := t.d.j
	switch m.kind {
	case registerAck:
		t.joined(m.body)
	case heartbeatAck:
		if len(t.asked) > 0 {
			j.write(entry{what: proved, conn: t.number, seq: uint64(t.asked[0])})
			t.asked = t.asked[1:]
		}
	case data:
		switch {
		case m.ask:
			if !t.agreed || t.heard[m.seq] {
				j.wrong("protocol", "an ASK for %d, agreed on: %t, heard of before: %t", m.seq, t.agreed, t.heard[m.seq])
			}
			j.write(entry{what: asked, conn: t.number, seq: m.seq})
		default:
			j.write(entry{what: got, conn: t.number, seq: m.seq, ephemeral: m.ephemeral, payload: digestOf(m.body)})
		}
		if m.ephemeral {
			t.online[m.seq] = digestOf(m.body)
		} else {
			t.heard[m.seq] = true
		}
	case acknowledge:
		t.d.mu.Lock()
		defer t.d.mu.Unlock()
		payload, waits := t.d.uplinks[m.seq]
		if !waits {
			return // of a repeat
		}
		j.write(entry{what: stored, conn: t.number, seq: m.seq, code: m.code, payload: payload})
		if m.code == codeOK {
			delete(t.d.uplinks, m.seq)
		}
	case closing:
		j.closes(t.number, m.body)
	}
}

func (t *tap) joined(body []byte) {
	var w welcome
	if err := json.Unmarshal(body, &w); err != nil {
		t.d.j.wrong("protocol", "REGISTER_ACK: %v", err)
		return
	}
	t.agreed = w.Ask
	h, through := t.hello, uint64(0)
	if h.AskThrough != nil {
		through = *h.AskThrough
	}
	t.d.j.write(entry{what: joined, conn: t.number, seq: through, result: digest(fmt.Sprintf("log %s, resumed %t, ask %t", w.Log, w.Resumed, w.Ask))})
	if h.Log == "" || h.Log == w.Log && w.Resumed {
		return
	}
	if w.Ask {
		t.d.j.wrong("ledger given up", "REGISTER_ACK says %s after a REGISTER with log %s and ask_through %d", body, h.Log, through)
	}
	t.d.j.write(entry{what: forgot, conn: t.number})
}

// sends notes what the SDK is about to write. The caller holds mu.
func (t *tap) sends(m message) {
	j := t.d.j
	switch m.kind {
	case register:
		if _, text := t.d.codec.(lines); text {
			return
		}
		if err := json.Unmarshal(m.body, &t.hello); err != nil {
			j.wrong("sdk", "REGISTER %s: %v", m.body, err)
		}
	case heartbeat:
		t.asked = append(t.asked, j.length())
	case data:
		t.d.mu.Lock()
		t.d.uplinks[m.seq] = digestOf(m.body)
		t.d.mu.Unlock()
		j.write(entry{what: sent, conn: t.number, seq: m.seq, payload: digestOf(m.body)})
	case acknowledge:
		e := entry{what: answered, conn: t.number, seq: m.seq, ephemeral: m.ephemeral, code: m.code, result: digestOf(m.body)}
		if m.ephemeral {
			e.payload = t.online[m.seq]
		} else if m.code == codeNotKept && t.d.rejects(m.seq) {
			j.wrong("reject forgotten", "delivery %d is answered %d", m.seq, m.code)
		}
		j.write(e)
	}
}
