package gateway_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/gatewaytest"
)

// pushed is how a call ended; n counts its answers.
type pushed struct {
	call gateway.PushCall
	n    int
	gateway.Receipt
	err error
}

func startPush(g *gateway.Gateway, r gateway.PushRequest) *pushed {
	p := &pushed{}
	g.StartPushAndAwait(&p.call, r, func(rec gateway.Receipt, err error) { p.n, p.Receipt, p.err = p.n+1, rec, err })
	return p
}

// A call is answered once: with the settlement, with a refusal, or with the message as
// it stands when its wait is over or the gateway drains.
func TestACallIsAnsweredOnce(t *testing.T) {
	bubble(t, gateway.Config{}, func(t *testing.T, g *gateway.Gateway) {
		gatewaytest.Connect(t, g, "a", gatewaytest.Options{React: func(l *gatewaytest.Link, p gateway.Transmission) {
			l.Sent(p)
			time.Sleep(time.Second)
			l.Ack(p, gateway.AckOK, []byte("locked"))
		}})
		gatewaytest.Connect(t, g, "deaf", gatewaytest.Options{React: gatewaytest.FlushOnly})
		to := func(id gateway.ClientID, key string) gateway.PushRequest {
			return gateway.PushRequest{To: gateway.Audience{Client: id}, Payload: []byte("x"), IdempotencyKey: key, Scope: "s"}
		}
		acked, deaf, drained := startPush(g, to("a", "k")), startPush(g, to("deaf", "")), startPush(g, to("deaf", ""))
		stranger := startPush(g, to("stranger", ""))
		large := to("a", "")
		large.Payload = make([]byte, gateway.MaxPayload+1)
		invalid := startPush(g, large)
		synctest.Wait()
		if acked.n+deaf.n+drained.n != 0 {
			t.Error("a call was answered before its message was final")
		}
		for want, p := range map[gateway.Code]*pushed{gateway.CodeClientNotFound: stranger, gateway.CodePayloadTooLarge: invalid} {
			if p.n != 1 || gateway.CodeOf(p.err) != want {
				t.Errorf("a refused call has %d answers, error %v, want %s", p.n, p.err, want)
			}
		}
		again := startPush(g, to("a", "k")) // waits for the first message
		deaf.call.TimeOut()
		time.Sleep(2 * time.Second)
		synctest.Wait()
		for _, p := range []*pushed{acked, again} {
			if p.n != 1 || p.err != nil || p.Message.Counts.Acked != 1 || p.Message.Delivery == nil || string(p.Message.Delivery.Result) != "locked" {
				t.Errorf("%d answers: %+v, %v, want the settlement", p.n, p.Receipt, p.err)
			}
		}
		if !again.Replayed || again.Message.ID != acked.Message.ID {
			t.Errorf("the repeated call is for %s, want %s", again.Message.ID, acked.Message.ID)
		}
		late := startPush(g, to("a", "k"))
		g.Drain()
		synctest.Wait()
		for name, p := range map[string]*pushed{"timed out": deaf, "drained": drained} {
			if p.n != 1 || p.err != nil || p.Message.Completed() || p.Message.Counts.Sent != 1 {
				t.Errorf("%s: %d answers: %+v, %v, want the message as it stands", name, p.n, p.Receipt, p.err)
			}
		}
		if late.n != 1 || late.err != nil || late.Message.Counts.Acked != 1 {
			t.Errorf("a repeated call for a completed message: %d answers: %+v, %v", late.n, late.Receipt, late.err)
		}
		acked.call.TimeOut()
		deaf.call.TimeOut()
		if p := startPush(g, to("a", "")); p.n != 1 || gateway.CodeOf(p.err) != gateway.CodeDraining {
			t.Errorf("a call of a drained gateway: %d answers, error %v", p.n, p.err)
		}
		if acked.n != 1 || deaf.n != 1 {
			t.Error("the end of a wait that is over answers again")
		}
	})
}
