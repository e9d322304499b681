package bench

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/longwire/longwire/api"
	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine"
	"github.com/longwire/longwire/internal/feed"
	"github.com/longwire/longwire/internal/metrics"
	"github.com/longwire/longwire/internal/webhook"
	"github.com/longwire/longwire/internal/wheel"
	"github.com/longwire/longwire/protocol"
	"github.com/longwire/longwire/tcpserver"
)

// startHere is a starter whose processes are all this one.
func startHere(_ context.Context, _ string, s spec, dir string) (*target, error) {
	switch s.role {
	case bareServer, bareSyncing:
		return saying(func(ctx context.Context, out io.Writer) error { return serveBare(ctx, out, dir) })
	case sessionServer:
		return saying((&sessionHost{dir: dir, clients: s.connected, returning: s.returning}).serve)
	}
	store, err := engine.Open(engine.Options{Dir: dir})
	if err != nil {
		return nil, err
	}
	w := wheel.New()
	w.Start()
	g := gateway.New(gateway.Config{Store: store, NewID: func() [16]byte { return uuid.Must(uuid.NewV7()) }})
	g.Start()
	cfg := tcpserver.Config{Addr: "127.0.0.1:0", Gateway: g, Wheel: w, Protocol: protocol.Config{}}
	if s.role == gatewayTLS {
		if cfg.TLS, err = tlsHere(dir); err != nil {
			return nil, err
		}
		cfg.TLSRequired = true
	}
	tcp, err := tcpserver.New(cfg)
	if err != nil {
		return nil, err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	hooks, err := webhook.New(webhook.Config{Gateway: g, Lookup: feed.NewLookup(g), Encode: api.EventEncoder(g, ""), AllowLoopback: func() bool { return s.hook != "" }})
	if err != nil {
		return nil, err
	}
	hooks.Start()
	srv := api.NewServer(api.Config{Gateway: g, Webhooks: hooks, Authorizer: api.APIKeys("lwk_0123456789abcdef"), Metrics: metrics.New(metrics.Sources{}).Handler()})
	var serving sync.WaitGroup
	serving.Go(func() { _ = tcp.Serve() })
	serving.Go(func() { _ = srv.Serve(ln) })
	return &target{tcp: tcp.Addr().String(), http: ln.Addr().String(), pid: os.Getpid(), key: "lwk_0123456789abcdef", stop: stopOnce(func() {
		srv.Close()
		tcp.Close()
		hooks.Close()
		g.Stop()
		w.Stop()
		store.Close()
		serving.Wait()
	})}, nil
}

// tlsHere has a certificate of the run's own.
func tlsHere(dir string) (*tls.Config, error) {
	pair := dir + ".pem"
	if err := selfSigned(pair); err != nil {
		return nil, err
	}
	cert, err := tls.LoadX509KeyPair(pair, pair)
	return &tls.Config{Certificates: []tls.Certificate{cert}}, err
}

// saying serves in this process and reads the greeting.
func saying(serve func(context.Context, io.Writer) error) (*target, error) {
	ctx, cancel := context.WithCancel(context.Background())
	said, out := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := serve(ctx, out)
		out.CloseWithError(err)
		ended <- err
	}()
	t := &target{pid: os.Getpid(), stop: sync.OnceValue(func() error {
		cancel()
		return <-ended
	})}
	if err := t.readGreeting(bufio.NewReader(said)); err != nil {
		return nil, errors.Join(err, t.stop())
	}
	return t, nil
}

// workHere is a worker in this process.
func workHere(ctx context.Context) (io.ReadWriteCloser, error) {
	near, far := net.Pipe()
	go func() { _ = serveWorker(ctx, far) }() // ends with the pipe
	return near, nil
}

func stopOnce(stop func()) func() error {
	return sync.OnceValue(func() error { stop(); return nil })
}

