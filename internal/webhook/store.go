package webhook

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/longwire/longwire/gateway"
)

// Entries of the store. A webhook is written by the call that changes it; the others
// are written together, once a second.
const (
	keyPosition = "webhookposition" // position of the dispatcher
	keyHook     = "webhook "        // and the id: Webhook
	keyCursor   = "webhookcursor "  // and the id: cursor
	keyParked   = "webhookparked "  // and the id, a space and the lane: parking
	keyDead     = "webhookdead "    // and the id, a space and the event's number: DeadLetter
)

// cursor is how far an endpoint has come.
type cursor struct {
	Mark uint64 `json:"mark"`
	// Follows says that nothing waits, and that the mark is the dispatcher's position: then
	// the cursor is not written each second.
	Follows     bool      `json:"follows,omitempty"`
	LastSuccess time.Time `json:"last_success,omitzero"`
	Missed      uint64    `json:"missed,omitempty"`
}

// DeadLetter is an event that an endpoint has not taken within RetryFor.
type DeadLetter struct {
	Event  uint64            `json:"event"`
	Type   gateway.EventType `json:"type"`
	Client gateway.ClientID  `json:"client,omitempty"`
	At     time.Time         `json:"at"` // when it was given up
	Status int               `json:"status,omitempty"`
	Error  string            `json:"error"`
	ID     string            `json:"id,omitempty"`   // of the event
	Body   json.RawMessage   `json:"body,omitempty"` // as it was sent; without both nothing was sent
}

// Bounds of the dead letters of a webhook; beyond one of them the oldest are dropped, but
// the newest stays. Their bytes are a share of all webhooks' maxDeadBytes, at least
// leastDeadBytes.
const (
	maxDead        = 1000
	maxDeadBytes   = 256 << 20
	leastDeadBytes = 1 << 20
)

// grave is a dead letter that is in the store.
type grave struct {
	event uint64
	size  int // bytes of its entry
}

// dropDeadLocked returns the entries that remove the oldest dead letters beyond the bounds.
func (e *endpoint) dropDeadLocked() (entries []gateway.Entry) {
	share := max(maxDeadBytes/len(e.m.endpoints), leastDeadBytes)
	size := 0
	for _, g := range e.buried {
		size += g.size
	}
	for ; len(e.buried) > maxDead || size > share && len(e.buried) > 1; e.buried = e.buried[1:] {
		size -= e.buried[0].size
		entries = append(entries, gateway.Entry{Key: deadKey(e.hook.ID, e.buried[0].event)})
	}
	return entries
}

func entry(key string, v any) gateway.Entry {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // plain types only
	}
	return gateway.Entry{Key: key, Value: b}
}

func deadKey(id string, number uint64) string { return fmt.Sprintf("%s%s %020d", keyDead, id, number) }

// load makes the endpoints of the stored webhooks.
func (m *Manager) load() error {
	g, now := m.cfg.Gateway, m.cfg.Now()
	err := g.EachEntry(keyPosition, func(_ string, v []byte) error { return json.Unmarshal(v, &m.position) })
	if err != nil {
		return err
	}
	err = g.EachEntry(keyHook, func(id string, v []byte) error {
		var w Webhook
		if err := json.Unmarshal(v, &w); err != nil {
			return err
		}
		e, err := m.newEndpoint(w)
		m.endpoints[id] = e
		return err
	})
	if err != nil {
		return err
	}
	err = g.EachEntry(keyCursor, func(id string, v []byte) error {
		e := m.endpoints[id]
		if e == nil {
			return nil
		}
		err := json.Unmarshal(v, &e.stored)
		if e.at = e.stored.Mark; e.stored.Follows {
			e.at = max(e.at, m.position)
		}
		e.health.LastSuccess, e.health.missed = e.stored.LastSuccess, e.stored.Missed
		return err
	})
	if err != nil {
		return err
	}
	err = g.EachEntry(keyDead, func(rest string, v []byte) error {
		id, _, _ := strings.Cut(rest, " ")
		var d DeadLetter
		if e := m.endpoints[id]; e != nil && json.Unmarshal(v, &d) == nil {
			e.buried = append(e.buried, grave{d.Event, len(v)})
		}
		return nil
	})
	if err != nil {
		return err
	}
	return g.EachEntry(keyParked, func(rest string, v []byte) error {
		id, lane, _ := strings.Cut(rest, " ")
		e := m.endpoints[id]
		if e == nil {
			return nil
		}
		p := new(parking)
		e.parked[lane] = p
		err := json.Unmarshal(v, p)
		p.began = now.Add(-p.Failing)
		return err
	})
}

// entriesOfARecord bounds the entries of one write.
const entriesOfARecord = 256

// save writes the changes since the last call. The next call repeats those that the
// store does not take.
func (m *Manager) save(ctx context.Context) error {
	m.changes.Lock() // a deletion during the write would leave entries
	defer m.changes.Unlock()
	m.mu.Lock()
	var entries []gateway.Entry
	var parts [][]gateway.Entry // each is written as a whole
	var written []func()        // mark entries as not written
	if m.saved != m.position && len(m.endpoints) > 0 {
		entries = append(entries, entry(keyPosition, m.position))
	}
	position := m.position
	for _, e := range m.endpoints {
		part, undo := e.unsavedLocked()
		if len(part) == 0 {
			continue
		}
		if len(entries)+len(part) > entriesOfARecord && len(entries) > 0 {
			parts, entries = append(parts, entries), nil
		}
		entries = append(entries, part...)
		written = append(written, undo)
	}
	if len(entries) > 0 {
		parts = append(parts, entries)
	}
	m.mu.Unlock()
	for _, part := range parts {
		if err := m.cfg.Gateway.Put(ctx, part); err != nil {
			m.mu.Lock()
			defer m.mu.Unlock()
			for _, undo := range written {
				undo()
			}
			return err
		}
	}
	m.mu.Lock()
	m.saved = position
	m.mu.Unlock()
	return nil
}

// unsavedLocked returns the entries of an endpoint to be written, and a function that
// marks them to be written again.
func (e *endpoint) unsavedLocked() (entries []gateway.Entry, undo func()) {
	for key, p := range e.parked {
		if p.live {
			e.unparkLocked(key, p)
		}
	}
	stored := e.stored
	now := cursor{Mark: e.markLocked(), LastSuccess: e.health.LastSuccess.Truncate(time.Minute), Missed: e.health.missed}
	if now.Follows = !e.behind && e.order.Len() == 0; now.Follows {
		now.Mark = e.stored.Mark // the dispatcher's position counts
		if !e.stored.Follows {
			now.Mark = e.positionLocked()
		}
	}
	if e.stored != now {
		entries = append(entries, entry(keyCursor+e.hook.ID, now))
	}
	touched := e.touched
	for key := range touched {
		k := keyParked + e.hook.ID + " " + key
		if p := e.parked[key]; p != nil {
			entries = append(entries, entry(k, p))
		} else {
			entries = append(entries, gateway.Entry{Key: k})
		}
	}
	dead, buried := e.dead, e.buried
	for _, d := range dead {
		letter := entry(deadKey(e.hook.ID, d.Event), d)
		entries = append(entries, letter)
		e.buried = append(e.buried, grave{d.Event, len(letter.Value)})
	}
	entries = append(entries, e.dropDeadLocked()...)
	e.stored, e.touched, e.dead = now, map[string]bool{}, nil
	return entries, func() {
		e.stored = stored
		for key := range touched {
			e.touched[key] = true
		}
		e.dead, e.buried = append(dead, e.dead...), buried
	}
}
