package webhook

import (
	"cmp"
	"container/list"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"sync"
	"time"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/feed"
)

// Config configures a Manager.
type Config struct {
	Gateway *gateway.Gateway
	Lookup  *feed.Lookup
	// Encode returns the body for an event and its id, without the bytes that devices have
	// sent unless payloads is true.
	Encode func(ev *gateway.Event, payloads bool) (body []byte, id string, err error)
	// AllowNetworks are networks that webhooks may go to although they are not public;
	// AllowLoopback reports whether they may go to this machine, nil for never. They
	// never go to the gateway's Own listeners.
	AllowNetworks []netip.Prefix
	AllowLoopback func() bool
	Own           []netip.AddrPort
	Most          int // webhooks; 0 = MaxWebhooks
	Requests      int // under way at once, see Manager.mayRequestLocked; 0 = MaxRequests
	Now           func() time.Time
	Logger        *slog.Logger

	transport http.RoundTripper // of tests; nil = the network
	resolver  *net.Resolver     // of tests; nil = the system's
}

// Manager runs all webhooks.
type Manager struct {
	cfg Config

	changes sync.Mutex // held by a change from its read to its write; before mu

	mu        sync.Mutex // guards all below, and the endpoints
	endpoints map[string]*endpoint
	index     *index          // nil after a change
	position  uint64          // the dispatcher has passed on events up to it
	saved     uint64          // as it is stored
	orphans   []gateway.Entry // remove the entries of deleted webhooks
	closed    bool

	delivered, failed, deadLetters uint64 // since the start

	underWay int            // requests for events
	byOwner  map[string]int // those of limited webhooks, by apikey.Limit.Owner

	kick     chan struct{} // cap 1: an endpoint has begun
	slots    chan struct{} // taken by readers of one endpoint while they read
	requests sync.WaitGroup
	readers  sync.WaitGroup
	stop     context.CancelFunc
	ctx      context.Context
}

// Errors of calls.
var (
	ErrNotFound = errors.New("no such webhook")
	ErrTooMany  = errors.New("there are as many webhooks as the gateway keeps, or as it keeps for one limit")
)

const (
	// catchUpReaders bounds the endpoints that read the log at once, to catch up or for parked
	// clients; so does half of the processors.
	catchUpReaders = 8
	saveEvery      = time.Second
)

// New returns a manager of the webhooks in the store. Start starts it.
func New(cfg Config) (*Manager, error) {
	cfg.Most, cfg.Requests = cmp.Or(cfg.Most, MaxWebhooks), cmp.Or(cfg.Requests, MaxRequests)
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	m := &Manager{cfg: cfg, endpoints: map[string]*endpoint{}, byOwner: map[string]int{},
		slots: make(chan struct{}, max(1, min(catchUpReaders, runtime.GOMAXPROCS(0)/2))),
		kick:  make(chan struct{}, 1)}
	m.ctx, m.stop = context.WithCancel(context.Background())
	if err := m.load(); err != nil {
		return nil, err
	}
	if last := cfg.Gateway.LastEvent(); m.position == 0 || m.position > last {
		m.position = last
	}
	return m, nil
}

// None returns a manager that has no webhooks and takes none.
func None() *Manager { return &Manager{cfg: Config{Most: -1}} }

// On reports whether the manager takes webhooks: it is not None.
func (m *Manager) On() bool { return m.cfg.Most >= 0 }

// Start passes on events until Close.
func (m *Manager) Start() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, e := range m.endpoints {
		m.beginLocked(e)
	}
	m.readers.Go(m.dispatch)
	m.readers.Go(m.saver)
}

// Close ends all requests, and writes how far the endpoints have come.
func (m *Manager) Close() error {
	m.mu.Lock()
	m.closed = true
	m.mu.Unlock()
	m.stop()
	m.readers.Wait()
	m.requests.Wait()
	m.mu.Lock()
	for _, e := range m.endpoints {
		e.setAsideLocked()
	}
	m.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return m.saveAll(ctx)
}

func (m *Manager) saver() {
	tick := time.NewTicker(saveEvery)
	defer tick.Stop()
	for {
		select {
		case <-m.ctx.Done():
			return
		case <-tick.C:
		}
		if err := m.saveAll(m.ctx); err != nil && m.ctx.Err() == nil {
			m.cfg.Logger.Warn("the state of webhooks cannot be written", "cause", err)
		}
	}
}

// dispatch reads the log once for all endpoints.
func (m *Manager) dispatch() {
	var sub *gateway.Subscription
	buf := make([]gateway.Event, 0, scanEvents)
	for {
		if !m.followed() {
			sub = nil
			select {
			case <-m.ctx.Done():
				return
			case <-m.kick:
			}
			continue
		}
		var events []gateway.Event
		var err error
		if sub == nil {
			if sub, _, err = m.cfg.Gateway.Subscribe(m.position); err == nil {
				m.skip(sub.Position())
			}
		}
		if err == nil {
			events, err = sub.Next(m.ctx, buf)
		}
		switch {
		case m.ctx.Err() != nil || errors.Is(err, gateway.ErrClosed):
			return
		case errors.Is(err, gateway.ErrOverflow):
			m.skip(sub.Position())
			continue
		case err != nil:
			m.cfg.Logger.Warn("webhooks cannot read the log", "cause", err)
			if sleep(m.ctx, time.Second) != nil {
				return
			}
			sub = nil
			continue
		}
		m.pass(events, sub.Position())
		clear(events) // frees payloads
	}
}

