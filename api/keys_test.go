package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/longwire/longwire/api/internal/problem"
	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/apikey"
	"github.com/longwire/longwire/internal/audit"
)

func TestKeysThroughTheirLife(t *testing.T) {
	w := newWorld(t)
	made := w.as("unlimited", "POST", "/v1/keys", `{"name":"backend of acme","scopes":["messages:write","clients:read"],"prefix":"a-","expires_in":"90d"}`).want(201)
	k := decode[Key](made)
	if k.Name != "backend of acme" || !slices.Equal(k.Scopes, []string{"clients:read", "messages:write"}) || k.Prefix != "a-" || k.Status != "active" ||
		made.header.Get("Location") != "/v1/keys/"+k.ID || made.header.Get("Cache-Control") != "no-store" {
		t.Errorf("got %+v at %s", k, made.header.Get("Location"))
	}
	if !regexp.MustCompile(`^lwk_[0-9A-Za-z]{49}$`).MatchString(k.Secret) || !regexp.MustCompile(`^key_[0-9a-f-]{36}$`).MatchString(k.ID) {
		t.Errorf("secret %q, id %q", k.Secret, k.ID)
	}
	if ends, err := time.Parse(time.RFC3339, k.ExpiresAt); err != nil || time.Until(ends) < 90*24*time.Hour-time.Minute || time.Until(ends) > 90*24*time.Hour+time.Second {
		t.Errorf("expires at %s, want in 90 days", k.ExpiresAt)
	}
	w.secrets["acme"] = k.Secret
	w.as("acme", "GET", "/v1/clients/a-truck", "").want(200)
	shown := w.as("unlimited", "GET", "/v1/keys/"+k.ID, "").want(200)
	if got := decode[Key](shown); got.Secret != "" || got.LastUsedAt == "" {
		t.Errorf("shown again: %+v, want no secret, and that it was used", got)
	}
	if list := w.pages("unlimited", "/v1/keys?"); !strings.Contains(list, k.ID) || strings.Contains(list, k.Secret) || strings.Contains(list, `"secret"`) {
		t.Errorf("list %s, want the key without its secret", list)
	}
	// Rotation: a successor, then the end of the first.
	next := decode[Key](w.as("unlimited", "POST", "/v1/keys", `{"name":"next","scopes":["clients:read"],"prefix":"a-"}`).want(201))
	w.secrets["next"] = next.Secret
	w.as("acme", "GET", "/v1/clients/a-truck", "").want(200)
	w.as("next", "GET", "/v1/clients/a-truck", "").want(200)
	w.as("unlimited", "DELETE", "/v1/keys/"+k.ID, "").want(204)
	w.as("acme", "GET", "/v1/clients/a-truck", "").wantProblem(401, problem.Unauthenticated)
	w.as("next", "GET", "/v1/clients/a-truck", "").want(200)
	w.as("unlimited", "DELETE", "/v1/keys/"+k.ID, "").wantProblem(404, problem.KeyNotFound)
	w.as("unlimited", "GET", "/v1/keys/"+k.ID, "").wantProblem(404, problem.KeyNotFound)
}

func TestKeysThatCannotBe(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		body    string
		status  int
		pointer string
	}{
		{`{"scopes":["admin"]}`, 422, "/name"},
		{`{"name":"x"}`, 422, "/scopes"},
		{`{"name":"x","scopes":[]}`, 422, "/scopes"},
		{`{"name":"x","scopes":["all"]}`, 422, "/scopes/0"},
		{`{"name":"x","scopes":["clients:read"],"prefix":"a b"}`, 422, "/prefix"},
		{`{"name":"x","scopes":["clients:read"],"prefix":"a","group":"g"}`, 422, "/group"},
		{`{"name":"x","scopes":["metrics:read"],"group":"a"}`, 422, "/scopes"},
		{`{"name":"x","scopes":["clients:read"],"expires_in":"0s"}`, 422, "/expires_in"},
		{`{"name":"x","scopes":["clients:read"],"expires_in":"20000d"}`, 422, "/expires_in"},
		{`{"name":"x\u0000","scopes":["clients:read"]}`, 422, "/name"},
		{`{"name":"x","scopes":["clients:read"],"secret":"lwk_mine"}`, 400, "/secret"},
	} {
		a := w.as("unlimited", "POST", "/v1/keys", c.body).want(c.status)
		if p := decode[problem.Problem](a); len(p.Errors) == 0 || p.Errors[0].Pointer != c.pointer {
			t.Errorf("%s: %+v, want a problem at %s", c.body, p, c.pointer)
		}
	}
	w.as("unlimited", "POST", "/v1/keys", "name=x", "Content-Type", "text/plain").wantProblem(415, problem.UnsupportedMediaType)
	for i := len(w.keys.List()); i < apikey.MaxKeys; i++ {
		w.key(fmt.Sprint(i), apikey.Spec{Scopes: apikey.ClientsRead})
	}
	w.as("unlimited", "POST", "/v1/keys", `{"name":"x","scopes":["clients:read"]}`).wantProblem(409, problem.TooManyKeys)
}

