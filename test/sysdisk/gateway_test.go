//go:build linux

package sysdisk

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/longwire/longwire/test/loopback"
)

// built is the program under test: LONGWIRE_SYSDISK_BINARY, or one built once from
// this tree.
var built = sync.OnceValues(func() (string, error) {
	if path := os.Getenv("LONGWIRE_SYSDISK_BINARY"); path != "" {
		return path, nil
	}
	var err error
	if buildDir, err = os.MkdirTemp("", "longwire-sysdisk-"); err != nil {
		return "", err
	}
	path := filepath.Join(buildDir, "longwire")
	cmd := exec.Command("go", "build", "-o", path, "../../cmd/longwire")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0") // a linker's files are not in the trace
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build: %w\n%s", err, out)
	}
	return path, nil
})

var buildDir string // "" where nothing was built

func TestMain(m *testing.M) {
	syscall.Umask(int(umask))
	code := m.Run()
	fmt.Printf("power cuts: %d, facts checked: %d, cuts with violations: %d\n", totals.cuts, totals.facts, totals.broken)
	os.RemoveAll(buildDir)
	os.Exit(code)
}

func longwire(t testing.TB) string {
	t.Helper()
	path, err := built()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// needStrace skips a test where no process can be traced.
func needStrace(t *testing.T) {
	t.Helper()
	err := exec.Command("strace", "-f", "--seccomp-bpf", "-o", os.DevNull, "true").Run()
	if err == nil {
		return
	}
	if os.Getenv("LONGWIRE_TEST_STRACE") == "required" {
		t.Fatalf("strace cannot trace a process here, and LONGWIRE_TEST_STRACE requires it: %v", err)
	}
	t.Skipf("SKIPPED: no power cut is tried, because strace cannot trace a process here (%v): install strace, allow ptrace", err)
}

// process is a longwire that runs until the test ends, at the latest.
type process struct {
	cmd   *exec.Cmd
	ended chan struct{}
	mu    sync.Mutex
	out   bytes.Buffer
}

func (p *process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.Write(b)
}

func (p *process) said() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.String()
}

func start(command []string, env ...string) (*process, error) {
	p := &process{cmd: exec.Command(command[0], command[1:]...), ended: make(chan struct{})}
	p.cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "LONGWIRE_") })
	p.cmd.Env = append(p.cmd.Env, env...)
	p.cmd.Stdout, p.cmd.Stderr = p, p
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { // ends with the process, which its starter ends
		p.cmd.Wait()
		close(p.ended)
	}()
	return p, nil
}

// stop ends the process without a chance to say anything.
func (p *process) stop() {
	p.cmd.Process.Kill()
	<-p.ended
}

// gateway is a longwire serve.
type gateway struct {
	*process
	tcpAddr, httpAddr string
}

// prepare chooses the addresses.
func prepare() (g gateway, err error) {
	if g.tcpAddr, err = loopback.Free(); err == nil {
		g.httpAddr, err = loopback.Free()
	}
	return g, err
}

func (g *gateway) command(dataDir string, args ...string) []string {
	return append([]string{"serve", "--tcp-addr", g.tcpAddr, "--http-addr", g.httpAddr, "--data-dir", dataDir, "--log-level", "error",
		"--http-access-log=false", "--tcp-ack-timeout", "1s", "--drain-timeout", "1s", "--drain-retry-spread", "100ms"}, args...)
}

// ready waits until the gateway accepts messages.
func (g *gateway) ready() error {
	poll := time.NewTicker(3 * time.Millisecond)
	defer poll.Stop()
	hc := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	for deadline := time.Now().Add(30 * time.Second); ; <-poll.C {
		select {
		case <-g.ended:
			return fmt.Errorf("the gateway does not start, exit code %d: %s", g.cmd.ProcessState.ExitCode(), g.said())
		default:
		}
		res, err := hc.Get("http://" + g.httpAddr + "/readyz")
		if err == nil {
			res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return nil
			}
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the gateway is not ready after 30 s: %v %s", err, g.said())
		}
	}
}

// caller makes one request after the other on connections of its own.
type caller struct {
	addr  string
	key   string // of the API
	wires *wires // nil: not recorded
	http  *http.Client
}

func newCaller(addr string, ws *wires) *caller {
	tr := &http.Transport{}
	if ws != nil {
		tr.DialContext = ws.dial
	}
	return &caller{addr: addr, wires: ws, http: &http.Client{Timeout: 20 * time.Second, Transport: tr}}
}

// answer is the JSON of an answer; members that no check looks at are left out.
type answer struct {
	code     int
	replayed bool
	wire     *wire
	upto     int // its last byte

	ID         string            `json:"id"`
	Status     any               `json:"status"` // a number in a problem
	Client     string            `json:"client"`
	Reason     string            `json:"reason"`
	Result     *string           `json:"result"`
	FinalAt    string            `json:"final_at"`
	Text       *string           `json:"text"`
	Counts     map[string]int    `json:"counts"`
	Seq        uint64            `json:"seq"`
	Number     uint64            `json:"number"`
	Labels     map[string]string `json:"labels"`
	Secret     string            `json:"secret"`
	Items      []answer          `json:"items"`
	NextCursor string            `json:"next_cursor"`
	NextAfter  uint64            `json:"next_after"`
	More       bool              `json:"more"`
}

func (c *caller) call(method, path, idempotency, body string) (a answer, err error) {
	var nc net.Conn
	ctx := httptrace.WithClientTrace(context.Background(), &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) { nc = i.Conn }})
	req, err := http.NewRequestWithContext(ctx, method, "http://"+c.addr+path, strings.NewReader(body))
	if err != nil {
		return a, err
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if idempotency != "" {
		req.Header.Set("Idempotency-Key", idempotency)
	}
	if c.key != "" {
		req.Header.Set("Authorization", "Bearer "+c.key)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return a, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		return a, err
	}
	if len(b) > 0 {
		if err := json.Unmarshal(b, &a); err != nil {
			return a, fmt.Errorf("%s %s answered %d: %w", method, path, res.StatusCode, err)
		}
	}
	a.code, a.replayed = res.StatusCode, res.Header.Get("Idempotency-Replayed") == "true"
	if w, ok := nc.(*wire); ok {
		a.wire, a.upto = w, w.upto()
	}
	return a, nil
}

// pages calls each for all items of a list.
func (c *caller) pages(path string, each func(answer)) error {
	for cursor := ""; ; {
		a, err := c.call("GET", path+"limit=1000"+cursor, "", "")
		if err != nil || a.code != 200 {
			return fmt.Errorf("GET %s: %d %v", path, a.code, err)
		}
		for _, item := range a.Items {
			each(item)
		}
		switch {
		case a.NextCursor != "":
			cursor = "&cursor=" + a.NextCursor
		case a.More:
			cursor = fmt.Sprint("&after=", a.NextAfter)
		default:
			return nil
		}
	}
}

func (c *caller) close() { c.http.CloseIdleConnections() }
