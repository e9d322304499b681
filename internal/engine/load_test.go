package engine

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/longwire/longwire/gateway"
)

// ledger is what the outside was told by a store: everything in it has to be
// true of every later state of the disk.
type ledger struct {
	mu       sync.Mutex
	accepted map[gateway.MessageID]told
	finals   map[deliveryID]gateway.State
	uplinks  map[uint64]gateway.ClientID
	faults   []string
}

type told struct {
	seq     gateway.Seq
	client  gateway.ClientID // of a message to one
	payload []byte
	total   int
}

type deliveryID struct {
	message gateway.MessageID
	client  gateway.ClientID
}

func newLedger() *ledger {
	return &ledger{accepted: map[gateway.MessageID]told{}, finals: map[deliveryID]gateway.State{},
		uplinks: map[uint64]gateway.ClientID{}}
}

// copy returns the ledger as it stands; the caller holds mu.
func (l *ledger) copy() *ledger {
	return &ledger{accepted: maps.Clone(l.accepted), finals: maps.Clone(l.finals), uplinks: maps.Clone(l.uplinks)}
}

func (l *ledger) Changed(list []gateway.Change) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range list {
		switch c := c.(type) {
		case *gateway.Settlement:
			l.settled(c)
		case *gateway.SettledAll:
			if c.N == 0 || *c.Message.Counts.Of(c.State) < c.N {
				l.faults = append(l.faults, fmt.Sprintf("%s: %d settled at once, counts %+v", c.Message.ID, c.N, c.Message.Counts))
			}
		}
	}
}

func (l *ledger) settled(s *gateway.Settlement) {
	d := deliveryID{s.Delivery.Message, s.Delivery.Client}
	was, ok := l.finals[d]
	switch {
	case ok && !s.Late:
		l.faults = append(l.faults, fmt.Sprintf("%v is final twice: %v, then %v", d, was, s.Delivery.State))
	case s.Late && s.Delivery.State == gateway.Acked:
		l.faults = append(l.faults, fmt.Sprintf("%v was acked and is told as a late ack", d))
	}
	l.finals[d] = s.Delivery.State
}

// worker makes random calls on its own clients.
type worker struct {
	e       *Engine
	l       *ledger
	rng     *rand.Rand
	clients []gateway.ClientID
	n       uint64
	id      uint64
	timeout time.Duration // of a call; 0 = none
}

// loadID returns a message id that rises with n.
func loadID(n uint64) gateway.MessageID {
	return gateway.MessageID(fmt.Sprintf("msg_%08x-%04x-7000-8000-%012x", n>>16, n&0xffff, n))
}

var loadIDs struct {
	sync.Mutex
	n uint64
}

func nextLoadID() gateway.MessageID {
	loadIDs.Lock()
	defer loadIDs.Unlock()
	loadIDs.n++
	return loadID(loadIDs.n)
}

func (w *worker) context() (context.Context, context.CancelFunc) {
	if w.timeout == 0 {
		return context.Background(), func() {}
	}
	return context.WithTimeout(context.Background(), w.timeout)
}

func (w *worker) payload() []byte {
	b := make([]byte, 8+w.rng.IntN(300))
	for i := range b {
		b[i] = byte(w.rng.Uint32())
	}
	binary.BigEndian.PutUint64(b, w.n)
	return b
}

func (w *worker) pick() gateway.ClientID { return w.clients[w.rng.IntN(len(w.clients))] }

// step makes one call; its error is the store's.
func (w *worker) step() error {
	w.n++
	ctx, cancel := w.context()
	defer cancel()
	switch w.rng.IntN(20) {
	case 0:
		return w.accept(ctx, gateway.Audience{All: true})
	case 1:
		return w.accept(ctx, gateway.Audience{Clients: []gateway.ClientID{w.pick(), w.pick(), "stranger"}})
	case 2:
		_, _, err := w.e.Register(ctx, gateway.Registration{Client: w.pick(), At: time.Now(),
			Reported: map[string]string{"n": fmt.Sprint(w.rng.IntN(3))}, Groups: []string{fmt.Sprint("g", w.rng.IntN(3))}})
		return err
	case 3:
		u := gateway.Uplink{Client: w.pick(), At: time.Now(), Payload: w.payload()}
		seq, err := w.e.AppendUplink(ctx, u)
		if err == nil {
			w.l.mu.Lock()
			w.l.uplinks[seq] = u.Client
			w.l.mu.Unlock()
		}
		return err
	case 4:
		c := w.pick()
		ps, _, err := w.e.Next(gateway.TransmissionQuery{Client: c, Max: 1, MaxBytes: 1 << 20}, nil)
		if err != nil || len(ps) == 0 {
			return err
		}
		if _, err = w.e.Cancel(ctx, ps[0].Message, time.Now()); gateway.CodeOf(err) == gateway.CodeAlreadyFinal {
			return nil
		}
		return err
	case 5, 6, 7, 8, 9:
		return w.settle()
	default:
		return w.accept(ctx, gateway.Audience{Client: w.pick()})
	}
}