// TestKeysThatCannotBeWritten: a disk that fails is no fault of the caller's, and
// nothing has changed.
func TestKeysThatCannotBeWritten(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	keys, err := apikey.Open(filepath.Join(dir, "api-keys.json"), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	k, secret, err := keys.Create(apikey.Spec{Name: "x", Scopes: apikey.Admin}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(dir, dir+".gone"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	h := newHarness(t, func(c *Config) { c.Authorizer = keys })
	bearer := []string{"Authorization", "Bearer " + secret}
	for _, a := range []answer{
		h.call("POST", "/v1/keys", `{"name":"y","scopes":["clients:read"]}`, bearer...),
		h.call("DELETE", "/v1/keys/"+k.ID, "", bearer...),
	} {
		if p := a.wantProblem(503, problem.Kind(gateway.CodeUnavailable)); strings.Contains(p.Detail, dir) {
			t.Errorf("detail %q tells of the disk", p.Detail)
		}
	}
	if list := decode[KeyPage](h.call("GET", "/v1/keys", "", bearer...).want(200)); len(list.Items) != 1 || list.Items[0].ID != k.ID {
		t.Errorf("keys %+v, want the one there was", list.Items)
	}
}

// TestTheFirstKeyClosesTheDoor, and the end of the last one does not open it.
func TestTheFirstKeyClosesTheDoor(t *testing.T) {
	h := newHarness(t, func(c *Config) { c.Authorizer = apikey.NewKeyset() })
	k := decode[Key](h.call("POST", "/v1/keys", `{"name":"first","scopes":["admin"]}`).want(201))
	h.call("GET", "/v1/clients", "").wantProblem(401, problem.Unauthenticated)
	h.call("GET", "/v1/clients", "", "Authorization", "Bearer "+k.Secret, "Host", "gw.example").want(200)
	h.call("DELETE", "/v1/keys/"+k.ID, "", "Authorization", "Bearer "+k.Secret).want(204)
	h.call("GET", "/v1/clients", "").wantProblem(401, problem.Unauthenticated)
	h.call("GET", "/v1/clients", "", "Authorization", "Bearer "+k.Secret).wantProblem(401, problem.Unauthenticated)
}

// TestAMistypedKeyIsToldFromAWrongOne without a look-up.
func TestAMistypedKeyIsToldFromAWrongOne(t *testing.T) {
	w := newWorld(t)
	secret := []byte(w.secrets["unlimited"])
	secret[10], secret[11] = secret[11]+1, secret[10]
	w.secrets["mistyped"] = string(secret)
	if p := w.as("mistyped", "GET", "/v1/clients", "").wantProblem(401, problem.Unauthenticated); !strings.Contains(p.Detail, "mistyped") {
		t.Errorf("detail %q", p.Detail)
	}
	if p := w.as("expired", "GET", "/v1/clients", "").wantProblem(401, problem.Unauthenticated); !strings.Contains(p.Detail, "expired") {
		t.Errorf("detail %q", p.Detail)
	}
	if p := w.as("revoked", "GET", "/v1/clients", "").wantProblem(401, problem.Unauthenticated); !strings.Contains(p.Detail, "not valid") {
		t.Errorf("detail %q", p.Detail)
	}
}

// audited is a world whose writes are recorded in a file; entries ends it.
func audited(t *testing.T, change ...func(*Config)) (w *world, entries func() []map[string]any) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "audit.log")
	var own bytes.Buffer
	record, err := audit.Open(path, slog.New(slog.NewTextHandler(&own, nil)))
	if err != nil {
		t.Fatal(err)
	}
	w = newWorld(t, append(change, func(c *Config) { c.Audit = record })...)
	return w, func() []map[string]any {
		t.Helper()
		if err := record.Close(); err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, secret := range append(slices.Collect(maps.Values(w.secrets)), "top secret", "idem-key") {
			if strings.Contains(string(data)+own.String(), secret) {
				t.Errorf("the record shows %q", secret)
			}
		}
		var all []map[string]any
		for line := range strings.Lines(string(data)) {
			var e map[string]any
			if err := json.Unmarshal([]byte(line), &e); err != nil {
				t.Fatalf("%q: %v", line, err)
			}
			all = append(all, e)
		}
		return all
	}
}

// TestEveryWriteIsRecorded: every route that is not a read, what was refused
// too, each line of a bulk request, and nothing that only reads.
func TestEveryWriteIsRecorded(t *testing.T) {
	w, entries := audited(t)
	begun := len(w.messages)
	for _, e := range newServer(Config{}).endpoints() {
		if e.need == public {
			continue
		}
		of := asks[e.method+" "+e.pattern]
		if of == nil {
			t.Fatalf("%s %s has no entry in asks", e.method, e.pattern)
		}
		w.send("unlimited", e.method, of(w, "a"))
	}
	w.as("a", "POST", "/v1/clients/a-truck/messages", `{"text":"top secret"}`, "Idempotency-Key", "idem-key", "X-Request-Id", "r-1").want(202)
	w.as("a", "POST", "/v1/clients/a-truck/messages", `{"text":"top secret"}`, "Idempotency-Key", "idem-key").want(202)
	w.as("a", "POST", "/v1/clients/b-truck/messages", `{"text":"top secret"}`).want(404)
	w.as("clients:read", "POST", "/v1/clients/a-truck/messages", `{"text":"top secret"}`).want(403)
	w.as("a", "POST", "/v1/clients/a-truck/messages?mode=online", "top secret").want(409)
	w.as("clients:read", "GET", "/v1/keys", "").want(403)

	var got []string
	for _, e := range entries()[begun:] {
		if e["audit"] != true || e["from"] == "" || e["request_id"] == nil {
			t.Errorf("entry %v lacks audit, from or request_id", e)
		}
		got = append(got, fmt.Sprintln(e["msg"], e["name"], strings.SplitN(fmt.Sprint(e["target"]), " key_", 2)[0], e["result"]))
		if e["caller_request_id"] == "r-1" && (e["message_id"] == nil || len(fmt.Sprint(e["idempotency_key_hash"])) != 16 || e["who"] != w.ids["a"]) {
			t.Errorf("entry %v lacks the message, the hash or the key", e)
		}
	}
	want := []string{
		"client.create unlimited a-truck.new ok\n",
		"client.update unlimited a-truck ok\n", "client.disconnect unlimited a-truck ok\n", "client.probe unlimited a-truck ok\n", "push unlimited a-truck ok\n",
		"trace.start unlimited a-truck for=1m0s ok\n", "trace.end unlimited a-truck ok\n",
		"token.create unlimited a-truck dtk_1 ok\n", "token.revoke unlimited a-truck dtk_2 ok\n",
		"refused.dismiss unlimited a-truck ok\n",
		"push unlimited 1 clients, a-truck first ok\n", "push unlimited a-truck ok\n", "cancel unlimited " + w.messages["a"] + " ok\n",
		"cancel unlimited a-truck queue ok\n", "webhook.create unlimited wh_", "webhook.update unlimited wh_", "webhook.delete unlimited wh_", "webhook.replay unlimited wh_", // of redeliver
		"webhook.replay unlimited wh_", "webhook.update unlimited wh_", "webhook.test unlimited wh_", // of rotate
		"consumer.put unlimited a-orders ok\n", "consumer.delete unlimited a-orders ok\n",
		"session.open unlimited key_", "session.close unlimited key_",
		"key.create unlimited ", "key.revoke unlimited " + w.ids["webhooks:write"] + " ok\n",
		"simulator.put unlimited 1 mixed ok\n", "simulator.delete unlimited <nil> ok\n",
		"push a a-truck ok\n", "push a a-truck replayed\n", "push a b-truck client-not-found\n",
		"refused clients:read POST /v1/clients/a-truck/messages insufficient-scope\n", "push a a-truck client-offline\n",
	}
	if len(got) != len(want) {
		t.Fatalf("got %q\nwant %q", got, want)
	}
	for i := range want {
		if !strings.HasPrefix(got[i], want[i]) {
			t.Errorf("entry %d: %q, want %q", i, got[i], want[i])
		}
	}
}

// TestSecretsAreNotLogged: neither the key nor the payload of a refused request.
func TestSecretsAreNotLogged(t *testing.T) {
	var log bytes.Buffer
	w := newWorld(t, func(c *Config) {
		c.Logger = slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	w.as("a", "POST", "/v1/clients/b-truck/messages", `{"text":"top secret"}`).want(404)
	w.as("expired", "GET", "/v1/clients", "").want(401)
	w.as("unlimited", "POST", "/v1/keys", `{"name":"x","scopes":["admin"]}`).want(201)
	for name, secret := range w.secrets {
		if strings.Contains(log.String(), secret) {
			t.Errorf("the log shows the secret of %s", name)
		}
	}
	if strings.Contains(log.String(), "top secret") || strings.Contains(log.String(), `lwk_`) {
		t.Errorf("the log shows a secret:\n%s", log.String())
	}
	if !strings.Contains(log.String(), w.ids["a"]) {
		t.Error("the log does not name the key")
	}
}

// TestTheGatewayIsReachedThroughViews: only the tenant package holds the gateway.
func TestTheGatewayIsReachedThroughViews(t *testing.T) {
	s := newServer(Config{Gateway: newHarness(t).gateway})
	if s.cfg.Gateway != nil {
		t.Error("handlers can reach the gateway past their view")
	}
	defer func() {
		if recover() == nil {
			t.Error("a request without a caller can reach the gateway")
		}
	}()
	viewOf(&exchange{}).Client("a")
}
