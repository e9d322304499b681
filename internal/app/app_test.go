package app

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/longwire/longwire/client"
	"github.com/longwire/longwire/device"
	"github.com/longwire/longwire/internal/config"
	"github.com/longwire/longwire/internal/engine"
	"github.com/longwire/longwire/protocol"
)

// testConfig listens on free ports and keeps its data in dir.
func testConfig(dir string) *config.Config {
	c := config.Default()
	c.TCP.Addr, c.HTTP.Addr = "127.0.0.1:0", "127.0.0.1:0"
	c.Data.Dir = dir
	c.Auth.DeviceGroups = []string{"*"}
	c.Drain.Timeout = config.Duration(20 * time.Second)
	return c
}

// start starts a process that stops at the end of the test, if it did not before. The
// connections that the test made later are closed by then, and it waits for none.
func start(t *testing.T, cfg *config.Config) *App {
	t.Helper()
	return startOn(t, cfg, slog.DiscardHandler, time.Now)
}

// startOn is start with a log and a clock.
func startOn(t *testing.T, cfg *config.Config, log slog.Handler, now func() time.Time) *App {
	t.Helper()
	a, err := newApp(cfg, slog.New(log), now)
	if err != nil {
		t.Fatal(err)
	}
	a.Start()
	t.Cleanup(func() { a.end(t) })
	return a
}

