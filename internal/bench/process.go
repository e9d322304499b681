package bench

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// role is the kind of a process under test.
type role uint8

const (
	noServer      role = iota // the load is in this process
	gatewayServer             // longwire serve
	gatewayTLS                // the same; its device port speaks TLS only
	bareServer                // chi handlers and echoing connections; it keeps nothing
	bareSyncing               // the same, but appends and syncs each body
	sessionServer             // a gateway with clients that have no connections
)

func (r role) String() string {
	return [...]string{"nothing", "longwire", "longwire, TLS", "bare chi", "bare chi + fdatasync", "longwire without sockets"}[r]
}

// target is a process under test.
type target struct {
	tcp  string // address of the device port; "" if it has none
	http string // address of the API
	pid  int
	role role
	key  string       // API key; "" = none needed
	stop func() error // ends it and waits; later calls do nothing
}

// process describes a process to be started.
type process struct {
	role        role
	dir         string // of its store; "" = it keeps nothing
	connections int    // bound of devices for the gateway; 0 = its default
	clients     int    // of a sessionServer
	returns     int    // clients of a sessionServer that reconnect each second
	patient     bool   // the gateway waits long for answers to heartbeats
	hooks       bool   // webhooks may lead to loopback
	untimed     bool   // the gateway keeps no timelines
}

// starter starts a process and returns when it serves. The process ends with ctx at
// the latest.
type starter func(ctx context.Context, p process) (*target, error)

// Bounds of a process's life.
const (
	startTimeout  = time.Minute      // until it prints its addresses
	fillTimeout   = 5 * time.Minute  // the same, if it first registers clients
	stopTimeout   = 15 * time.Second // from the request to stop to the kill
	tailBytes     = 4 << 10          // kept of its standard error
	roomForWarmUp = 10               // connections that are being closed while others come
)

// startProcess runs longwire, or this binary as a hidden subcommand.
func (o *Options) startProcess(ctx context.Context, p process) (*target, error) {
	binary, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	key, args, timeout := "", []string(nil), startTimeout
	switch p.role {
	case bareServer, bareSyncing:
		args = []string{bareName, "--dir", p.dir}
	case sessionServer:
		args = []string{sessionsName, "--dir", p.dir, "--clients", strconv.Itoa(p.clients), "--returns", strconv.Itoa(p.returns)}
		timeout = fillTimeout
	default:
		if binary, err = o.gateway(binary); err != nil {
			return nil, err
		}
		key = "lwk_bench_" + rand.Text()
		if args, err = gatewayArgs(p); err != nil {
			return nil, err
		}
	}
	cmd := exec.Command(binary, args...)
	cmd.Env = cleanEnv(os.Environ())
	if key != "" {
		cmd.Env = append(cmd.Env, "LONGWIRE_AUTH_API_KEYS="+key)
	}
	return startCommand(ctx, cmd, key, timeout)
}

// gateway finds the binary of the gateway: the requested one, the one beside self,
// or the one in PATH.
func (o *Options) gateway(self string) (string, error) {
	beside := filepath.Join(filepath.Dir(self), "longwire"+filepath.Ext(self))
	for _, name := range []string{o.Longwire, beside, "longwire"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		} else if name != "" && name == o.Longwire {
			return "", err
		}
	}
	return "", fmt.Errorf("there is no longwire at %s or in PATH; name it with --longwire", beside)
}

// gatewayArgs are the arguments of longwire serve: the defaults, except for
// addresses, logs and the bounds that the measurement reaches.
func gatewayArgs(p process) ([]string, error) {
	args := []string{"serve", "--tcp-addr", "127.0.0.1:0", "--http-addr", "127.0.0.1:0", "--data-dir", p.dir,
		"--http-access-log=false", "--log-level", "warn", "--drain-timeout", "1s"}
	if p.connections > 0 {
		args = append(args, "--tcp-max-connections", strconv.Itoa(p.connections+roomForWarmUp))
	}
	if p.untimed {
		args = append(args, "--events-timeline=false")
	}
	if p.patient {
		args = append(args, "--tcp-grace", "30s")
	}
	if p.hooks {
		args = append(args, "--webhooks-allow-networks", "127.0.0.0/8")
	}
	if p.role == gatewayTLS {
		cert, key, err := selfSigned(p.dir + "-tls")
		if err != nil {
			return nil, err
		}
		args = append(args, "--tcp-tls", "required", "--tcp-tls-cert-file", cert, "--tcp-tls-key-file", key)
	}
	return args, nil
}

// cleanEnv removes settings of longwire that belong to another gateway.
func cleanEnv(env []string) []string {
	var kept []string
	for _, entry := range env {
		if !strings.HasPrefix(entry, "LONGWIRE_") {
			kept = append(kept, entry)
		}
	}
	return kept
}

