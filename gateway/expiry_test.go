package gateway_test

import (
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine/memstore"
	"github.com/longwire/longwire/internal/gatewaytest"
)

// slowClockStore gives out transmissions that its own clock takes for alive, and that
// the session's does not.
type slowClockStore struct {
	gateway.Store
	broken atomic.Bool

	mu       sync.Mutex
	expired  gateway.MessageID // by the session's clock
	proposed []gateway.MessageID
}

func (s *slowClockStore) Next(q gateway.TransmissionQuery, buf []gateway.Transmission) ([]gateway.Transmission, gateway.Seq, error) {
	buf, last, err := s.Store.Next(q, buf)
	for i := range buf {
		s.age(&buf[i])
	}
	return buf, last, err
}

func (s *slowClockStore) Transmission(client gateway.ClientID, seq gateway.Seq) (gateway.Transmission, bool, error) {
	p, ok, err := s.Store.Transmission(client, seq)
	s.age(&p)
	return p, ok, err
}

func (s *slowClockStore) age(p *gateway.Transmission) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.Message == s.expired {
		p.ExpiresAt = time.Now()
	}
}

func (s *slowClockStore) ProposeExpiry(id gateway.MessageID, at time.Time) error {
	if s.broken.Load() {
		return gateway.ErrUnavailable
	}
	s.mu.Lock()
	s.proposed = append(s.proposed, id)
	s.mu.Unlock()
	return s.Store.ProposeExpiry(id, at.Add(24*time.Hour))
}

// expire makes the session find id expired, and the store unable to note it.
func (s *slowClockStore) expire(id gateway.MessageID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expired = id
	s.broken.Store(true)
}

func (s *slowClockStore) proposals() []gateway.MessageID {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.proposed)
}

func slowClock(t *testing.T, f func(t *testing.T, g *gateway.Gateway, store *slowClockStore)) {
	synctest.Test(t, func(t *testing.T) {
		memory := memstore.New(memstore.Options{})
		t.Cleanup(func() { memory.Close() })
		store := &slowClockStore{Store: memory}
		g := gatewaytest.New(t, store, gateway.Config{})
		f(t, g, store)
	})
}

// A session that passes over a delivery proposes its expiry, with the time by
// which it judged. Later deliveries leave only after that.
func TestADeliveryThatIsPassedOverIsProposedAsExpired(t *testing.T) {
	slowClock(t, func(t *testing.T, g *gateway.Gateway, store *slowClockStore) {
		gatewaytest.Connect(t, g, "a", gatewaytest.Options{}).Disconnect("gone")
		m := push(t, g, "a", "old") // offline: the next session reads both from the store
		push(t, g, "a", "new")
		store.expire(m.ID)
		l := gatewaytest.Connect(t, g, "a", gatewaytest.Options{})
		synctest.Wait()
		wantTexts(t, l)
		store.broken.Store(false)
		time.Sleep(5 * time.Second)
		wantTexts(t, l, "new")
		d := wantState(t, g, m, gateway.Expired, 0)
		if got := store.proposals(); len(got) != 1 || d.FinalAt.IsZero() {
			t.Errorf("proposed %v, final at %v", got, d.FinalAt)
		}
	})
}

func TestARepeatThatIsExpiredIsProposedAsExpired(t *testing.T) {
	slowClock(t, func(t *testing.T, g *gateway.Gateway, store *slowClockStore) {
		l := gatewaytest.Connect(t, g, "a", gatewaytest.Options{React: answers(gateway.AckRetry)})
		m := push(t, g, "a", "old")
		synctest.Wait()
		store.expire(m.ID)
		time.Sleep(time.Second)
		synctest.Wait()
		wantState(t, g, m, gateway.Queued, 0)
		store.broken.Store(false)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		wantState(t, g, m, gateway.Expired, 0)
		wantTexts(t, l, "old")
		if n, got := g.Stats().InFlight, store.proposals(); n != 0 || len(got) != 1 {
			t.Errorf("%d in flight, proposed %v", n, got)
		}
	})
}

// slowDisk is a store whose final states become durable, and visible, on release.
type slowDisk struct {
	gateway.Store
	mu   sync.Mutex
	held []func()
	fast bool
}

func (s *slowDisk) later(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fast {
		f()
		return
	}
	s.held = append(s.held, f)
}

