package memstore_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine/memstore"
)

var ctx = context.Background()

func register(t *testing.T, s *memstore.Store, ids ...gateway.ClientID) {
	t.Helper()
	for _, id := range ids {
		if _, _, err := s.Register(ctx, gateway.Registration{Client: id, At: time.Now()}); err != nil {
			t.Fatal(err)
		}
	}
}

func push(t *testing.T, s *memstore.Store, n int, client gateway.ClientID, ttl time.Duration) gateway.Message {
	t.Helper()
	r, err := s.Accept(ctx, gateway.Acceptance{ID: gateway.MessageID(fmt.Sprintf("msg_%06d", n)), To: gateway.Audience{Client: client},
		Payload: []byte("0123456789"), CreatedAt: time.Now(), ExpiresAt: time.Now().Add(ttl)})
	if err != nil {
		t.Fatal(err)
	}
	return r.Message
}

func ack(t *testing.T, s *memstore.Store, m gateway.Message) {
	t.Helper()
	o := gateway.Outcome{Message: m.ID, Client: m.Client, Seq: m.Seq, State: gateway.Acked, At: time.Now()}
	if err := s.Settle(o, true); err != nil {
		t.Fatal(err)
	}
}

// The store's own driver expires, retires and forgets on time.
func TestDriver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memstore.New(memstore.Options{StatusRetention: time.Hour, ForgetAfter: 5 * time.Hour, UplinkRetention: 3 * time.Hour})
		defer s.Close()
		register(t, s, "a")
		late := push(t, s, 1, "a", 2*time.Minute)
		early := push(t, s, 2, "a", time.Minute) // the driver already sleeps for the later one
		if _, err := s.AppendUplink(ctx, gateway.Uplink{Client: "a", At: time.Now()}); err != nil {
			t.Fatal(err)
		}
		s.Disconnected(gateway.Disconnection{Client: "a", Epoch: 1, At: time.Now(), Reason: gateway.ReasonConnectionLost})

		at := func(since time.Duration, what string, cond func() bool) {
			t.Helper()
			if synctest.Wait(); cond() {
				t.Errorf("%s before %v", what, since)
			}
			time.Sleep(time.Millisecond)
			if synctest.Wait(); !cond() {
				t.Errorf("not %s at %v", what, since)
			}
		}
		expired := func(m gateway.Message) func() bool {
			return func() bool {
				d, err := s.Delivery(m.ID, "a")
				return err == nil && d.State == gateway.Expired
			}
		}
		gone := func(m gateway.Message) func() bool {
			return func() bool { _, err := s.Message(m.ID); return gateway.CodeOf(err) == gateway.CodeMessageNotFound }
		}
		start := time.Now()
		for _, step := range []struct {
			after time.Duration
			what  string
			cond  func() bool
		}{
			{time.Minute, "expired", expired(early)},
			{2 * time.Minute, "expired", expired(late)},
			{61 * time.Minute, "retired", gone(early)},
			{62 * time.Minute, "retired", gone(late)},
			{3 * time.Hour, "dropped the uplink", func() bool {
				p, err := s.Uplinks("a", 0, 10)
				return err == nil && len(p.Items) == 0
			}},
			{5 * time.Hour, "forgotten", func() bool { _, err := s.Client("a"); return err != nil }},
		} {
			time.Sleep(time.Until(start.Add(step.after - time.Millisecond)))
			at(step.after, step.what, step.cond)
		}
	})
}

// A client that is connected is not forgotten, however long it is silent; a
// connection that was replaced does not disconnect it.
func TestConnectedClientIsNotForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memstore.New(memstore.Options{ForgetAfter: time.Hour})
		defer s.Close()
		register(t, s, "a", "a")
		s.Disconnected(gateway.Disconnection{Client: "a", Epoch: 1, At: time.Now(), Reason: gateway.ReasonReplaced})
		time.Sleep(1000 * time.Hour)
		if _, err := s.Client("a"); err != nil {
			t.Fatal(err)
		}
		s.Disconnected(gateway.Disconnection{Client: "a", Epoch: 2, At: time.Now(), Reason: gateway.ReasonConnectionLost})
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		if _, err := s.Client("a"); gateway.CodeOf(err) != gateway.CodeClientNotFound {
			t.Errorf("two hours after it disconnected: %v", err)
		}
	})
}

