package test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/longwire/longwire/test/loopback"
)

// builds is where TestMain puts programs; each is built once, when needed.
var builds struct {
	dir  string
	mu   sync.Mutex
	done map[string]error
}

func TestMain(m *testing.M) {
	_ = flag.Set("test.parallel", "8") // for all CPUs: these tests wait; the command line overrides it
	dir, err := os.MkdirTemp("", "longwire-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	builds.dir, builds.done = dir, map[string]error{}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// program returns the path of the binary made of a package of this module.
func program(t testing.TB, name, pkg string) string {
	t.Helper()
	builds.mu.Lock()
	defer builds.mu.Unlock()
	path := filepath.Join(builds.dir, name)
	err, done := builds.done[name]
	if !done {
		out, e := exec.Command("go", "build", "-o", path, pkg).CombinedOutput()
		if e != nil {
			err = fmt.Errorf("build %s: %w\n%s", pkg, e, out)
		}
		builds.done[name] = err
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func longwire(t testing.TB) string { t.Helper(); return program(t, "longwire", "../cmd/longwire") }

func seedProgram(t testing.TB, name string) string {
	t.Helper()
	return program(t, "seed-"+name, "./testdata/seed/"+name)
}

// process is a program that runs until the test ends, at the latest.
type process struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
	ended chan struct{} // closed when it has exited

	mu  sync.Mutex
	out bytes.Buffer // both streams
}

// Write collects the program's output.
func (p *process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.Write(b)
}

func (p *process) output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.String()
}

func run(t testing.TB, path string, args ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(path, args...), ended: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = p, p
	p.cmd.WaitDelay = time.Second // what it has started may outlive it with its output
	p.cmd.Dir = t.TempDir()
	p.cmd.Env = withoutSettings(os.Environ())
	var err error
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.cmd.Wait()
		close(p.ended)
	}()
	t.Cleanup(func() {
		p.cmd.Process.Kill()
		<-p.ended
		if t.Failed() {
			t.Logf("%s %s said:\n%s", filepath.Base(path), strings.Join(args, " "), p.output())
		}
	})
	return p
}

// withoutSettings keeps the caller's own gateway settings out of the test.
func withoutSettings(env []string) []string {
	var kept []string
	for _, v := range env {
		if !strings.HasPrefix(v, "LONGWIRE_") {
			kept = append(kept, v)
		}
	}
	return kept
}

func (p *process) signal(t testing.TB, s os.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		t.Fatalf("signal %v: %v", s, err)
	}
}

// exit waits for the end and returns the exit code, -1 after a signal.
func (p *process) exit(t testing.TB, within time.Duration) int {
	t.Helper()
	select {
	case <-p.ended:
		return p.cmd.ProcessState.ExitCode()
	case <-time.After(within):
		t.Fatalf("%s still runs after %v", filepath.Base(p.cmd.Path), within)
		return -1
	}
}

// server is a longwire serve process.
type server struct {
	*process
	t       testing.TB
	tcpAddr string
	url     string
	http    *http.Client
}

// serve starts the gateway on tcpAddr ("" = a free port) and waits until it is
// ready.
func serve(t testing.TB, tcpAddr, dataDir string, args ...string) *server {
	t.Helper()
	return serveUnder(t, nil, tcpAddr, dataDir, args...)
}

// serveUnder is serve by way of another program, such as a tracer.
func serveUnder(t testing.TB, program []string, tcpAddr, dataDir string, args ...string) *server {
	t.Helper()
	if tcpAddr == "" {
		tcpAddr = loopback.FreeAddr(t)
	}
	httpAddr := loopback.FreeAddr(t)
	command := append(program, longwire(t), "serve", "--tcp-addr", tcpAddr, "--http-addr", httpAddr, "--data-dir", dataDir)
	command = append(command, args...)
	s := &server{
		process: run(t, command[0], command[1:]...),
		t:       t,
		tcpAddr: tcpAddr,
		url:     "http://" + httpAddr,
		http:    &http.Client{Timeout: time.Minute, Transport: &http.Transport{MaxIdleConnsPerHost: 64}},
	}
	t.Cleanup(s.http.CloseIdleConnections)
	s.awaitReady()
	return s
}

