package webhook

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/apikey"
)

// Status is a webhook with how it does.
type Status struct {
	Webhook
	Cursor      uint64 // everything up to it is done, but for parked clients
	Lag         uint64 // at most so many events of the log lie behind the cursor
	Oldest      time.Time
	Waiting     int // events in memory
	Parked      int // clients
	Down        bool
	LastSuccess time.Time
	LastError   string    // of the last failure since the last success, or why the address is refused
	Forbidden   bool      // the address that the URL names is not allowed; false if the host must be looked up
	Missed      uint64    // numbers that the log has forgotten before they were read
	Failing     time.Time // first failure since the last success; zero = none
	Refused     Refused
}

// Refused are the parked clients whose last request has failed, while those of other clients
// may succeed.
type Refused struct {
	Clients int              // of a message to many the message counts
	Since   time.Time        // the first failure
	Client  gateway.ClientID // that has failed for the longest time; "" for a message to many
	Error   string           // of its last request; "" if that is not kept
}

func (e *endpoint) refusedLocked() (r Refused) {
	longest := ""
	for key, p := range e.parked {
		if p.Fails == 0 {
			continue
		}
		r.Clients++
		if r.Since.IsZero() || p.Since.Before(r.Since) || p.Since.Equal(r.Since) && key < longest {
			r.Since, longest = p.Since, key
		}
	}
	if r.Clients == 0 || strings.HasPrefix(longest, manyLane) {
		return r
	}
	r.Client = gateway.ClientID(longest)
	r.Error = e.attempts.lastError(func(a *Attempt) bool { return a.Client == r.Client })
	return r
}

// statusLocked leaves out Lag, which may have to read the log.
func (e *endpoint) statusLocked() Status {
	s := Status{Webhook: e.hook, Cursor: e.markLocked(), Waiting: e.waitingLocked(), Parked: len(e.parked), Down: e.health.down,
		LastSuccess: e.health.LastSuccess, Missed: e.health.missed, Failing: e.health.failing, Refused: e.refusedLocked()}
	if first := e.firstLocked(); first != nil {
		s.Oldest = first.event.At
	}
	for _, l := range e.lanes { // of a client with a burst
		if len(l.scan) > 0 && (s.Oldest.IsZero() || l.scan[0].event.At.Before(s.Oldest)) {
			s.Oldest = l.scan[0].event.At
		}
	}
	if !e.health.failing.IsZero() {
		s.LastError = e.attempts.lastError(func(*Attempt) bool { return true })
	}
	if u, err := url.Parse(e.hook.URL); err == nil {
		if refused := e.m.refuseURL(u); refused != nil {
			s.Forbidden, s.LastError = true, refused.Error()
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
	s, least := m.counts()
	s.Lag = m.cfg.Gateway.EventsBehind(least)
	return s
}

// counts returns the statistics without the lag, and the least cursor of an active webhook.
func (m *Manager) counts() (s Stats, least uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s = Stats{States: map[string]int{string(Active): 0, string(Paused): 0, string(Disabled): 0},
		Delivered: m.delivered, Failed: m.failed, DeadLetters: m.deadLetters}
	least = m.cfg.Gateway.LastEvent()
	for _, e := range m.endpoints {
		s.States[string(e.hook.Condition())]++
		s.Parked += len(e.parked)
		s.Waiting += e.waitingLocked()
		if e.hook.Condition() != Active {
			continue
		}
		if e.health.down {
			s.Down++
		}
		least = min(least, e.markLocked())
	}
	return s, least
}

// Get returns a webhook.
func (m *Manager) Get(id string, limit apikey.Limit) (Status, error) {
	m.mu.Lock()
	e, err := m.findLocked(id, limit)
	if err != nil {
		m.mu.Unlock()
		return Status{}, err
	}
	s := e.statusLocked()
	m.mu.Unlock()
	s.Lag = m.cfg.Gateway.EventsBehind(s.Cursor)
	return s, nil
}

// List returns the webhooks of a caller, oldest first.
func (m *Manager) List(limit apikey.Limit) (all []Status) {
	m.mu.Lock()
	for _, e := range m.endpoints {
		if limit.None() || e.hook.Limit == limit {
			all = append(all, e.statusLocked())
		}
	}
	m.mu.Unlock()
	for lag, i := m.cfg.Gateway.EventLags(), 0; i < len(all); i++ {
		all[i].Lag = lag(all[i].Cursor)
	}
	slices.SortFunc(all, func(a, b Status) int { return strings.Compare(a.ID, b.ID) })
	return all
}

// Stopped returns a sentence for each active webhook that gets no events because its
// address is refused.
func (m *Manager) Stopped() (sentences []string) {
	for _, s := range m.List(apikey.Limit{}) {
		if s.Condition() == Active && s.Forbidden {
			sentences = append(sentences, fmt.Sprintf("The webhook %s to %s gets no events: %s.", s.ID, s.URL, s.LastError))
		}
	}
	return sentences
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
	e, w, err := m.find(id, limit)
	if err != nil {
		return Attempt{}, err
	}
	now := m.cfg.Now()
	done, ok := m.byHand(e)
	if !ok {
		return Attempt{At: now, Type: gateway.EventMessageReceived, Client: "test", Try: 1, Error: errByHand}, nil
	}
	defer done()
	ev := gateway.Event{Type: gateway.EventMessageReceived, At: now, Client: "test",
		Uplink: &gateway.Uplink{Client: "test", At: now, Payload: []byte("a test of the webhook")}}
	body, id, err := m.cfg.Encode(&ev, true)
	if err != nil {
		return Attempt{}, err
	}
	a, _, _ := e.post(ctx, &w, id, body, false)
	a.Type, a.Client, a.Try = ev.Type, ev.Client, 1
	return a.Attempt, nil
}

// errByHand is the error of a test or a redelivery beside another one.
const errByHand = "another test or redelivery of the webhook is under way"

// byHand begins a test or a redelivery of a webhook and returns its end; ok is false while
// there is another one. Their requests are not among Config.Requests, so a webhook has one
// at a time: a caller must not take all sockets by many tests of an endpoint that hangs.
func (m *Manager) byHand(e *endpoint) (done func(), ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e.byHand {
		return nil, false
	}
	e.byHand = true
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		e.byHand = false
	}, true
}
