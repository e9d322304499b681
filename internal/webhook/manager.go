package webhook

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/apikey"
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
	Now           func() time.Time
	Logger        *slog.Logger

	transport http.RoundTripper // of tests; nil = the network
}

// Manager runs all webhooks.
type Manager struct {
	cfg Config

	changes sync.Mutex // held by a change from its read to its write; before mu

	mu        sync.Mutex // guards all below, and the endpoints
	endpoints map[string]*endpoint
	index     *index // nil after a change
	position  uint64 // the dispatcher has passed on events up to it
	saved     uint64 // as it is stored
	closed    bool

	delivered, failed, deadLetters uint64 // since the start

	kick     chan struct{} // cap 1: an endpoint has begun
	slots    chan struct{} // taken by catch-up readers while they read
	requests sync.WaitGroup
	readers  sync.WaitGroup
	stop     context.CancelFunc
	ctx      context.Context
}

// Errors of calls.
var (
	ErrNotFound = errors.New("no such webhook")
	ErrTooMany  = errors.New("there are as many webhooks as the gateway keeps")
)

const (
	catchUpReaders = 8
	saveEvery      = time.Second
)

// New returns a manager of the webhooks in the store. Start starts it.
func New(cfg Config) (*Manager, error) {
	cfg.Most = cmp.Or(cfg.Most, MaxWebhooks)
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	m := &Manager{cfg: cfg, endpoints: map[string]*endpoint{}, slots: make(chan struct{}, catchUpReaders),
		kick: make(chan struct{}, 1), position: cfg.Gateway.LastEvent()}
	m.ctx, m.stop = context.WithCancel(context.Background())
	if err := m.load(); err != nil {
		return nil, err
	}
	m.position = min(m.position, cfg.Gateway.LastEvent())
	return m, nil
}

// None returns a manager that has no webhooks and takes none.
func None() *Manager { return &Manager{cfg: Config{Most: -1}} }

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
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return m.save(ctx)
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
		if err := m.save(m.ctx); err != nil && m.ctx.Err() == nil {
			m.cfg.Logger.Warn("the positions of webhooks cannot be written", "cause", err)
		}
	}
}

// dispatch reads the log once for all endpoints.
func (m *Manager) dispatch() {
	var sub *gateway.Subscription
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
			sub, _, err = m.cfg.Gateway.Subscribe(m.position)
		}
		if err == nil {
			events, err = sub.Next(m.ctx, make([]gateway.Event, 0, scanEvents))
		}
		switch {
		case m.ctx.Err() != nil || errors.Is(err, gateway.ErrClosed):
			return
		case errors.Is(err, gateway.ErrOverflow):
			m.cfg.Logger.Warn("events were forgotten before webhooks had them", "position", sub.Position())
		case err != nil:
			m.cfg.Logger.Warn("webhooks cannot read the log", "cause", err)
			select {
			case <-m.ctx.Done():
				return
			case <-time.After(time.Second):
			}
			sub = nil
			continue
		}
		m.pass(events, sub.Position())
	}
}

// followed reports whether some endpoint is active. If none is, the position goes to the
// end of the log: no endpoint wants the events that are skipped.
func (m *Manager) followed() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, e := range m.endpoints {
		if e.hook.Condition() == Active {
			return true
		}
	}
	m.position = m.cfg.Gateway.LastEvent()
	return false
}

