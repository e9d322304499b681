package gateway_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine/memstore"
	"github.com/longwire/longwire/internal/gatewaytest"
)

// dice is chance from a seed, for several goroutines.
type dice struct {
	mu  sync.Mutex
	rnd *rand.Rand
}

func (d *dice) one(in int) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.rnd.IntN(in) == 0
}

// dawdle lets others run for a while, or not.
func (d *dice) dawdle() {
	for d.one(2) {
		runtime.Gosched()
	}
}

// fullNowAndThen is a store whose queue is full at any moment.
type fullNowAndThen struct {
	gateway.Store
	dice *dice
}

func (s fullNowAndThen) TrySettle(o gateway.Outcome, urgent bool) bool {
	s.dice.dawdle()
	return s.dice.one(2) && s.Store.TrySettle(o, urgent)
}

// fickleLink is a connection that may end at any moment: before, while and after
// it gets a transmission, while the device answers, or between.
type fickleLink struct {
	dice    *dice
	session *gateway.Session
	device  *ledger
	through gateway.Seq // the device wants to be asked up to here
	steady  bool        // neither ends nor pauses
	final   func(gateway.Seq) bool

	mu            sync.Mutex
	ended         bool
	late          int // Deliver calls after the end
	transmissions []gateway.Transmission
	asked         map[gateway.Seq]bool // true once it is answered
	wrong         []string
	work          sync.WaitGroup
}

// ledger is a device's memory across its connections.
type ledger struct {
	mu      sync.Mutex
	handled map[gateway.Seq]bool
	highest gateway.Seq
}

func (d *ledger) handle(seq gateway.Seq) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.handled[seq] = true
	d.highest = max(d.highest, seq)
}

func (d *ledger) has(seq gateway.Seq) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.handled[seq]
}

func (d *ledger) askThrough() gateway.Seq {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.highest
}

func (l *fickleLink) Deliver(p gateway.Transmission) error {
	l.dice.dawdle()
	if !l.steady && l.dice.one(8) {
		l.end()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.ended:
		l.late++
		return gateway.ErrLinkClosed
	case !l.steady && l.dice.one(6):
		l.work.Go(func() { l.dice.dawdle(); l.session.Writable() })
		return gateway.ErrLinkBusy
	}
	if !p.Ephemeral {
		l.judge(p)
	}
	l.transmissions = append(l.transmissions, p)
	l.work.Go(func() { l.react(p) })
	return nil
}

// judge notes what must not leave now. l.mu is held.
func (l *fickleLink) judge(p gateway.Transmission) {
	answered, asked := l.asked[p.Seq]
	switch {
	case p.Ask && (asked || p.Seq > l.through):
		l.wrong = append(l.wrong, fmt.Sprintf("a second question, or one beyond %d, about %d", l.through, p.Seq))
	case p.Ask:
		l.asked[p.Seq] = false
	case p.Seq <= l.through && !answered:
		l.wrong = append(l.wrong, fmt.Sprintf("%d is sent and was not asked for", p.Seq))
	case p.Seq > l.through:
		for seq, answered := range l.asked {
			if !answered && !l.has(p.Seq) && !l.final(seq) {
				l.wrong = append(l.wrong, fmt.Sprintf("%d leaves before %d is answered", p.Seq, seq))
			}
		}
	}
}

// has reports whether seq was delivered before. l.mu is held.
func (l *fickleLink) has(seq gateway.Seq) bool {
	return slices.ContainsFunc(l.transmissions, func(p gateway.Transmission) bool { return !p.Ephemeral && p.Seq == seq })
}

func (l *fickleLink) ack(p gateway.Transmission, code gateway.AckCode) {
	l.mu.Lock()
	if p.Ask {
		l.asked[p.Seq] = true
	}
	l.mu.Unlock()
	l.dice.dawdle()
	if p.Ephemeral || !l.session.TryAcked(p.Seq, code, p.Payload, time.Now()) { // the connection may have ended by now
		l.dice.dawdle()
		l.session.Acked(p.Seq, p.Ephemeral, code, p.Payload, time.Now())
	}
}

