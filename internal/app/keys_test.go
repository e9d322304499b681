package app

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/longwire/longwire/client"
	"github.com/longwire/longwire/internal/apikey"
	"github.com/longwire/longwire/internal/config"
)

// TestKeysThroughTheSocket: the operator makes the first key of a running
// gateway, which needs one from then on, and ends it.
func TestKeysThroughTheSocket(t *testing.T) {
	dir := t.TempDir()
	a := start(t, testConfig(dir))
	status, made := askAdmin(t, dir, "POST", "/keys", `{"name":"me","scopes":["admin"]}`)
	if status != 200 || !strings.HasPrefix(made["secret"].(string), "lwk_") {
		t.Fatalf("create = %d %v", status, made)
	}
	if _, err := backend(t, a).CreateAPIKey(t.Context(), client.NewAPIKey{Name: "x", Scopes: []string{"admin"}}); code(err) != client.CodeUnauthenticated {
		t.Errorf("without a key: %v, want %s", err, client.CodeUnauthenticated)
	}
	c := backend(t, a, client.WithAPIKey(made["secret"].(string)))
	tenant, err := c.CreateAPIKey(t.Context(), client.NewAPIKey{Name: "acme", Scopes: []string{"clients:read"}, Prefix: "acme-", ExpiresIn: time.Hour})
	if err != nil || tenant.Prefix != "acme-" || tenant.ExpiresAt.IsZero() || tenant.Secret == "" {
		t.Fatalf("%+v, %v", tenant, err)
	}
	names := ""
	for k, err := range c.APIKeys(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		names += k.Name + " "
	}
	if names != "me acme " {
		t.Errorf("keys %q, want me and acme", names)
	}
	limited := backend(t, a, client.WithAPIKey(tenant.Secret))
	if _, err := limited.CreateAPIKey(t.Context(), client.NewAPIKey{Name: "x", Scopes: []string{"admin"}}); code(err) != client.CodeInsufficientScope {
		t.Errorf("a tenant makes a key: %v, want %s", err, client.CodeInsufficientScope)
	}
	if err := c.RevokeAPIKey(t.Context(), tenant.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := limited.Client(t.Context(), "acme-1"); code(err) != client.CodeUnauthenticated {
		t.Errorf("revoked: %v, want %s", err, client.CodeUnauthenticated)
	}
	if status, said := askAdmin(t, dir, "GET", "/keys", ""); status != 200 || len(said["keys"].([]any)) != 1 {
		t.Errorf("list = %d %v, want one", status, said)
	}
	for _, bad := range []struct {
		method, path, body string
		want               int
	}{
		{"POST", "/keys", `{"name":"x"}`, 400}, {"POST", "/keys", `{"name":"x","scopes":["root"]}`, 400},
		{"POST", "/keys", `{"name":"x","scopes":["admin"],"secret":"lwk_mine"}`, 400}, {"DELETE", "/keys/key_none", "", 404},
	} {
		if status, said := askAdmin(t, dir, bad.method, bad.path, bad.body); status != bad.want {
			t.Errorf("%s %s %s = %d %v, want %d", bad.method, bad.path, bad.body, status, said, bad.want)
		}
	}
}

func code(err error) client.Code {
	if p, ok := err.(*client.Problem); ok {
		return p.Code()
	}
	return ""
}

// TestAKeyThatIsMadeAtTheEndIsOnRecord: a process that stops waits for a call on its socket.
func TestAKeyThatIsMadeAtTheEndIsOnRecord(t *testing.T) {
	dir := t.TempDir()
	cfg := testConfig(dir)
	cfg.Audit.File = filepath.Join(dir, "audit.log")
	a, err := New(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	entered, served := make(chan struct{}), make(chan struct{})
	calls := a.admin.http.Handler
	a.admin.http.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer close(served)
		close(entered)
		calls.ServeHTTP(w, r)
	})
	a.Start()
	lock := filepath.Join(dir, "api-keys.json.new") // another process writes the file
	if err := os.WriteFile(lock, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	status := make(chan int, 1) // 0 for none
	go func() {
		hc := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(dir, adminSocket))
		}}}
		res, err := hc.Post("http://longwire/keys", "application/json", strings.NewReader(`{"name":"late","scopes":["admin"]}`))
		if err != nil {
			status <- 0
			return
		}
		_ = res.Body.Close()
		status <- res.StatusCode
	}()
	<-entered
	stopped := make(chan error, 1)
	go func() { stopped <- a.Stop(t.Context()) }()
	select {
	case err := <-stopped:
		t.Errorf("the process has stopped (%v) before the call", err)
	case <-time.After(time.Second):
	}
	if err := os.Remove(lock); err != nil {
		t.Fatal(err)
	}
	<-served
	if got := <-status; got != http.StatusOK {
		t.Errorf("the call is answered with %d, want 200", got)
	}
	if t.Failed() {
		return
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	if b, err := os.ReadFile(cfg.Audit.File); err != nil || !strings.Contains(string(b), "key.create") {
		t.Errorf("the audit log has %q, %v", b, err)
	}
}