// tiny has every scenario as small as it can be, with a stand-in for wrk.
func tiny(t *testing.T) Options {
	t.Helper()
	wrk := filepath.Join(t.TempDir(), "wrk")
	if err := os.WriteFile(wrk, []byte("#!/bin/sh\necho RESULT 10 1000000 0 100 200\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return Options{Out: &bytes.Buffer{}, Progress: io.Discard, JSON: true, Rounds: 1, Duration: minDuration, Clients: 20, Most: 30, Listed: 250, Queued: 300, Dir: t.TempDir(),
		perProcess: 35, start: startHere, work: workHere, outside: wrk, beat: 200 * time.Millisecond}
}

// aRun is a scenario under way.
func aRun(t *testing.T) *run {
	o := tiny(t)
	r := &run{Options: &o, ctx: t.Context(), dir: t.TempDir(), servers: make(map[spec]*target)}
	t.Cleanup(func() { _ = r.close() })
	return r
}

func empty(t *testing.T, dir string) {
	t.Helper()
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// TestScenarios is a short run of each scenario. It asserts no times.
func TestScenarios(t *testing.T) {
	for _, s := range new(Options).scenarios() {
		t.Run(s.Name, func(t *testing.T) {
			t.Parallel()
			o := tiny(t)
			o.Scenarios, o.Report = []string{s.Name}, filepath.Join(t.TempDir(), "report")
			err := Run(t.Context(), o)
			out := o.Out.(*bytes.Buffer)
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			var report Report
			if err := json.Unmarshal(out.Bytes(), &report); err != nil {
				t.Fatal(err)
			}
			if len(report.Scenarios) != 1 || report.Scenarios[0].Name != s.Name || len(report.Budgets) != len(s.budgets) {
				t.Fatalf("scenarios are %+v, want %s", report.Scenarios, s.Name)
			}
			for _, row := range report.Budgets {
				if row.Verdict == verdictNotMeasured {
					t.Errorf("%s was not measured", row.What)
				}
			}
			checkScenario(t, &report.Scenarios[0], o.Report)
			empty(t, o.Dir)
		})
	}
}

// checkScenario wants tables whose lines fit, and charts beside the page.
func checkScenario(t *testing.T, s *Scenario, dir string) {
	t.Helper()
	if len(s.Tables) == 0 {
		t.Errorf("scenario is %+v, want tables", s)
	}
	for _, c := range s.Charts {
		if _, err := os.Stat(filepath.Join(dir, c.Name+".svg")); err != nil {
			t.Error(err)
		}
	}
	for _, table := range s.Tables {
		for _, line := range table.Lines {
			if len(line.Values) != len(table.Columns) {
				t.Errorf("line %q has %d values under %d columns", line.Label, len(line.Values), len(table.Columns))
			}
		}
	}
	page, err := os.ReadFile(filepath.Join(dir, reportPage))
	if err != nil || !strings.Contains(string(page), s.Title) {
		t.Errorf("the page does not have %q: %v", s.Title, err)
	}
}

func TestMoreClientsThanAGatewayHolds(t *testing.T) {
	for _, change := range []func(*Options){func(o *Options) { o.Clients = 36 }, func(o *Options) { o.Most = 36 }} {
		o := tiny(t)
		change(&o)
		if err := Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), "ulimit -n") {
			t.Errorf("error is %v, want one that tells of the file limit", err)
		}
	}
}

// interrupter ends a context when a measurement begins.
type interrupter struct {
	at     string
	cancel func()
}

func (i interrupter) Write(p []byte) (int, error) {
	if strings.Contains(string(p), i.at+":") {
		i.cancel()
	}
	return len(p), nil
}

func TestInterruptedRunCleansUp(t *testing.T) {
	for _, at := range []string{"push", "list", "accept", "restart"} {
		t.Run(at, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			o := tiny(t)
			o.Scenarios = []string{"list", at}
			o.Progress = interrupter{at, cancel}
			if err := Run(ctx, o); !errors.Is(err, context.Canceled) {
				t.Errorf("error is %v, want context.Canceled", err)
			}
			if out := o.Out.(*bytes.Buffer); out.Len() > 0 {
				t.Errorf("printed %s", out)
			}
			empty(t, o.Dir)
		})
	}
}

