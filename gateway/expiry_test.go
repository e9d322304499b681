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

// slowClockStore gives out parcels that its own clock takes for alive, and that
// the session's does not.
type slowClockStore struct {
	gateway.Store
	broken atomic.Bool

	mu       sync.Mutex
	expired  gateway.MessageID // by the session's clock
	proposed []gateway.MessageID
}

func (s *slowClockStore) Next(q gateway.ParcelQuery, buf []gateway.Parcel) ([]gateway.Parcel, error) {
	buf, err := s.Store.Next(q, buf)
	for i := range buf {
		s.age(&buf[i])
	}
	return buf, err
}

func (s *slowClockStore) Parcel(client gateway.ClientID, seq gateway.Seq) (gateway.Parcel, bool, error) {
	p, ok, err := s.Store.Parcel(client, seq)
	s.age(&p)
	return p, ok, err
}

func (s *slowClockStore) age(p *gateway.Parcel) {
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

// A session that passes over a delivery says so in the log, with the time by
// which it judged. What comes later leaves only after that.
func TestADeliveryThatIsPassedOverIsProposedAsExpired(t *testing.T) {
	slowClock(t, func(t *testing.T, g *gateway.Gateway, store *slowClockStore) {
		l := gatewaytest.Connect(t, g, "a", gatewaytest.Options{})
		l.SetBusy(true)
		m := push(t, g, "a", "old")
		push(t, g, "a", "new")
		store.expire(m.ID)
		l.SetBusy(false)
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
