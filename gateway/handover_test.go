package gateway

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"runtime/debug"
	"testing"
	"time"
)

// The hand-over is the way of an accepted message to a session: through the feed,
// by the mailbox or by a mark, or by the walk of a message to many. These tests
// explore it on the real gateway: every order of publishing, telling, walking,
// pumping and acking, also in the middle of a read of the store and of a Deliver,
// with takeovers, cancels and failures. There are no goroutines: a step runs on the
// stack of the test, and a step that comes in the middle of another one runs on top.
//
// At rest each message for the client has left once on the connection, or is
// final, and first transmissions rise.

// kind is the audience of a message.
type kind uint8

const (
	toOne    kind = iota // the client alone
	toMany               // many, the client among them
	toOthers             // many others
)

// handover is a configuration of the exploration: the optional steps that one
// execution may have.
type handover struct {
	name                                    string
	n                                       int // messages
	window                                  int
	takeovers, cancels, busy, failures, all int
	payload                                 int
	within                                  string // the configuration that has all executions of this one
}

var largest = make([]byte, 40<<10) // payload

var handovers = []handover{
	{name: "plain", n: 3, window: 2, payload: 1, within: "cancel"},
	{name: "paced", n: 3, window: 4, payload: 1}, // see also TestAPacedMessageIsNotPassed
	{name: "strict", n: 3, window: 1, payload: 1, within: "takeover"},
	{name: "takeover", n: 3, window: 1, takeovers: 1, payload: 1},
	{name: "cancel", n: 3, window: 2, cancels: 1, payload: 1},
	{name: "busy link", n: 3, window: 2, busy: 1, payload: 1},
	{name: "failing store", n: 3, window: 2, failures: 1, payload: 1},
	{name: "large payloads", n: 3, window: 4, payload: len(largest)},
}

// pruned ends an execution that has come to a known state.
type pruned struct{}

// broken ends an execution that has broken a promise.
type broken string

// explorer visits the states of one configuration and one list of kinds depth
// first. It cannot copy a gateway, so it reaches each state by its choices from the
// beginning.
type explorer struct {
	cfg    handover
	kinds  []kind
	script []int // choices so far
	widths []int // how many there were
	at     int
	seen   map[string]bool
}

func (x *explorer) choose(w *stageWorld, n int) int {
	if x.at == len(x.script) {
		if k := w.key(); x.seen[k] {
			panic(pruned{})
		} else {
			x.seen[k] = true
		}
		x.script, x.widths = append(x.script, 0), append(x.widths, n)
	}
	x.at++
	return x.script[x.at-1]
}

// next moves to the next execution, false when all were made.
func (x *explorer) next() bool {
	for len(x.script) > 0 {
		i := len(x.script) - 1
		if x.script[i]++; x.script[i] < x.widths[i] {
			x.at = 0
			return true
		}
		x.script, x.widths = x.script[:i], x.widths[:i]
	}
	return false
}

// run makes one execution. It returns the broken promise.
func (x *explorer) run() (what string) {
	defer func() {
		switch p := recover().(type) {
		case nil, pruned:
		case broken:
			what = string(p)
		default:
			panic(p)
		}
	}()
	w := newStage(x)
	for w.step("top", false) {
	}
	w.atRest()
	return ""
}

// stageWorld is one gateway with its store and the client's connection.
type stageWorld struct {
	Store
	x        *explorer
	g        *Gateway
	observer Observer

	published, told int
	final           []bool
	walks           []*broadcast
	timers          []func()
	links           []*stageLink
	left            handover // optional steps that are left
	popped          []bool   // was final when the pump that may have it began
	inside          []byte   // steps in progress
}

type stageLink struct {
	w       *stageWorld
	s       *Session
	sent    []Seq
	acked   int // of sent
	forgot  []Seq
	blocked bool
	ended   bool
}

func newStage(x *explorer) *stageWorld {
	w := &stageWorld{x: x, final: make([]bool, x.cfg.n+1), left: x.cfg}
	w.g = New(Config{Store: w, NewID: func() [16]byte { return [16]byte{} }, EventBuffer: 1,
		Now:   func() time.Time { return time.Unix(1000, 0) },
		After: func(_ time.Duration, f func()) { w.timers = append(w.timers, f) }})
	w.g.evictor.start = func(walk func()) { w.timers = append(w.timers, walk) }
	w.connect()
	return w
}

func (w *stageWorld) connect() {
	if len(w.links) > 0 {
		w.link().ended = true
	}
	l := &stageLink{w: w}
	s, _, err := w.g.Connect(context.Background(), Hello{Client: "a"}, l)
	if err != nil {
		panic(err)
	}
	l.s = s
	w.links = append(w.links, l)
	s.Start()
}

func (w *stageWorld) link() *stageLink { return w.links[len(w.links)-1] }

