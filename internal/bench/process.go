package bench

import (
	"bufio"
	"bytes"
	"cmp"
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
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// role is the kind of a process under test. Its text is the server's name in a report.
type role string

const (
	noServer      role = "" // the load is in this process
	gatewayServer role = "longwire"
	gatewayTLS    role = "longwire, TLS"            // its device port speaks TLS only
	bareServer    role = "bare chi"                 // chi handlers and echoing connections; it keeps nothing
	bareSyncing   role = "bare chi + fdatasync"     // the same, but appends and syncs each body
	sessionServer role = "longwire without sockets" // a gateway with clients that have no connections
)

// starter starts a process with its store in dir and returns when it serves. The
// process ends with ctx at the latest. longwire is Options.Longwire.
type starter func(ctx context.Context, longwire string, s spec, dir string) (*target, error)

// Bounds of a process's life.
const (
	startTimeout  = 5 * time.Minute  // until it prints its addresses; a sessionServer registers clients first
	stopTimeout   = 15 * time.Second // from the request to stop to the kill
	tailBytes     = 4 << 10          // kept of its standard error
	roomForWarmUp = 10               // connections that are being closed while others come
)

// startProcess runs longwire, or this binary as a hidden subcommand.
func startProcess(ctx context.Context, longwire string, s spec, dir string) (*target, error) {
	binary, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	env := slices.DeleteFunc(os.Environ(), func(setting string) bool { return strings.HasPrefix(setting, "LONGWIRE_") }) // of another gateway
	var args []string
	key := ""
	switch s.role {
	case bareServer, bareSyncing:
		args = []string{bareName, "--dir", dir}
	case sessionServer:
		args = []string{sessionsName, "--dir", dir, "--clients", strconv.Itoa(s.connected), "--returning=" + strconv.FormatBool(s.returning)}
	default:
		if binary, err = findGateway(longwire, binary); err == nil {
			args, err = s.gatewayArgs(dir)
		}
		key = "lwk_bench_" + rand.Text()
		env = append(env, "LONGWIRE_AUTH_API_KEYS="+key)
	}
	if err != nil {
		return nil, err
	}
	t, err := startProgram(ctx, program{binary, args, env}, startTimeout)
	if err == nil {
		t.key = key
	}
	return t, err
}

// findGateway finds the binary of the gateway: the requested one, the one beside
// self, or the one in PATH.
func findGateway(requested, self string) (string, error) {
	beside := filepath.Join(filepath.Dir(self), "longwire"+filepath.Ext(self))
	if path, err := exec.LookPath(cmp.Or(requested, beside)); err == nil || requested != "" {
		return path, err
	}
	path, err := exec.LookPath("longwire")
	if err != nil {
		return "", fmt.Errorf("there is no longwire at %s or in PATH; name it with --longwire", beside)
	}
	return path, nil
}

// gatewayArgs are the arguments of longwire serve: the defaults, except for
// addresses, logs and the bounds that the measurement reaches.
func (s spec) gatewayArgs(dir string) ([]string, error) {
	args := []string{"serve", "--tcp-addr", "127.0.0.1:0", "--http-addr", "127.0.0.1:0", "--data-dir", dir,
		"--http-access-log=false", "--log-level", "warn", "--drain-timeout", "1s"}
	if n := max(s.connected, s.room); n > 0 {
		args = append(args, "--tcp-max-connections", strconv.Itoa(n+roomForWarmUp))
	}
	if s.flag != "" {
		args = append(args, s.flag)
	}
	if s.hook != "" {
		args = append(args, "--webhooks-allow-networks", "127.0.0.0/8")
	}
	if s.role == gatewayTLS {
		pair := dir + ".pem"
		if err := selfSigned(pair); err != nil {
			return nil, err
		}
		args = append(args, "--tcp-tls", "required", "--tcp-tls-cert-file", pair, "--tcp-tls-key-file", pair)
	}
	return args, nil
}

// program is the command line of a process.
type program struct {
	path string
	args []string
	env  []string
}

// process is a program that runs. Write gives it input, and Read takes its output, which
// ends with it.
type process struct {
	io.Reader
	io.Writer
	pid        int
	complaints tail         // its standard error; to be read when it has ended
	stop       func() error // asks it to end, kills it if it does not, and waits; later calls do nothing
}

// Close stops the process.
func (p *process) Close() error { return p.stop() }

// launch starts a program, which ends with ctx at the latest.
//
// The program is started on a thread that lives as long as the process: on Linux a
// process gets a signal when the thread that started it dies.
func (p program) launch(ctx context.Context) (*process, error) {
	ctx, cancel := context.WithCancel(ctx)
	cmd := exec.CommandContext(ctx, p.path, p.args...)
	out, noOut := cmd.StdoutPipe()
	in, noIn := cmd.StdinPipe()
	run := &process{Reader: out, Writer: in}
	cmd.Env, cmd.Stderr, cmd.SysProcAttr, cmd.WaitDelay = p.env, &run.complaints, dieWithParent(), stopTimeout
	cmd.Cancel = func() error {
		in.Close()
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil { // Windows has no such signal
			return cmd.Process.Kill()
		}
		return nil
	}
	started, ended := make(chan error), make(chan struct{})
	go func() { // ends with the process
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		err := errors.Join(noOut, noIn)
		if err == nil {
			err = cmd.Start()
		}
		started <- err
		if err == nil {
			_ = cmd.Wait() // its exit status has no meaning: it was stopped, or the caller notices its silence
			close(ended)
		}
	}()
	if err := <-started; err != nil {
		cancel()
		return nil, err
	}
	run.pid, run.stop = cmd.Process.Pid, sync.OnceValue(func() error {
		cancel()
		<-ended
		if cmd.ProcessState.String() == "signal: killed" {
			return fmt.Errorf("process %d was killed", run.pid)
		}
		return nil
	})
	return run, nil
}

// startProgram starts a server and waits for its greeting until timeout.
func startProgram(ctx context.Context, p program, timeout time.Duration) (*target, error) {
	run, err := p.launch(ctx)
	if err != nil {
		return nil, err
	}
	t := &target{pid: run.pid, stop: run.stop}
	greeted := make(chan error, 1)
	go func() { // ends with the process, which closes the pipe
		lines := bufio.NewReader(run)
		greeted <- t.readGreeting(lines)
		_, _ = io.Copy(io.Discard, lines)
	}()
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("it printed no addresses within %s", timeout))
	defer cancel()
	select {
	case err = <-greeted:
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	if err == nil {
		return t, nil
	}
	err = errors.Join(err, run.stop())
	if len(run.complaints.end) > 0 {
		err = fmt.Errorf("%w; its output: %s", err, bytes.TrimSpace(run.complaints.end))
	}
	return nil, err
}

// tail keeps the end of the text that is written to it.
type tail struct{ end []byte }

func (t *tail) Write(p []byte) (int, error) {
	t.end = append(t.end, p...)
	t.end = t.end[max(0, len(t.end)-tailBytes):]
	return len(p), nil
}

// target is a process under test.
type target struct {
	tcp  string // address of the device port; "" if it has none
	http string // address of the API
	pid  int
	role role
	key  string       // API key; "" = none needed
	stop func() error // ends it and waits; later calls do nothing

	hookPath string // of its webhook; "" = it has none
	posted   *sink  // of the webhook that posts every ack; nil = none
}

// readGreeting reads the addresses from the output of a starting process. The API's
// line comes after the device port's.
func (t *target) readGreeting(r *bufio.Reader) error {
	for range 100 {
		line, err := r.ReadString('\n')
		if err != nil {
			return errors.New("it ended before it printed its addresses")
		}
		line = strings.TrimSpace(line)
		if addr, ok := strings.CutPrefix(line, "devices "); ok {
			t.tcp = strings.TrimSpace(addr)
		}
		if url, ok := strings.CutPrefix(line, "HTTP API "); ok {
			t.http = strings.TrimPrefix(strings.TrimSpace(url), "http://")
			return nil
		}
	}
	return errors.New("its output is long, but has no addresses")
}

// callTimeout bounds one call that is not part of the load.
const callTimeout = time.Minute

// want sends one request and returns the answer's body, cut at 64 MiB. Another status is an error.
func (t *target) want(ctx context.Context, status int, method, path, contentType string, body []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, "http://"+t.http+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+t.key)
	req.Header.Set("Content-Type", contentType)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 64<<20))
	if err == nil && resp.StatusCode != status {
		err = fmt.Errorf("%s %s: status %d instead of %d: %.200s", method, path, resp.StatusCode, status, answer)
	}
	return answer, err
}

// send sends JSON and decodes the answer's.
func (t *target) send(ctx context.Context, status int, method, path, body string, into any) error {
	answer, err := t.want(ctx, status, method, path, "application/json", []byte(body))
	if err != nil {
		return err
	}
	if err := json.Unmarshal(answer, into); err != nil {
		return fmt.Errorf("read the answer to %s %s: %w: %.200s", method, path, err, answer)
	}
	return nil
}

// get decodes the JSON of a resource.
func (t *target) get(ctx context.Context, path string, into any) error {
	return t.send(ctx, 200, "GET", path, "", into)
}
