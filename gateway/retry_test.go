package gateway_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/gatewaytest"
)

// answers is a device that gives one answer after the other, the last one for
// ever, and never answers with silence.
func answers(codes ...gateway.AckCode) func(*gatewaytest.Link, gateway.Transmission) {
	return func(l *gatewaytest.Link, p gateway.Transmission) {
		l.Sent(p)
		code := codes[0]
		if len(codes) > 1 {
			codes = codes[1:]
		}
		if code != silence {
			l.Ack(p, code, nil)
		}
	}
}

const silence gateway.AckCode = 255

func pushFor(t *testing.T, g *gateway.Gateway, id gateway.ClientID, text string, ttl time.Duration) gateway.Message {
	t.Helper()
	rec, err := g.Push(context.Background(), gateway.PushRequest{To: gateway.Audience{Client: id}, Payload: []byte(text), TTL: ttl})
	if err != nil {
		t.Fatal(err)
	}
	return rec.Message
}

func TestRetryLaterComesAgainUntilTheTimeToLiveEnds(t *testing.T) {
	bubble(t, gateway.Config{MaxAttempts: 2}, func(t *testing.T, g *gateway.Gateway) {
		var at []time.Time
		later := answers(gateway.AckRetry)
		l := gatewaytest.Connect(t, g, "lock", gatewaytest.Options{React: func(l *gatewaytest.Link, p gateway.Transmission) {
			at = append(at, time.Now())
			later(l, p)
		}})
		m := pushFor(t, g, "lock", "lock", 3*time.Hour)
		time.Sleep(3*time.Hour - time.Second)
		d := wantState(t, g, m, gateway.Queued, 0)
		if d.Reason != gateway.ReasonRetryLater || !d.SentAt.Equal(at[len(at)-1]) {
			t.Errorf("reason %q and the last transmission at %v, want %q at %v", d.Reason, d.SentAt, gateway.ReasonRetryLater, at[len(at)-1])
		}
		for i := 1; i < len(at); i++ {
			want := min(time.Second<<min(i-1, 6), time.Minute)
			if got := at[i].Sub(at[i-1]); got != want {
				t.Errorf("transmission %d comes %v after the one before, want %v", i, got, want)
			}
		}
		time.Sleep(time.Minute)
		wantState(t, g, m, gateway.Expired, 0)
		sent := len(l.Transmissions())
		time.Sleep(time.Hour)
		if n := len(l.Transmissions()); n != sent {
			t.Errorf("%d transmissions after the end", n-sent)
		}
		if n := g.Stats().RetryLater; n != uint64(sent) {
			t.Errorf("%d answers are counted, want %d", n, sent)
		}
	})
}

func TestRetryLaterUsesUpNoAttempt(t *testing.T) {
	bubble(t, gateway.Config{MaxAttempts: 2}, func(t *testing.T, g *gateway.Gateway) {
		const later = gateway.AckRetry
		l := gatewaytest.Connect(t, g, "a", gatewaytest.Options{React: answers(later, silence, later, later, silence)})
		m := push(t, g, "a", "x")
		synctest.Wait()
		wantState(t, g, m, gateway.Queued, 0)
		time.Sleep(time.Second)
		synctest.Wait()
		wantState(t, g, m, gateway.Sent, 1)
		l.Session.AckTimeout(l.Transmissions()[0].Seq, false)
		synctest.Wait()
		wantState(t, g, m, gateway.Queued, 1)
		time.Sleep(10 * time.Second)
		wantState(t, g, m, gateway.Sent, 2)
		l.Session.AckTimeout(l.Transmissions()[0].Seq, false)
		time.Sleep(time.Second)
		wantState(t, g, m, gateway.Failed, 2)
		wantTexts(t, l, "x", "x again", "x again", "x again", "x again")
	})
}

func TestRetryLaterIsARepeatOnTheNextConnection(t *testing.T) {
	bubble(t, gateway.Config{}, func(t *testing.T, g *gateway.Gateway) {
		l := gatewaytest.Connect(t, g, "a", gatewaytest.Options{React: answers(gateway.AckRetry)})
		m := push(t, g, "a", "x")
		synctest.Wait()
		l.Disconnect(gateway.ReasonConnectionLost)
		wantState(t, g, m, gateway.Queued, 0)
		l = gatewaytest.Connect(t, g, "a", gatewaytest.Options{})
		time.Sleep(time.Second)
		wantTexts(t, l, "x again")
		wantState(t, g, m, gateway.Acked, 1)
	})
}

