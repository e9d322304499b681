package gateway_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine/memstore"
	"github.com/longwire/longwire/internal/gatewaytest"
)

// once pushes with the idempotency key "k".
func once(g *gateway.Gateway, id gateway.ClientID, wait time.Duration) (gateway.OnlineResult, error) {
	return g.PushOnline(context.Background(), gateway.OnlineRequest{Client: id, Payload: []byte("x"), Encoding: gateway.EncodingText,
		Wait: wait, IdempotencyKey: "k"})
}

func wantAckTimeout(t *testing.T, err error, reason string) gateway.MessageID {
	t.Helper()
	e, ok := errors.AsType[*gateway.Error](err)
	if !ok || e.Code != gateway.CodeAckTimeout || e.Reason != reason || e.MessageID == "" {
		t.Fatalf("%v, want an ack timeout for %s that names the message", err, reason)
	}
	return e.MessageID
}

func wantUnknown(t *testing.T, g *gateway.Gateway, id gateway.MessageID, reason string) {
	t.Helper()
	m, err := g.Message(id)
	if err != nil || !m.Online || !m.Completed() {
		t.Fatalf("%+v, %v, want a completed online message", m, err)
	}
	if d, err := g.Delivery(id, m.Client); err != nil || d.State != gateway.Unknown || d.Reason != reason {
		t.Errorf("the delivery is %v for %q, %v, want unknown for %q", d.State, d.Reason, err, reason)
	}
}

// The frame leaves once, and repeats get the outcome, during the first call's wait and
// after it.
func TestOnlinePushWithAKeyIsSentOnce(t *testing.T) {
	bubble(t, gateway.Config{}, func(t *testing.T, g *gateway.Gateway) {
		l := gatewaytest.Connect(t, g, "a", gatewaytest.Options{React: gatewaytest.FlushOnly})
		type answer struct {
			r   gateway.OnlineResult
			err error
		}
		answers := make(chan answer, 3)
		push := func() { r, err := once(g, "a", 10*time.Second); answers <- answer{r, err} }
		go push()
		synctest.Wait()
		wantTexts(t, l, "x")
		first := l.Transmissions()[0]
		if m, err := g.Message(first.Message); err != nil || m.Completed() || m.Counts.Queued != 1 || !m.Online {
			t.Errorf("under way: %+v, %v, want it stored and not completed", m, err)
		}
		if _, err := g.Cancel(t.Context(), first.Message); gateway.CodeOf(err) != gateway.CodeAlreadyFinal || !strings.Contains(err.Error(), "cannot be canceled") {
			t.Errorf("a cancel under way: %v, want that it cannot be canceled", err)
		}
		go push()
		go push()
		synctest.Wait()
		l.Ack(first, gateway.AckOK, []byte("done"))
		replayed := 0
		for range 3 {
			a := <-answers
			if a.err != nil || a.r.Message != first.Message || a.r.State != gateway.Acked || string(a.r.Result) != "done" || a.r.CreatedAt.IsZero() {
				t.Errorf("answered %+v, %v", a.r, a.err)
			}
			if a.r.Replayed {
				replayed++
			}
		}
		if replayed != 2 {
			t.Errorf("%d answers were replayed, want 2", replayed)
		}
		l.Disconnect(gateway.ReasonClientClosed)
		if r, err := once(g, "a", time.Second); err != nil || !r.Replayed || string(r.Result) != "done" {
			t.Errorf("later, offline: %+v, %v, want the outcome", r, err)
		}
		wantTexts(t, l, "x")
	})
}

// A key that was used in one mode is refused in the other.
func TestOnlineKeyBelongsToItsMode(t *testing.T) {
	bubble(t, gateway.Config{}, func(t *testing.T, g *gateway.Gateway) {
		gatewaytest.Connect(t, g, "a", gatewaytest.Options{})
		durable := gateway.PushRequest{To: gateway.Audience{Client: "a"}, Payload: []byte("x"), Encoding: gateway.EncodingText, IdempotencyKey: "k"}
		if _, err := once(g, "a", time.Second); err != nil {
			t.Fatal(err)
		}
		if _, err := g.Push(context.Background(), durable); gateway.CodeOf(err) != gateway.CodeIdempotencyMismatch {
			t.Errorf("durable after online: %v", err)
		}
		durable.IdempotencyKey = "k2"
		if _, err := g.Push(context.Background(), durable); err != nil {
			t.Fatal(err)
		}
		r := gateway.OnlineRequest{Client: "a", Payload: []byte("x"), IdempotencyKey: "k2"}
		if _, err := g.PushOnline(context.Background(), r); gateway.CodeOf(err) != gateway.CodeIdempotencyMismatch {
			t.Errorf("online after durable: %v", err)
		}
	})
}