func TestOldestCompletedMessageMakesRoom(t *testing.T) {
	for name, o := range map[string]memstore.Options{"by count": {MaxMessages: 3}, "by bytes": {MaxBytes: 30}} {
		t.Run(name, func(t *testing.T) {
			s := memstore.New(o)
			defer s.Close()
			register(t, s, "a")
			m1, m2 := push(t, s, 1, "a", time.Hour), push(t, s, 2, "a", time.Hour)
			push(t, s, 3, "a", time.Hour)
			ack(t, s, m2)
			ack(t, s, m1)
			push(t, s, 4, "a", time.Hour)
			if _, err := s.Message(m2.ID); gateway.CodeOf(err) != gateway.CodeMessageNotFound {
				t.Errorf("the message that was completed first: %v, want it gone", err)
			}
			push(t, s, 5, "a", time.Hour)
			_, err := s.Accept(ctx, gateway.Acceptance{ID: "msg_6", To: gateway.Audience{Client: "a"}, Payload: make([]byte, 10),
				CreatedAt: time.Now(), ExpiresAt: time.Now().Add(time.Hour)})
			if !errors.Is(err, gateway.ErrUnavailable) {
				t.Errorf("with nothing completed the error is %v, want ErrUnavailable", err)
			}
			if st := s.Stats(); st.Messages != 3 || st.Queued != 3 {
				t.Errorf("%d messages, %d queued; want 3, 3", st.Messages, st.Queued)
			}
		})
	}
}

func TestOldestUplinkMakesRoom(t *testing.T) {
	for name, o := range map[string]memstore.Options{"by count": {MaxUplinks: 3}, "by bytes": {MaxUplinkBytes: 15}} {
		t.Run(name, func(t *testing.T) {
			s := memstore.New(o)
			defer s.Close()
			for range 10 {
				if _, err := s.AppendUplink(ctx, gateway.Uplink{Client: "a", At: time.Now(), Payload: []byte("12345")}); err != nil {
					t.Fatal(err)
				}
			}
			p, err := s.Uplinks("", 0, 10)
			if err != nil {
				t.Fatal(err)
			}
			if len(p.Items) != 3 || p.Items[0].Seq != 8 {
				t.Errorf("kept %+v, want the last three", p.Items)
			}
		})
	}
}

// blocked is an observer that waits before it takes a settlement.
type blocked struct {
	gate    chan struct{}
	settled atomic.Int64
}

func (b *blocked) Changed(l []gateway.Change) {
	for _, c := range l {
		if _, ok := c.(*gateway.Settlement); ok {
			<-b.gate
			b.settled.Add(1)
		}
	}
}

// Settle waits while the observer is far behind: the queue to it is bounded.
func TestSettleWaitsForASlowObserver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memstore.New(memstore.Options{QueueLen: 100_000})
		b := &blocked{gate: make(chan struct{})}
		s.Observe(b)
		register(t, s, "a")
		const n = 20_000
		var messages []gateway.Message
		for i := range n {
			messages = append(messages, push(t, s, i, "a", time.Hour))
		}
		var settled atomic.Int64
		go func() {
			for _, m := range messages {
				ack(t, s, m)
				settled.Add(1)
			}
		}()
		synctest.Wait()
		if got := settled.Load(); got >= n {
			t.Errorf("%d were settled while the observer was blocked", got)
		}
		close(b.gate)
		synctest.Wait()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if settled.Load() != n || b.settled.Load() != n {
			t.Errorf("%d settled, %d told; want %d", settled.Load(), b.settled.Load(), n)
		}
	})
}

// The schedule and index entries of a message leave with it: a busy store does
// not grow beyond its bounds.
func TestNothingIsLeftBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memstore.New(memstore.Options{MaxMessages: 50})
		defer s.Close()
		register(t, s, "a")
		stuck := push(t, s, 0, "a", 24*time.Hour)
		for i := range 20_000 {
			ack(t, s, push(t, s, i+1, "a", time.Hour))
		}
		if n := memstore.Footprint(s); n > 2000 {
			t.Errorf("%d entries are kept for 50 messages", n)
		}
		if st := s.Stats(); !st.OldestAt.Equal(stuck.CreatedAt) {
			t.Errorf("the oldest queued is of %v, want %v", st.OldestAt, stuck.CreatedAt)
		}
	})
}
