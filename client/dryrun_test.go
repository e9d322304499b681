package client

import (
	"io"
	"net/http"
	"testing"
)

func TestDryRunPushesNothing(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		want := `{"to":{"group":"fleet"},"text":"hello","max_recipients":200,"rate":50,"dry_run":true}`
		if r.Method != "POST" || r.URL.Path != "/v1/messages" || string(body) != want || r.Header.Get("Idempotency-Key") != "" {
			t.Errorf("%s %s %s with the key %q, want %s", r.Method, r.URL, body, r.Header.Get("Idempotency-Key"), want)
		}
		answer(w, 200, `{"dry_run":true,"recipients":182,"failed":1,"sample":["truck-17"],"now":"2026-11-30T00:00:00.000Z"}`)
	})
	d, err := c.DryRun(t.Context(), Audience{Group: "fleet"}, Push{Payload: Text("hello"), MaxRecipients: 200, Rate: 50})
	if err != nil || d.Recipients != 182 || d.Failed != 1 || len(d.Sample) != 1 || d.Now.IsZero() {
		t.Errorf("%+v, %v", d, err)
	}
}
