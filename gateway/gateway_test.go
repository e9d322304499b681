package gateway_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine/memstore"
	"github.com/longwire/longwire/internal/gatewaytest"
)

// bubble runs a test in virtual time with a gateway over the in-memory store.
func bubble(t *testing.T, cfg gateway.Config, f func(t *testing.T, g *gateway.Gateway)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		store := memstore.New(memstore.Options{})
		t.Cleanup(func() { store.Close() })
		f(t, gatewaytest.New(t, store, cfg))
	})
}

func push(t *testing.T, g *gateway.Gateway, id gateway.ClientID, text string) gateway.Message {
	t.Helper()
	rec, err := g.Push(context.Background(), gateway.PushRequest{
		To: gateway.Audience{Client: id}, Payload: []byte(text), Encoding: gateway.EncodingText})
	if err != nil {
		t.Fatalf("push %q to %s: %v", text, id, err)
	}
	return rec.Message
}

func delivery(t *testing.T, g *gateway.Gateway, id gateway.MessageID, client gateway.ClientID) gateway.Delivery {
	t.Helper()
	d, err := g.Delivery(id, client)
	if err != nil {
		t.Fatalf("delivery %s of %s: %v", client, id, err)
	}
	return d
}

func texts(transmissions []gateway.Transmission) []string {
	var out []string
	for _, p := range transmissions {
		s := string(p.Payload)
		switch {
		case p.Ask:
			s = fmt.Sprintf("%s? %d", s, p.Seq)
		case p.Dup:
			s += " again"
		}
		out = append(out, s)
	}
	return out
}

// wantTexts checks the payloads that the device has received so far.
func wantTexts(t *testing.T, l *gatewaytest.Link, want ...string) {
	t.Helper()
	synctest.Wait()
	if got := texts(l.Transmissions()); !slices.Equal(got, want) {
		t.Fatalf("the device got %q, want %q", got, want)
	}
}

func wantState(t *testing.T, g *gateway.Gateway, m gateway.Message, want gateway.State, attempts int) gateway.Delivery {
	t.Helper()
	d := delivery(t, g, m.ID, m.Client)
	if d.State != want || d.Attempts != attempts {
		t.Fatalf("delivery is %s after %d attempts (%s), want %s after %d", d.State, d.Attempts, d.Reason, want, attempts)
	}
	return d
}