// Step makes one step; false if there is none to make, or if it is to go on where
// the step came in between.
func (w *stageWorld) step(where string, between bool) bool {
	var steps []func()
	if between {
		steps = append(steps, nil)
	}
	add := func(ok bool, f func()) {
		if ok {
			steps = append(steps, f)
		}
	}
	l := w.link()
	add(w.published < w.x.cfg.n, func() { w.published++ })
	add(w.told < w.published, w.tell)
	for i := range w.walks {
		add(true, func() { w.walk(i) })
	}
	add(l.acked < len(l.sent), l.ack)
	add(!between && w.g.runs.head != nil, w.pump)
	add(!between && l.blocked, func() { l.blocked = false; l.s.Writable() })
	add(!between && len(w.timers) > 0, func() { f := w.timers[0]; w.timers = w.timers[1:]; f() })
	if len(steps) == 0 {
		return false
	}
	add(w.left.takeovers > 0, func() { w.left.takeovers--; w.connect() })
	add(w.left.cancels > 0 && w.told > 0, w.cancel)
	add(w.left.all > 0, func() { w.left.all--; w.observer.Changed([]Change{&Reopened{}}) })
	f := steps[w.x.choose(w, len(steps))]
	if f == nil {
		return false
	}
	f()
	return true
}

// meanwhile makes steps in the middle of another one.
func (w *stageWorld) meanwhile(what ...byte) {
	before := len(w.inside)
	w.inside = append(w.inside, what...)
	for w.step("", true) {
	}
	w.inside = w.inside[:before]
}

func (w *stageWorld) mine(q int) bool { return w.x.kinds[q-1] != toOthers }

func (w *stageWorld) message(q int) MessageID { return MessageID(fmt.Sprint("msg_", q)) }

func (w *stageWorld) transmission(q int) Transmission {
	return Transmission{Message: w.message(q), Seq: Seq(q), ExpiresAt: time.Unix(2000, 0), Payload: largest[:w.x.cfg.payload],
		Many: w.x.kinds[q-1] == toMany}
}

func (w *stageWorld) tell() {
	w.told++
	q := w.told
	if w.x.kinds[q-1] == toOne {
		w.observer.Changed([]Change{&Accepted{Client: "a", Transmission: w.transmission(q)}})
		return
	}
	w.observer.Changed([]Change{&AcceptedMany{Message: w.message(q), Seq: Seq(q), Total: 1, To: Audience{All: true}, Rate: 1}})
	r := w.g.runs
	w.walks = append(w.walks, r.broadcasts...)
	r.broadcasts = nil
}

// walk lets a walk come to the client, whom its pace has held up.
func (w *stageWorld) walk(i int) {
	b := w.walks[i]
	w.walks = append(w.walks[:i:i], w.walks[i+1:]...)
	for _, s := range []*Session{w.link().s} {
		if s.markFresh() {
			s.wake()
		}
	}
	b.ended()
}

func (w *stageWorld) pump() {
	s := w.g.runs.popSessionLocked()
	w.popped = append(w.popped[:0], w.final...)
	s.run.Store(running)
	s.runPump()
}

func (w *stageWorld) cancel() {
	for q := 1; q <= w.told; q++ {
		if w.mine(q) && !w.final[q] {
			w.left.cancels--
			w.settle(q, Canceled)
			return
		}
	}
	w.left.cancels = 0
}

func (w *stageWorld) settle(q int, st State) {
	w.final[q] = true
	if w.x.kinds[q-1] == toOne {
		w.observer.Changed([]Change{&Settlement{Delivery: Delivery{Message: w.message(q), Client: "a", Seq: Seq(q), State: st}}})
		return
	}
	w.observer.Changed([]Change{&SettledAll{Message: Message{ID: w.message(q), Seq: Seq(q)}, State: st, N: 1}})
}

// atRest checks the promise of an execution that has come to rest.
func (w *stageWorld) atRest() {
	sent := map[Seq]bool{}
	for _, q := range w.link().sent {
		sent[q] = true
	}
	for q := 1; q <= w.x.cfg.n; q++ {
		if w.mine(q) && !w.final[q] && !sent[Seq(q)] {
			panic(broken(fmt.Sprintf("at rest %d has not left (sent %v)", q, w.link().sent)))
		}
	}
	if n := w.g.mail.Load(); n != 0 {
		panic(broken(fmt.Sprintf("at rest %d bytes are counted in mailboxes", n)))
	}
}

// key is the state: two executions with the same key go on alike.
func (w *stageWorld) key() string {
	l := w.link()
	b := []byte{byte(w.published), byte(w.told), byte(w.g.lastMany), byte(len(w.timers)), byte(len(w.links)),
		byte(w.left.takeovers), byte(w.left.cancels), byte(w.left.busy), byte(w.left.failures), byte(w.left.all), byte(l.acked)}
	if l.blocked {
		b = append(b, 'b')
	}
	for _, f := range w.final {
		b = append(b, 'f')
		if f {
			b = append(b, 'F')
		}
	}
	for _, k := range w.walks {
		b = append(append(b, 'w'), k.messages[0]...)
	}
	b = append(b, '|')
	for _, l := range w.links {
		s := l.s
		if s == nil {
			continue
		}
		b = append(b, 's', byte(s.run.Load()), byte(s.flags))
		b = binary.AppendUvarint(b, uint64(s.cursor))
		if s.work != nil {
			for _, p := range s.work.mail.transmissions {
				b = append(b, 'm', byte(p.Seq))
			}
			for _, f := range s.work.flight {
				b = append(b, 'i', byte(f.seq), byte(f.stage), byte(f.flags))
			}
		}
	}
	for s := w.g.runs.head; s != nil; s = s.nextRun {
		b = append(b, 'q')
		for i, l := range w.links {
			if l.s == s {
				b = append(b, byte(i))
			}
		}
	}
	b = append(b, '|')
	for _, q := range l.sent {
		b = append(b, byte(q))
	}
	return string(append(append(b, '|'), w.inside...))
}