// A call that could not begin keeps no key; one that got no ack is not sent again.
func TestOnlineKeyWithoutAnAck(t *testing.T) {
	bubble(t, gateway.Config{}, func(t *testing.T, g *gateway.Gateway) {
		if _, err := once(g, "a", time.Second); gateway.CodeOf(err) != gateway.CodeClientNotFound {
			t.Errorf("to a stranger: %v", err)
		}
		gatewaytest.Connect(t, g, "a", gatewaytest.Options{}).Disconnect(gateway.ReasonClientClosed)
		if _, err := once(g, "a", time.Second); gateway.CodeOf(err) != gateway.CodeClientOffline {
			t.Errorf("offline: %v", err)
		}
		l := gatewaytest.Connect(t, g, "a", gatewaytest.Options{React: gatewaytest.FlushOnly})
		_, err := once(g, "a", time.Second)
		id := wantAckTimeout(t, err, gateway.ReasonAckTimeout)
		wantUnknown(t, g, id, gateway.ReasonAckTimeout)
		begun := time.Now()
		_, err = once(g, "a", time.Second)
		if again := wantAckTimeout(t, err, gateway.ReasonAckTimeout); again != id || time.Since(begun) != 0 {
			t.Errorf("repeated: %s after %v, want %s at once", again, time.Since(begun), id)
		}
		wantTexts(t, l, "x")

		late := l.Transmissions()[0]
		l.Ack(late, gateway.AckOK, []byte("late"))
		synctest.Wait()
		if r, err := once(g, "a", time.Second); err != nil || string(r.Result) != "late" || r.Message != id {
			t.Errorf("after the late answer: %+v, %v", r, err)
		}
		if d, err := g.Delivery(id, "a"); err != nil || d.State != gateway.Acked || d.SentAt.IsZero() {
			t.Errorf("after the late answer: %+v, %v", d, err)
		}
	})
}

// A connection that ends before the frame is out has sent nothing, and the repeat says so.
func TestOnlineKeyOfAMessageThatWasNotSent(t *testing.T) {
	bubble(t, gateway.Config{}, func(t *testing.T, g *gateway.Gateway) {
		l := gatewaytest.Connect(t, g, "a", gatewaytest.Options{})
		l.SetBusy(true)
		ended := make(chan error)
		go func() { _, err := once(g, "a", 10*time.Second); ended <- err }()
		synctest.Wait()
		l.Disconnect(gateway.ReasonConnectionLost)
		if err := <-ended; gateway.CodeOf(err) != gateway.CodeClientOffline {
			t.Errorf("first: %v", err)
		}
		l = gatewaytest.Connect(t, g, "a", gatewaytest.Options{})
		if _, err := once(g, "a", time.Second); gateway.CodeOf(err) != gateway.CodeClientOffline {
			t.Errorf("repeat: %v", err)
		}
		if n := len(l.Transmissions()); n != 0 {
			t.Errorf("%d frames were sent by a repeat", n)
		}
	})
}

