package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
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
	now := m.cfg.Now()
	// of calls read with the endpoint of an entry. Without one a deletion was cut short.
	of := func(prefix string, read func(e *endpoint, lane string, v []byte) error) func(string, []byte) error {
		return func(rest string, v []byte) error {
			id, lane, _ := strings.Cut(rest, " ")
			if e := m.endpoints[id]; e != nil {
				return read(e, lane, v)
			}
			m.orphans = append(m.orphans, gateway.Entry{Key: prefix + rest})
			return nil
		}
	}
	for _, part := range []struct {
		prefix string
		read   func(rest string, v []byte) error
	}{
		{keyPosition, func(_ string, v []byte) error { return json.Unmarshal(v, &m.position) }},
		{keyHook, func(id string, v []byte) error {
			var w Webhook
			if err := json.Unmarshal(v, &w); err != nil {
				return err
			}
			e, err := m.newEndpoint(w)
			m.endpoints[id] = e
			return err
		}},
		{keyCursor, of(keyCursor, func(e *endpoint, _ string, v []byte) error {
			err := json.Unmarshal(v, &e.stored)
			if e.at = e.stored.Mark; e.stored.Follows {
				e.at = max(e.at, m.position)
			}
			e.health.LastSuccess, e.health.missed = e.stored.LastSuccess, e.stored.Missed
			return err
		})},
		{keyDead, of(keyDead, func(e *endpoint, _ string, v []byte) error {
			var d DeadLetter
			if json.Unmarshal(v, &d) == nil {
				e.buried = append(e.buried, grave{d.Event, len(v)})
			}
			return nil
		})},
		{keyParked, of(keyParked, func(e *endpoint, lane string, v []byte) error {
			p := new(parking)
			e.parked[lane] = p
			err := json.Unmarshal(v, p)
			p.began = now.Add(-p.Failing)
			return err
		})},
	} {
		if err := m.cfg.Gateway.EachEntry(part.prefix, part.read); err != nil {
			return err
		}
	}
	return nil
}

// Bounds of one write of entries.
const (
	entriesOfARecord = 256
	bytesOfARecord   = 512 << 10 // unless one entry is larger
)

// put writes entries in their order. A crash may leave the last ones out.
func (m *Manager) put(ctx context.Context, entries []gateway.Entry) error {
	for len(entries) > 0 {
		n, size := 0, 0
		for n < min(len(entries), entriesOfARecord) && (n == 0 || size+len(entries[n].Value) <= bytesOfARecord) {
			size += len(entries[n].Value)
			n++
		}
		if err := m.cfg.Gateway.Put(ctx, entries[:n]); err != nil {
			return err
		}
		entries = entries[n:]
	}
	return nil
}

// save writes the changes since the last call. The next call repeats those that the
// store does not take.
func (m *Manager) save(ctx context.Context) error {
	m.changes.Lock() // a deletion during the write would leave entries
	defer m.changes.Unlock()
	m.mu.Lock()
	entries := slices.Clone(m.orphans)
	var undo []func()
	for _, e := range m.endpoints {
		part, again := e.unsavedLocked()
		if len(part) > 0 {
			entries, undo = append(entries, part...), append(undo, again)
		}
	}
	position := m.position
	if m.saved != position && len(m.endpoints) > 0 {
		// It is the last one: an endpoint whose stored cursor follows it may wait by now.
		entries = append(entries, entry(keyPosition, position))
	}
	m.mu.Unlock()
	err := m.put(ctx, entries)
	m.mu.Lock()
	defer m.mu.Unlock()
	if err != nil {
		for _, again := range undo {
			again()
		}
		return err
	}
	m.saved, m.orphans = position, nil
	return nil
}

// unsavedLocked returns the entries of an endpoint to be written, and a function that
// marks them to be written again. A crash may leave the last ones out: the mark passes an
// event when its dead letter and its parking are written.
func (e *endpoint) unsavedLocked() (entries []gateway.Entry, again func()) {
	for key, p := range e.parked {
		if p.live {
			e.unparkLocked(key, p)
		}
	}
	dead, buried := e.dead, e.buried
	for _, d := range dead {
		letter := entry(deadKey(e.hook.ID, d.Event), d)
		entries = append(entries, letter)
		e.buried = append(e.buried, grave{d.Event, len(letter.Value)})
	}
	entries = append(entries, e.dropDeadLocked()...)
	touched := e.touched
	for key := range touched {
		k := keyParked + e.hook.ID + " " + key
		if p := e.parked[key]; p != nil {
			entries = append(entries, entry(k, p))
		} else {
			entries = append(entries, gateway.Entry{Key: k})
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
	if e.stored != now || e.doubtful {
		entries = append(entries, entry(keyCursor+e.hook.ID, now))
	}
	unwritten := e.unwritten
	if unwritten {
		entries = append(entries, entry(keyHook+e.hook.ID, e.hook))
	}
	e.stored, e.touched, e.dead, e.unwritten = now, map[string]bool{}, nil, false
	e.doubtful = false
	return entries, func() {
		e.stored, e.doubtful, e.unwritten = stored, true, e.unwritten || unwritten
		for key := range touched {
			e.touched[key] = true
		}
		e.dead, e.buried = append(dead, e.dead...), buried
	}
}

// noteDisabled logs the events of disabled webhooks, once the store has their state. So
// a crash loses none. It reports whether there were some.
func (m *Manager) noteDisabled(ctx context.Context) (noted bool, err error) {
	m.changes.Lock()
	defer m.changes.Unlock()
	m.mu.Lock()
	defer m.mu.Unlock()
	for id, e := range m.endpoints {
		if !e.hook.Unnoted || e.unwritten {
			continue
		}
		ev := gateway.Event{Type: gateway.EventWebhookDisabled, At: m.cfg.Now(), Reason: string(e.hook.Reason), Detail: id + ": " + e.hook.Reason.text()}
		m.mu.Unlock()
		err := m.cfg.Gateway.Note(ctx, ev)
		m.mu.Lock()
		if err != nil {
			return noted, err
		}
		noted, e.hook.Unnoted, e.unwritten = true, false, true
	}
	return noted, nil
}

// saveAll writes the changes, with the events of disabled webhooks.
func (m *Manager) saveAll(ctx context.Context) error {
	err := m.save(ctx)
	if err != nil {
		return err
	}
	noted, err := m.noteDisabled(ctx)
	if noted {
		err = errors.Join(err, m.save(ctx))
	}
	return err
}
