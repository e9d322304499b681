package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/longwire/longwire/internal/config"
)

// TestMain makes this binary the command longwire within scripts, with a
// gateway that only says where it would listen.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"longwire": func() {
			ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			os.Exit(Main(ctx, Program{Serve: pretendToServe}, os.Args[1:]))
		},
	})
}

func pretendToServe(ctx context.Context, cfg *config.Config, out io.Writer) error {
	fmt.Fprintf(out, "serving devices on %s\n", cfg.TCP.Addr)
	if err := os.WriteFile("serving", nil, 0o600); err != nil { // a script waits for it before it sends signals
		return err
	}
	<-ctx.Done()
	fmt.Fprintln(out, "drained")
	return nil
}

// Keys of what Setup leaves for the commands of a script.
type (
	gatewayKey struct{}
	deviceKey  struct{}
)

func TestScripts(t *testing.T) {
	dir, files := "testdata", []string(nil)
	if testing.Short() { // commands that do several things at once; the race detector sees nothing in the others
		dir = ""
		for _, name := range []string{"connect", "serve", "simulate", "tail", "tailconsumer", "tailexec", "tls"} {
			files = append(files, filepath.Join("testdata", name+".txtar"))
		}
	}
	testscript.Run(t, testscript.Params{
		Dir:                 dir,
		Files:               files,
		RequireExplicitExec: true,
		Deadline:            time.Now().Add(5 * time.Minute), // a command that hangs is killed
		Setup: func(env *testscript.Env) error {
			g := startGateway()
			p, err := startDevicePort()
			if err != nil {
				return err
			}
			env.Defer(g.http.Close)
			env.Defer(p.close)
			if err := startTLS(env, g, p); err != nil {
				return err
			}
			env.Values[gatewayKey{}], env.Values[deviceKey{}] = g, p
			env.Setenv("LONGWIRE_SERVER", g.http.URL)
			env.Setenv("GATEWAY", g.http.URL)
			env.Setenv("GATEWAY_ADDR", g.http.Listener.Addr().String())
			env.Setenv("DEVICES", p.listener.Addr().String())
			env.Setenv("NO_COLOR", "1")
			env.Setenv("TZ", "UTC")
			return os.WriteFile(filepath.Join(env.WorkDir, "binary"), []byte{0xff, 0xfe}, 0o600) // no text
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"asked":   asked,
			"device":  deviceSaw,
			"appears": appears,
			"created": created,
		},
	})
}

// patience bounds the wait for something that another process is about to do.
const patience = time.Minute

// asked waits until the last request that the gateway got matches: asked REGEXP.
func asked(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: asked REGEXP")
	}
	want := regexp.MustCompile(args[0])
	g := ts.Value(gatewayKey{}).(*fakeGateway)
	if !eventually(func() bool { return want.MatchString(g.lastRequest()) }) {
		ts.Fatalf("the gateway was asked: %s", g.lastRequest())
	}
}

// appears waits for a file: appears NAME.
func appears(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: appears NAME")
	}
	if !eventually(func() bool { _, err := os.Stat(ts.MkAbs(args[0])); return err == nil }) {
		ts.Fatalf("%s does not appear", args[0])
	}
}

// eventually reports whether ok becomes true within patience.
func eventually(ok func() bool) bool {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); time.Now().Before(end); <-tick.C {
		if ok() {
			return true
		}
	}
	return false
}

// deviceSaw waits until the device port has seen lines that match, in order:
// device REGEXP….
func deviceSaw(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: device REGEXP…")
	}
	p := ts.Value(deviceKey{}).(*devicePort)
	want := regexp.MustCompile("(?s)" + strings.Join(args, ".*"))
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if log, ok := p.await(ctx, want.MatchString); !ok {
		ts.Fatalf("the device port saw:\n%s", log)
	}
}
