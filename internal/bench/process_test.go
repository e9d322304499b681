package bench

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"
)

// actEnv makes the test binary be one of the processes below.
const actEnv = "LONGWIRE_TEST_BENCH_ACT"

func TestMain(m *testing.M) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	switch os.Getenv(actEnv) {
	case "":
		os.Exit(m.Run())
	case "bare":
		if err := serveBare(ctx, os.Stdout, ""); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	case workerName:
		if err := serveWorker(ctx, pipes{os.Stdin, os.Stdout}); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	case "broken":
		fmt.Fprintln(os.Stderr, "the port is taken")
		os.Exit(1)
	case "silent":
		<-ctx.Done()
	case "parent": // of a bare one; it is killed
		t, err := startProgram(ctx, acting("bare"), startTimeout)
		if err != nil {
			os.Exit(1)
		}
		fmt.Println(t.http)
		select {}
	}
}

// acting is the test binary as another process.
func acting(part string) program {
	return program{path: os.Args[0], env: append(os.Environ(), actEnv+"="+part)}
}

func TestProcessIsStartedAndStopped(t *testing.T) {
	p, err := startProgram(t.Context(), acting("bare"), startTimeout)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.want(t.Context(), 200, "POST", "/v1/clients/a/messages", "", []byte("x")); err != nil {
		t.Error(err)
	}
	if err := p.stop(); err != nil {
		t.Error(err)
	}
	if err := p.stop(); err != nil {
		t.Errorf("stopped again: %v", err)
	}
	if listens(p.http) {
		t.Errorf("%s still listens", p.http)
	}
}

func TestProcessEndsWithTheContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	p, err := startProgram(ctx, acting("bare"), startTimeout)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := waitFor(t.Context(), time.Minute, "the process to end", func() bool { return !listens(p.http) }); err != nil {
		t.Error(err)
	}
	if err := p.stop(); err != nil {
		t.Error(err)
	}
}

func TestProcessThatDoesNotServe(t *testing.T) {
	_, err := startProgram(t.Context(), acting("broken"), startTimeout)
	if err == nil || !strings.Contains(err.Error(), "the port is taken") {
		t.Errorf("error is %v, want what the process said", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := startProgram(ctx, acting("silent"), startTimeout); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error of a process that says nothing is %v, want that of the context", err)
	}
	if _, err := startProgram(t.Context(), acting("silent"), 50*time.Millisecond); err == nil || !strings.Contains(err.Error(), "within 50ms") {
		t.Errorf("error of a process that says nothing is %v, want that of the time", err)
	}
	if _, err := startProgram(t.Context(), program{path: "/does/not/exist"}, startTimeout); err == nil {
		t.Error("a program that does not exist counts as started")
	}
}

func TestReadGreeting(t *testing.T) {
	greeting := "longwire dev\n  devices     127.0.0.1:40851\n  HTTP API    http://localhost:38285\n  Swagger UI  http://localhost:38285/swagger/\n"
	var got target
	if err := got.readGreeting(bufio.NewReader(strings.NewReader(greeting))); err != nil {
		t.Fatal(err)
	}
	if got.tcp != "127.0.0.1:40851" || got.http != "localhost:38285" {
		t.Errorf("devices at %q, API at %q", got.tcp, got.http)
	}
	for _, other := range []string{"", "hello\n", strings.Repeat("hello\n", 1000)} {
		if err := new(target).readGreeting(bufio.NewReader(strings.NewReader(other))); err == nil {
			t.Errorf("%.10q… is taken for a greeting", other)
		}
	}
}

func TestTailKeepsTheEnd(t *testing.T) {
	var end tail
	for i := range 1000 {
		fmt.Fprintf(&end, "line %d\n", i)
	}
	got := string(end.end)
	if len(got) > tailBytes || !strings.HasSuffix(got, "line 998\nline 999\n") {
		t.Errorf("%d bytes that end in %q", len(got), got[len(got)-20:])
	}
}

// TestCertificateOfAPart makes the arguments of a gateway before its store.
func TestCertificateOfAPart(t *testing.T) {
	aRun(t).part("TLS", func(r *run) {
		args := must(spec{role: gatewayTLS}.gatewayArgs(r.newDir("store")))
		pair := args[len(args)-1]
		if _, err := tls.LoadX509KeyPair(pair, pair); err != nil {
			t.Error(err)
		}
	})
}

// listens reports whether a process accepts connections at addr.
func listens(addr string) bool {
	conn, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return false
	}
	conn.Close()
	return true
}
