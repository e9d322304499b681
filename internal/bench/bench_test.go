package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/longwire/longwire/api"
	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine"
	"github.com/longwire/longwire/internal/metrics"
	"github.com/longwire/longwire/internal/wheel"
	"github.com/longwire/longwire/protocol"
	"github.com/longwire/longwire/tcpserver"
)

// startHere is a starter whose processes are all this one.
func startHere(_ context.Context, r role, dir string) (*target, error) {
	if r == bareHandler {
		srv := httptest.NewServer(bareRouter())
		return &target{http: srv.Listener.Addr().String(), pid: os.Getpid(), stop: stopOnce(srv.Close)}, nil
	}
	store, err := engine.Open(engine.Options{Dir: dir})
	if err != nil {
		return nil, err
	}
	w := wheel.New(0)
	w.Start()
	id := func(prefix string) string { return prefix + uuid.Must(uuid.NewV7()).String() }
	g := gateway.New(gateway.Config{Store: store,
		NewMessageID: func() gateway.MessageID { return gateway.MessageID(id("msg_")) },
		NewSessionID: func() gateway.SessionID { return gateway.SessionID(id("ses_")) }})
	g.Start()
	tcp, err := tcpserver.New(tcpserver.Config{Addr: "127.0.0.1:0", Gateway: g, Wheel: w, Protocol: protocol.Config{}})
	if err != nil {
		return nil, err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	srv := api.NewServer(api.Config{Gateway: g, Authorizer: api.APIKeys("lwk_0123456789abcdef"), Metrics: metrics.New(metrics.Sources{}).Handler()})
	var serving sync.WaitGroup
	serving.Go(func() { _ = tcp.Serve() })
	serving.Go(func() { _ = srv.Serve(ln) })
	return &target{tcp: tcp.Addr().String(), http: ln.Addr().String(), pid: os.Getpid(), key: "lwk_0123456789abcdef", stop: stopOnce(func() {
		srv.Close()
		tcp.Close()
		g.Stop()
		w.Stop()
		store.Close()
		serving.Wait()
	})}, nil
}

func stopOnce(stop func()) func() error {
	return sync.OnceValue(func() error { stop(); return nil })
}

func tiny(t *testing.T) Options {
	return Options{Out: &bytes.Buffer{}, JSON: true, Duration: minDuration, Clients: 20, Queued: 300, Dir: t.TempDir(), start: startHere}
}

func empty(t *testing.T, dir string) {
	t.Helper()
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestRun(t *testing.T) {
	o := tiny(t)
	err := Run(t.Context(), o)
	out := o.Out.(*bytes.Buffer)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var report Report
	if err := json.Unmarshal(out.Bytes(), &report); err != nil {
		t.Fatal(err)
	}
	if len(report.Rows) != len(budgets) {
		t.Fatalf("%d rows, want %d", len(report.Rows), len(budgets))
	}
	for i, row := range report.Rows {
		if row.Name != budgets[i].name || row.Detail == "" {
			t.Errorf("row %d is %+v, want one of %s with a detail", i, row, budgets[i].name)
		}
		// CPU time comes in ticks, so a tiny run may see none; all else is above zero.
		inTicks := row.Name == "bulk" || row.Name == "push-all" || row.Name == "idle-memory"
		if row.Measured != nil && !inTicks && *row.Measured <= 0 {
			t.Errorf("%s is %v", row.Name, *row.Measured)
		}
	}
	empty(t, o.Dir)
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
	for _, at := range []string{"idle-memory", "list", "accept", "restart"} {
		t.Run(at, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			o := tiny(t)
			o.Only = []string{"list", at}
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
		"too many clients":    func(o *Options) { o.Clients = maxClients + 1 },
		"a negative number":   func(o *Options) { o.Queued = -1 },
		"an unknown name":     func(o *Options) { o.Only = []string{"speed"} },
		"no directory":        func(o *Options) { o.Dir += "/none" },
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
	o.JSON, o.Only = false, []string{"list"}
	o.start = func(context.Context, role, string) (*target, error) { return nil, errors.New("no ports") }
	if err := Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), "list") {
		t.Errorf("error is %v, want one that names list", err)
	}
	if out := o.Out.(*bytes.Buffer).String(); !strings.Contains(out, "no ports") || !strings.Contains(out, verdictFailed) {
		t.Errorf("table is\n%s", out)
	}
	empty(t, o.Dir)
}

func TestLostClientsSpoilTheMeasurement(t *testing.T) {
	target, err := startHere(t.Context(), gatewayServer, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	c, err := connect(t.Context(), target.tcp, 3)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	if err := c.check(); err != nil {
		t.Error(err)
	}
	_ = target.stop()
	if err := waitFor(t.Context(), time.Minute, "the loss", func() bool { return c.lost.Load() == 3 }); err != nil {
		t.Fatal(err)
	}
	if err := c.check(); err == nil {
		t.Error("three lost clients are no error")
	}
}

func TestLoaderStopsAtAnotherStatus(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprint(w, "the disk is full")
	}))
	defer srv.Close()
	l, err := newLoader(t.Context(), &target{http: srv.Listener.Addr().String(), pid: os.Getpid()}, pushes{conns: 2, clients: 1, status: "202"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
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
	if help := out.String(); !strings.Contains(help, "push-online") || strings.Contains(help, "Serve the bare handler") {
		t.Errorf("help is\n%s", help)
	}
	for _, args := range [][]string{{"-o", "xml"}, {"more"}, {"--only", "speed"}} {
		cmd := Command(&out)
		cmd.SetOut(&out)
		cmd.SetErr(&out)
		cmd.SetArgs(args)
		if err := cmd.Execute(); err == nil {
			t.Errorf("%v is taken", args)
		}
	}
}