// end stops the process, if that has not begun.
func (a *App) end(t *testing.T) {
	select {
	case <-a.draining:
	default:
		if err := a.Stop(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	}
}

// TestMain lets more tests run at once than there are processors: those that are
// parallel wait for timeouts, pauses and the disk.
func TestMain(m *testing.M) {
	flag.Parse()
	if f := flag.Lookup("test.parallel"); f.Value.String() == f.DefValue {
		_ = f.Value.Set("8")
	}
	os.Exit(m.Run())
}

func (a *App) url() string { return "http://" + a.HTTPAddr().String() }

// connect runs a device that answers everything until the test ends.
func connect(t *testing.T, a *App, id string, h device.Handler) (online <-chan struct{}) {
	t.Helper()
	up := make(chan struct{}, 100)
	d, err := device.New(device.Config{
		Addr: a.TCPAddr().String(), ID: id, Handler: h,
		OnConnect: func(protocol.Registered) { up <- struct{}{} },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		d.Run(ctx)
	}()
	t.Cleanup(func() { cancel(); <-done })
	return up
}

func backend(t *testing.T, a *App, opts ...client.Option) *client.Client {
	t.Helper()
	c, err := client.New(a.url(), opts...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestPushToARestartedProcess(t *testing.T) {
	dir := t.TempDir()
	ctx := t.Context()
	first := start(t, testConfig(dir))
	<-connect(t, first, "meter-1", func(context.Context, device.Message) ([]byte, error) { return []byte("done"), nil })
	m, err := backend(t, first).Push(ctx, "meter-1", client.Push{Payload: client.Text("read"), Wait: 10 * time.Second})
	if err != nil || m.Status != client.Acked {
		t.Fatalf("push: %+v, %v", m, err)
	}
	if err := first.Stop(ctx); err != nil {
		t.Fatal(err)
	}

	second := start(t, testConfig(dir))
	again, err := backend(t, second).Message(ctx, m.ID, 0)
	if err != nil || again.Status != client.Acked {
		t.Errorf("after a restart: %+v, %v", again, err)
	}
	queued, err := backend(t, second).Push(ctx, "meter-1", client.Push{Payload: client.Text("later")})
	if err != nil || queued.Status != client.Queued {
		t.Errorf("push to a client that is known and offline: %+v, %v", queued, err)
	}
}

func TestOneProcessPerDirectory(t *testing.T) {
	dir := t.TempDir()
	start(t, testConfig(dir))
	_, err := New(testConfig(dir), slog.New(slog.DiscardHandler))
	if !errors.Is(err, engine.ErrLocked) || !strings.Contains(err.Error(), dir) {
		t.Errorf("a second process: %v", err)
	}
}

func TestAddressInUseGivesEverythingBack(t *testing.T) {
	a := start(t, testConfig(t.TempDir()))
	dir := t.TempDir()
	cfg := testConfig(dir)
	cfg.HTTP.Addr = a.HTTPAddr().String()
	if _, err := New(cfg, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "HTTP") {
		t.Fatalf("an address in use: %v", err)
	}
	b := start(t, testConfig(dir)) // the directory is not locked any more
	if err := b.Stop(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestDrainIsSeenAndTold(t *testing.T) {
	cfg := testConfig(t.TempDir())
	cfg.Drain.Delay = config.Duration(300 * time.Millisecond)
	a := start(t, cfg)
	lost := make(chan protocol.Close, 10)
	d, err := device.New(device.Config{
		Addr: a.TCPAddr().String(), ID: "lock-1",
		Handler:      func(context.Context, device.Message) ([]byte, error) { return nil, nil },
		OnDisconnect: func(why protocol.Close, _ time.Duration) { lost <- why },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go d.Run(ctx)
	waitFor(t, func() bool { return a.gw.Online("lock-1") })

	stopped := make(chan error, 1)
	go func() { stopped <- a.Stop(t.Context()) }()
	waitFor(t, func() bool {
		r, err := http.Get(a.url() + "/readyz")
		if err != nil {
			return false
		}
		defer r.Body.Close()
		return r.StatusCode == http.StatusServiceUnavailable
	})
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	if why := <-lost; why.Code != protocol.CloseShutdown || why.RetryAfter > 10*time.Second {
		t.Errorf("the device was told %+v", why)
	}
}

func waitFor(t *testing.T, ok func() bool) {
	t.Helper()
	for range 12_000 { // a minute
		if ok() {
			return
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-t.Context().Done():
		}
	}
	t.Fatal("waited in vain")
}

func TestKeysAndTokens(t *testing.T) {
	cfg := testConfig(t.TempDir())
	cfg.Auth.APIKeys = []config.Secret{"lwk_0123456789abcdef0123"}
	cfg.Auth.DeviceToken = "open sesame"
	a := start(t, cfg)

	var p *client.Problem
	for _, err := range backend(t, a).Clients(t.Context(), client.ClientQuery{}) {
		if !errors.As(err, &p) || p.Status != http.StatusUnauthorized {
			t.Errorf("without a key: %v", err)
		}
	}
	for _, err := range backend(t, a, client.WithAPIKey("lwk_0123456789abcdef0123")).Clients(t.Context(), client.ClientQuery{}) {
		if err != nil {
			t.Errorf("with the key: %v", err)
		}
	}
	run := func(token string) error {
		up := make(chan struct{}, 1)
		d, err := device.New(device.Config{Addr: a.TCPAddr().String(), ID: "d", Token: token,
			Handler:   func(context.Context, device.Message) ([]byte, error) { return nil, nil },
			OnConnect: func(protocol.Registered) { up <- struct{}{} }})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		ended := make(chan error, 1)
		go func() { ended <- d.Run(ctx) }()
		select {
		case err := <-ended:
			return err
		case <-up:
			cancel()
			<-ended
			return nil
		}
	}
	var closed *device.ClosedError
	if err := run("guess"); !errors.As(err, &closed) || closed.Close.Code != 3501 {
		t.Errorf("a wrong token: %v", err)
	}
	if err := run("open sesame"); err != nil {
		t.Errorf("the right token: %v", err)
	}
}

func TestMetricsAndVersion(t *testing.T) {
	a := start(t, testConfig(t.TempDir()))
	get := func(path string) string {
		t.Helper()
		r, err := http.Get(a.url() + path)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		b, _ := io.ReadAll(r.Body)
		if r.StatusCode != http.StatusOK {
			t.Fatalf("%s: %s: %s", path, r.Status, b)
		}
		return string(b)
	}
	var v struct{ Version, Go string }
	if err := json.Unmarshal([]byte(get("/version")), &v); err != nil || v.Version == "" || v.Go == "" {
		t.Errorf("version %+v, %v", v, err)
	}
	page := get("/metrics")
	for _, name := range []string{"longwire_clients_online", "longwire_http_requests_total", "go_goroutines"} {
		if !strings.Contains(page, name) {
			t.Errorf("no %s on the metrics page", name)
		}
	}
}

func TestRunGreets(t *testing.T) {
	cfg := testConfig(filepath.Join(t.TempDir(), "data"))
	ctx, cancel := context.WithCancel(t.Context())
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		err := Run(ctx, cfg, w)
		w.Close()
		done <- err
	}()
	text := make([]byte, 0, 2000)
	buf := make([]byte, 500)
	for !strings.Contains(string(text), "messages?wait") {
		n, err := r.Read(buf)
		if err != nil {
			t.Fatalf("the greeting ended with %v: %s", err, text)
		}
		text = append(text, buf[:n]...)
	}
	go io.Copy(io.Discard, r)
	if !strings.Contains(string(text), "/swagger/") || !strings.Contains(string(text), cfg.Data.Dir) {
		t.Errorf("the greeting does not tell where things are:\n%s", text)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(cfg.Data.Dir); err != nil {
		t.Error(err)
	}
}