// answerAsk answers from the ledger.
func (l *fickleLink) answerAsk(p gateway.Transmission) {
	switch {
	case !l.steady && l.dice.one(6):
		l.end()
		return
	case l.dice.one(3):
		l.ack(p, gateway.AckWorking)
	}
	switch {
	case !l.device.has(p.Seq):
		l.ack(p, gateway.AckSend)
	case l.dice.one(3):
		l.ack(p, gateway.AckNotKept)
	default:
		l.ack(p, gateway.AckOK)
	}
}

// react is the way of a transmission through the socket to the device and back.
func (l *fickleLink) react(p gateway.Transmission) {
	l.dice.dawdle()
	if p.Ask {
		l.answerAsk(p)
		return
	}
	l.session.Sent(p.Seq, p.Ephemeral, time.Now())
	if !p.Ephemeral && l.dice.one(4) {
		l.ack(p, gateway.AckRetry)
		return
	}
	if !p.Ephemeral && (l.steady || l.dice.one(2)) {
		l.device.handle(p.Seq)
	}
	switch {
	case l.steady || l.dice.one(2):
		if !p.Ephemeral {
			l.device.handle(p.Seq)
		}
		l.dice.dawdle()
		l.ack(p, gateway.AckOK)
	case l.dice.one(2):
		l.end()
	}
}

func (l *fickleLink) end() {
	l.mu.Lock()
	first := !l.ended
	l.ended = true
	l.mu.Unlock()
	if first {
		l.session.Closed(gateway.ReasonConnectionLost)
	}
}

func (l *fickleLink) Flush()                        {}
func (l *fickleLink) Forget(gateway.Seq, bool) bool { return false }
func (l *fickleLink) Close(gateway.Close)           { l.work.Go(l.end) }
func (l *fickleLink) MaxPayload() int               { return gateway.MaxPayload }
func (l *fickleLink) Window() int                   { return 3 }
func (l *fickleLink) Probe() bool                   { return false }
func (l *fickleLink) Stats() gateway.LinkStats      { return gateway.LinkStats{Dialect: "v2"} }

func (l *fickleLink) lateCalls() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.late
}

// scramble is one short run of one client: connections that come and go, with
// callers of all kinds at the same time.
type scramble struct {
	t     *testing.T
	g     *gateway.Gateway
	dice  *dice
	links []*fickleLink

	asks   bool
	device ledger

	transmissions gateway.Store

	mu     sync.Mutex
	stored []gateway.MessageID
	online []*countedCall
}

// countedCall is a caller that must be answered exactly once.
type countedCall struct {
	call gateway.OnlineCall
	mu   sync.Mutex
	told int
	err  error
}

func (c *countedCall) Answered(_ gateway.OnlineResult, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.told++
	c.err = err
}

func (s *scramble) connect(steady bool) *fickleLink {
	l := &fickleLink{dice: s.dice, steady: steady, device: &s.device, asked: map[gateway.Seq]bool{}, final: s.final}
	hello := gateway.Hello{Client: "a"}
	if s.asks {
		l.through = s.device.askThrough()
		hello.Log, hello.Asks, hello.AskThrough = s.g.Log(), true, l.through
	}
	session, _, err := s.g.Connect(context.Background(), hello, l)
	if err != nil {
		s.t.Error(err)
		return l
	}
	l.session = session
	s.links = append(s.links, l)
	session.Start()
	return l
}

// store pushes durable messages, one after the other, so that their order is
// known.
func (s *scramble) store(n int) {
	for i := range n {
		s.dice.dawdle()
		m := push(s.t, s.g, "a", fmt.Sprint("stored ", i))
		s.mu.Lock()
		s.stored = append(s.stored, m.ID)
		s.mu.Unlock()
	}
}

// call starts online deliveries, and withdraws or times some of them out.
func (s *scramble) call(n int) {
	for range n {
		s.dice.dawdle()
		c := new(countedCall)
		err := s.g.StartOnline(&c.call, gateway.OnlineRequest{Client: "a", Payload: []byte("now")}, c, nil)
		if err != nil {
			if code := gateway.CodeOf(err); code != gateway.CodeClientOffline {
				s.t.Errorf("an online call is refused: %v", err)
			}
			continue
		}
		s.mu.Lock()
		s.online = append(s.online, c)
		s.mu.Unlock()
		s.dice.dawdle()
		switch {
		case s.dice.one(3):
			c.call.TimeOut()
		case s.dice.one(3) && c.call.Withdraw():
			c.Answered(gateway.OnlineResult{}, context.Canceled) // the only answer
		}
	}
}

