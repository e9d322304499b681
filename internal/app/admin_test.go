package app

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/longwire/longwire/client"
	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine"
	"github.com/longwire/longwire/internal/engine/memstore"
)

// askAdmin sends one request to the socket in dir.
func askAdmin(t *testing.T, dir, method, path, body string) (status int, said map[string]any) {
	t.Helper()
	hc := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(dir, adminSocket))
		},
	}}
	req, err := http.NewRequestWithContext(t.Context(), method, "http://longwire"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	res, err := hc.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if strings.HasPrefix(res.Header.Get("Content-Type"), "application/json") {
		if err := json.Unmarshal(b, &said); err != nil {
			t.Fatalf("%s: %v", b, err)
		}
	}
	return res.StatusCode, said
}

func TestBackupOfARunningProcess(t *testing.T) {
	dir, to := t.TempDir(), filepath.Join(t.TempDir(), "copy")
	a := start(t, testConfig(dir))
	m, err := backend(t, a).Push(t.Context(), "meter-1", client.Push{Payload: client.Text("x"), QueueUnknown: true})
	if err != nil {
		t.Fatal(err)
	}
	keys := `{"version":1,"keys":[]}`
	if err := os.WriteFile(filepath.Join(dir, "api-keys.json"), []byte(keys), 0o600); err != nil {
		t.Fatal(err)
	}
	status, said := askAdmin(t, dir, "POST", "/backup", fmt.Sprintf(`{"dir":%q}`, to))
	if b, err := os.ReadFile(filepath.Join(to, "api-keys.json")); err != nil || string(b) != keys {
		t.Errorf("the API keys of the copy are %q, %v", b, err)
	}
	if status != http.StatusOK || said["dir"] != to || said["log"] != string(a.store.Log()) {
		t.Fatalf("backup = %d %v", status, said)
	}
	r, err := engine.Verify(engine.Options{Dir: to})
	if err != nil || !r.OK() || r.Messages != 1 || r.Queued != 1 {
		t.Errorf("the copy: %+v, %v; want it sound, with one message that is queued", r, err)
	}
	if status, said = askAdmin(t, dir, "POST", "/backup", fmt.Sprintf(`{"dir":%q}`, to)); status != http.StatusInternalServerError {
		t.Errorf("over a backup that is there = %d %v, want 500", status, said)
	}
	if again, err := backend(t, a).Message(t.Context(), m.ID, 0); err != nil || again.Status != client.Queued {
		t.Errorf("the store that was copied: %+v, %v", again, err)
	}
}

// The system bounds the path of a socket to about 100 bytes: a relative data.dir works in
// a deep directory too, and the message about one that is too long names its length.
func TestAdminSocketInADeepDirectory(t *testing.T) {
	deep := filepath.Join(t.TempDir(), strings.Repeat("x", 120))
	if err := os.Mkdir(deep, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Chdir(deep)
	a := start(t, testConfig("data"))
	if a.admin == nil {
		t.Fatal("no admin socket for the data directory data")
	}
	if status, said := askAdmin(t, "data", "GET", "/stats", ""); status != http.StatusOK || said["health"] != "ok" {
		t.Errorf("stats = %d %v", status, said)
	}
	_, err := listenAdmin(a.store, filepath.Join(deep, "data"), nil, new(clockWatch), slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), "bytes, more than the system allows") {
		t.Errorf("a path that is too long: %v", err)
	}
}

func TestAdminRefuses(t *testing.T) {
	dir := t.TempDir()
	a := start(t, testConfig(dir))
	for _, tc := range []struct {
		name, method, path, body string
		want                     int
	}{
		{"a relative path", "POST", "/backup", `{"dir":"copy"}`, 400},
		{"no path", "POST", "/backup", `{}`, 400},
		{"the data directory", "POST", "/backup", fmt.Sprintf(`{"dir":%q}`, dir), 400},
		{"a place in the data directory", "POST", "/backup", fmt.Sprintf(`{"dir":%q}`, dir+"/../"+filepath.Base(dir)+"/db/copy"), 400},
		{"an unknown member", "POST", "/backup", `{"dir":"/x","force":true}`, 400},
		{"two values", "POST", "/backup", `{"dir":"/x"} {}`, 400},
		{"a body beyond the bound", "POST", "/backup", `{"dir":"/` + strings.Repeat("x", maxAdminBody) + `"}`, 400},
		{"another method", "GET", "/backup", "", 405},
		{"another path", "GET", "/v1/clients", "", 404},
	} {
		if status, said := askAdmin(t, dir, tc.method, tc.path, tc.body); status != tc.want {
			t.Errorf("%s = %d %v, want %d", tc.name, status, said, tc.want)
		}
	}
	a.admin.busy.Lock()
	status, said := askAdmin(t, dir, "POST", "/backup", fmt.Sprintf(`{"dir":%q}`, filepath.Join(t.TempDir(), "copy")))
	a.admin.busy.Unlock()
	if status != http.StatusConflict {
		t.Errorf("a second backup at a time = %d %v, want 409", status, said)
	}
}

