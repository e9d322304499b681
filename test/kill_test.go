//go:build unix

package test

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/longwire/longwire/client"
	"github.com/longwire/longwire/device"
	"github.com/longwire/longwire/protocol"
)

const (
	kills     = 50
	careful   = 6 // devices with the SDK, which remember their position
	rough     = 6 // devices that drop connections, ignore, refuse and put off
	ghosts    = 3 // clients that connect for the first time after the last kill
	deviceLog = slog.LevelError
)

// killTimes is how often the process is killed: LONGWIRE_TORTURE asks for more,
// -short for less.
func killTimes() int {
	switch {
	case os.Getenv("LONGWIRE_TORTURE") != "":
		return 20 * kills
	case testing.Short():
		return kills / 5
	}
	return kills
}

// The process is killed again and again, at random moments, under load and with
// live devices. Every answered push reaches a final state, a final state that
// was told never changes, devices that remember their position act exactly once,
// and each device sees what it gets in the order in which it was accepted.
func TestKilledAgainAndAgainLosesNothing(t *testing.T) {
	k := newKillRun(t)
	k.connectAll()
	k.startLoad()
	for range killTimes() {
		due := k.book.count() + rand.IntN(80)
		waitFor(t, "the load runs", func() bool { return k.book.count() >= due })
		k.killAndRestart()
	}
	due := k.book.count() + 100
	waitFor(t, "the load runs after the last kill", func() bool { return k.book.count() >= due })
	k.stopLoad()
	k.connectGhosts()
	finals := k.readAll()
	k.stopDevices()
	k.check(finals)
}

// killRun is a gateway that is killed, its devices and its callers.
type killRun struct {
	t       *testing.T
	data    string
	tcpAddr string
	now     atomic.Pointer[server]
	book    *book

	calm    atomic.Bool
	careful map[string]*carefulDevice
	rough   map[string]*roughDevice
	stop    chan struct{} // ends the devices
	devices sync.WaitGroup

	enough    chan struct{} // ends the load
	load      sync.WaitGroup
	events    context.CancelFunc // ends the event stream of the process of now
	following sync.WaitGroup
}

func newKillRun(t *testing.T) *killRun {
	k := &killRun{t: t, data: filepath.Join(t.TempDir(), "data"), book: newBook(), careful: map[string]*carefulDevice{},
		rough: map[string]*roughDevice{}, stop: make(chan struct{}), enough: make(chan struct{})}
	k.serve("")
	k.tcpAddr = k.now.Load().tcpAddr
	return k
}

func (k *killRun) serve(addr string) {
	s := serve(k.t, addr, k.data, "--tcp-ack-timeout", "1s", "--delivery-max-attempts", "1000", "--log-level", "error")
	k.now.Store(s)
	ctx, cancel := context.WithCancel(context.Background())
	k.events = cancel
	k.following.Go(func() { k.follow(ctx, s) })
}

func (k *killRun) killAndRestart() {
	s := k.now.Load()
	s.signal(k.t, syscall.SIGKILL)
	<-s.ended
	k.events()
	s.http.CloseIdleConnections()
	k.serve(k.tcpAddr)
}

// follow notes the final states that the event stream of one process tells.
func (k *killRun) follow(ctx context.Context, s *server) {
	c, err := client.New(s.url, client.WithRetry(client.Retry{Attempts: 1}))
	if err != nil {
		k.book.fault("%v", err)
		return
	}
	for e, err := range c.Events(ctx, client.EventQuery{Types: []string{"message.*"}}) {
		if err != nil {
			return // killed
		}
		if e.Type != client.EventMessageLateAck && e.Data.Client != "" {
			k.book.saw(e.Data.MessageID, e.Data.Client, status(e.Data.Status), "event "+string(e.Type))
		}
	}
}

// connectAll starts the devices and waits until all are known, so that messages
// to all have them all.
func (k *killRun) connectAll() {
	for i := range careful {
		d := &carefulDevice{id: fmt.Sprint("careful-", i), addr: k.tcpAddr, state: &device.FileState{Path: filepath.Join(k.t.TempDir(), "state")},
			times: map[string]int{}, book: k.book}
		k.careful[d.id] = d
		k.devices.Go(func() { d.run(k.stop) })
	}
	for i := range rough {
		id := fmt.Sprint("rough-", i)
		d := newRoughDevice(id, []protocol.Dialect{protocol.V2, protocol.Text}[i%2], k.tcpAddr, &k.calm, uint64(i))
		k.rough[id] = d
		k.devices.Go(func() { d.run(k.stop) })
	}
	waitFor(k.t, "all devices have registered", func() bool {
		return len(k.now.Load().get("/v1/clients?limit=1000").Items) == careful+rough
	})
}