// wait pushes online and waits, as HTTP callers do.
func (s *scramble) wait(n int) {
	for range n {
		s.dice.dawdle()
		ctx, cancel := context.WithCancel(context.Background())
		if s.dice.one(3) {
			go func() { s.dice.dawdle(); cancel() }()
		}
		r, err := s.g.PushOnline(ctx, gateway.OnlineRequest{Client: "a", Payload: []byte("wait"), Wait: time.Second})
		switch code := gateway.CodeOf(err); {
		case err == nil && string(r.Result) != "wait":
			s.t.Errorf("a caller got the answer %q of somebody else", r.Result)
		case err == nil, errors.Is(err, context.Canceled), code == gateway.CodeClientOffline, code == gateway.CodeAckTimeout:
		default:
			s.t.Errorf("a waiting caller is told %v", err)
		}
		cancel()
	}
}

func (s *scramble) run() {
	var all sync.WaitGroup
	s.connect(false)
	all.Go(func() { s.store(6) })
	all.Go(func() { s.call(8) })
	all.Go(func() { s.wait(3) })
	all.Go(func() { s.wait(3) })
	all.Go(func() {
		for range 3 {
			s.dice.dawdle()
			s.connect(false) // after the end of the last one, or in its place
		}
	})
	all.Wait()
	for _, l := range s.links {
		l.end()
	}
	synctest.Wait()
}

func (s *scramble) check() {
	late := 0
	for _, l := range s.links {
		late += l.lateCalls()
	}
	last := s.connect(true)
	time.Sleep(time.Hour) // every later repeat has been sent
	synctest.Wait()
	for _, l := range s.links[:len(s.links)-1] {
		late -= l.lateCalls()
	}
	if late != 0 {
		s.t.Errorf("%d deliveries were tried on connections that had ended", -late)
	}
	for i, c := range s.online {
		if c.told != 1 {
			s.t.Errorf("online caller %d was told %d times, the last time %v", i, c.told, c.err)
		}
	}
	for _, id := range s.stored {
		if d := delivery(s.t, s.g, id, "a"); d.State != gateway.Acked {
			s.t.Errorf("a stored message is %s in the end, after %d attempts", d.State, d.Attempts)
		}
	}
	for _, l := range s.links {
		s.checkOrder(l)
	}
	last.end()
	if n := s.g.Stats().InFlight; n != 0 {
		s.t.Errorf("%d deliveries are counted as in flight, and nobody is connected", n)
	}
}

// final reports whether a delivery is final: by an answer on another connection.
func (s *scramble) final(seq gateway.Seq) bool {
	_, queued, err := s.transmissions.Transmission("a", seq)
	return err == nil && !queued
}

// checkOrder: stored deliveries come in their order, apart from repeats, and as
// payloads or ASKs by the registration of the device.
func (s *scramble) checkOrder(l *fickleLink) {
	for _, what := range l.wrong {
		s.t.Error(what)
	}
	var before gateway.Seq
	seen := map[gateway.Seq]bool{}
	for _, p := range l.transmissions {
		if p.Ephemeral || seen[p.Seq] {
			continue
		}
		seen[p.Seq] = true
		if p.Seq <= before {
			s.t.Errorf("sequence %d follows %d on one connection", p.Seq, before)
		}
		before = p.Seq
	}
}

// Each caller is answered once, no delivery is sent on a connection that has
// ended, and stored messages arrive in order, at whichever moment connections
// end.
func TestConnectionsThatEndAtAnyMoment(t *testing.T) {
	for seed := range uint64(300) {
		synctest.Test(t, func(t *testing.T) {
			store := memstore.New(memstore.Options{})
			t.Cleanup(func() { store.Close() })
			chance := &dice{rnd: rand.New(rand.NewPCG(seed, 1))}
			s := &scramble{t: t, asks: seed%2 == 0, transmissions: store, device: ledger{handled: map[gateway.Seq]bool{}}, g: gatewaytest.New(t, fullNowAndThen{store, chance}, gateway.Config{Workers: 2}), dice: chance}
			s.run()
			s.check()
		})
		if t.Failed() {
			t.Fatalf("with seed %d", seed)
		}
	}
}