// Two transmissions may bring two answers. The second one starts no second
// delay, and a verdict that follows counts.
func TestRetryLaterTwiceForTwoTransmissions(t *testing.T) {
	bubble(t, gateway.Config{}, func(t *testing.T, g *gateway.Gateway) {
		l := gatewaytest.Connect(t, g, "a", gatewaytest.Options{React: gatewaytest.FlushOnly})
		m := push(t, g, "a", "x")
		synctest.Wait()
		p := l.Transmissions()[0]
		l.Session.AckTimeout(p.Seq, false)
		synctest.Wait()
		l.Ack(p, gateway.AckRetry, nil)
		l.Ack(p, gateway.AckRetry, nil)
		wantState(t, g, m, gateway.Queued, 1)
		time.Sleep(time.Second)
		wantTexts(t, l, "x", "x again", "x again")
		l.Ack(p, gateway.AckRetry, nil)
		l.Ack(p, gateway.AckOK, nil)
		time.Sleep(time.Minute)
		wantTexts(t, l, "x", "x again", "x again")
		wantState(t, g, m, gateway.Acked, 1)
	})
}

// A waiting delivery keeps its place against first transmissions. An online call
// gets the place at once.
func TestRetryLaterGivesItsPlaceToOnlineCallsOnly(t *testing.T) {
	bubble(t, gateway.Config{}, func(t *testing.T, g *gateway.Gateway) {
		l := gatewaytest.Connect(t, g, "a", gatewaytest.Options{Window: 1, React: answers(gateway.AckRetry, silence, gateway.AckOK)})
		push(t, g, "a", "first")
		push(t, g, "a", "second")
		synctest.Wait()
		start := time.Now()
		if _, err := online(g, "a", "now", 5*time.Second); gateway.CodeOf(err) != gateway.CodeAckTimeout || time.Since(start) != 5*time.Second {
			t.Errorf("the caller is told %v after %v", err, time.Since(start))
		}
		// The call had the only place, so the repeat has waited for it.
		synctest.Wait()
		wantTexts(t, l, "first", "now", "first again", "second")
	})
}

func TestRetryLaterShowsInTheCountsOfAMessageToMany(t *testing.T) {
	bubble(t, gateway.Config{}, func(t *testing.T, g *gateway.Gateway) {
		gatewaytest.Connect(t, g, "a", gatewaytest.Options{React: answers(gateway.AckRetry, silence)})
		gatewaytest.Connect(t, g, "b", gatewaytest.Options{React: gatewaytest.FlushOnly})
		rec, err := g.Push(context.Background(), gateway.PushRequest{To: gateway.Audience{All: true}, Payload: []byte("x")})
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []int{1, 2} {
			synctest.Wait()
			if m, _ := g.Message(rec.Message.ID); m.Counts.Sent != want || m.Counts.Queued != 2-want {
				t.Errorf("counts %+v, want %d sent", m.Counts, want)
			}
			time.Sleep(time.Second)
		}
	})
}

// A delivery that was sent before its connection was lost says so, while the client
// is away and when it is back.
func TestAQueuedDeliveryShowsThatItWasSent(t *testing.T) {
	bubble(t, gateway.Config{}, func(t *testing.T, g *gateway.Gateway) {
		l := gatewaytest.Connect(t, g, "lock", gatewaytest.Options{React: answers(silence)})
		m := pushFor(t, g, "lock", "open", time.Hour)
		synctest.Wait()
		sent := time.Now()
		time.Sleep(time.Second)
		l.Disconnect(gateway.ReasonConnectionLost)
		d := wantState(t, g, m, gateway.Queued, 1)
		if !d.SentAt.Equal(sent) {
			t.Errorf("sent at %v, want %v", d.SentAt, sent)
		}
		page, err := g.ClientDeliveries(gateway.ClientDeliveryQuery{Client: "lock"})
		if err != nil || len(page.Items) != 1 || page.Items[0].Attempts != 1 {
			t.Errorf("the client's deliveries are %+v, %v, want one with an attempt", page.Items, err)
		}
	})
}
