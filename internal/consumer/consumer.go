// Package consumer keeps the places of backends that pull events: each consumer has a
// filter and a durable cursor, and one puller at a time.
package consumer

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/apikey"
	"github.com/longwire/longwire/internal/feed"
)

// Bounds of consumers.
const (
	MaxConsumers = 10_000
	maxOfTenant  = 100 // of one limit
	maxName      = 64  // bytes
	MaxEvents    = 1000
	LeaseTime    = 30 * time.Second // of a puller, since its last call
	maxPassed    = 50_000           // events that one call passes over
	eventsRead   = 512              // at once, if the first ones are not selected
)

// Errors of calls.
var (
	ErrNotFound = errors.New("no such consumer")
	ErrTooMany  = errors.New("there are as many consumers as the gateway keeps, or as it keeps for one limit")
	ErrBadName  = fmt.Errorf("is not 1 to %d of A-Z a-z 0-9 . _ -", maxName)
	ErrNoLease  = errors.New("the lease is not the consumer's last one: pull again")
	ErrPosition = errors.New("through is not a cursor that the lease has got")
)

// HeldError means that another puller has the consumer.
type HeldError struct {
	By    string        // its address
	Until time.Duration // from now on
}

func (e *HeldError) Error() string {
	return fmt.Sprintf("%s pulls from the consumer, and has it for another %v unless it calls again", e.By, e.Until.Round(time.Second))
}

// Consumer is a consumer as the store has it.
type Consumer struct {
	Name      string       `json:"name"`
	Filter    feed.Filter  `json:"filter"`
	Limit     apikey.Limit `json:"limit"`
	Cursor    uint64       `json:"cursor"` // events up to it are acked
	CreatedAt time.Time    `json:"created_at"`
}

// Status is a consumer with its lag and its puller.
type Status struct {
	Consumer
	Lag    uint64 // at most so many events of the log lie behind the cursor
	Holder string // address of the puller, "" for none
}

// held is a consumer in memory.
type held struct {
	Consumer
	filter    *feed.Compiled
	changes   sync.Mutex // one write to the store at a time
	lease     string
	by        string
	until     time.Time
	pulls     int    // under way with the lease
	delivered uint64 // highest position that the lease has got
}

// Config has the parts of a Manager.
type Config struct {
	Gateway *gateway.Gateway
	Lookup  *feed.Lookup
	Now     func() time.Time // nil = time.Now
}

// Manager has all consumers.
type Manager struct {
	cfg       Config
	changes   sync.Mutex // held by Put and Delete; before held.changes, which is before mu
	mu        sync.Mutex
	consumers map[string]*held // by key
}

const keyPrefix = "consumer "

func keyOf(name string, limit apikey.Limit) string { return keyPrefix + limit.Owner() + " " + name }

// New returns the consumers of the store.
func New(cfg Config) (*Manager, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	m := &Manager{cfg: cfg, consumers: map[string]*held{}}
	err := cfg.Gateway.EachEntry(keyPrefix, func(name string, value []byte) (err error) {
		c := new(held)
		if err := json.Unmarshal(value, &c.Consumer); err != nil {
			return err
		}
		m.consumers[keyPrefix+name] = c
		c.filter, err = feed.Compile(c.Filter, c.Limit, cfg.Lookup)
		return err
	})
	if err != nil {
		return nil, err
	}
	return m, nil
}

// Put creates a consumer that begins behind the event numbered after, or gives an
// existing one another filter and, with move, this place; either ends its lease. It returns a
// feed.UnknownTypeError, ErrBadName, ErrTooMany or an error of the store.
func (m *Manager) Put(ctx context.Context, name string, f feed.Filter, limit apikey.Limit, after uint64, move bool) (s Status, created bool, err error) {
	if !validName(name) {
		return s, false, ErrBadName
	}
	filter, err := feed.Compile(f, limit, m.cfg.Lookup)
	if err != nil {
		return s, false, err
	}
	m.changes.Lock()
	defer m.changes.Unlock()
	key := keyOf(name, limit)
	m.mu.Lock()
	c := m.consumers[key]
	if created = c == nil; created {
		if len(m.consumers) >= MaxConsumers || !limit.None() && m.countLocked(limit) >= maxOfTenant {
			m.mu.Unlock()
			return s, false, ErrTooMany
		}
		c = &held{Consumer: Consumer{Name: name, Limit: limit, Cursor: after, CreatedAt: m.cfg.Now().UTC().Truncate(time.Millisecond)}}
	}
	m.mu.Unlock()
	c.changes.Lock()
	defer c.changes.Unlock()
	m.mu.Lock()
	next := c.Consumer
	m.mu.Unlock()
	next.Filter = f
	if move {
		next.Cursor = after
	}
	if err := m.store(ctx, key, &next); err != nil {
		return s, false, err
	}
	m.mu.Lock()
	if move || !f.Equal(&c.Filter) {
		c.lease = "" // its events are of the place before, or a pull under way passes over others
	}
	c.Consumer, c.filter = next, filter
	m.consumers[key] = c
	return m.unlockWithStatus(c), created, nil
}

