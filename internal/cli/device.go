package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	sdk "github.com/longwire/longwire/device"
	"github.com/longwire/longwire/protocol"
)

// ackPolicy decides how a simulated device answers messages.
type ackPolicy string

const (
	ackAuto   ackPolicy = "auto"
	ackManual ackPolicy = "manual"
	ackNever  ackPolicy = "never"
	ackReject ackPolicy = "reject"
)

const (
	dialTimeout = 10 * time.Second
	// maxWaiting bounds the uplinks and the unanswered messages of a device. At the
	// bound it reads no typed line, and reports a message as ignored.
	maxWaiting = 1000
	maxBackoff = 30 * time.Second
)

// deviceConfig is the same for all devices of one command.
type deviceConfig struct {
	sdk.Config // of the device; newDevice sets the ID and the functions
	ack        ackPolicy
	result     string        // sent with each ack
	latency    time.Duration // between receiving a message and answering it
	reconnect  bool
	// report is called for each event, one at a time; it must be quick.
	report func(deviceEvent)
}

// deviceEvent is one event of a device's life.
type deviceEvent struct {
	client string
	kind   string // connected, groups, received, asked, answered, sent, later, stored, refused, ignored, closed, left, retrying
	seq    string
	text   string
	again  bool // received: the server has marked it as sent before
}

// device is one simulated device: a client of the SDK whose steps are reported.
type device struct {
	deviceConfig
	client *sdk.Client
	room   chan struct{} // holds one value for each uplink that is not stored
	ended  chan struct{} // closed when run returns

	// Used by the goroutine of Run.
	ctx         context.Context // ends when the device shall leave
	stop        context.CancelFunc
	firstUplink uint64      // number of the first one
	conn        *firstBytes // the last connection, nil if it could not be made
	lost        error       // why the last connection has failed or ended
	advice      string      // the next step after that, "" for none
	shown       string      // the advice of the last line about a new attempt
	failed      error       // why the device does not connect again

	mu      sync.Mutex     // guards the fields below
	limit   int            // largest uplink in bytes, 0 before the first registration
	pending []*sdk.Message // received and not yet answered, oldest first
}

// command is a typed line.
type command struct {
	uplink []byte           // nil for an answer
	seq    string           // answer: its message, "" for the oldest
	code   protocol.AckCode // answer
	result []byte
}

func newDevice(cfg deviceConfig, id string) (*device, error) {
	d := &device{deviceConfig: cfg, room: make(chan struct{}, maxWaiting), ended: make(chan struct{})}
	d.ID, d.Handler, d.Mute = id, d.handle, cfg.ack == ackNever
	d.Backoff.Max, d.Logger = maxBackoff, slog.New(slog.DiscardHandler)
	d.Trace, d.OnDisconnect = d.trace, d.disconnected
	d.Dial = func(ctx context.Context, addr string) (conn net.Conn, _ error) {
		ctx, cancel := context.WithTimeout(ctx, dialTimeout)
		defer cancel()
		d.conn = nil
		conn, d.lost = cfg.Dial(ctx, addr)
		if d.lost != nil {
			d.advice = dialAdvice(d.lost)
			return nil, d.lost
		}
		d.conn = &firstBytes{Conn: conn}
		return d.conn, nil
	}
	var err error
	d.client, err = sdk.New(d.Config)
	return d, err
}

// run connects again after each loss, until ctx ends (then it returns nil) or the
// server's CLOSE says not to return.
func (d *device) run(ctx context.Context) error {
	defer close(d.ended)
	d.ctx, d.stop = context.WithCancel(ctx)
	defer d.stop()
	if _, forGood := errors.AsType[*sdk.ClosedError](d.client.Run(d.ctx)); forGood {
		return d.advised()
	}
	return d.failed
}

func (d *device) disconnected(_ protocol.Close, retry time.Duration) {
	d.forgetPending()
	if !d.reconnect {
		d.failed = d.advised()
		d.stop()
		return
	}
	why := d.lost
	if d.advice != d.shown {
		why, d.shown = d.advised(), d.advice
	}
	d.note("retrying", "", fmt.Sprintf("%s; again in %s", oneLine(why.Error()), retry.Round(10*time.Millisecond)))
}