func (s *server) awaitReady() {
	t := s.t
	t.Helper()
	waitFor(t, "the gateway is ready", func() bool {
		select {
		case <-s.ended:
			t.Fatalf("the gateway has ended with %d:\n%s", s.cmd.ProcessState.ExitCode(), s.output())
		default:
		}
		resp, err := s.http.Get(s.url + "/readyz")
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
}

var seedPort sync.Mutex

// seedAddr is the one address that the seed programs know, for this test alone until it
// ends. It waits until no other program listens there.
func seedAddr(t testing.TB) string {
	t.Helper()
	seedPort.Lock()
	t.Cleanup(seedPort.Unlock)
	const addr = "127.0.0.1:6666"
	waitFor(t, "port 6666 is free for the seed programs", func() bool {
		ln, err := net.Listen("tcp", addr)
		if err == nil {
			ln.Close()
		}
		return err == nil
	})
	return addr
}

// closed is how a connection ended.
type closed struct {
	Reason string `json:"reason"`
	By     string `json:"by"`
}

// answer is what the HTTP API said; fields that a test does not look at are
// left out.
type answer struct {
	code int

	ID        string   `json:"id"`
	Status    status   `json:"status"`
	Online    bool     `json:"online"`
	Confirmed *bool    `json:"confirmed"`
	Presence  string   `json:"presence"`
	Asked     bool     `json:"asked"`
	Connected int      `json:"connected"`
	Session   string   `json:"session"`
	RTT       float64  `json:"rtt_ms"`
	Dialect   string   `json:"dialect"`
	LastClose closed   `json:"last_close"`
	Result    string   `json:"result"`
	Reason    string   `json:"reason"`
	Client    string   `json:"client"`
	Text      string   `json:"text"`
	Attempts  int      `json:"attempts"`
	SentAt    string   `json:"sent_at"`
	FinalAt   string   `json:"final_at"`
	Items     []answer `json:"items"`
	MessageID string   `json:"message_id"` // of a problem
}

// status is the state of a message. A problem has a number there, which is the
// same as the code.
type status string

func (s *status) UnmarshalJSON(b []byte) error {
	if b[0] != '"' {
		return nil
	}
	return json.Unmarshal(b, (*string)(s))
}

func (s *server) call(method, path, contentType, body string) (answer, error) {
	return s.callWithKey(method, path, contentType, body, "")
}

// callWithKey is call with an Idempotency-Key, if key is not "".
func (s *server) callWithKey(method, path, contentType, body, key string) (answer, error) {
	req, err := http.NewRequestWithContext(context.Background(), method, s.url+path, strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	resp, err := s.http.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	a := answer{code: resp.StatusCode}
	if err := json.NewDecoder(io.LimitReader(resp.Body, 16<<20)).Decode(&a); err != nil && !errors.Is(err, io.EOF) {
		return a, fmt.Errorf("%s %s answered %d: %w", method, path, resp.StatusCode, err)
	}
	return a, nil
}

func (s *server) get(path string) answer {
	s.t.Helper()
	a, err := s.call(http.MethodGet, path, "", "")
	if err != nil {
		s.t.Fatal(err)
	}
	return a
}

func (s *server) push(client, query, text string) answer {
	s.t.Helper()
	a, err := s.call(http.MethodPost, "/v1/clients/"+client+"/messages"+query, "text/plain", text)
	if err != nil {
		s.t.Fatal(err)
	}
	return a
}

// wantLastClose waits until the last disconnect of a client has one of the reasons and
// sides wanted.
func (s *server) wantLastClose(t testing.TB, client string, want ...closed) {
	t.Helper()
	waitFor(t, fmt.Sprintf("%s was closed by %v", client, want), func() bool {
		return slices.Contains(want, s.get("/v1/clients/"+client).LastClose)
	})
}

// online reports whether the client is, by GET /v1/clients/{id}.
func (s *server) online(client string) bool {
	s.t.Helper()
	return s.get("/v1/clients/" + client).Online
}
