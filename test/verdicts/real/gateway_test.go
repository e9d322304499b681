package real

import (
	"context"
	"encoding/binary"
	"fmt"
	"sync"
	"time"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine"
)

// process is the gateway's process: its engine, and the timers that it has set.
type process struct {
	w     *world
	disk  *disk
	e     *engine.Engine
	gw    *gateway.Gateway
	store *store
	end   context.CancelFunc
	ctx   context.Context
	ids   uint64

	mu     sync.Mutex
	timers []timer
	told   []gateway.Delivery // final states that the store has told of
	calls  sync.WaitGroup
}

// timer is what the gateway has passed to Config.After.
type timer struct {
	d time.Duration
	f func()
}

// settlePause is the kind of the timer that looks for durable verdicts.
const settlePause = 1

// kind is the timer's name in moves: jittered timers are all alike.
func (t timer) kind() uint8 {
	switch d := t.d; {
	case d < time.Second:
		return settlePause
	case d == time.Second:
		return 2 // finalPause, or a retry delay
	case d == 2*time.Second:
		return 3
	case d == 4*time.Second:
		return 4
	}
	return 5
}

func engineOptions(d *disk, now func() time.Time) engine.Options {
	return engine.Options{FS: d, Dir: "data", SweepEvery: -1, MinFreeBytes: -1, MemTableBytes: 64 << 10, CacheBytes: 64 << 10, Now: now}
}

func (w *world) start(d *disk) {
	p := &process{w: w, disk: d}
	p.ctx, p.end = context.WithCancel(context.Background())
	e, err := engine.Open(engineOptions(d, w.now))
	if err != nil {
		panic(fmt.Sprintf("the store cannot be opened: %v", err))
	}
	p.e = e
	p.store = &store{Store: e, p: p}
	p.gw = gateway.New(gateway.Config{Store: p.store, NewID: p.newID, MaxAttempts: w.cfg.attempts, Workers: 1,
		EventBuffer: 64, EventBufferBytes: 4 << 10,
		After: func(d time.Duration, f func()) {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.timers = append(p.timers, timer{d, f})
		}})
	p.gw.Start()
	d.set(func() { d.slow = w.cfg.slow })
	w.p = p
}

func (p *process) newID() (id [16]byte) {
	p.ids++
	binary.BigEndian.PutUint64(id[8:], 1<<63|p.ids)
	id[6] = 0x70
	return id
}

// stop ends the process. Nothing that it still does reaches the disk or a wire.
func (p *process) stop() {
	p.disk.set(func() { p.disk.dead = true })
	for _, c := range p.w.conns {
		if c != nil {
			c.kill()
		}
	}
	p.end()
	p.disk.release()
	p.gw.Stop()
	// A write that fails seals the database, and Close has nothing to flush.
	_, _, _ = p.e.Register(context.Background(), gateway.Registration{Client: client})
	_ = p.e.Close()
	p.calls.Wait()
}

// count returns how many timers of a kind are set.
func (p *process) count(kind uint8) (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, t := range p.timers {
		if t.kind() == kind {
			n++
		}
	}
	return n
}

// fire runs the first timer of a kind.
func (p *process) fire(kind uint8) {
	p.mu.Lock()
	var f func()
	for i, t := range p.timers {
		if t.kind() == kind {
			f = t.f
			p.timers = append(p.timers[:i:i], p.timers[i+1:]...)
			break
		}
	}
	p.mu.Unlock()
	f()
}

// call runs a call that waits for the store.
func (p *process) call(f func(ctx context.Context)) { p.calls.Go(func() { f(p.ctx) }) }

// store stands between gateway and engine. It moves the gateway's clock against
// the engine's, so that a clock can step, and notes what is on its way to the disk.
type store struct {
	gateway.Store
	p *process

	mu      sync.Mutex
	ops     []string // all that was given to the engine, in order
	durable int      // how many of them are, or are lost
	base    int      // committed() when that many were
	refuse  bool     // the next registration is beyond a bound
}

// note notes an event that is being given to the engine.
func (s *store) note(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ops = append(s.ops, fmt.Sprintf(format, args...))
}

func (s *store) Settle(o gateway.Outcome, urgent bool) error {
	err := s.Store.Settle(o, urgent)
	if err == nil {
		s.note("settle %d %s %s %q", o.Seq, o.State, o.Reason, o.Result)
	}
	return err
}

func (s *store) TrySettle(o gateway.Outcome, urgent bool) bool {
	took := s.Store.TrySettle(o, urgent)
	if took {
		s.note("settle %d %s %s %q", o.Seq, o.State, o.Reason, o.Result)
	}
	return took
}

func (s *store) ProposeExpiry(id gateway.MessageID, at time.Time) error {
	err := s.Store.ProposeExpiry(id, at.Add(s.p.w.offset))
	if err == nil {
		s.note("expire %s %v", id, s.p.w.offset)
	}
	return err
}

func (s *store) Cancel(ctx context.Context, id gateway.MessageID, at time.Time) (gateway.Message, error) {
	s.note("cancel %s", id)
	return s.Store.Cancel(ctx, id, at)
}

func (s *store) Accept(ctx context.Context, a gateway.Acceptance) (gateway.Receipt, error) {
	s.note("accept %s", a.Payload)
	a.CreatedAt, a.ExpiresAt = a.CreatedAt.Add(s.p.w.offset), a.ExpiresAt.Add(s.p.w.offset)
	return s.Store.Accept(ctx, a)
}

func (s *store) Register(ctx context.Context, r gateway.Registration) (gateway.ClientRecord, gateway.Seq, error) {
	s.note("register")
	s.mu.Lock()
	if s.refuse {
		s.refuse = false
		r.Groups = make([]string, gateway.MaxGroups+1)
		for i := range r.Groups {
			r.Groups[i] = fmt.Sprint("g", i)
		}
	}
	s.mu.Unlock()
	return s.Store.Register(ctx, r)
}

func (s *store) AppendUplink(ctx context.Context, u gateway.Uplink) (uint64, error) {
	s.note("uplink %s", u.Payload)
	return s.Store.AppendUplink(ctx, u)
}

func (s *store) Disconnected(d gateway.Disconnection) {
	s.note("disconnected")
	s.Store.Disconnected(d)
}

func (s *store) Next(q gateway.TransmissionQuery, buf []gateway.Transmission) ([]gateway.Transmission, gateway.Seq, error) {
	l, last, err := s.Store.Next(q, buf)
	for i := range l {
		l[i].ExpiresAt = l[i].ExpiresAt.Add(-s.p.w.offset)
	}
	return l, last, err
}

func (s *store) Transmission(client gateway.ClientID, seq gateway.Seq) (gateway.Transmission, bool, error) {
	p, ok, err := s.Store.Transmission(client, seq)
	p.ExpiresAt = p.ExpiresAt.Add(-s.p.w.offset)
	return p, ok, err
}

func (s *store) Observe(o gateway.Observer) { s.Store.Observe(&observer{o, s.p}) }

// observer notes what callers are told.
type observer struct {
	gateway.Observer
	p *process
}

func (o *observer) Changed(list []gateway.Change) {
	o.p.mu.Lock()
	for _, c := range list {
		switch c := c.(type) {
		case *gateway.Accepted:
			c.Transmission.ExpiresAt = c.Transmission.ExpiresAt.Add(-o.p.w.offset)
		case *gateway.Settlement:
			if c.Late {
				o.p.w.cover("late ack")
			} else {
				o.p.told = append(o.p.told, c.Delivery)
			}
		}
	}
	o.p.mu.Unlock()
	o.Observer.Changed(list)
}