// advised returns why the last connection was lost, with the advice.
func (d *device) advised() error {
	if d.lost == nil || d.advice == "" {
		return d.lost
	}
	return fmt.Errorf("%w; %s", d.lost, d.advice)
}

// trace reports a step.
func (d *device) trace(s sdk.Step) {
	seq := seqText(s.Seq, s.Ephemeral)
	switch s.Kind {
	case protocol.KindRegistered:
		d.mu.Lock()
		d.limit = s.Registered.MaxPayload
		d.mu.Unlock()
		d.note("connected", "", connectedText(d.Addr, d.Dialect, s.Registered))
		if len(d.Groups) > 0 {
			d.note("groups", "", groupsText(d.ID, d.Groups))
		}
	case protocol.KindData:
		switch {
		case s.Sent:
			d.uplinkSent(s)
		case s.Known || d.Mute: // handle does not get it
			d.received(seq, s.Payload, s.Dup)
		}
	case protocol.KindAck:
		switch {
		case !s.Sent:
			d.uplinkAcked(s)
		case s.Err != nil:
			d.note("refused", seq, s.Err.Error())
		case s.Ask:
			d.note("asked", seq, s.Code.String())
		case s.Code != protocol.AckWorking:
			d.note("answered", seq, s.Code.String())
		}
	case protocol.KindMalformed:
		d.note("ignored", "", closeText(s.Close))
	case protocol.KindClosed:
		d.lost = errors.New("disconnected: " + closeText(s.Close))
		d.advice = closeAdvice(s.Close, d.conn.opening())
		kind := "closed"
		if d.ctx.Err() != nil {
			kind = "left"
		}
		d.note(kind, "", closeText(s.Close))
	}
}

// send sends a typed line. It waits while too many are not stored, until the device ends.
func (d *device) send(ctx context.Context, payload []byte) {
	d.mu.Lock()
	limit := d.limit
	d.mu.Unlock()
	if limit > 0 && len(payload) > limit {
		d.note("refused", "", fmt.Sprintf("this dialect carries at most %d bytes", limit))
		return
	}
	select {
	case d.room <- struct{}{}:
		_ = d.client.Post(payload) // it has more room than d.room
	case <-d.ended:
	case <-ctx.Done():
	}
}

// uplinkText numbers the uplinks from 1. The SDK begins with a higher number and leaves
// none out.
func (d *device) uplinkText(seq uint64) string {
	if d.firstUplink == 0 {
		d.firstUplink = seq
	}
	return seqText(seq-d.firstUplink+1, false)
}

func (d *device) uplinkSent(s sdk.Step) {
	seq := d.uplinkText(s.Seq)
	if s.Err != nil {
		d.note("refused", seq, s.Err.Error())
		<-d.room
		return
	}
	d.note("sent", seq, string(s.Payload))
}

func (d *device) uplinkAcked(s sdk.Step) {
	seq := d.uplinkText(s.Seq)
	switch s.Code {
	case protocol.AckRetry:
		d.note("later", seq, "the gateway cannot store it now; again in "+s.Wait.String())
		return
	case protocol.AckReject:
		d.note("refused", seq, string(s.Payload))
	default:
		d.note("stored", seq, string(s.Payload))
	}
	<-d.room
}

func (d *device) received(seq string, payload []byte, again bool) {
	d.report(deviceEvent{client: d.ID, kind: "received", seq: seq, text: string(payload), again: again})
}