// A gateway that was restarted during the call does not know the outcome, and sends
// nothing.
func TestOnlineKeyAfterARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memstore.New(memstore.Options{})
		defer store.Close()
		a := gateway.Acceptance{ID: "msg_0193f2a0-7c1e-7d3a-9b1f-2f6d1c0a9e11", To: gateway.Audience{Client: "a"}, Payload: []byte("x"),
			Encoding: gateway.EncodingText, CreatedAt: time.Now(), ExpiresAt: time.Now().Add(time.Second), IdempotencyKey: "k", Online: true}
		if _, _, err := store.Register(context.Background(), gateway.Registration{Client: "a", At: time.Now()}); err != nil {
			t.Fatal(err)
		}
		if _, err := store.Accept(context.Background(), a); err != nil { // and then the process was killed
			t.Fatal(err)
		}
		g := gatewaytest.New(t, store, gateway.Config{})
		l := gatewaytest.Connect(t, g, "a", gatewaytest.Options{})
		_, err := once(g, "a", time.Second)
		id := wantAckTimeout(t, err, gateway.ReasonGatewayRestart)
		wantUnknown(t, g, id, gateway.ReasonGatewayRestart)
		if n := len(l.Transmissions()); n != 0 || id != a.ID {
			t.Errorf("%d frames were sent for %s", n, id)
		}
	})
}

// An answer within ten minutes after the end of the call is an event and is kept for ten
// minutes.
func TestLateOnlineAnswer(t *testing.T) {
	bubble(t, gateway.Config{}, func(t *testing.T, g *gateway.Gateway) {
		l := gatewaytest.Connect(t, g, "a", gatewaytest.Options{React: gatewaytest.FlushOnly})
		synctest.Wait()
		sub := g.SubscribeNow()
		call := func() gateway.MessageID {
			_, err := g.PushOnline(context.Background(), gateway.OnlineRequest{Client: "a", Payload: []byte("x"), Wait: time.Second, Owner: "o",
				Metadata: map[string]string{"order": "1"}})
			return wantAckTimeout(t, err, gateway.ReasonAckTimeout)
		}
		id, tooLate := call(), call()
		if _, err := g.Message(id); gateway.CodeOf(err) != gateway.CodeMessageNotFound {
			t.Errorf("before the answer: %v", err)
		}
		time.Sleep(9 * time.Minute)
		l.Ack(l.Transmissions()[0], gateway.AckReject, []byte("no"))
		m, err := g.Message(id)
		if err != nil || m.Client != "a" || m.Owner != "o" || m.Metadata["order"] != "1" || !m.Online || m.Counts.Rejected != 1 ||
			m.Delivery == nil || string(m.Delivery.Result) != "no" || m.Delivery.SentAt.IsZero() {
			t.Errorf("after the answer: %+v, %v", m, err)
		}
		events, err := sub.Next(t.Context(), make([]gateway.Event, 0, 8))
		if err != nil || len(events) != 1 || events[0].Type != gateway.EventMessageRejected || events[0].Message != id || string(events[0].Result) != "no" {
			t.Errorf("events %+v, %v", events, err)
		}
		time.Sleep(2 * time.Minute)
		l.Ack(l.Transmissions()[1], gateway.AckOK, nil)
		if _, err := g.Message(tooLate); gateway.CodeOf(err) != gateway.CodeMessageNotFound {
			t.Errorf("after more than ten minutes: %v", err)
		}
		time.Sleep(9 * time.Minute)
		if _, err := g.Message(id); gateway.CodeOf(err) != gateway.CodeMessageNotFound {
			t.Errorf("kept for longer than ten minutes: %v", err)
		}
	})
}

// withoutEvents has no room in the event log for whoever pushes.
type withoutEvents struct{ gateway.Store }

func (withoutEvents) Accept(context.Context, gateway.Acceptance) (gateway.Receipt, error) {
	return gateway.Receipt{}, &gateway.Error{Code: gateway.CodeEventsFull}
}

// A call with a key that the event log refuses counts as a push that it refuses.
func TestRefusedCallsAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memstore.New(memstore.Options{})
		t.Cleanup(func() { store.Close() })
		g := gatewaytest.New(t, withoutEvents{store}, gateway.Config{})
		gatewaytest.Connect(t, g, "a", gatewaytest.Options{})
		synctest.Wait()
		_, err := g.PushOnline(t.Context(), gateway.OnlineRequest{Client: "a", Wait: time.Second, IdempotencyKey: "k"})
		if got := g.Stats().EventsRefused["push"]; gateway.CodeOf(err) != gateway.CodeEventsFull || got != 1 {
			t.Errorf("%v, and %d pushes count as refused; want 1", err, got)
		}
	})
}