func TestPushIsAcked(t *testing.T) {
	bubble(t, gateway.Config{}, func(t *testing.T, g *gateway.Gateway) {
		l := gatewaytest.Connect(t, g, "truck-17", gatewaytest.Options{React: func(l *gatewaytest.Link, p gateway.Transmission) {
			l.Sent(p)
			time.Sleep(40 * time.Millisecond) // the device's work, in virtual time
			l.Ack(p, gateway.AckOK, []byte("locked"))
		}})
		rec, err := g.PushAndAwait(context.Background(), gateway.PushRequest{
			To: gateway.Audience{Client: "truck-17"}, Payload: []byte("lock")}, 5*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if !rec.Message.Completed() || rec.Message.Counts.Acked != 1 {
			t.Fatalf("counts %+v, want one acked", rec.Message.Counts)
		}
		d := wantState(t, g, rec.Message, gateway.Acked, 1)
		if string(d.Result) != "locked" || d.SentAt.IsZero() || d.FinalAt.Sub(d.SentAt) != 40*time.Millisecond {
			t.Errorf("result %q after %v, want locked after 40ms", d.Result, d.FinalAt.Sub(d.SentAt))
		}
		wantTexts(t, l, "lock")
	})
}

func TestSentMeansFlushed(t *testing.T) {
	bubble(t, gateway.Config{}, func(t *testing.T, g *gateway.Gateway) {
		l := gatewaytest.Connect(t, g, "a", gatewaytest.Options{React: func(*gatewaytest.Link, gateway.Transmission) {}})
		m := push(t, g, "a", "one")
		synctest.Wait()
		wantState(t, g, m, gateway.Queued, 0)
		l.Sent(l.Transmissions()[0])
		wantState(t, g, m, gateway.Sent, 1)
		if got, _ := g.Message(m.ID); got.Counts.Sent != 1 || got.Counts.Queued != 0 {
			t.Errorf("counts %+v, want one sent", got.Counts)
		}
		l.Disconnect(gateway.ReasonConnectionLost)
		wantState(t, g, m, gateway.Queued, 1)
	})
}

func TestQueueDrainsInOrderWhenTheClientComesBack(t *testing.T) {
	bubble(t, gateway.Config{}, func(t *testing.T, g *gateway.Gateway) {
		l := gatewaytest.Connect(t, g, "a", gatewaytest.Options{})
		l.Disconnect(gateway.ReasonClientClosed)
		var want []string
		for i := range 100 {
			text := fmt.Sprint(i)
			push(t, g, "a", text)
			want = append(want, text)
		}
		l = gatewaytest.Connect(t, g, "a", gatewaytest.Options{Window: 3})
		synctest.Wait()
		wantTexts(t, l, want...)
	})
}

func TestWindowIsKept(t *testing.T) {
	bubble(t, gateway.Config{}, func(t *testing.T, g *gateway.Gateway) {
		l := gatewaytest.Connect(t, g, "a", gatewaytest.Options{Window: 2, React: gatewaytest.FlushOnly})
		for i := range 5 {
			push(t, g, "a", fmt.Sprint(i))
		}
		synctest.Wait()
		wantTexts(t, l, "0", "1")
		l.Ack(l.Transmissions()[1], gateway.AckOK, nil)
		synctest.Wait()
		wantTexts(t, l, "0", "1", "2")
	})
}

func TestAckTimeoutRepeatsUntilAttemptsAreUsedUp(t *testing.T) {
	bubble(t, gateway.Config{MaxAttempts: 3}, func(t *testing.T, g *gateway.Gateway) {
		l := gatewaytest.Connect(t, g, "a", gatewaytest.Options{React: gatewaytest.FlushOnly})
		m := push(t, g, "a", "x")
		for range 3 {
			synctest.Wait()
			l.Session.AckTimeout(l.Transmissions()[0].Seq, false)
		}
		synctest.Wait()
		wantTexts(t, l, "x", "x again", "x again")
		time.Sleep(time.Second) // outcomes without a waiting caller may be written later
		d := wantState(t, g, m, gateway.Failed, 3)
		if d.Reason != gateway.ReasonAttemptsUsedUp {
			t.Errorf("reason %q", d.Reason)
		}
		if len(l.Forgotten()) == 0 {
			t.Error("the link still times a delivery that has failed")
		}
		if n := g.Stats().InFlight; n != 0 {
			t.Errorf("%d deliveries are counted as in flight", n)
		}
		// An ack that comes now is kept, and changes nothing.
		l.Ack(l.Transmissions()[0], gateway.AckOK, []byte("late"))
		time.Sleep(time.Second)
		d = wantState(t, g, m, gateway.Failed, 3)
		if string(d.LateResult) != "late" || d.LateAckAt.IsZero() {
			t.Errorf("late ack %q at %v is not kept", d.LateResult, d.LateAckAt)
		}
	})
}

func TestAttemptsGoOnCountingOverReconnects(t *testing.T) {
	bubble(t, gateway.Config{MaxAttempts: 2}, func(t *testing.T, g *gateway.Gateway) {
		var m gateway.Message
		for i := range 3 {
			l := gatewaytest.Connect(t, g, "a", gatewaytest.Options{React: gatewaytest.FlushOnly})
			if i == 0 {
				m = push(t, g, "a", "x")
			}
			synctest.Wait()
			switch i {
			case 0:
				wantTexts(t, l, "x")
			case 1:
				wantTexts(t, l, "x again")
			case 2:
				wantTexts(t, l)
			}
			l.Disconnect(gateway.ReasonConnectionLost)
		}
		time.Sleep(time.Second)
		wantState(t, g, m, gateway.Failed, 2)
	})
}

func TestRetryLaterKeepsAWindowOfOneStrict(t *testing.T) {
	bubble(t, gateway.Config{}, func(t *testing.T, g *gateway.Gateway) {
		said := false
		l := gatewaytest.Connect(t, g, "a", gatewaytest.Options{Window: 1, React: func(l *gatewaytest.Link, p gateway.Transmission) {
			l.Sent(p)
			if !said {
				said = true
				l.Ack(p, gateway.AckRetry, nil)
				return
			}
			l.Ack(p, gateway.AckOK, nil)
		}})
		push(t, g, "a", "first")
		push(t, g, "a", "second")
		synctest.Wait()
		wantTexts(t, l, "first")
		time.Sleep(3 * time.Second)
		synctest.Wait()
		wantTexts(t, l, "first", "first again", "second")
	})
}

func TestRejectIsFinal(t *testing.T) {
	bubble(t, gateway.Config{}, func(t *testing.T, g *gateway.Gateway) {
		gatewaytest.Connect(t, g, "a", gatewaytest.Options{React: func(l *gatewaytest.Link, p gateway.Transmission) {
			l.Sent(p)
			l.Ack(p, gateway.AckReject, []byte("door open"))
		}})
		m := push(t, g, "a", "lock")
		time.Sleep(time.Second)
		d := wantState(t, g, m, gateway.Rejected, 1)
		if string(d.Result) != "door open" || d.Reason != gateway.ReasonDeviceRejected {
			t.Errorf("result %q, reason %q", d.Result, d.Reason)
		}
	})
}

func TestExpiryAtTheSecondAndNotBefore(t *testing.T) {
	bubble(t, gateway.Config{}, func(t *testing.T, g *gateway.Gateway) {
		l := gatewaytest.Connect(t, g, "a", gatewaytest.Options{React: gatewaytest.FlushOnly})
		rec, err := g.Push(context.Background(), gateway.PushRequest{To: gateway.Audience{Client: "a"}, Payload: []byte("x"), TTL: 5 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(5*time.Second - time.Millisecond)
		wantState(t, g, rec.Message, gateway.Sent, 1)
		time.Sleep(2 * time.Second)
		wantState(t, g, rec.Message, gateway.Expired, 1)
		if got := len(l.Forgotten()); got == 0 {
			t.Error("the expired delivery still holds its place in the window")
		}
		l.Disconnect(gateway.ReasonClientClosed)
		l = gatewaytest.Connect(t, g, "a", gatewaytest.Options{})
		synctest.Wait()
		wantTexts(t, l)
	})
}

// The first answer may be lost: its repeat must not read like a refusal.
func TestARepeatIsNotTooLargeForALaterConnection(t *testing.T) {
	bubble(t, gateway.Config{}, func(t *testing.T, g *gateway.Gateway) {
		gatewaytest.Connect(t, g, "a", gatewaytest.Options{}).Disconnect(gateway.ReasonClientClosed)
		r := gateway.PushRequest{To: gateway.Audience{Client: "a"}, Payload: []byte("12345"), IdempotencyKey: "order-7", Fingerprint: [32]byte{1}}
		first, err := g.Push(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		gatewaytest.Connect(t, g, "a", gatewaytest.Options{Max: 4, Window: 1, React: gatewaytest.FlushOnly})
		if again, err := g.Push(t.Context(), r); err != nil || !again.Replayed || again.Message.ID != first.Message.ID {
			t.Errorf("the repeat: %+v, %v", again, err)
		}
		r.Fingerprint[0]++
		if _, err := g.Push(t.Context(), r); gateway.CodeOf(err) != gateway.CodeIdempotencyMismatch {
			t.Errorf("another request with the key: %v", err)
		}
		r.IdempotencyKey = "order-8"
		if _, err := g.Push(t.Context(), r); gateway.CodeOf(err) != gateway.CodePayloadTooLarge {
			t.Errorf("a new request: %v", err)
		}
	})
}

func TestTooLargeForTheDialect(t *testing.T) {
	bubble(t, gateway.Config{}, func(t *testing.T, g *gateway.Gateway) {
		l := gatewaytest.Connect(t, g, "seed", gatewaytest.Options{Max: 4})
		_, err := g.Push(context.Background(), gateway.PushRequest{To: gateway.Audience{Client: "seed"}, Payload: []byte("12345")})
		if gateway.CodeOf(err) != gateway.CodePayloadTooLarge {
			t.Fatalf("push to a connected client: %v", err)
		}
		l.Disconnect(gateway.ReasonClientClosed)
		m := push(t, g, "seed", "12345")
		next := push(t, g, "seed", "1234")
		l = gatewaytest.Connect(t, g, "seed", gatewaytest.Options{Max: 4})
		time.Sleep(time.Second)
		if d := wantState(t, g, m, gateway.Rejected, 0); d.Reason != gateway.ReasonTooLargeForProtocol {
			t.Errorf("reason %q", d.Reason)
		}
		wantState(t, g, next, gateway.Acked, 1)
		wantTexts(t, l, "1234")
	})
}

// A link may have flushed a payload that it has not reported when another connection
// takes over: the device may have it.
func TestAPayloadThatWasOnItsWayAtATakeoverMayHaveArrived(t *testing.T) {
	bubble(t, gateway.Config{}, func(t *testing.T, g *gateway.Gateway) {
		unreported := gatewaytest.Options{React: func(*gatewaytest.Link, gateway.Transmission) {}}
		gatewaytest.Connect(t, g, "a", unreported)
		gatewaytest.Connect(t, g, "b", unreported)
		m := push(t, g, "a", "12345")
		push(t, g, "b", "12345")
		synctest.Wait()

		gatewaytest.Connect(t, g, "a", gatewaytest.Options{Max: 4})
		again := gatewaytest.Connect(t, g, "b", gatewaytest.Options{})
		time.Sleep(time.Second)
		if d := wantState(t, g, m, gateway.Failed, 0); d.Reason != gateway.ReasonTooLargeForProtocol {
			t.Errorf("reason %q", d.Reason)
		}
		if p := again.Transmissions(); len(p) != 1 || !p[0].Dup {
			t.Errorf("repeat %+v, want one with DUP", p)
		}
	})
}

// Nobody knows whether such a payload has left, unless its link still reports it.
func TestWhetherAPayloadOnItsWayWasSentIsNotKnown(t *testing.T) {
	for _, reported := range []bool{false, true} {
		bubble(t, gateway.Config{}, func(t *testing.T, g *gateway.Gateway) {
			old := gatewaytest.Connect(t, g, "a", gatewaytest.Options{React: func(*gatewaytest.Link, gateway.Transmission) {}})
			rec, err := g.Push(context.Background(), gateway.PushRequest{
				To: gateway.Audience{Client: "a"}, Payload: []byte("12345"), TTL: time.Second})
			if err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			busy := gatewaytest.NewLink(gatewaytest.Options{})
			busy.SetBusy(true)
			s, _, err := g.Connect(context.Background(), gateway.Hello{Client: "a"}, busy)
			if err != nil {
				t.Fatal(err)
			}
			s.Start()
			if reported {
				old.Sent(old.Transmissions()[0])
			}
			time.Sleep(2 * time.Second)
			attempts := 0
			if reported {
				attempts = 1
			}
			d := wantState(t, g, rec.Message, gateway.Expired, attempts)
			if sent := g.TransmissionsOf(&d); sent.Known != reported || sent.SentAt.IsZero() == reported {
				t.Errorf("reported %v: transmissions %+v", reported, sent)
			}
			s.Closed(gateway.ReasonConnectionLost)
		})
	}
}

// A link that has not lost its connection writes its output after the end of the session.
func TestAPayloadInTheLastOutputMayHaveArrived(t *testing.T) {
	for _, reason := range []string{gateway.ReasonKicked, gateway.ReasonClientClosed, gateway.ReasonHungUp} {
		bubble(t, gateway.Config{}, func(t *testing.T, g *gateway.Gateway) {
			l := gatewaytest.Connect(t, g, "a", gatewaytest.Options{React: func(*gatewaytest.Link, gateway.Transmission) {}})
			m := push(t, g, "a", "x")
			synctest.Wait()
			l.Disconnect(reason)
			d, err := g.Delivery(m.ID, "a")
			if err != nil {
				t.Fatal(err)
			}
			if st := g.Standing(&d); !st.MayHaveLeft || st.Live {
				t.Errorf("after %s: %+v, want that it may have left", reason, st)
			}
			again := gatewaytest.Connect(t, g, "a", gatewaytest.Options{})
			synctest.Wait()
			if p := again.Transmissions(); len(p) != 1 || !p[0].Dup {
				t.Errorf("after %s: transmissions %+v, want one with DUP", reason, p)
			}
		})
	}
}

// A link that has lost its connection has reported every payload that it had flushed.
func TestAPayloadThatNeverLeftIsNoRepeat(t *testing.T) {
	bubble(t, gateway.Config{}, func(t *testing.T, g *gateway.Gateway) {
		l := gatewaytest.Connect(t, g, "a", gatewaytest.Options{React: func(*gatewaytest.Link, gateway.Transmission) {}})
		push(t, g, "a", "x")
		synctest.Wait()
		l.Disconnect(gateway.ReasonConnectionLost)
		again := gatewaytest.Connect(t, g, "a", gatewaytest.Options{})
		synctest.Wait()
		if p := again.Transmissions(); len(p) != 1 || p[0].Dup {
			t.Errorf("transmissions %+v, want one without DUP", p)
		}
	})
}

func TestCancelWithdraws(t *testing.T) {
	bubble(t, gateway.Config{}, func(t *testing.T, g *gateway.Gateway) {
		l := gatewaytest.Connect(t, g, "a", gatewaytest.Options{Window: 1, React: gatewaytest.FlushOnly})
		m, next := push(t, g, "a", "1"), push(t, g, "a", "2")
		synctest.Wait()
		if _, err := g.Cancel(context.Background(), m.ID); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		wantState(t, g, m, gateway.Canceled, 1)
		wantTexts(t, l, "1", "2")
		if _, err := g.Cancel(context.Background(), m.ID); gateway.CodeOf(err) != gateway.CodeAlreadyFinal {
			t.Errorf("second cancel: %v", err)
		}
		_ = next
	})
}

func TestBusyLinkIsTriedAgain(t *testing.T) {
	bubble(t, gateway.Config{}, func(t *testing.T, g *gateway.Gateway) {
		l := gatewaytest.Connect(t, g, "a", gatewaytest.Options{})
		l.SetBusy(true)
		push(t, g, "a", "1")
		push(t, g, "a", "2")
		synctest.Wait()
		wantTexts(t, l)
		l.SetBusy(false)
		synctest.Wait()
		wantTexts(t, l, "1", "2")
	})
}

func TestTakeoverWithGrowingDelay(t *testing.T) {
	bubble(t, gateway.Config{}, func(t *testing.T, g *gateway.Gateway) {
		sub := g.SubscribeNow()
		old := gatewaytest.Connect(t, g, "a", gatewaytest.Options{React: gatewaytest.FlushOnly})
		m := push(t, g, "a", "x")
		synctest.Wait()
		var last time.Duration
		for range 6 {
			next := gatewaytest.Connect(t, g, "a", gatewaytest.Options{React: gatewaytest.FlushOnly})
			synctest.Wait()
			closes := old.Closes()
			if len(closes) != 1 || closes[0].Code != gateway.CloseReplaced {
				t.Fatalf("the old connection was told %+v", closes)
			}
			if d := closes[0].RetryAfter; d <= last/2 {
				t.Errorf("retry after %v, after %v before", d, last)
			} else {
				last = d
			}
			wantTexts(t, next, "x again")
			old = next
		}
		if last < 30*time.Second {
			t.Errorf("six quick takeovers lead to a delay of only %v", last)
		}
		if s := g.Stats(); s.Connects != 7 || s.Takeovers != 6 || s.Connects != s.Disconnects+uint64(s.Online) {
			t.Errorf("%d registrations with %d takeovers, %d ends and %d online; want 7, 6, 6 and 1", s.Connects, s.Takeovers, s.Disconnects, s.Online)
		}
		// The device's verdict on the replaced connection is still true.
		old.Ack(old.Transmissions()[0], gateway.AckOK, nil)
		time.Sleep(time.Second)
		wantState(t, g, m, gateway.Acked, 7)

		events, err := sub.Next(context.Background(), make([]gateway.Event, 0, 100))
		if err != nil {
			t.Fatal(err)
		}
		var types []gateway.EventType
		for _, e := range events {
			types = append(types, e.Type)
		}
		want := append([]gateway.EventType{gateway.EventClientConnected}, slices.Repeat([]gateway.EventType{gateway.EventClientReplaced}, 6)...)
		want = append(want, gateway.EventMessageAcked)
		if !slices.Equal(types, want) {
			t.Errorf("events %v, want %v", types, want)
		}
	})
}

// A twin is refused if the device that has the id is still there. One that has lost its
// network comes back before the gateway misses it, and must not be asked to stay away.
func TestRejectTwins(t *testing.T) {
	endsAfter := func(d time.Duration) func(*gatewaytest.Link) bool {
		return func(l *gatewaytest.Link) bool {
			time.AfterFunc(d, func() { l.Disconnect(gateway.ReasonHeartbeatTimeout) })
			return true
		}
	}
	for name, tc := range map[string]struct {
		holder func(*gatewaytest.Link) bool
		code   gateway.Code
		after  time.Duration
	}{
		"it answers":             {attentive, gateway.CodeIDInUse, 0},
		"it cannot be asked":     {nil, gateway.CodeUnavailable, gateway.ProbeTime},
		"it speaks unasked":      {func(l *gatewaytest.Link) bool { time.AfterFunc(time.Second, l.Speak); return false }, gateway.CodeIDInUse, gateway.ProbeTime},
		"it is given up":         {endsAfter(time.Second), "", time.Second},
		"it still has the grace": {endsAfter(2 * time.Second), gateway.CodeUnavailable, gateway.ProbeTime},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, gateway.Config{RejectTwins: true}, func(t *testing.T, g *gateway.Gateway) {
				l := gatewaytest.Connect(t, g, "a", gatewaytest.Options{Probe: tc.holder})
				time.Sleep(time.Second)
				began := time.Now()
				_, err := gatewaytest.TryConnect(t, g, "a", gatewaytest.Options{})
				if took := time.Since(began); gateway.CodeOf(err) != tc.code || took != tc.after {
					t.Errorf("a twin: %v after %v, want %q after %v", err, took, tc.code, tc.after)
				}
				if n := len(g.Claims("a")); (n > 0) != (tc.code == gateway.CodeIDInUse) {
					t.Errorf("%d claims of the id", n)
				}
				if tc.code == gateway.CodeUnavailable && tc.holder != nil {
					time.Sleep(time.Second)
					gatewaytest.Connect(t, g, "a", gatewaytest.Options{})
				}
				if len(l.Closes()) != 0 {
					t.Error("the first connection was closed")
				}
			})
		})
	}
}

// Registrations that wait for an answer leave room for others.
func TestFewRegistrationsWaitForTheDeviceWithTheirID(t *testing.T) {
	bubble(t, gateway.Config{RejectTwins: true}, func(t *testing.T, g *gateway.Gateway) {
		gatewaytest.Connect(t, g, "a", gatewaytest.Options{Probe: mute})
		var waiting sync.WaitGroup
		for range 256 {
			waiting.Go(func() { gatewaytest.TryConnect(t, g, "a", gatewaytest.Options{}) })
		}
		synctest.Wait()
		began := time.Now()
		_, err := gatewaytest.TryConnect(t, g, "a", gatewaytest.Options{})
		if took := time.Since(began); gateway.CodeOf(err) != gateway.CodeUnavailable || took != 0 {
			t.Errorf("one more: %v after %v, want CodeUnavailable at once", err, took)
		}
		waiting.Wait()
	})
}

func TestDisconnectBlockPurge(t *testing.T) {
	bubble(t, gateway.Config{}, func(t *testing.T, g *gateway.Gateway) {
		l := gatewaytest.Connect(t, g, "a", gatewaytest.Options{React: gatewaytest.FlushOnly})
		m := push(t, g, "a", "x")
		synctest.Wait()
		if err := g.Disconnect(context.Background(), "a", gateway.DisconnectOptions{Block: 10 * time.Minute, Purge: true}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if c := l.Closes(); len(c) != 1 || c[0].Code != gateway.CloseKicked {
			t.Errorf("closes %+v", c)
		}
		if g.Online("a") {
			t.Error("still online")
		}
		if d := wantState(t, g, m, gateway.Canceled, 1); d.Reason != gateway.ReasonPurged {
			t.Errorf("reason %q", d.Reason)
		}
		time.Sleep(10*time.Minute - 2*time.Millisecond)
		_, _, err := g.Connect(context.Background(), gateway.Hello{Client: "a"}, gatewaytest.NewLink(gatewaytest.Options{}))
		if gateway.CodeOf(err) != gateway.CodeBlocked {
			t.Errorf("came back early: %v", err)
		}
		time.Sleep(3 * time.Millisecond)
		gatewaytest.Connect(t, g, "a", gatewaytest.Options{})
	})
}

func TestADisconnectedClientIsOfflineWhenTheCallReturns(t *testing.T) {
	for _, o := range []gateway.DisconnectOptions{{}, {Block: time.Minute}, {Purge: true}} {
		bubble(t, gateway.Config{}, func(t *testing.T, g *gateway.Gateway) {
			gatewaytest.Connect(t, g, "a", gatewaytest.Options{})
			if err := g.Disconnect(context.Background(), "a", o); err != nil {
				t.Fatal(err)
			}
			page, err := g.Clients(gateway.ClientSelection{Status: gateway.StatusOnline})
			c, err2 := g.Client("a")
			if err != nil || err2 != nil || c.Online || len(page.Items) != 0 || g.Online("a") {
				t.Errorf("%+v: online %v, listed %d, %v, %v; want offline", o, c.Online, len(page.Items), err, err2)
			}
			if c.LastClose != gateway.ReasonKicked {
				t.Errorf("%+v: last close %q, want kicked", o, c.LastClose)
			}
			synctest.Wait() // the link reports the end, too
			if got := g.Stats().Disconnects; got != 1 {
				t.Errorf("%+v: %d disconnects are counted, want 1", o, got)
			}
		})
	}
}

// A link whose turn takes long does not keep the client online.
func TestADisconnectedClientIsOfflineAlthoughItsLinkHangs(t *testing.T) {
	bubble(t, gateway.Config{}, func(t *testing.T, g *gateway.Gateway) {
		s, _, err := g.Connect(context.Background(), gateway.Hello{Client: "a"}, hangingLink{gatewaytest.NewLink(gatewaytest.Options{})})
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if err := g.Disconnect(context.Background(), "a", gateway.DisconnectOptions{}); err != nil || g.Online("a") {
			t.Errorf("disconnect: %v, online %v; want offline", err, g.Online("a"))
		}
		if d := time.Since(began); d != time.Second {
			t.Errorf("disconnect took %v, want 1s", d)
		}
		s.Closed(gateway.ReasonKicked)
		if got := g.Stats().Disconnects; got != 1 {
			t.Errorf("%d disconnects are counted, want 1", got)
		}
	})
}

// hangingLink does not report its end.
type hangingLink struct{ *gatewaytest.Link }

func (hangingLink) Close(gateway.Close) {}

func TestForget(t *testing.T) {
	bubble(t, gateway.Config{}, func(t *testing.T, g *gateway.Gateway) {
		l := gatewaytest.Connect(t, g, "a", gatewaytest.Options{React: gatewaytest.FlushOnly})
		m := push(t, g, "a", "x")
		synctest.Wait()
		n, err := g.Forget(context.Background(), "a")
		if n != 1 || err != nil {
			t.Fatalf("canceled %d, %v; want 1", n, err)
		}
		synctest.Wait()
		if c := l.Closes(); len(c) != 1 || c[0].Code != gateway.CloseKicked {
			t.Errorf("closes %+v", c)
		}
		if _, err := g.Client("a"); gateway.CodeOf(err) != gateway.CodeClientNotFound || g.Online("a") {
			t.Errorf("the client: %v, online %v", err, g.Online("a"))
		}
		if d := wantState(t, g, m, gateway.Canceled, 1); d.Reason != gateway.ReasonClientForgotten {
			t.Errorf("reason %q", d.Reason)
		}
		l.Ack(l.Transmissions()[0], gateway.AckOK, nil) // it was on its way
		synctest.Wait()
		if d := wantState(t, g, m, gateway.Canceled, 1); !d.LateAckAt.IsZero() {
			t.Errorf("a late ack of a forgotten client is kept")
		}
		if got := g.Stats().Settled[gateway.Canceled]; got != 1 {
			t.Errorf("%d canceled are counted, want 1", got)
		}

		// It comes back as a new client, whose session the old events do not concern.
		back := gatewaytest.Connect(t, g, "a", gatewaytest.Options{})
		synctest.Wait()
		if len(back.Closes()) != 0 || len(back.Transmissions()) != 0 || !g.Online("a") {
			t.Errorf("the new client has %d transmissions, closes %+v", len(back.Transmissions()), back.Closes())
		}
		if _, err := g.Forget(context.Background(), "nobody"); gateway.CodeOf(err) != gateway.CodeClientNotFound {
			t.Errorf("a stranger: %v", err)
		}
	})
}

// Whatever order registrations and forgetting come in, a client that is online is known,
// and its session is the one of its record.
func TestForgetWhileItRegisters(t *testing.T) {
	bubble(t, gateway.Config{}, func(t *testing.T, g *gateway.Gateway) {
		var running sync.WaitGroup
		for range 4 {
			running.Go(func() {
				for range 50 {
					if _, err := gatewaytest.TryConnect(t, g, "a", gatewaytest.Options{}); err != nil && !errors.Is(err, gateway.ErrOvertaken) {
						t.Error(err)
					}
				}
			})
			running.Go(func() {
				for range 50 {
					if _, err := g.Forget(context.Background(), "a"); err != nil && gateway.CodeOf(err) != gateway.CodeClientNotFound {
						t.Error(err)
					}
				}
			})
		}
		running.Wait()
		synctest.Wait()
		c, err := g.Client("a")
		if (err == nil) != g.Online("a") {
			t.Errorf("online is %v, and the client: %+v, %v", g.Online("a"), c, err)
		}
	})
}

func TestDrain(t *testing.T) {
	bubble(t, gateway.Config{}, func(t *testing.T, g *gateway.Gateway) {
		l := gatewaytest.Connect(t, g, "a", gatewaytest.Options{React: gatewaytest.FlushOnly})
		m := push(t, g, "a", "x")
		synctest.Wait()
		g.Drain()
		if err := g.Ready(); gateway.CodeOf(err) != gateway.CodeDraining {
			t.Errorf("ready: %v", err)
		}
		_, err := g.Push(context.Background(), gateway.PushRequest{To: gateway.Audience{Client: "a"}})
		if gateway.CodeOf(err) != gateway.CodeDraining {
			t.Errorf("push: %v", err)
		}
		l.Ack(l.Transmissions()[0], gateway.AckOK, nil)
		time.Sleep(time.Second)
		wantState(t, g, m, gateway.Acked, 1)
	})
}

func TestBounds(t *testing.T) {
	bubble(t, gateway.Config{}, func(t *testing.T, g *gateway.Gateway) {
		gatewaytest.Connect(t, g, "a", gatewaytest.Options{})
		to := gateway.Audience{Client: "a"}
		for name, tc := range map[string]struct {
			r    gateway.PushRequest
			want gateway.Code
		}{
			"largest payload":    {gateway.PushRequest{To: to, Payload: make([]byte, gateway.MaxPayload)}, ""},
			"payload":            {gateway.PushRequest{To: to, Payload: make([]byte, gateway.MaxPayload+1)}, gateway.CodePayloadTooLarge},
			"shortest ttl":       {gateway.PushRequest{To: to, TTL: gateway.MinTTL}, ""},
			"longest ttl":        {gateway.PushRequest{To: to, TTL: gateway.MaxTTL}, ""},
			"ttl too short":      {gateway.PushRequest{To: to, TTL: gateway.MinTTL - 1}, gateway.CodeValidation},
			"ttl too long":       {gateway.PushRequest{To: to, TTL: gateway.MaxTTL + 1}, gateway.CodeValidation},
			"negative ttl":       {gateway.PushRequest{To: to, TTL: -1}, gateway.CodeValidation},
			"nobody":             {gateway.PushRequest{}, gateway.CodeValidation},
			"two audiences":      {gateway.PushRequest{To: gateway.Audience{Client: "a", All: true}}, gateway.CodeValidation},
			"bad id":             {gateway.PushRequest{To: gateway.Audience{Client: "a b"}}, gateway.CodeValidation},
			"bad id in a list":   {gateway.PushRequest{To: gateway.Audience{Clients: []gateway.ClientID{"a", ""}}}, gateway.CodeValidation},
			"too many":           {gateway.PushRequest{To: gateway.Audience{Clients: make([]gateway.ClientID, gateway.MaxClientsInTo+1)}}, gateway.CodeValidation},
			"unknown client":     {gateway.PushRequest{To: gateway.Audience{Client: "nobody"}}, gateway.CodeClientNotFound},
			"unknown but queued": {gateway.PushRequest{To: gateway.Audience{Client: "later"}, QueueUnknown: true}, ""},
		} {
			_, err := g.Push(context.Background(), tc.r)
			if got := gateway.CodeOf(err); got != tc.want || (err != nil) != (tc.want != "") {
				t.Errorf("%s: %v, want %q", name, err, tc.want)
			}
		}
	})
}
