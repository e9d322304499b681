package webhook

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/apikey"
	"github.com/longwire/longwire/internal/feed"
)

func (m *Manager) newEndpoint(w Webhook) (*endpoint, error) {
	filter, err := m.compile(&w)
	if err != nil {
		return nil, err
	}
	e := &endpoint{m: m, hook: w, filter: filter, behind: true, transport: m.cfg.transport, lanes: map[string]*lane{}, parked: map[string]*parking{},
		touched: map[string]bool{}}
	if e.transport == nil {
		e.transport = m.newTransport()
	}
	return e, nil
}

// compile returns the filter of a webhook, or a *FieldError. With Settle it selects the returns of the clients
// whose ends the webhook asks for, also if it does not ask for these.
func (m *Manager) compile(w *Webhook) (*feed.Compiled, error) {
	f := w.Filter
	if w.Settle > 0 && w.Filter.Asks(gateway.EventClientDisconnected) && !w.Filter.Asks(gateway.EventClientConnected) {
		f.Types = append(slices.Clone(f.Types), string(gateway.EventClientConnected))
	}
	filter, err := feed.Compile(f, w.Limit, m.cfg.Lookup)
	if err != nil {
		return nil, &FieldError{"types", err.Error()}
	}
	return filter, nil
}

// Create adds a webhook that begins behind the event numbered after, or with the oldest
// one if after is 0. limit and payloads
// are what its caller may see. It returns the webhook with its secret, a *FieldError,
// ErrTooMany or an error of the store.
func (m *Manager) Create(ctx context.Context, s Spec, limit apikey.Limit, payloads bool, after uint64) (Webhook, error) {
	if err := s.complete(); err != nil {
		return Webhook{}, err
	}
	m.changes.Lock()
	defer m.changes.Unlock()
	m.mu.Lock()
	full := len(m.endpoints) >= m.cfg.Most || !limit.None() && m.countLocked(limit) >= maxOfTenant
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
	if after == 0 { // the oldest event: the numbers below were never its own
		sub, _, err := m.cfg.Gateway.Subscribe(0)
		if err != nil {
			return Webhook{}, err
		}
		after = sub.Position()
	}
	e.at, e.stored = after, cursor{Mark: after}
	err = m.cfg.Gateway.Put(ctx, []gateway.Entry{entry(keyHook+w.ID, w), entry(keyCursor+w.ID, e.stored)})
	m.mu.Lock()
	defer m.mu.Unlock()
	if err != nil { // the store may have it, and no caller knows its secret
		m.orphans = append(m.orphans, gateway.Entry{Key: keyHook + w.ID}, gateway.Entry{Key: keyCursor + w.ID})
		return Webhook{}, err
	}
	m.endpoints[w.ID] = e
	m.beginLocked(e)
	return w, nil
}

func (m *Manager) countLocked(limit apikey.Limit) (n int) {
	for _, e := range m.endpoints {
		if e.hook.Limit == limit {
			n++
		}
	}
	return n
}

// findLocked returns an endpoint that a caller with a limit may see.
func (m *Manager) findLocked(id string, limit apikey.Limit) (*endpoint, error) {
	e := m.endpoints[id]
	if e == nil || !limit.None() && e.hook.Limit != limit {
		return nil, ErrNotFound
	}
	return e, nil
}

// find returns an endpoint as findLocked does, with its webhook as it is now.
func (m *Manager) find(id string, limit apikey.Limit) (*endpoint, Webhook, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e, err := m.findLocked(id, limit)
	if err != nil {
		return nil, Webhook{}, err
	}
	return e, e.hook, nil
}

