package api

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/longwire/longwire/api/internal/problem"
	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/apikey"
	"github.com/longwire/longwire/internal/audit"
	"github.com/longwire/longwire/internal/gatewaytest"
)

// TestTheRecordTellsWhatWasAsked: on every way to write, for whom, by whom, and
// what came of it.
func TestTheRecordTellsWhatWasAsked(t *testing.T) {
	w, entries := audited(t)
	on := w.device("a-on", answering(gateway.AckOK, "done"))
	defer on.Disconnect(gateway.ReasonClientClosed)
	deaf := w.device("a-deaf", gatewaytest.Options{React: gatewaytest.FlushOnly})
	defer deaf.Disconnect(gateway.ReasonClientClosed)
	for i := len(w.keys.List()); i < apikey.MaxKeys; i++ {
		w.key(fmt.Sprint(i), apikey.Spec{Scopes: apikey.ClientsRead})
	}
	bulk := func(wait, line string) func(key string) answer {
		return func(key string) answer {
			return w.as(key, "POST", "/v1/messages/bulk?wait="+wait, line, "Content-Type", ndjson)
		}
	}
	call := func(method, target, body string) func(key string) answer {
		return func(key string) answer { return w.as(key, method, target, body) }
	}
	var want []string
	for _, write := range []struct {
		key  string
		ask  func(key string) answer
		want string
	}{
		{"a", call("DELETE", "/v1/clients/a-truck?purge=true&block=10m", ""), "client.disconnect a a-truck purge block=10m0s ok"},
		{"a", call("DELETE", "/v1/clients/b-truck", ""), "client.disconnect a b-truck client-not-found"},
		{"a", call("POST", "/v1/clients/a-on/messages?wait=10s", "x"), "push a a-on ok"},
		{"a", call("POST", "/v1/clients/b-truck/messages?wait=10s", "x"), "push a b-truck client-not-found"},
		{"a", call("POST", "/v1/clients/a-on/messages?mode=online", "x"), "push a a-on ok"},
		{"a", call("POST", "/v1/clients/b-truck/messages?mode=online", "x"), "push a b-truck client-not-found"},
		{"a", call("POST", "/v1/clients/a-deaf/messages?mode=online&wait=1ms", "x"), "push a a-deaf ack-timeout"},
		{"a", bulk("10s", onlineLine("a-on", "x")), "push a a-on ok"},
		{"a", bulk("1ms", onlineLine("a-deaf", "x")), "push a a-deaf ack-timeout"},
		{"a", bulk("10s", onlineLine("b-truck", "x")), "push a b-truck client-not-found"},
		{"a", bulk("10s", onlineLine("a-truck", "x")), "push a a-truck client-offline"},
		{"a", bulk("10s", `{"to":{"client":"b-truck"},"text":"x"}`), "push a b-truck client-not-found"},
		{"a", call("POST", "/v1/messages", `{"to":{"all":true},"text":"x"}`), "push a all ok"},
		{"g", call("POST", "/v1/messages", `{"to":{"group":"gang"},"text":"x"}`), "push g group gang ok"},
		{"a", call("POST", "/v1/messages", `{"to":{"labels":{"m":"2","l":"1"}},"text":"x"}`), "push a labels l=1,m=2 ok"},
		{"a", call("POST", "/v1/clients", `{"id":"a-new"}`), "client.create a a-new ok"},
		{"a", call("POST", "/v1/clients", `{"id":"b-new"}`), "client.create a b-new unauthorized"},
		{"a", call("PATCH", "/v1/clients/a-truck", `{"groups":["gang"]}`), "client.update a a-truck unauthorized"},
		{"b", call("DELETE", "/v1/messages/"+w.messages["a"], ""), "cancel b " + w.messages["a"] + " message-not-found"},
		{"unlimited", call("POST", "/v1/keys", `{"name":"one more","scopes":["clients:read"]}`), "key.create unlimited one more too-many-keys"},
		{"unlimited", call("DELETE", "/v1/keys/key_none", ""), "key.revoke unlimited key_none key-not-found"},
		{"none", call("POST", "/v1/messages", `{"to":{"all":true},"text":"x"}`), "refused <nil> POST /v1/messages unauthenticated"},
		{"expired", call("DELETE", "/v1/clients/a-truck", ""), "refused <nil> DELETE /v1/clients/a-truck unauthenticated"},
		{"a", call("DELETE", "/v1/clients/b-truck?forget=true", ""), "client.forget a b-truck client-not-found"},
		{"a", call("DELETE", "/v1/clients?forget=true&prefix=a-truck&confirm=1", ""), "client.forget a 1 clients, a-truck first ok"},
		{"a", call("DELETE", "/v1/clients/a-on?forget=true", ""), "client.forget a a-on ok"},
		{"a", call("POST", "/v1/keys", `{}`), "refused a POST /v1/keys insufficient-scope"},
	} {
		write.ask(write.key)
		want = append(want, write.want)
	}
	got := entries()
	got = got[len(got)-len(want):]
	for i, e := range got {
		if line := fmt.Sprint(e["msg"], " ", e["name"], " ", e["target"], " ", e["result"]); line != want[i] {
			t.Errorf("entry %d: %s, want %s", i, line, want[i])
		}
		if stored := strings.HasPrefix(want[i], "push") && strings.HasSuffix(want[i], " ok"); stored && e["message_id"] == nil {
			t.Errorf("entry %d does not name the message: %v", i, e)
		}
	}
}