// slowBackup is a store whose backup lasts until its context ends.
type slowBackup struct {
	gateway.Store
	begun, ended chan struct{}
}

func (s *slowBackup) Backup(ctx context.Context, _ string, _ func() error) error {
	close(s.begun)
	<-ctx.Done()
	close(s.ended)
	return ctx.Err()
}

// A process that is told to stop ends a backup instead of waiting for it, and
// does not go on before it has ended; so does a caller who leaves.
func TestStopEndsABackup(t *testing.T) {
	for name, end := range map[string]func(a *admin, leave context.CancelFunc){
		"the process stops": func(a *admin, _ context.CancelFunc) { a.close() },
		"the caller leaves": func(_ *admin, leave context.CancelFunc) { leave() },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := &slowBackup{Store: memstore.New(memstore.Options{}), begun: make(chan struct{}), ended: make(chan struct{})}
			a, err := listenAdmin(s, dir, nil, new(clockWatch), slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			a.start()
			defer a.close()
			ctx, leave := context.WithCancel(t.Context())
			defer leave()
			hc := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(dir, adminSocket))
			}}}
			req, err := http.NewRequestWithContext(ctx, "POST", "http://longwire/backup", strings.NewReader(`{"dir":"/nowhere/copy"}`))
			if err != nil {
				t.Fatal(err)
			}
			answered := make(chan int, 1) // status, 0 for none
			go func() {
				res, err := hc.Do(req)
				if err != nil {
					answered <- 0
					return
				}
				_ = res.Body.Close()
				answered <- res.StatusCode
			}()
			<-s.begun
			end(a, leave)
			<-s.ended // for ever, if the context is not the caller's
			if status := <-answered; status == http.StatusOK {
				t.Error("the caller was told of a backup")
			}
		})
	}
}

func TestStatsOfARunningProcess(t *testing.T) {
	dir := t.TempDir()
	a := start(t, testConfig(dir))
	if _, err := backend(t, a).Push(t.Context(), "meter-1", client.Push{Payload: client.Text("x"), QueueUnknown: true}); err != nil {
		t.Fatal(err)
	}
	status, said := askAdmin(t, dir, "GET", "/stats", "")
	if status != 200 || said["queued"] != 1.0 || said["clients"] != 1.0 || said["health"] != "ok" || said["engine"] != "pebble" {
		t.Errorf("stats = %d %v", status, said)
	}
}

func TestAdminSocketIsTheOwners(t *testing.T) {
	dir := t.TempDir()
	a := start(t, testConfig(dir))
	path := filepath.Join(dir, adminSocket)
	info, err := os.Lstat(path)
	if err != nil || info.Mode().Type() != os.ModeSocket || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v, want a socket of mode 0600", info.Mode(), err)
	}
	if err := a.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("after the end: %v, want it gone", err)
	}
}

// A killed process leaves its socket; the next one takes its place. What is no
// socket is not ours to remove: the gateway goes on without.
func TestAdminSocketThatIsThereAlready(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, adminSocket)
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	ln.(*net.UnixListener).SetUnlinkOnClose(false)
	ln.Close()
	a := start(t, testConfig(dir))
	if status, _ := askAdmin(t, dir, "GET", "/stats", ""); status != 200 {
		t.Errorf("over a dead socket: stats = %d", status)
	}
	if err := a.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}

	if err := os.WriteFile(path, []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	b, err := New(testConfig(dir), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer b.Stop(t.Context())
	if got, err := os.ReadFile(path); err != nil || string(got) != "mine" {
		t.Errorf("a file in the socket's place: %q, %v", got, err)
	}
}