// stopDevices is also the end of the event stream.
func (k *killRun) stopDevices() {
	close(k.stop)
	k.devices.Wait()
	k.events()
	k.following.Wait()
}

// carefulDevice is a program with the SDK that starts anew from time to time;
// its position is in a file.
type carefulDevice struct {
	id, addr string
	state    device.State
	book     *book

	mu    sync.Mutex
	order []string
	times map[string]int // how often each payload was handled
	lives int
}

func (d *carefulDevice) run(stop <-chan struct{}) {
	for {
		c, err := device.New(device.Config{Addr: d.addr, ID: d.id, Handler: d.handle, State: d.state,
			Backoff: device.Backoff{Min: 5 * time.Millisecond, Max: 50 * time.Millisecond},
			Logger:  slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: deviceLog}))})
		if err != nil {
			d.book.fault("%s: %v", d.id, err)
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second+rand.N(2*time.Second))
		ended := make(chan error, 1)
		go func() { ended <- c.Run(ctx) }()
		select {
		case <-stop:
			cancel()
			<-ended
			return
		case err := <-ended:
			if ctx.Err() == nil {
				d.book.fault("%s was closed for good: %v", d.id, err)
			}
			cancel()
		}
		d.mu.Lock()
		d.lives++
		d.mu.Unlock()
	}
}

func (d *carefulDevice) handle(_ context.Context, m device.Message) ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.order = append(d.order, string(m.Payload))
	d.times[string(m.Payload)]++
	return nil, nil
}

// startLoad starts the callers. Each pushes one message after the other, so that
// the order of its own is known; who has an idempotency key repeats a push until
// it is answered.
func (k *killRun) startLoad() {
	for i, c := range []caller{
		{prefix: "careful-", n: careful}, {prefix: "rough-", n: rough},
		{prefix: "careful-", n: careful, query: "?wait=1s"}, {prefix: "rough-", n: rough, query: "?wait=1s"},
		{prefix: "careful-", n: careful, keys: true}, {prefix: "rough-", n: rough, keys: true},
		{prefix: "ghost-", n: ghosts, keys: true}, {all: true, keys: true},
	} {
		c.name, c.run = fmt.Sprint("p", i), k
		k.load.Go(c.push)
	}
	k.load.Go(k.cancelSome)
	k.load.Go(k.readSome)
}

func (k *killRun) stopLoad() {
	close(k.enough)
	k.load.Wait()
}

func (k *killRun) stopped() bool {
	select {
	case <-k.enough:
		return true
	default:
		return false
	}
}

// cancelSome withdraws messages that were accepted just now.
func (k *killRun) cancelSome() {
	for !k.stopped() {
		id := k.book.recent(20)
		if id == "" {
			continue
		}
		a, err := k.now.Load().call("DELETE", "/v1/messages/"+id, "", "")
		switch {
		case err != nil || a.code == 409 || a.code == 503: // killed, or too late
		case a.code != 200:
			k.book.fault("cancel of %s = %d", id, a.code)
		case a.Client != "":
			k.book.saw(id, a.Client, a.Status, "cancel")
		}
		pause(10 * time.Millisecond)
	}
}

// readSome reads messages over and over.
func (k *killRun) readSome() {
	for !k.stopped() {
		id := k.book.recent(2000)
		if id == "" {
			continue
		}
		s := k.now.Load()
		a, err := s.call("GET", "/v1/messages/"+id, "", "")
		if err != nil {
			continue
		}
		before := k.book.known(id, a.Client)
		if a, err = s.call("GET", "/v1/messages/"+id, "", ""); err != nil {
			continue
		}
		if a.code != 200 {
			k.book.fault("message %s was accepted and is now %d", id, a.code)
			return
		}
		if a.Client != "" {
			k.book.read(before, id, a.Client, a.Status)
		}
	}
}

// pause lets others go first; a loop that never rests would be most of the load.
func pause(d time.Duration) { <-time.After(d) }

// caller pushes to the clients prefix0 … prefix(n-1), or to all.
type caller struct {
	name   string
	prefix string
	n      int
	all    bool
	query  string
	keys   bool // with idempotency keys
	run    *killRun
}

func (c caller) push() {
	for i := 0; !c.run.stopped(); i++ {
		payload := fmt.Sprintf("%s/%d", c.name, i)
		path, body := "/v1/messages", fmt.Sprintf(`{"to":{"all":true},"text":%q}`, payload)
		if !c.all {
			path = fmt.Sprintf("/v1/clients/%s%d/messages%s", c.prefix, rand.IntN(c.n), c.query)
			body = fmt.Sprintf(`{"text":%q,"on_unknown":"queue"}`, payload)
		} else {
			pause(5 * time.Millisecond)
		}
		for !c.try(path, body, payload) && c.keys && !c.run.stopped() {
			pause(time.Millisecond)
		}
	}
}

