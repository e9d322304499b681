package gateway_test

import (
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
	expired  map[gateway.MessageID]bool // by the session's clock
	broken   bool
	proposed []gateway.MessageID
	at       time.Time
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
	if s.expired[p.Message] {
		p.ExpiresAt = time.Now()
	}
}

func (s *slowClockStore) ProposeExpiry(id gateway.MessageID, at time.Time) error {
	if s.broken {
		return gateway.ErrUnavailable
	}
	s.proposed, s.at = append(s.proposed, id), at
	return s.Store.ProposeExpiry(id, at.Add(24*time.Hour))
}

func slowClock(t *testing.T, f func(t *testing.T, g *gateway.Gateway, store *slowClockStore)) {
	synctest.Test(t, func(t *testing.T) {
		memory := memstore.New(memstore.Options{})
		t.Cleanup(func() { memory.Close() })
		store := &slowClockStore{Store: memory, expired: map[gateway.MessageID]bool{}}
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
		store.expired[m.ID], store.broken = true, true
		l.SetBusy(false)
		synctest.Wait()
		wantTexts(t, l)
		store.broken = false
		time.Sleep(5 * time.Second)
		wantTexts(t, l, "new")
		d := wantState(t, g, m, gateway.Expired, 0)
		if len(store.proposed) != 1 || store.at.IsZero() || d.FinalAt.IsZero() {
			t.Errorf("proposed %v at %v", store.proposed, store.at)
		}
	})
}

func TestARepeatThatIsExpiredIsProposedAsExpired(t *testing.T) {
	slowClock(t, func(t *testing.T, g *gateway.Gateway, store *slowClockStore) {
		l := gatewaytest.Connect(t, g, "a", gatewaytest.Options{React: answers(gateway.AckRetry)})
		m := push(t, g, "a", "old")
		synctest.Wait()
		store.expired[m.ID], store.broken = true, true
		time.Sleep(time.Second)
		wantState(t, g, m, gateway.Queued, 0)
		store.broken = false
		time.Sleep(5 * time.Second)
		wantState(t, g, m, gateway.Expired, 0)
		wantTexts(t, l, "old")
		if n := g.Stats().InFlight; n != 0 || len(store.proposed) != 1 {
			t.Errorf("%d in flight, proposed %v", n, store.proposed)
		}
	})
}