// startCommand starts cmd and waits for its greeting until timeout.
func startCommand(ctx context.Context, cmd *exec.Cmd, key string, timeout time.Duration) (*target, error) {
	said, saying := io.Pipe()
	complaints := &tail{}
	cmd.Stdout, cmd.Stderr = saying, complaints
	stop, err := launch(ctx, cmd, saying)
	if err != nil {
		return nil, err
	}
	t := &target{pid: cmd.Process.Pid, key: key, stop: stop}
	greeted := make(chan error, 1)
	go func() { // ends with the process, which closes the pipe
		lines := bufio.NewReader(said)
		greeted <- t.readGreeting(lines)
		_, _ = io.Copy(io.Discard, lines)
	}()
	select {
	case err = <-greeted:
	case <-time.After(timeout):
		err = fmt.Errorf("it printed no addresses within %s", timeout)
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		err = errors.Join(err, stop())
		if text := complaints.String(); text != "" {
			err = fmt.Errorf("%w; its output: %s", err, text)
		}
		return nil, err
	}
	return t, nil
}

// launch starts cmd on its own thread, which lives as long as the process: on Linux
// a process gets a signal when the thread that started it dies. stop ends it, at the latest
// with ctx.
func launch(ctx context.Context, cmd *exec.Cmd, output *io.PipeWriter) (stop func() error, err error) {
	cmd.WaitDelay = stopTimeout
	cmd.SysProcAttr = dieWithParent()
	exited := make(chan struct{}) // closed when its output has been read, too
	started := make(chan error)
	go func() { // ends with the process
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		err := cmd.Start()
		started <- err
		if err != nil {
			return
		}
		_ = cmd.Wait() // its exit status has no meaning: it was stopped, or the caller notices its silence
		output.Close()
		close(exited)
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	stop = stopper(cmd, exited)
	context.AfterFunc(ctx, func() { _ = stop() })
	return stop, nil
}

// stopper returns a function that asks the process to end, kills it if it does not,
// and waits.
func stopper(cmd *exec.Cmd, exited <-chan struct{}) func() error {
	return sync.OnceValue(func() error {
		if runtime.GOOS == "windows" { // has no such signal
			_ = cmd.Process.Kill()
		} else {
			_ = cmd.Process.Signal(syscall.SIGTERM)
		}
		select {
		case <-exited:
			return nil
		case <-time.After(stopTimeout):
		}
		_ = cmd.Process.Kill()
		<-exited
		return fmt.Errorf("process %d did not stop within %s and was killed", cmd.Process.Pid, stopTimeout)
	})
}

// readGreeting reads the addresses from the output of a starting process. The API's
// line comes after the device port's.
func (t *target) readGreeting(r *bufio.Reader) error {
	for range 100 {
		line, err := r.ReadString('\n')
		if err != nil {
			return errors.New("it ended before it printed its addresses")
		}
		if addr, ok := labelled(line, "devices"); ok {
			t.tcp = addr
		}
		if url, ok := labelled(line, "HTTP API"); ok {
			t.http = strings.TrimPrefix(url, "http://")
			return nil
		}
	}
	return errors.New("its output is long, but has no addresses")
}

// labelled returns the word after label at the start of a line.
func labelled(line, label string) (word string, ok bool) {
	rest, ok := strings.CutPrefix(strings.TrimSpace(line), label+" ")
	return strings.TrimSpace(rest), ok
}

// tail keeps the end of the text that is written to it.
type tail struct {
	mu  sync.Mutex
	end []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.end = append(t.end, p...)
	if over := len(t.end) - tailBytes; over > 0 {
		t.end = append(t.end[:0], t.end[over:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(string(t.end))
}

// callTimeout bounds one call that is not part of the load.
const callTimeout = time.Minute

// call sends one request and returns the answer's status and body, of which it
// reads at most 64 MiB.
func (t *target) call(ctx context.Context, method, path, contentType string, body []byte) (int, []byte, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, "http://"+t.http+path, strings.NewReader(string(body)))
	if err != nil {
		return 0, nil, err
	}
	if t.key != "" {
		req.Header.Set("Authorization", "Bearer "+t.key)
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 64<<20))
	return resp.StatusCode, answer, err
}

// want is call with an expected status.
func (t *target) want(ctx context.Context, status int, method, path, contentType string, body []byte) ([]byte, error) {
	got, answer, err := t.call(ctx, method, path, contentType, body)
	if err == nil && got != status {
		err = fmt.Errorf("%s %s: status %d instead of %d: %.200s", method, path, got, status, answer)
	}
	return answer, err
}

// get decodes the JSON of a resource.
func (t *target) get(ctx context.Context, path string, into any) error {
	body, err := t.want(ctx, 200, "GET", path, "", nil)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	return nil
}

// cpuDuring returns the CPU time that the process takes while do runs; 0 if that is
// not known.
func (t *target) cpuDuring(do func() error) (time.Duration, error) {
	before, errBefore := processCPU(t.pid)
	err := do()
	after, errAfter := processCPU(t.pid)
	if errBefore != nil || errAfter != nil {
		return 0, err
	}
	return after - before, err
}