// try makes one attempt; false says that the outcome is unknown.
func (c caller) try(path, body, payload string) bool {
	key := ""
	if c.keys {
		key = strings.ReplaceAll(payload, "/", "-")
	}
	a, err := c.run.now.Load().callWithKey("POST", path, "application/json", body, key)
	if err != nil || a.code == 503 {
		return false
	}
	if a.code != 200 && a.code != 202 {
		c.run.book.fault("push of %s = %d", payload, a.code)
		return true
	}
	c.run.book.accepted(a.ID, payload)
	if a.Client != "" {
		c.run.book.saw(a.ID, a.Client, a.Status, "the push's answer")
	}
	return true
}

// connectGhosts brings clients online for which messages have waited through
// all the kills.
func (k *killRun) connectGhosts() {
	s := k.now.Load()
	k.calm.Store(true)
	for i := range ghosts {
		id := fmt.Sprint("ghost-", i)
		waiting := s.get("/v1/messages?client=" + id + "&limit=1000").Items
		if len(waiting) == 0 {
			k.t.Errorf("nothing waits for %s", id)
		}
		for _, m := range waiting {
			if m.Status != "queued" && m.Status != "canceled" {
				k.t.Errorf("message %s to %s, which was never here, is %s", m.ID, id, m.Status)
			}
		}
		d := &carefulDevice{id: id, addr: k.tcpAddr, state: new(device.MemoryState), times: map[string]int{}, book: k.book}
		k.careful[id] = d
		k.devices.Go(func() { d.run(k.stop) })
	}
}

// readAll waits until every message is final and returns the state of each
// delivery, by message id and client.
func (k *killRun) readAll() map[[2]string]status {
	s, finals := k.now.Load(), map[[2]string]status{}
	for _, id := range k.book.ids {
		var a answer
		waitWithin(k.t, time.Minute, "message "+id+" is final", func() bool {
			if a = s.get("/v1/messages/" + id); a.code != 200 {
				k.t.Fatalf("message %s was accepted and is now %d", id, a.code)
			}
			return a.Status.final()
		})
		if a.Client != "" {
			finals[[2]string{id, a.Client}] = a.Status
			continue
		}
		for _, d := range s.get("/v1/messages/" + id + "/deliveries?limit=1000").Items {
			finals[[2]string{id, d.Client}] = d.Status
		}
	}
	return finals
}

func (k *killRun) check(finals map[[2]string]status) {
	k.t.Helper()
	k.checkStates(finals)
	lives := 0
	for id, d := range k.careful {
		lives += d.lives
		for payload, n := range d.times {
			if n != 1 {
				k.t.Errorf("%s has handled %q %d times", id, payload, n)
			}
		}
		k.checkOrder(id, d.order)
	}
	for id, d := range k.rough {
		k.checkOrder(id, d.order)
	}
	for _, f := range k.book.faults[:min(20, len(k.book.faults))] {
		k.t.Error(f)
	}
	k.t.Logf("%d kills; %d messages accepted, %d deliveries final; the careful devices started %d times",
		killTimes(), len(k.book.ids), len(finals), lives)
}

// checkStates compares the states at the end with all that was told, and what
// is acked with what the devices did.
func (k *killRun) checkStates(finals map[[2]string]status) {
	count := map[status]int{}
	for key, s := range finals {
		count[s]++
		id, to := key[0], key[1]
		if told := k.book.told[key]; len(told) > 0 && !told[s] {
			k.t.Errorf("message %s to %s ended as %s, it was told as %v", id, to, s, told)
		}
		payload := k.book.payloads[id]
		if d := k.careful[to]; d != nil && s == "acked" && d.times[payload] != 1 {
			k.t.Errorf("message %s to %s is acked, the device has handled it %d times", id, to, d.times[payload])
		}
		if d := k.rough[to]; d != nil && (s == "acked" && !d.accepted[payload] || s == "rejected" && !d.rejected[payload]) {
			k.t.Errorf("message %s to %s is %s, the device never said so", id, to, s)
		}
	}
	if count["acked"] == 0 || count["rejected"] == 0 || count["canceled"] == 0 {
		k.t.Errorf("final states %v: the load was not as it should be", count)
	}
}

// checkOrder checks that a device first saw each caller's messages in the order
// in which they were pushed.
func (k *killRun) checkOrder(id string, order []string) {
	last := map[string]int{}
	for _, payload := range order {
		name, number, _ := strings.Cut(payload, "/")
		n, err := strconv.Atoi(number)
		if err != nil {
			k.t.Errorf("%s got %q, which nobody has pushed", id, payload)
			continue
		}
		if before, ok := last[name]; ok && n <= before {
			k.t.Errorf("%s saw %s/%d after %s/%d", id, name, n, name, before)
		}
		last[name] = n
	}
}