// settle answers some of what a client has to get.
func (w *worker) settle() error {
	c := w.pick()
	ps, _, err := w.e.Next(gateway.TransmissionQuery{Client: c, Max: 8, MaxBytes: 1 << 20}, nil)
	for _, p := range ps {
		state := gateway.Acked
		if w.rng.IntN(8) == 0 {
			state = gateway.Rejected
		}
		o := gateway.Outcome{Message: p.Message, Client: c, Seq: p.Seq, State: state, At: time.Now(), Attempts: 1, SentAt: time.Now()}
		if err := w.e.Settle(o, w.rng.IntN(2) == 0); err != nil {
			return err
		}
	}
	return err
}

func (w *worker) accept(ctx context.Context, to gateway.Audience) error {
	p := w.payload()
	a := gateway.Acceptance{ID: nextLoadID(), To: to, Payload: bytes.Clone(p), CreatedAt: time.Now(),
		ExpiresAt: time.Now().Add(time.Hour), QueueUnknown: to.Client != ""}
	if w.rng.IntN(3) == 0 {
		a.IdempotencyKey, a.Scope = string(a.ID), "load"
	}
	r, err := w.e.Accept(ctx, a)
	if err != nil {
		if gateway.CodeOf(err) == gateway.CodeQueueFull {
			return nil
		}
		return err
	}
	w.l.mu.Lock()
	w.l.accepted[a.ID] = told{r.Message.Seq, to.Client, p, r.Message.Counts.Total}
	w.l.mu.Unlock()
	return nil
}

// load runs workers until stop is closed, and returns a function that waits for
// them. They keep still while gate is locked. A failing call does not end a worker: that is the outside's life.
func load(e *Engine, l *ledger, workers int, timeout time.Duration, stop <-chan struct{}, gate *sync.RWMutex) (wait func()) {
	var wg sync.WaitGroup
	for i := range workers {
		w := &worker{e: e, l: l, rng: rand.New(rand.NewPCG(uint64(i), rand.Uint64())), id: uint64(i), timeout: timeout}
		for c := range 5 {
			w.clients = append(w.clients, gateway.ClientID(fmt.Sprintf("client-%d-%d", i, c)))
		}
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					gate.RLock()
					_ = w.step()
					gate.RUnlock()
					pause()
				}
			}
		})
	}
	return wg.Wait
}

// losses returns what the ledger says and the store does not.
func (l *ledger) losses(t *testing.T, e *Engine) (lost []string) {
	t.Helper()
	lost, _ = l.compare(e, func(error) bool { return false })
	return lost
}

// compare is losses that excuses some errors, and counts them.
func (l *ledger) compare(e *Engine, excuse func(error) bool) (lost []string, excused int) {
	missing := func(format string, args ...any) { lost = append(lost, fmt.Sprintf(format, args...)) }
	for id, want := range l.accepted {
		got, err := e.Message(id)
		if excuse(err) {
			excused++
			continue
		}
		if err != nil {
			missing("message %s: %v", id, err)
			continue
		}
		if got.Seq != want.seq || got.Client != want.client || got.Counts.Total != want.total || !bytes.Equal(got.Payload, want.payload) {
			missing("message %s reads differently: seq %d, want %d", id, got.Seq, want.seq)
		}
	}
	for d, want := range l.finals {
		got, err := e.Delivery(d.message, d.client)
		if excuse(err) {
			excused++
		} else if err != nil {
			missing("delivery %v: %v", d, err)
		} else if got.State != want {
			missing("delivery %v is %v, was told as %v", d, got.State, want)
		}
	}
	for seq, c := range l.uplinks {
		p, err := e.Uplinks(c, seq-1, 1)
		if excuse(err) {
			excused++
		} else if err != nil || len(p.Items) == 0 || p.Items[0].Seq != seq {
			missing("uplink %d of %s: %v", seq, c, err)
		}
	}
	return lost, excused
}

// verifyView checks the engine's rows against each other.
func verifyView(t *testing.T, e *Engine) {
	t.Helper()
	var r Report
	if err := e.read(func(v *view) error { v.Check(&r.Findings); return nil }); err != nil {
		t.Fatal(err)
	}
	for _, p := range r.Problems {
		t.Error(p)
	}
}

// verifyOrder checks that each client gets what is queued by rising sequence.
func verifyOrder(t *testing.T, e *Engine) {
	t.Helper()
	p, err := e.Clients(gateway.ClientQuery{QueuedGT: 0, Limit: 1000})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range p.Items {
		ps, _, err := e.Next(gateway.TransmissionQuery{Client: c.ID, Max: 1 << 20, MaxBytes: 1 << 40}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if len(ps) != c.Queued {
			t.Errorf("%s has %d queued, Next gives %d", c.ID, c.Queued, len(ps))
		}
		for i := 1; i < len(ps); i++ {
			if ps[i].Seq <= ps[i-1].Seq {
				t.Errorf("%s gets %d after %d", c.ID, ps[i].Seq, ps[i-1].Seq)
			}
		}
	}
}
