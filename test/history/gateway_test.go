//go:build unix

package history

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/longwire/longwire/test/loopback"
)

// built is the directory of the gateway built from this tree.
var built string

func TestMain(m *testing.M) {
	var err error
	if built, err = os.MkdirTemp("", "longwire-history-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(built)
	os.Exit(code)
}

// program is the gateway under test: LONGWIRE_HISTORY_BINARY, or one built from
// this tree, once.
func program(t *testing.T) string {
	if path := os.Getenv("LONGWIRE_HISTORY_BINARY"); path != "" {
		return path
	}
	path := filepath.Join(built, "longwire")
	if _, err := os.Stat(path); err == nil {
		return path
	}
	if out, err := exec.Command("go", "build", "-o", path, "../../cmd/longwire").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return path
}

// gateway is one store and the processes that serve it, one after the other.
type gateway struct {
	t                 *testing.T
	path, dir         string
	tcpAddr, httpAddr string
	callers           *http.Client
	cmd               *exec.Cmd
	ended             chan struct{}
	out               *output
	lives             atomic.Int64 // processes so far; events of one are told by one
	kills             atomic.Int64

	mu       sync.Mutex
	troubles []span // while a process was not up, or the disk was full
}

// output keeps the end of what the processes print.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.b.Len() > 1<<20 {
		o.b.Next(o.b.Len() - 1<<19)
	}
	return o.b.Write(b)
}

func newGateway(t *testing.T, path, dir string) *gateway {
	g := &gateway{t: t, path: path, dir: dir, tcpAddr: loopback.FreeAddr(t), httpAddr: loopback.FreeAddr(t), out: &output{},
		callers: &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 64}}}
	t.Cleanup(func() {
		g.callers.CloseIdleConnections()
		g.kill()
		if t.Failed() {
			t.Logf("the gateway said:\n%s", g.out.b.Bytes()[max(0, g.out.b.Len()-4000):])
		}
	})
	return g
}

// spawn starts a process and does not wait for it.
func (g *gateway) spawn() {
	g.cmd = exec.Command(g.path, "serve", "--tcp-addr", g.tcpAddr, "--http-addr", g.httpAddr, "--data-dir", filepath.Join(g.dir, "data"),
		"--tcp-ack-timeout", "1s", "--delivery-max-attempts", "1000", "--data-min-free", "24MiB", "--drain-timeout", "3s", "--drain-retry-spread", "1s",
		"--http-access-log=false", "--audit-file", os.DevNull, "--log-level", "error")
	g.cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "LONGWIRE_") })
	g.cmd.Stdout, g.cmd.Stderr = g.out, g.out
	if err := g.cmd.Start(); err != nil {
		g.t.Fatal(err)
	}
	g.lives.Add(1)
	g.ended = make(chan struct{})
	go func(cmd *exec.Cmd, ended chan struct{}) { // ends with the process, which the cleanup kills
		cmd.Wait()
		close(ended)
	}(g.cmd, g.ended)
}

// start is spawn, until the gateway is ready.
func (g *gateway) start() {
	g.t.Helper()
	g.spawn()
	waitWithin(g.t, time.Minute, "the gateway is ready", func() bool {
		select {
		case <-g.ended:
			g.t.Fatalf("the gateway has ended with %d", g.cmd.ProcessState.ExitCode())
		default:
		}
		resp, err := g.callers.Get("http://" + g.httpAddr + "/readyz")
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		io.Copy(io.Discard, resp.Body)
		return resp.StatusCode == http.StatusOK
	})
}

// kill ends the process without a chance to say anything.
func (g *gateway) kill() {
	if g.cmd == nil {
		return
	}
	if g.cmd.Process.Kill() == nil {
		g.kills.Add(1)
	}
	<-g.ended
}

// drain asks the process to stop, and waits for it.
func (g *gateway) drain() error {
	g.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-g.ended:
		if code := g.cmd.ProcessState.ExitCode(); code != 0 {
			return fmt.Errorf("the gateway has ended with %d after SIGTERM", code)
		}
		return nil
	case <-time.After(30 * time.Second):
		return fmt.Errorf("the gateway runs 30 s after SIGTERM")
	}
}

// trouble runs work, a time in which what reaches the gateway may not count.
func (g *gateway) trouble(work func()) {
	begin := time.Now()
	work()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.troubles = append(g.troubles, span{begin, time.Now()})
}

func waitWithin(t *testing.T, limit time.Duration, what string, ok func() bool) {
	t.Helper()
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for deadline := time.Now().Add(limit); !ok(); <-poll.C {
		if time.Now().After(deadline) {
			t.Fatalf("waited %v in vain: %s", limit, what)
		}
	}
}