// TestOpenToTheNetworkTakesAKey that is left: an empty or damaged file is none.
func TestOpenToTheNetworkTakesAKey(t *testing.T) {
	dir := t.TempDir()
	cfg := testConfig(dir)
	cfg.HTTP.Addr = "0.0.0.0:0"
	try := func() error {
		a, err := New(cfg, slog.New(slog.DiscardHandler))
		if err == nil {
			err = a.Stop(context.WithoutCancel(t.Context()))
		}
		return err
	}
	if err := try(); err == nil || !strings.Contains(err.Error(), "longwire keys create") {
		t.Errorf("without a key: %v, want a refusal", err)
	}
	ring, err := apikey.Open(cfg.APIKeyFile(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	k, _, err := ring.Create(apikey.Spec{Name: "x", Scopes: apikey.Admin}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if err := try(); err != nil {
		t.Errorf("with a key: %v", err)
	}
	if err := ring.Revoke(k.ID); err != nil {
		t.Fatal(err)
	}
	if err := try(); err == nil {
		t.Error("it starts with an empty file")
	}
	if err := os.WriteFile(cfg.APIKeyFile(), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg.Insecure = true
	if err := try(); err == nil {
		t.Error("it starts with a damaged file")
	}
	os.Remove(cfg.APIKeyFile())
	if err := try(); err != nil {
		t.Errorf("insecure: %v", err)
	}
}

// TestAuditFileAndUses are on disk when the process has ended.
func TestAuditFileAndUses(t *testing.T) {
	dir := t.TempDir()
	cfg := testConfig(dir)
	cfg.Audit.File = filepath.Join(t.TempDir(), "audit.log")
	cfg.Auth.APIKeys = []config.Secret{"lwk_0123456789abcdef"}
	a := start(t, cfg)
	c := backend(t, a, client.WithAPIKey("lwk_0123456789abcdef"))
	made, err := c.CreateAPIKey(t.Context(), client.NewAPIKey{Name: "acme", Scopes: []string{"messages:write"}, Prefix: "acme-"})
	if err != nil {
		t.Fatal(err)
	}
	m, err := backend(t, a, client.WithAPIKey(made.Secret)).Push(t.Context(), "acme-1", client.Push{Payload: client.Text("top secret"), QueueUnknown: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Stop(context.WithoutCancel(t.Context())); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(cfg.Audit.File)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	var last map[string]any
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &last); err != nil || len(lines) != 2 || last["message_id"] != m.ID || last["who"] != made.ID ||
		strings.Contains(string(b), "top secret") {
		t.Errorf("%v, record:\n%s", err, b)
	}
	keys, err := os.ReadFile(cfg.APIKeyFile())
	if err != nil || !strings.Contains(string(keys), "last_used_at") || strings.Contains(string(keys), made.Secret) {
		t.Errorf("%v; keys:\n%s", err, keys)
	}
}

// TestProfilesAreTheOperators: on the socket, and nowhere on the network.
func TestProfilesAreTheOperators(t *testing.T) {
	dir := t.TempDir()
	a := start(t, testConfig(dir))
	for _, path := range []string{"/debug/pprof/", "/debug/pprof/heap", "/debug/pprof/goroutine", "/debug/pprof/symbol"} {
		if status, _ := askAdmin(t, dir, "GET", path, ""); status != 200 {
			t.Errorf("socket: %s = %d", path, status)
		}
		res, err := http.Get(fmt.Sprintf("http://%s%s", a.HTTPAddr(), path))
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != 404 {
			t.Errorf("network: %s = %d, want 404", path, res.StatusCode)
		}
	}
}

// TestTenantsOnTheStoreOnDisk: the store asks who is within a limit while it
// reads, and lists what is of many.
func TestTenantsOnTheStoreOnDisk(t *testing.T) {
	dir := t.TempDir()
	a := start(t, testConfig(dir))
	_, made := askAdmin(t, dir, "POST", "/keys", `{"name":"me","scopes":["admin"]}`)
	root := backend(t, a, client.WithAPIKey(made["secret"].(string)))
	north := "north"
	for i := range 200 { // more than are kept a row each
		id := fmt.Sprintf("%c-%d", 'a'+i%2, i)
		if _, err := root.Push(t.Context(), id, client.Push{Payload: client.Text("hello"), QueueUnknown: true}); err != nil {
			t.Fatal(err)
		}
		change := client.ClientChange{Labels: map[string]*string{"site": &north}}
		if i%4 < 2 {
			change.Groups = &[]string{"fleet"}
		}
		if _, err := root.UpdateClient(t.Context(), id, change); err != nil {
			t.Fatal(err)
		}
	}
	scopes := []string{"messages:write", "messages:read", "clients:read"}
	for _, tenant := range []struct {
		key  client.NewAPIKey
		to   client.Audience
		want int
	}{
		{client.NewAPIKey{Prefix: "a-"}, client.Audience{All: true}, 100},
		{client.NewAPIKey{Prefix: "a-"}, client.Audience{Group: "fleet"}, 50},
		{client.NewAPIKey{Group: "fleet"}, client.Audience{All: true}, 100},
		{client.NewAPIKey{Group: "fleet"}, client.Audience{Labels: map[string]string{"site": "north"}}, 100},
		{client.NewAPIKey{Group: "fleet"}, client.Audience{Group: "others"}, 0},
	} {
		tenant.key.Name, tenant.key.Scopes = "tenant", scopes
		k, err := root.CreateAPIKey(t.Context(), tenant.key)
		if err != nil {
			t.Fatal(err)
		}
		c := backend(t, a, client.WithAPIKey(k.Secret))
		m, err := c.PushTo(t.Context(), tenant.to, client.Push{Payload: client.Text("x")})
		if err != nil || m.Counts.Total != tenant.want {
			t.Errorf("%+v to %+v reached %+v, %v; want %d", tenant.key, tenant.to, m, err, tenant.want)
			continue
		}
		n := 0
		for d, err := range c.Deliveries(t.Context(), m.ID, client.DeliveryQuery{}) {
			if err != nil || tenant.key.Prefix != "" && !strings.HasPrefix(d.Client, "a-") {
				t.Errorf("delivery to %s, %v", d.Client, err)
			}
			n++
		}
		clients := 0
		for info, err := range c.Clients(t.Context(), client.ClientQuery{Presence: client.PresenceAll}) {
			if err != nil || tenant.key.Prefix != "" && !strings.HasPrefix(info.ID, "a-") {
				t.Errorf("client %s, %v", info.ID, err)
			}
			clients++
		}
		if n != tenant.want || clients != 100 {
			t.Errorf("%+v: %d deliveries, %d clients listed, want %d and 100", tenant.key, n, clients, tenant.want)
		}
	}
}

func TestABadOriginStopsTheStart(t *testing.T) {
	cfg := testConfig(t.TempDir())
	cfg.HTTP.CORSOrigins = []string{"*"}
	if a, err := New(cfg, slog.New(slog.DiscardHandler)); err == nil {
		a.Stop(context.WithoutCancel(t.Context()))
		t.Error("a wildcard is taken for an origin")
	}
}