func TestRunRefuses(t *testing.T) {
	for name, change := range map[string]func(*Options){
		"a long measurement":  func(o *Options) { o.Duration = time.Hour },
		"a short measurement": func(o *Options) { o.Duration = 1 },
		"too many clients":    func(o *Options) { o.Clients = 1_000_001 },
		"a negative number":   func(o *Options) { o.Queued = -1 },
		"too many rounds":     func(o *Options) { o.Rounds = 21 },
		"an unknown name":     func(o *Options) { o.Scenarios = []string{"speed"} },
	} {
		o := tiny(t)
		change(&o)
		if err := Run(t.Context(), o); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

func TestFailedMeasurementIsTold(t *testing.T) {
	o := tiny(t)
	o.JSON, o.Scenarios = false, []string{"list"}
	o.start = func(context.Context, string, spec, string) (*target, error) { return nil, errors.New("no ports") }
	if err := Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), "list") {
		t.Errorf("error is %v, want one that names list", err)
	}
	if out := o.Out.(*bytes.Buffer).String(); !strings.Contains(out, "no ports") || !strings.Contains(out, verdictNotMeasured) {
		t.Errorf("table is\n%s", out)
	}
	empty(t, o.Dir)
}

// The gateway's own bound of connections, by the limit of open files, may be lower.
func TestIdleClientsHaveRoom(t *testing.T) {
	o, room := tiny(t), 0
	o.Scenarios = []string{"idle"}
	o.start = func(_ context.Context, _ string, s spec, _ string) (*target, error) {
		room = max(room, s.room)
		return nil, errors.New("it is enough to see the spec")
	}
	if err := Run(t.Context(), o); err == nil || room < o.Most {
		t.Errorf("room is for %d clients of %d, %v", room, o.Most, err)
	}
}

func TestLostClientsSpoilTheMeasurement(t *testing.T) {
	target, err := startHere(t.Context(), "", spec{role: gatewayServer}, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	o := tiny(t)
	err = within(&run{Options: &o, ctx: t.Context(), dir: t.TempDir()}, func(r *run) {
		d := r.connect(target, Join{Count: 3})
		check(d.check())
		_ = target.stop()
		check(waitFor(t.Context(), time.Minute, "the loss", func() bool {
			total, err := d.count()
			return err == nil && total.Lost == 3
		}))
	})
	if err == nil || !strings.Contains(err.Error(), "3 of 3") {
		t.Errorf("three lost clients give %v", err)
	}
}

func TestPushersStopAtAnotherStatus(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprint(w, "the disk is full")
	}))
	defer srv.Close()
	l := aRun(t).newPushers(&target{http: srv.Listener.Addr().String(), pid: os.Getpid()}, load{callers: 2}, 1)
	if _, err := l.play(t.Context(), time.Minute); err == nil || !strings.Contains(err.Error(), "the disk is full") {
		t.Errorf("error is %v, want the server's words", err)
	}
}

func TestCommand(t *testing.T) {
	var out bytes.Buffer
	cmd := Command(&out)
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	cmd.SetArgs([]string{"--help"})
	if err := cmd.Execute(); err != nil {
		t.Fatal(err)
	}
	if help := out.String(); !strings.Contains(help, "push-online") || strings.Contains(help, "Serve the bare server") {
		t.Errorf("help is\n%s", help)
	}
	for _, args := range [][]string{{"--rounds", "x"}, {"more"}, {"--scenario", "speed"}} {
		cmd := Command(&out)
		cmd.SetOut(&out)
		cmd.SetErr(&out)
		cmd.SetArgs(args)
		if err := cmd.Execute(); err == nil {
			t.Errorf("%v is taken", args)
		}
	}
}