// brokenDisk takes nothing while it is broken; held, a write waits.
type brokenDisk struct {
	broken atomic.Bool
	held   chan struct{} // nil = nothing waits
}

func (d *brokenDisk) Write(b []byte) (int, error) {
	if d.held != nil {
		<-d.held
	}
	if d.broken.Load() {
		return 0, errors.New("no space left on device")
	}
	return io.Discard.Write(b)
}

func recordOn(t *testing.T, d *brokenDisk) *audit.Log {
	t.Helper()
	record, err := audit.Open(audit.ToLog, slog.New(slog.NewTextHandler(d, nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { record.Close() })
	return record
}

// TestTheAPIGoesOnWithoutItsRecord: writes are done and answered as ever when
// the audit log cannot be written, and what it lacks is counted.
func TestTheAPIGoesOnWithoutItsRecord(t *testing.T) {
	d := &brokenDisk{}
	record := recordOn(t, d)
	w := newWorld(t, func(c *Config) { c.Audit = record })
	d.broken.Store(true)
	before := record.Lost()
	w.as("unlimited", "POST", "/v1/clients/a-truck/messages", "x").want(202)
	w.as("unlimited", "PATCH", "/v1/clients/a-truck", `{"labels":{"a":"b"}}`).want(200)
	w.as("unlimited", "DELETE", "/v1/messages/"+w.messages["a"], "").want(200)
	w.as("unlimited", "POST", "/v1/keys", `{"name":"x","scopes":["clients:read"]}`).want(201)
	w.as("clients:read", "DELETE", "/v1/clients/a-truck", "").want(403)
	w.call("GET", "/readyz", "").want(200)
	for began := time.Now(); record.Lost() < before+5; runtime.Gosched() {
		if time.Since(began) > 10*time.Second {
			t.Fatalf("%d entries are counted as lost, want 5", record.Lost()-before)
		}
	}
}

// TestAStuckRecordHoldsNobodyUp: more writes than wait for the disk are
// answered, and counted.
func TestAStuckRecordHoldsNobodyUp(t *testing.T) {
	d := &brokenDisk{held: make(chan struct{})}
	record := recordOn(t, d)
	defer close(d.held)
	h := newHarness(t, func(c *Config) { c.Audit = record })
	h.known("a")
	body := make([]byte, 0, 400_000)
	for range 10_000 {
		body = append(body, `{"to":{"client":"a"},"text":"x"}`+"\n"...)
	}
	if _, summary := h.bulk("/v1/messages/bulk", string(body)); !summary.Done || summary.Accepted != 10_000 {
		t.Errorf("summary %+v, want all accepted", summary)
	}
	if record.Lost() == 0 {
		t.Error("nothing is counted as lost")
	}
}

// TestEveryMissingScopeIsRecorded also one that the parameters or the body of a call need,
// and the answer names it as RFC 6750 says.
func TestEveryMissingScopeIsRecorded(t *testing.T) {
	w, entries := audited(t)
	w.key("clients", apikey.Spec{Scopes: apikey.ClientsWrite})
	w.key("hooks", apikey.Spec{Scopes: apikey.WebhooksWrite})
	hook := decode[Webhook](w.as("unlimited", "POST", "/v1/webhooks", `{"url":"http://127.0.0.1:1/"}`).want(201)).ID
	var want []string
	for _, c := range []struct{ key, method, target, body, scope string }{
		{"clients", "DELETE", "/v1/clients/a-truck?purge=true", "", "messages:write"},
		{"clients", "DELETE", "/v1/clients/a-truck?forget=true", "", "messages:write"},
		{"clients", "DELETE", "/v1/clients?forget=true&status=all&confirm=1", "", "messages:write"},
		{"hooks", "POST", "/v1/webhooks", `{"url":"http://127.0.0.1:1/","reply":true}`, "messages:write"},
		{"hooks", "PATCH", "/v1/webhooks/" + hook, `{"state":"paused"}`, "messages:read"},
	} {
		a := w.as(c.key, c.method, c.target, c.body)
		a.wantProblem(403, problem.InsufficientScope)
		if got := a.header.Get("WWW-Authenticate"); !strings.HasSuffix(got, `scope="`+c.scope+`"`) {
			t.Errorf("%s %s: WWW-Authenticate %q, want the scope %s", c.method, c.target, got, c.scope)
		}
		path, _, _ := strings.Cut(c.target, "?")
		want = append(want, fmt.Sprint("refused ", c.key, " ", c.method, " ", path, " insufficient-scope"))
	}
	var got []string
	for _, e := range entries() {
		if e["result"] == "insufficient-scope" {
			got = append(got, fmt.Sprint(e["msg"], " ", e["name"], " ", e["target"], " ", e["result"]))
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("recorded %q, want %q", got, want)
	}
}