// Update changes a webhook by fn, which may return a *FieldError. A disabled one whose
// state fn sets to Active continues at its cursor.
func (m *Manager) Update(ctx context.Context, id string, limit apikey.Limit, fn func(s *Spec) error) error {
	m.changes.Lock()
	defer m.changes.Unlock()
	e, w, err := m.find(id, limit)
	if err != nil {
		return err
	}
	w.Headers = maps.Clone(w.Headers)
	was := w.State
	w.State = w.Condition()
	if err := fn(&w.Spec); err != nil {
		return err
	}
	if w.State == Disabled {
		w.State = was
	} else {
		w.Disabled, w.Unnoted, w.Reason = false, false, ""
	}
	return m.replace(ctx, e, w)
}

// Rotate gives a webhook a new secret; those before it sign, too, each for a day from its end.
func (m *Manager) Rotate(ctx context.Context, id string, limit apikey.Limit) (Webhook, error) {
	m.changes.Lock()
	defer m.changes.Unlock()
	e, w, err := m.find(id, limit)
	if err != nil {
		return Webhook{}, err
	}
	w.Older = slices.Clone(w.Older)
	w.rotate(m.cfg.Now())
	return w, m.replace(ctx, e, w)
}

// replace stores a changed webhook and begins a new run, which tries its parked clients at once.
func (m *Manager) replace(ctx context.Context, e *endpoint, w Webhook) error {
	if err := w.complete(); err != nil {
		return err
	}
	filter, err := m.compile(&w)
	if err != nil {
		return err
	}
	err = m.cfg.Gateway.Put(ctx, []gateway.Entry{entry(keyHook+w.ID, w)})
	m.mu.Lock()
	defer m.mu.Unlock()
	if err != nil {
		e.unwritten = true // the store may have it, and the caller learns of no change
		return err
	}
	e.endLocked()
	filtered := !w.Filter.Equal(&e.hook.Filter)
	for key, p := range e.parked {
		if p.Fails > 0 || w.Settle != e.hook.Settle || filtered { // else it may wait for Settle
			p.Next = time.Time{}
		}
		if filtered && p.Fails > 0 { // the event that failed is judged by the new filter
			p.Fails, e.touched[key] = 0, true
		}
	}
	e.hook, e.filter, e.unwritten = w, filter, false
	e.health = health{LastSuccess: e.health.LastSuccess, missed: e.health.missed, lost: e.health.lost}
	m.beginLocked(e)
	return nil
}

// disableLocked disables the webhook; nothing is lost while the log keeps its events.
func (e *endpoint) disableLocked(reason Reason) {
	e.endLocked()
	e.hook.Disabled, e.hook.Unnoted, e.hook.Reason, e.unwritten = true, true, reason, true
	e.m.cfg.Logger.Warn("a webhook is disabled", "webhook", e.hook.ID, "reason", reason.text())
}

// Delete removes a webhook with its dead letters. After an error of the store it is still
// there, and can be deleted again.
func (m *Manager) Delete(ctx context.Context, id string, limit apikey.Limit) error {
	m.changes.Lock()
	defer m.changes.Unlock()
	e, _, err := m.find(id, limit)
	if err != nil {
		return err
	}
	rest := []gateway.Entry{{Key: keyCursor + id}}
	for _, prefix := range []string{keyParked + id + " ", keyDead + id + " "} {
		err := m.cfg.Gateway.EachEntry(prefix, func(tail string, _ []byte) error {
			rest = append(rest, gateway.Entry{Key: prefix + tail})
			return nil
		})
		if err != nil {
			return err
		}
	}
	err = m.cfg.Gateway.Put(ctx, []gateway.Entry{{Key: keyHook + id}})
	m.mu.Lock()
	if err != nil {
		e.unwritten = true // the store may have removed it
		m.mu.Unlock()
		return err
	}
	e.endLocked()
	delete(m.endpoints, id)
	m.mu.Unlock()
	(&http.Client{Transport: e.transport}).CloseIdleConnections()
	if err := m.put(ctx, rest); err != nil {
		m.cfg.Logger.Warn("the other entries of a deleted webhook are removed later", "webhook", id, "cause", err)
		m.mu.Lock()
		defer m.mu.Unlock()
		m.orphans = append(m.orphans, rest...)
	}
	return nil
}