// The store.

func (w *stageWorld) Observe(o Observer)                             { w.observer = o }
func (w *stageWorld) Log() LogID                                     { return "log" }
func (w *stageWorld) EventSpan() (forgotten, last uint64, err error) { return 0, 0, nil }
func (w *stageWorld) Undurable(ClientID) (n, bytes int)              { return 0, 0 }
func (w *stageWorld) Disconnected(Disconnection)                     {}

func (w *stageWorld) Register(_ context.Context, r Registration) (ClientRecord, Seq, error) {
	return ClientRecord{ID: r.Client}, 0, nil
}

func (w *stageWorld) Next(q TransmissionQuery, buf []Transmission) ([]Transmission, Seq, error) {
	last := w.published
	for i := int(q.After) + 1; i <= last && len(buf) < q.Max; i++ {
		if w.mine(i) && !w.final[i] {
			buf = append(buf, w.transmission(i))
		}
	}
	what := []byte{'N', byte(last), byte(q.Max)}
	for i := range buf {
		what = append(what, byte(buf[i].Seq))
	}
	w.meanwhile(what...)
	if w.left.failures > 0 && w.x.choose(w, 2) == 1 {
		w.left.failures--
		return buf, 0, ErrUnavailable
	}
	return buf, Seq(last), nil
}

func (w *stageWorld) TrySettle(o Outcome, _ bool) bool {
	w.settle(int(o.Seq), o.State)
	return true
}

// The link.

func (l *stageLink) Deliver(p Transmission) error {
	w := l.w
	w.meanwhile('D', byte(p.Seq))
	switch {
	case l.ended:
		return ErrLinkClosed
	case w.left.busy > 0 && w.x.choose(w, 2) == 1:
		w.left.busy--
		l.blocked = true
		return ErrLinkBusy
	}
	if w.popped[p.Seq] {
		panic(broken(fmt.Sprintf("%d leaves although it is final", p.Seq)))
	}
	if n := len(l.sent); n > 0 && l.sent[n-1] >= p.Seq {
		panic(broken(fmt.Sprintf("%d leaves after %v", p.Seq, l.sent)))
	}
	if len(p.Payload) != w.x.cfg.payload {
		panic(broken(fmt.Sprintf("%d leaves with %d bytes", p.Seq, len(p.Payload))))
	}
	l.sent = append(l.sent, p.Seq)
	return nil
}

func (l *stageLink) ack() {
	l.acked++
	l.s.TryAcked(l.sent[l.acked-1], AckOK, nil, time.Unix(1000, 0))
}

func (l *stageLink) Flush()      {}
func (l *stageLink) Close(Close) {}

func (l *stageLink) Forget(seq Seq, _ bool) bool {
	l.forgot = append(l.forgot, seq)
	return false
}

func (l *stageLink) MaxPayload() int  { return MaxPayload }
func (l *stageLink) Window() int      { return l.w.x.cfg.window }
func (l *stageLink) Probe() bool      { return false }
func (l *stageLink) Stats() LinkStats { return LinkStats{Dialect: "v2"} }

// explore returns the first broken promise of a configuration, "" for none, and
// how many states it has seen.
func (c handover) explore() (what string, states int) {
	kinds := make([]kind, c.n)
	all := 1
	for range kinds {
		all *= 3
	}
	for v := range all {
		for i, r := 0, v; i < len(kinds); i, r = i+1, r/3 {
			kinds[i] = kind(r % 3)
		}
		x := &explorer{cfg: c, kinds: kinds, seen: map[string]bool{}}
		for more := true; more; more = x.next() {
			if what := x.run(); what != "" {
				return fmt.Sprintf("kinds %v, choices %v: %s", kinds, x.script, what), states + len(x.seen)
			}
		}
		states += len(x.seen)
	}
	return "", states
}

// TestHandOver explores the configuration that the environment names, or each one that is
// not within another one.
// With -short it leaves out one of the messages.
func TestHandOver(t *testing.T) {
	only := os.Getenv("LONGWIRE_HANDOVER")
	defer debug.SetGCPercent(debug.SetGCPercent(1000)) // millions of small gateways live for a moment
	for _, c := range handovers {
		if only == "" && c.within != "" || only != "" && c.name != only {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			if testing.Short() {
				c.n--
			}
			begun := time.Now()
			what, states := c.explore()
			if what != "" {
				t.Fatal(what)
			}
			t.Logf("%d states, %v", states, time.Since(begun).Round(time.Millisecond))
		})
	}
}