func (m *Manager) countLocked(limit apikey.Limit) (n int) {
	for _, c := range m.consumers {
		if c.Limit == limit {
			n++
		}
	}
	return n
}

func (m *Manager) store(ctx context.Context, key string, c *Consumer) error {
	b, err := json.Marshal(c)
	if err != nil {
		panic(err) // plain types only
	}
	return m.cfg.Gateway.Put(ctx, []gateway.Entry{{Key: key, Value: b}})
}

func validName(name string) bool {
	return len(name) <= maxName && gateway.ClientID(name).Valid() && !strings.ContainsAny(name, ":@")
}

// statusLocked leaves out Lag, which may have to read the log.
func (m *Manager) statusLocked(c *held) Status {
	s := Status{Consumer: c.Consumer}
	if c.lease != "" && m.cfg.Now().Before(c.until) {
		s.Holder = c.by
	}
	return s
}

// Get returns a consumer of a caller.
func (m *Manager) Get(name string, limit apikey.Limit) (Status, error) {
	m.mu.Lock()
	c := m.consumers[keyOf(name, limit)]
	if c == nil {
		m.mu.Unlock()
		return Status{}, ErrNotFound
	}
	return m.unlockWithStatus(c), nil
}

// List returns the consumers of a caller, by name.
func (m *Manager) List(limit apikey.Limit) (all []Status) {
	all = m.statuses(func(c *held) bool { return c.Limit == limit })
	slices.SortFunc(all, func(a, b Status) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// All returns the consumers of all callers, in no order.
func (m *Manager) All() []Status { return m.statuses(func(*held) bool { return true }) }

// statuses returns the consumers that match, in no order.
func (m *Manager) statuses(match func(c *held) bool) (all []Status) {
	m.mu.Lock()
	for _, c := range m.consumers {
		if match(c) {
			all = append(all, m.statusLocked(c))
		}
	}
	m.mu.Unlock()
	for lag, i := m.cfg.Gateway.EventLags(), 0; i < len(all); i++ {
		all[i].Lag = lag(all[i].Cursor)
	}
	return all
}

// unlockWithStatus unlocks mu and returns the status, with its lag.
func (m *Manager) unlockWithStatus(c *held) Status {
	s := m.statusLocked(c)
	m.mu.Unlock()
	s.Lag = m.cfg.Gateway.EventsBehind(s.Cursor)
	return s
}

// Delete removes a consumer.
func (m *Manager) Delete(ctx context.Context, name string, limit apikey.Limit) error {
	m.changes.Lock()
	defer m.changes.Unlock()
	key := keyOf(name, limit)
	m.mu.Lock()
	c := m.consumers[key]
	m.mu.Unlock()
	if c == nil {
		return ErrNotFound
	}
	c.changes.Lock()
	defer c.changes.Unlock()
	if err := m.cfg.Gateway.Put(ctx, []gateway.Entry{{Key: key}}); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.consumers, key)
	return nil
}

// Batch is the answer to a pull.
type Batch struct {
	Events  []gateway.Event
	Through uint64 // the position behind them, to be acked
	Lease   string
	Gap     bool // events behind the cursor were removed before they were pulled
}

// Query asks for the next events of a consumer.
type Query struct {
	Lease string // of the call before, "" for the first one
	From  string // the caller's address
	Most  int    // events
	Wait  time.Duration
	// Turn waits until the caller may read so far behind the end of the log; nil for at once.
	Turn func(ctx context.Context, behind uint64) (release func(), err error)
}

// Pull returns the first events behind the cursor; it waits for one until q.Wait is over or ctx
// ends. It returns ErrNotFound, a *HeldError or an error of the store. A caller that does not
// learn its first lease calls Release.
func (m *Manager) Pull(ctx context.Context, name string, limit apikey.Limit, q Query) (b Batch, err error) {
	c, after, filter, granted, err := m.take(name, limit, &q)
	if err != nil {
		return b, err
	}
	b.Lease = granted
	defer func() { m.pulled(c, &b, &q, err) }()
	sub, gap, err := m.cfg.Gateway.Subscribe(after)
	if err != nil {
		return b, err
	}
	b.Gap = gap && after > 0
	waiting, cancel := context.WithTimeout(ctx, q.Wait)
	defer cancel()
	most := q.Most
	for passed := 0; len(b.Events) == 0 && passed < maxPassed; most = max(q.Most, eventsRead) {
		events, err := q.next(ctx, waiting, sub, make([]gateway.Event, 0, most))
		switch {
		case errors.Is(err, gateway.ErrOverflow):
			b.Gap = true
			continue
		case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
			b.Through = sub.Position()
			return b, nil // the wait is over
		case err != nil:
			return b, err
		}
		passed += len(events)
		for i := range events {
			wanted, err := filter.Wants(&events[i])
			if err != nil {
				return b, err
			}
			if !wanted {
				continue
			}
			if b.Events = append(b.Events, events[i]); len(b.Events) == q.Most {
				b.Through = events[i].Seq
				return b, nil
			}
		}
	}
	b.Through = sub.Position()
	return b, nil
}

// next reads the next events, and waits for one at the end of the log.
func (q *Query) next(ctx, waiting context.Context, sub *gateway.Subscription, buf []gateway.Event) ([]gateway.Event, error) {
	behind := sub.Behind()
	switch {
	case behind == 0 && q.Wait == 0:
		return buf, context.DeadlineExceeded
	case behind == 0:
		return sub.Next(waiting, buf)
	case q.Turn == nil:
		return sub.Read(ctx, buf)
	}
	release, err := q.Turn(ctx, behind)
	if err != nil {
		return buf, err
	}
	defer release()
	return sub.Read(ctx, buf)
}

// take gives the caller the lease of a consumer, at least for the time of its wait.
func (m *Manager) take(name string, limit apikey.Limit, q *Query) (c *held, after uint64, filter *feed.Compiled, granted string, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.cfg.Now()
	if c = m.consumers[keyOf(name, limit)]; c == nil {
		return nil, 0, nil, "", ErrNotFound
	}
	if c.lease != q.Lease || q.Lease == "" {
		if c.lease != "" && now.Before(c.until) {
			return nil, 0, nil, "", &HeldError{c.by, c.until.Sub(now)}
		}
		c.lease, c.delivered, c.pulls = rand.Text(), c.Cursor, 0
	}
	if until := now.Add(q.Wait + LeaseTime); c.pulls == 0 || until.After(c.until) {
		c.until = until
	}
	c.pulls++
	c.by = q.From
	return c, c.Cursor, c.filter, c.lease, nil
}

// pulled ends a pull that returns b and err.
func (m *Manager) pulled(c *held, b *Batch, q *Query, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if c.lease != b.Lease {
		return
	}
	c.pulls--
	switch {
	case err == nil:
		c.delivered = max(c.delivered, b.Through)
	case b.Lease != q.Lease: // the caller does not learn it
		c.lease = ""
	}
	c.renewLocked(m.cfg.Now())
}

// renewLocked counts the time of a lease from now on, unless a pull still waits.
func (c *held) renewLocked(now time.Time) {
	if c.pulls == 0 {
		c.until = now.Add(LeaseTime)
	}
}

// Release ends a lease, if it is still the consumer's.
func (m *Manager) Release(name string, limit apikey.Limit, lease string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if c := m.consumers[keyOf(name, limit)]; c != nil && c.lease == lease {
		c.lease = ""
	}
}

// Ack moves the cursor to a position that the lease has got, durably, and renews the
// lease or, with release, ends it. It returns ErrNotFound, ErrNoLease, ErrPosition or an
// error of the store.
func (m *Manager) Ack(ctx context.Context, name string, limit apikey.Limit, lease string, through uint64, release bool) (Status, error) {
	key := keyOf(name, limit)
	m.mu.Lock()
	c := m.consumers[key]
	m.mu.Unlock()
	if c == nil {
		return Status{}, ErrNotFound
	}
	c.changes.Lock()
	defer c.changes.Unlock()
	m.mu.Lock()
	next := c.Consumer
	now := m.cfg.Now()
	switch {
	case m.consumers[key] != c: // another call has deleted it
		m.mu.Unlock()
		return Status{}, ErrNotFound
	case c.lease == "" || c.lease != lease:
		m.mu.Unlock()
		return Status{}, ErrNoLease
	case through > c.delivered:
		m.mu.Unlock()
		return Status{}, ErrPosition
	}
	c.renewLocked(now)
	m.mu.Unlock()
	if through > next.Cursor {
		next.Cursor = through
		if err := m.store(ctx, key, &next); err != nil {
			return Status{}, err
		}
	}
	m.mu.Lock()
	c.Cursor = max(c.Cursor, next.Cursor)
	if release && c.lease == lease {
		c.lease = ""
	}
	return m.unlockWithStatus(c), nil
}