// handle gets the messages in their order. It answers at once, or leaves the answer to a
// timer or a person.
func (d *device) handle(_ context.Context, m sdk.Message) ([]byte, error) {
	if d.ack != ackManual && d.latency == 0 {
		d.received(seqText(m.Seq, m.Ephemeral), m.Payload, m.Dup)
		return d.byPolicy()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.received(seqText(m.Seq, m.Ephemeral), m.Payload, m.Dup)
	switch {
	case d.ack == ackManual && m.Seq == 0 && len(d.pending) > 0:
		return nil, sdk.Later // a repeat: v1 has one message under way, and one answer is enough
	case len(d.pending) == maxWaiting:
		d.note("ignored", seqText(m.Seq, m.Ephemeral), "too many messages wait for an answer")
		return nil, sdk.Retry
	}
	d.pending = append(d.pending, &m)
	if d.ack != ackManual {
		time.AfterFunc(d.latency, func() { d.answerThrough(&m) })
	}
	return nil, sdk.Later
}

// byPolicy returns the answer that --ack auto or reject gives.
func (d *device) byPolicy() ([]byte, error) {
	if d.ack == ackReject {
		return nil, errors.New(d.result)
	}
	return []byte(d.result), nil
}

// answerThrough answers a message and those before it, whose time has come as well. A
// connection that has ended leaves none.
func (d *device) answerThrough(m *sdk.Message) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for slices.Contains(d.pending, m) {
		result, err := d.byPolicy()
		d.answerLocked(0, result, err)
	}
}

// forgetPending leaves the messages of a connection that has ended to the server, which
// will send them again.
func (d *device) forgetPending() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for len(d.pending) > 0 {
		d.answerLocked(0, nil, sdk.Retry)
	}
}

// answer gives the answer that a person has typed.
func (d *device) answer(c command) {
	d.mu.Lock()
	defer d.mu.Unlock()
	i := slices.IndexFunc(d.pending, func(m *sdk.Message) bool { return c.seq == "" || c.seq == seqText(m.Seq, m.Ephemeral) })
	switch {
	case i < 0:
		d.note("refused", c.seq, "no such message waits for an answer")
	case c.code == protocol.AckRetry:
		d.answerLocked(i, nil, sdk.Retry)
	case c.code == protocol.AckReject:
		d.answerLocked(i, nil, errors.New(string(c.result)))
	default:
		d.answerLocked(i, c.result, nil)
	}
}

func (d *device) answerLocked(i int, result []byte, err error) {
	m := d.pending[i]
	d.pending = slices.Delete(d.pending, i, i+1)
	d.client.Answer(*m, result, err)
}

func (d *device) note(kind, seq, text string) {
	d.report(deviceEvent{client: d.ID, kind: kind, seq: seq, text: text})
}

// seqText returns a sequence as the text dialect writes it: e7 is valid in its
// session only.
func seqText(seq uint64, ephemeral bool) string {
	switch {
	case ephemeral:
		return fmt.Sprintf("e%d", seq)
	case seq == 0:
		return ""
	}
	return fmt.Sprint(seq)
}

func connectedText(addr string, d protocol.Dialect, r *protocol.Registered) string {
	s := fmt.Sprintf("to %s, dialect %s", addr, d)
	if r != nil && r.Session != "" {
		s += ", " + r.Session
	}
	if r != nil && r.Heartbeat > 0 {
		s += ", heartbeat " + r.Heartbeat.String()
	}
	return s
}

// groupsText describes the groups that a device asked for: the answer to
// a registration does not name the granted ones (SPEC §4.3).
func groupsText(id string, asked []string) string {
	return fmt.Sprintf("asked for %s; the gateway does not answer which of them it granted (auth.device_groups, or the token). "+
		"longwire clients get %s shows the groups of the client", strings.Join(asked, ", "), id)
}

// closeText returns a CLOSE for people. The text of one that came over the wire begins
// with its reason (SPEC §7).
func closeText(c protocol.Close) string {
	s := c.Reason
	if text := strings.TrimPrefix(c.Text, c.Reason+": "); text != "" && text != c.Reason {
		s += ": " + text
	}
	if c.Code != 0 {
		s += fmt.Sprintf(" (%d)", c.Code)
	}
	if c.RetryAfter > 0 {
		s += fmt.Sprintf(", come back after %s", c.RetryAfter)
	}
	if s == "" {
		return io.EOF.Error()
	}
	return s
}