// pass gives events to the endpoints that want them.
func (m *Manager) pass(events []gateway.Event, position uint64) {
	x := m.currentIndex()
	type delivery struct {
		t  *target
		ev *gateway.Event
	}
	var list []delivery
	for i := range events {
		ev := &events[i]
		x.each(ev, func(t *target) {
			ok, err := t.filter.Wants(ev)
			if err != nil {
				m.cfg.Logger.Warn("a webhook's filter cannot be asked; the event is sent", "event", ev.Seq, "cause", err)
			}
			if ok || err != nil {
				list = append(list, delivery{t, ev})
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
	var touched []*endpoint
	for _, d := range list {
		e := d.t.e
		if e.behind || e.run != d.t.run || d.ev.Seq <= e.at {
			continue
		}
		if e.waiting >= maxWaiting {
			e.behind, e.at, e.changed = true, d.ev.Seq-1, true
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
	for _, e := range m.endpoints {
		if e.behind {
			m.readLocked(e)
		}
	}
}

// currentIndex returns the index of the endpoints that follow the dispatcher.
func (m *Manager) currentIndex() *index {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.index == nil {
		m.index = newIndex(m.endpoints)
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
		p.live, p.scanned = false, false
	}
	e.wakeAt, e.order, e.lanes, e.ready, e.inflight, e.waiting = time.Time{}, nil, map[string]*lane{}, nil, 0, 0
	e.reading, e.scanning, e.changed = false, false, true
	if e.room != nil {
		close(e.room)
		e.room = nil
	}
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
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Second):
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		if e.run == run {
			e.reading = false
			m.readLocked(e)
		}
	})
}

func (m *Manager) newEndpoint(w Webhook) (*endpoint, error) {
	filter, err := feed.Compile(w.Filter, w.Limit, m.cfg.Lookup)
	if err != nil {
		return nil, &FieldError{"types", err.Error()}
	}
	return &endpoint{m: m, hook: w, filter: filter, behind: true, http: m.newHTTP(), lanes: map[string]*lane{}, parked: map[string]*parking{},
		touched: map[string]bool{}}, nil
}

// Create adds a webhook that begins behind the event numbered after. limit and payloads
// are what its caller may see. It returns the webhook with its secret, a *FieldError,
// ErrTooMany or an error of the store.
func (m *Manager) Create(ctx context.Context, s Spec, limit apikey.Limit, payloads bool, after uint64) (Webhook, error) {
	if err := s.complete(); err != nil {
		return Webhook{}, err
	}
	m.mu.Lock()
	full := len(m.endpoints) >= m.cfg.Most
	m.mu.Unlock()
	if full {
		return Webhook{}, ErrTooMany
	}
	w := Webhook{Spec: s, ID: "wh_" + uuid.Must(uuid.NewV7()).String(), Limit: limit, Payloads: payloads,
		CreatedAt: m.cfg.Now().UTC().Truncate(time.Millisecond), Secret: newSecret()}
	e, err := m.newEndpoint(w)
	if err != nil {
		return Webhook{}, err
	}
	e.at, e.stored = after, cursor{Mark: after}
	if err := m.cfg.Gateway.Put(ctx, []gateway.Entry{entry(keyHook+w.ID, w), entry(keyCursor+w.ID, e.stored)}); err != nil {
		return Webhook{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.endpoints[w.ID] = e
	m.beginLocked(e)
	return w, nil
}

// find returns an endpoint that a caller with a limit may see.
func (m *Manager) findLocked(id string, limit apikey.Limit) (*endpoint, error) {
	e := m.endpoints[id]
	if e == nil || !limit.None() && e.hook.Limit != limit {
		return nil, ErrNotFound
	}
	return e, nil
}

// Update changes a webhook by fn, which may return a *FieldError. A disabled one whose
// state fn sets to Active continues at its cursor.
func (m *Manager) Update(ctx context.Context, id string, limit apikey.Limit, fn func(s *Spec) error) (Status, error) {
	m.changes.Lock()
	defer m.changes.Unlock()
	m.mu.Lock()
	e, err := m.findLocked(id, limit)
	if err != nil {
		m.mu.Unlock()
		return Status{}, err
	}
	w := e.hook
	m.mu.Unlock()
	w.Headers = cloneMap(w.Headers)
	was := w.State
	w.State = w.Condition()
	if err := fn(&w.Spec); err != nil {
		return Status{}, err
	}
	if w.State == Disabled {
		w.State = was
	} else {
		w.Disabled, w.Reason = false, ""
	}
	return m.replace(ctx, e, w)
}

// Rotate gives a webhook a new secret; the old one signs too for a day.
func (m *Manager) Rotate(ctx context.Context, id string, limit apikey.Limit) (Webhook, error) {
	m.changes.Lock()
	defer m.changes.Unlock()
	m.mu.Lock()
	e, err := m.findLocked(id, limit)
	if err != nil {
		m.mu.Unlock()
		return Webhook{}, err
	}
	w := e.hook
	m.mu.Unlock()
	w.OldSecret, w.OldUntil, w.Secret = w.Secret, m.cfg.Now().Add(oldSecretFor), newSecret()
	_, err = m.replace(ctx, e, w)
	return w, err
}

// replace stores a changed webhook and begins a new run.
func (m *Manager) replace(ctx context.Context, e *endpoint, w Webhook) (Status, error) {
	if err := w.complete(); err != nil {
		return Status{}, err
	}
	filter, err := feed.Compile(w.Filter, w.Limit, m.cfg.Lookup)
	if err != nil {
		return Status{}, &FieldError{"types", err.Error()}
	}
	if err := m.cfg.Gateway.Put(ctx, []gateway.Entry{entry(keyHook+w.ID, w)}); err != nil {
		return Status{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.endpoints[w.ID] != e {
		return Status{}, ErrNotFound
	}
	e.endLocked()
	e.hook, e.filter = w, filter
	e.health = health{LastSuccess: e.health.LastSuccess, missed: e.health.missed}
	m.beginLocked(e)
	return e.statusLocked(), nil
}

// disableLocked disables a webhook; nothing is lost while the log keeps its events.
func (m *Manager) disableLocked(e *endpoint, reason Reason, detail string) {
	e.endLocked()
	e.hook.Disabled, e.hook.Reason = true, reason
	w := e.hook
	m.cfg.Logger.Warn("a webhook is disabled", "webhook", w.ID, "reason", detail)
	m.readers.Go(func() {
		for wait := time.Second; ; wait = min(2*wait, time.Minute) {
			err := m.cfg.Gateway.Put(m.ctx, []gateway.Entry{entry(keyHook+w.ID, w)})
			if err == nil {
				err = m.cfg.Gateway.Note(m.ctx, gateway.Event{Type: gateway.EventWebhookDisabled, At: m.cfg.Now(), Reason: string(reason),
					Detail: w.ID + ": " + detail})
			}
			if err == nil || m.ctx.Err() != nil {
				return
			}
			select {
			case <-m.ctx.Done():
				return
			case <-time.After(wait):
			}
		}
	})
}

// Delete removes a webhook with its dead letters. After an error of the store it is still
// there, and can be deleted again.
func (m *Manager) Delete(ctx context.Context, id string, limit apikey.Limit) error {
	m.changes.Lock()
	defer m.changes.Unlock()
	m.mu.Lock()
	e, err := m.findLocked(id, limit)
	if err == nil {
		e.endLocked()
		delete(m.endpoints, id)
	}
	m.mu.Unlock()
	if err != nil {
		return err
	}
	if err := m.erase(ctx, id); err != nil {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.endpoints[id] = e
		m.beginLocked(e)
		return err
	}
	e.http.CloseIdleConnections()
	return nil
}

// erase removes the entries of a webhook, first those that make it.
func (m *Manager) erase(ctx context.Context, id string) error {
	gone := []gateway.Entry{{Key: keyHook + id}, {Key: keyCursor + id}}
	for _, prefix := range []string{keyParked + id + " ", keyDead + id + " "} {
		err := eachEntry(m.cfg.Gateway, prefix, func(rest string, _ []byte) error {
			gone = append(gone, gateway.Entry{Key: prefix + rest})
			return nil
		})
		if err != nil {
			return err
		}
	}
	for part := range slices.Chunk(gone, entriesOfARecord) {
		if err := m.cfg.Gateway.Put(ctx, part); err != nil {
			return err
		}
	}
	return nil
}

// Status is a webhook with how it does.
type Status struct {
	Webhook
	Cursor      uint64 // everything up to it is done, but for parked clients
	Lag         uint64 // numbers between the cursor and the end of the log, at most so many events
	Oldest      time.Time
	Waiting     int // events in memory
	Parked      int // clients
	Down        bool
	LastSuccess time.Time
	LastError   string
	Missed      uint64 // numbers that the log has forgotten before they were read
}

func (e *endpoint) statusLocked() Status {
	s := Status{Webhook: e.hook, Cursor: e.markLocked(), Waiting: e.waiting, Parked: len(e.parked), Down: e.health.down,
		LastSuccess: e.health.LastSuccess, Missed: e.health.missed}
	if last := e.m.cfg.Gateway.LastEvent(); last > s.Cursor {
		s.Lag = last - s.Cursor
	}
	if len(e.order) > 0 {
		s.Oldest = e.order[0].event.At
	}
	if list := e.attempts.list(); len(list) > 0 && !e.health.failing.IsZero() {
		for _, a := range list {
			if a.Error != "" {
				s.LastError = a.Error
				break
			}
		}
	}
	return s
}

// Stats are counts of all webhooks.
type Stats struct {
	States      map[string]int // by state
	Down        int
	Parked      int
	Waiting     int
	Lag         uint64
	Delivered   uint64
	Failed      uint64
	DeadLetters uint64
}

// Stats returns counts of all webhooks.
func (m *Manager) Stats() Stats {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := Stats{States: map[string]int{string(Active): 0, string(Paused): 0, string(Disabled): 0},
		Delivered: m.delivered, Failed: m.failed, DeadLetters: m.deadLetters}
	last := m.cfg.Gateway.LastEvent()
	for _, e := range m.endpoints {
		s.States[string(e.hook.Condition())]++
		s.Parked += len(e.parked)
		s.Waiting += e.waiting
		if e.hook.Condition() != Active {
			continue
		}
		if e.health.down {
			s.Down++
		}
		if mark := e.markLocked(); last > mark {
			s.Lag = max(s.Lag, last-mark)
		}
	}
	return s
}

// Get returns a webhook.
func (m *Manager) Get(id string, limit apikey.Limit) (Status, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e, err := m.findLocked(id, limit)
	if err != nil {
		return Status{}, err
	}
	return e.statusLocked(), nil
}

// List returns the webhooks of a caller, oldest first.
func (m *Manager) List(limit apikey.Limit) (all []Status) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, e := range m.endpoints {
		if limit.None() || e.hook.Limit == limit {
			all = append(all, e.statusLocked())
		}
	}
	slices.SortFunc(all, func(a, b Status) int { return strings.Compare(a.ID, b.ID) })
	return all
}

// Attempts returns the last requests of this process, newest first.
func (m *Manager) Attempts(id string, limit apikey.Limit) ([]Attempt, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e, err := m.findLocked(id, limit)
	if err != nil {
		return nil, err
	}
	return e.attempts.list(), nil
}

// Test sends a sample to the endpoint now and returns the answer.
func (m *Manager) Test(ctx context.Context, id string, limit apikey.Limit) (Attempt, error) {
	m.mu.Lock()
	e, err := m.findLocked(id, limit)
	if err != nil {
		m.mu.Unlock()
		return Attempt{}, err
	}
	w, client := e.hook, e.http
	m.mu.Unlock()
	now := m.cfg.Now()
	ev := gateway.Event{Type: gateway.EventMessageReceived, At: now, Client: "test",
		Uplink: &gateway.Uplink{Client: "test", At: now, Payload: []byte("a test of the webhook")}}
	body, id, err := m.cfg.Encode(&ev, true)
	if err != nil {
		return Attempt{}, err
	}
	a, _, _ := m.post(ctx, client, &w, id, body, false)
	a.Type, a.Client, a.Try = ev.Type, ev.Client, 1
	return a.Attempt, nil
}

func cloneMap(m map[string]string) map[string]string {
	if m == nil {
		return nil
	}
	out := make(map[string]string, len(m))
	for k, v := range m {
		out[k] = v
	}
	return out
}