// followed reports whether some endpoint is active. If none is, the position goes to the
// end of the log: no endpoint wants the events that are skipped.
func (m *Manager) followed() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.indexLocked().runs) > 0 {
		return true
	}
	m.position = m.cfg.Gateway.LastEvent()
	return false
}

// skip moves the position over events that the log has forgotten. The endpoints that
// follow it have missed them; one that is behind, or is paused and continues at its
// cursor, notices it itself.
func (m *Manager) skip(position uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if position <= m.position {
		return
	}
	m.cfg.Logger.Warn("events were forgotten before webhooks had them", "position", position, "numbers", position-m.position)
	for _, e := range m.endpoints {
		if e.hook.Condition() == Active && !e.behind && position > e.positionLocked() {
			e.missedLocked(e.positionLocked(), position)
		}
	}
	m.position = position
}

// pass gives events to the endpoints that want them.
func (m *Manager) pass(events []gateway.Event, position uint64) {
	m.mu.Lock()
	x := m.indexLocked()
	m.mu.Unlock()
	type delivery struct {
		t      *target
		ev     *gateway.Event
		judged bool // by the filter
	}
	var list []delivery
	for i := range events {
		ev := &events[i]
		x.each(ev, func(t *target) {
			ok, err := t.filter.Wants(ev)
			if err != nil {
				m.cfg.Logger.Warn("a webhook's filter cannot be asked", "event", ev.Seq, "cause", err)
			}
			if ok || err != nil {
				list = append(list, delivery{t, ev, err == nil})
			}
		})
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	// A webhook that was changed since the index was made takes up at its own position.
	if m.index != x {
		for _, e := range m.endpoints {
			if !e.behind && !x.has(e) {
				e.behind, e.at = true, e.positionLocked()
				m.readLocked(e)
			}
		}
	}
	var touched, behind []*endpoint
	for _, d := range list {
		e := d.t.e
		if e.behind || e.run != d.t.run || d.ev.Seq <= e.at {
			continue
		}
		if !d.judged || e.order.Len() >= maxTaken && !e.spillLocked() { // it reads the event again
			e.behind, e.at = true, d.ev.Seq-1
			behind = append(behind, e)
			continue
		}
		e.takeLocked(d.ev)
		if n := len(touched); n == 0 || touched[n-1] != e {
			touched = append(touched, e)
		}
	}
	m.position = position
	for _, e := range touched {
		e.pumpLocked()
	}
	for _, e := range behind {
		m.readLocked(e)
	}
}

// indexLocked returns the index of the endpoints that follow the dispatcher.
func (m *Manager) indexLocked() *index {
	if m.index == nil {
		m.index = newIndex(m.endpoints, m.cfg.Lookup)
	}
	return m.index
}

// beginLocked starts a run of an endpoint, which reads on behind its position.
func (m *Manager) beginLocked(e *endpoint) {
	e.run++
	e.ctx, e.cancel = context.WithCancel(m.ctx)
	e.behind, e.reading, e.scanning = true, false, false
	m.index = nil
	m.readLocked(e)
	e.pumpLocked()
	select {
	case m.kick <- struct{}{}:
	default:
	}
}

// endLocked ends the run: the next one sends the events again that are not answered.
func (e *endpoint) endLocked() {
	e.setAsideLocked()
	e.at = e.markLocked()
	e.behind = true
	e.run++
	if e.cancel != nil {
		e.cancel()
	}
	if e.timer != nil {
		e.timer.Stop()
	}
	for _, p := range e.parked {
		p.live, p.scanned, p.read = false, false, 0
	}
	e.wakeAt, e.scanAt, e.order, e.lanes, e.ready, e.inflight = time.Time{}, time.Time{}, list.List{}, map[string]*lane{}, nil, 0
	e.reread, e.scanned, e.reserved = 0, 0, 0
	e.reading, e.scanning = false, false
	e.roomLocked()
	e.m.index = nil
}

// readLocked has an endpoint that is behind read the log itself.
func (m *Manager) readLocked(e *endpoint) {
	if !e.behind || e.reading || e.hook.Condition() != Active || m.closed {
		return
	}
	e.reading = true
	run, ctx, filter := e.run, e.ctx, e.filter
	m.readers.Go(func() {
		err := e.catchUp(ctx, filter, run)
		if err == nil || ctx.Err() != nil || errors.Is(err, gateway.ErrClosed) {
			return
		}
		m.cfg.Logger.Warn("a webhook cannot read the log", "webhook", e.hook.ID, "cause", err)
		if sleep(ctx, time.Second) != nil {
			return
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		if e.run == run {
			e.reading = false
			m.readLocked(e)
		}
	})
}
