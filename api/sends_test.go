package api

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/gatewaytest"
)

// TestADeliveryThatWasSentSaysSo: also if no answer came before it was canceled, purged or
// expired, in every answer that shows the delivery.
func TestADeliveryThatWasSentSaysSo(t *testing.T) {
	ends := map[string]func(h *harness, m Message){
		"canceled": func(h *harness, m Message) {
			if got := decode[Message](h.call("DELETE", "/v1/messages/"+m.ID, "").want(200)); m.Client != "" && (got.SentAt == "" || got.Attempts != 1) {
				h.t.Errorf("the answer to the cancellation: %+v", got.Outcome)
			}
		},
		"purged":  func(h *harness, m Message) { h.call("DELETE", "/v1/clients/b/messages", "").want(200) },
		"expired": func(h *harness, m Message) { time.Sleep(11 * time.Second) },
	}
	for name, end := range ends {
		for _, path := range []string{"/v1/clients/b/messages", "/v1/messages"} {
			for _, leaves := range []bool{false, true} {
				synctest.Test(t, func(t *testing.T) {
					h := newHarness(t)
					l := gatewaytest.Connect(t, h.gateway, "b", gatewaytest.Options{React: gatewaytest.FlushOnly})
					body := `{"text":"x","ttl":"10s"}`
					if path == "/v1/messages" {
						body = `{"text":"x","ttl":"10s","to":{"all":true}}`
					}
					m := decode[Message](h.call("POST", path, body).want(202))
					synctest.Wait()
					sent := time.Now()
					if leaves {
						l.Disconnect(gateway.ReasonConnectionLost)
					}
					time.Sleep(time.Second)
					var waited Message
					done := make(chan struct{})
					go func() {
						defer close(done)
						waited = decode[Message](h.call("GET", "/v1/messages/"+m.ID+"?wait=30s", "").want(200))
					}()
					synctest.Wait()
					end(h, m)
					<-done
					synctest.Wait()
					what := name + " " + path
					check := func(where string, o Outcome) {
						if at, err := time.Parse(time.RFC3339Nano, o.SentAt); err != nil || !at.Equal(sent) || o.Attempts != 1 {
							t.Errorf("%s, left %v: %s has sent_at %q and %d attempts, want one at %v", what, leaves, where, o.SentAt, o.Attempts, sent)
						}
					}
					detail := decode[DeliveryDetail](h.call("GET", "/v1/messages/"+m.ID+"/deliveries/b", "").want(200))
					check("the delivery", detail.Outcome)
					if len(detail.History) != 3 || detail.History[1].Code != "sent" {
						t.Errorf("%s: history %+v, want accepted, sent and the end", what, detail.History)
					}
					check("the list of deliveries", decode[DeliveryPage](h.call("GET", "/v1/messages/"+m.ID+"/deliveries", "").want(200)).Items[0].Outcome)
					check("the client's list", decode[MessagePage](h.call("GET", "/v1/messages?client=b", "").want(200)).Items[0].Outcome)
					if m.Client != "" {
						check("the message", decode[Message](h.call("GET", "/v1/messages/"+m.ID, "").want(200)).Outcome)
						check("the answer to a wait", waited.Outcome)
						check("the list of messages", decode[MessagePage](h.call("GET", "/v1/messages", "").want(200)).Items[0].Outcome)
					}
				})
			}
		}
	}
}