func (s *slowDisk) Settle(o gateway.Outcome, urgent bool) error {
	s.later(func() { s.Store.Settle(o, urgent) })
	return nil
}

func (s *slowDisk) ProposeExpiry(id gateway.MessageID, at time.Time) error {
	s.later(func() { s.Store.ProposeExpiry(id, at) })
	return nil
}

// release makes the held changes durable, or loses them as a crash does.
func (s *slowDisk) release(lost bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.held {
		if !lost {
			f()
		}
	}
	s.held, s.fast = nil, !lost
}

// A verdict that comes while another connection takes over is not in the store yet
// when the new session reads: the repeat says that it is one.
func TestARepeatThatCrossesItsVerdictAtATakeoverHasDup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := memstore.New(memstore.Options{})
		t.Cleanup(func() { memory.Close() })
		store := &slowDisk{Store: memory}
		g := gatewaytest.New(t, store, gateway.Config{})
		gatewaytest.Connect(t, g, "a", gatewaytest.Options{})
		m := push(t, g, "a", "1")
		synctest.Wait()
		for range 2 { // the second one replaces a session that has read nothing
			s, _, err := g.Connect(t.Context(), gateway.Hello{Client: "a"}, gatewaytest.NewLink(gatewaytest.Options{}))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { s.Closed(gateway.ReasonConnectionLost) })
		}
		l := gatewaytest.Connect(t, g, "a", gatewaytest.Options{})
		synctest.Wait()
		store.release(false)
		next := push(t, g, "a", "2")
		synctest.Wait()
		wantTexts(t, l, "1 again", "2")
		wantState(t, g, m, gateway.Acked, 1)
		wantState(t, g, next, gateway.Acked, 1)
	})
}

// Neither the cursor passes a delivery, nor does another one take its place in
// the window, before its final state is durable: a crash that loses the state
// must not leave a later delivery handled and this one neither sent nor final.
func TestNothingNewerLeavesBeforeAFinalStateIsDurable(t *testing.T) {
	for name, tc := range map[string]struct {
		max     int // bytes that the last link carries
		payload string
		ttl     time.Duration
		started bool // the first delivery is transmitted before
		got     []string
		state   gateway.State
	}{
		"expired":                  {16, "old", time.Second, false, nil, gateway.Expired},
		"too large":                {3, "large", time.Hour, false, nil, gateway.Rejected},
		"too large, but sent once": {3, "large", time.Hour, true, nil, gateway.Failed},
		"attempts used up":         {16, "old", time.Hour, true, []string{"old"}, gateway.Failed},
		"attempts used up earlier": {16, "old", time.Hour, true, nil, gateway.Failed},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				// The store's own driver lags behind the session's clock.
				memory := memstore.New(memstore.Options{Now: func() time.Time { return time.Now().Add(-time.Hour) }})
				t.Cleanup(func() { memory.Close() })
				store := &slowDisk{Store: memory}
				g := gatewaytest.New(t, store, gateway.Config{MaxAttempts: 1})
				if _, _, err := memory.Register(t.Context(), gateway.Registration{Client: "a", At: time.Now()}); err != nil {
					t.Fatal(err)
				}
				m := pushFor(t, g, "a", tc.payload, tc.ttl)
				var l *gatewaytest.Link
				connect := func(most int) {
					l = gatewaytest.Connect(t, g, "a", gatewaytest.Options{Window: 1, Max: most, React: gatewaytest.FlushOnly})
					synctest.Wait()
				}
				if tc.started {
					connect(16)
					if tc.got == nil {
						l.Disconnect(gateway.ReasonConnectionLost)
					}
				}
				time.Sleep(2 * time.Second)
				push(t, g, "a", "new")
				if tc.got == nil {
					connect(tc.max)
				} else {
					l.Session.AckTimeout(m.Seq, false)
				}
				time.Sleep(time.Second)
				wantTexts(t, l, tc.got...)
				store.release(true) // the proposal is lost, and made again
				time.Sleep(10 * time.Second)
				wantTexts(t, l, tc.got...)
				store.release(false)
				time.Sleep(10 * time.Second)
				wantTexts(t, l, append(tc.got, "new")...)
				if d := delivery(t, g, m.ID, "a"); d.State != tc.state {
					t.Errorf("the first is %s, want %s", d.State, tc.state)
				}
			})
		})
	}
}
