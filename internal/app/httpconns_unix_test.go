//go:build unix

package app

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/longwire/longwire/device"
	"github.com/longwire/longwire/internal/apikey"
	"github.com/longwire/longwire/internal/config"
)

// caller is one connection to the API.
type caller struct {
	t  *testing.T
	nc net.Conn
	in *bufio.Reader
}

func dialAPI(t *testing.T, a *App) *caller {
	t.Helper()
	return dialTo(t, a.HTTPAddr().String())
}

func dialTo(t *testing.T, address string) *caller {
	t.Helper()
	nc, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	nc.SetDeadline(time.Now().Add(time.Minute)) // a hanging test fails by itself
	return &caller{t, nc, bufio.NewReader(nc)}
}

// ask returns the status of the answer, 0 for a connection that was closed.
func (c *caller) ask(method, target, key, body string) int {
	c.t.Helper()
	r := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n", method, target, len(body))
	if key != "" {
		r += "Authorization: Bearer " + key + "\r\n"
	}
	if _, err := io.WriteString(c.nc, r+"\r\n"+body); err != nil {
		return 0
	}
	return c.answer()
}

func (c *caller) answer() int {
	c.t.Helper()
	resp, err := http.ReadResponse(c.in, nil)
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return 0
	}
	return resp.StatusCode
}

const testKey = "lwk_0123456789abcdefghijklmnop"

// A stranger opens connections at full rate and keeps them, each with an answered
// request behind it. Probes and callers with a key are served on new connections
// and on those that they had.
func TestIdleConnectionsShutNobodyOut(t *testing.T) {
	cfg := testConfig(filepath.Join(t.TempDir(), "data"))
	cfg.HTTP.MaxConnections = 16
	cfg.Auth.APIKeys = []config.Secret{testKey}
	a := start(t, cfg)
	<-connect(t, a, "d", func(context.Context, device.Message) ([]byte, error) { return nil, nil })

	mine := dialAPI(t, a)
	if got := mine.ask("GET", "/v1/clients/d", testKey, ""); got != 200 {
		t.Fatalf("status %d, want 200", got)
	}
	for i := range 150 {
		dialAPI(t, a).ask("GET", "/livez", "", "")
		if i%10 != 9 {
			continue
		}
		if got := dialAPI(t, a).ask("GET", "/livez", "", ""); got != 200 {
			t.Errorf("a probe got %d after %d connections, want 200", got, i+1)
		}
		if got := dialAPI(t, a).ask("POST", "/v1/clients/d/messages", testKey, "x"); got != 202 {
			t.Errorf("a push got %d after %d connections, want 202", got, i+1)
		}
		if got := mine.ask("GET", "/v1/clients/d", testKey, ""); got != 200 {
			t.Errorf("a caller's own connection got %d after %d connections, want 200", got, i+1)
		}
	}
}

// Callers that wait for their answers are never cut off. While they use every
// connection, probes and the operator have a few of their own, and other keys
// are told to come back.
func TestTheReserveIsForProbesAndTheOperator(t *testing.T) {
	const most = 16
	cfg := testConfig(filepath.Join(t.TempDir(), "data"))
	cfg.HTTP.MaxConnections = most
	cfg.Auth.APIKeys = []config.Secret{testKey}
	a := start(t, cfg)
	_, made, err := a.callers.keys.Create(apikey.Spec{Name: "pusher", Scopes: apikey.MessagesWrite}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	release := make(chan struct{})
	<-connect(t, a, "d", func(context.Context, device.Message) ([]byte, error) { <-release; return nil, nil })

	waiting := make([]*caller, most)
	for i := range waiting {
		waiting[i] = dialAPI(t, a)
		fmt.Fprintf(waiting[i].nc, "POST /v1/clients/d/messages?wait=30s HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nAuthorization: Bearer %s\r\n\r\nx", made)
	}
	waitFor(t, func() bool { return a.gw.Stats().Accepted >= most })
	for range 3 * most {
		dialAPI(t, a)
		if got := dialAPI(t, a).ask("GET", "/readyz", "", ""); got != 200 {
			t.Errorf("a probe got %d, want 200", got)
		}
		if got := dialAPI(t, a).ask("GET", "/v1/keys", testKey, ""); got != 200 {
			t.Errorf("the operator got %d, want 200", got)
		}
	}
	if got := dialAPI(t, a).ask("POST", "/v1/clients/d/messages", made, "x"); got != 503 {
		t.Errorf("one caller more got %d, want 503", got)
	}
	close(release)
	if got := waiting[0].answer(); got != 200 {
		t.Errorf("the caller that waits got %d, want 200", got)
	}
}

// Calls of the operator that wait hold a part of the reserve. Health checks have the
// rest, also while the API needs no key and each caller is the operator.
func TestWaitingOperatorsLeaveProbesAPlace(t *testing.T) {
	const most = 16
	for _, key := range []string{testKey, ""} {
		cfg := testConfig(filepath.Join(t.TempDir(), "data"))
		cfg.HTTP.MaxConnections = most
		if key != "" {
			cfg.Auth.APIKeys = []config.Secret{config.Secret(key)}
		}
		a := start(t, cfg)
		refused := 0
		for range most + 16 {
			c := dialAPI(t, a)
			fmt.Fprintf(c.nc, "GET /v1/events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\n\r\n", key)
			resp, err := http.ReadResponse(c.in, nil)
			if err != nil {
				t.Errorf("key %q: a caller got no answer: %v", key, err)
				break
			}
			if resp.StatusCode == 503 {
				refused++
			}
		}
		if refused != 8 {
			t.Errorf("key %q: %d of %d callers were refused, want 8", key, refused, most+16)
		}
		for _, target := range []string{"/livez", "/readyz", "/healthz"} {
			if got := dialAPI(t, a).ask("GET", target, "", ""); got != 200 {
				t.Errorf("key %q: %s got %d, want 200", key, target, got)
			}
		}
	}
}

// A process with few files has as many idle callers as it takes, and stores
// every push.
func TestIdleConnectionsLeaveTheStoreItsFiles(t *testing.T) {
	if os.Getenv("FEW_FILES") != "" {
		serveUntilEOF(t)
		return
	}
	server := exec.Command("sh", "-c", `ulimit -n 256 && exec "$0" -test.run '^TestIdleConnectionsLeaveTheStoreItsFiles$'`, os.Args[0])
	server.Env = append(os.Environ(), "FEW_FILES="+t.TempDir())
	in, err := server.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := server.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	defer server.Wait()
	defer in.Close()
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	address := strings.TrimSpace(line)
	for range 300 {
		dialTo(t, address).ask("GET", "/livez", "", "")
	}
	pushes := 300
	if os.Getenv("LONGWIRE_TORTURE") != "" {
		pushes = 2500
	}
	c := dialTo(t, address)
	for i := range pushes {
		if got := c.ask("POST", "/v1/clients/d/messages", testKey, strings.Repeat("x", 20_000)); got != 202 {
			t.Fatalf("push %d got %d, want 202", i, got)
		}
	}
}

// serveUntilEOF is the server of a test, in a process of its own.
func serveUntilEOF(t *testing.T) {
	cfg := testConfig(filepath.Join(os.Getenv("FEW_FILES"), "data"))
	cfg.Auth.APIKeys = []config.Secret{testKey}
	cfg.Delivery.MaxQueuedBytes = 64 << 20
	a := start(t, cfg)
	d, err := net.Dial("tcp", a.TCPAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintln(d, "REGISTER d")
	bufio.NewReader(d).ReadString('\n')
	d.Close()
	fmt.Println(a.HTTPAddr())
	io.Copy(io.Discard, os.Stdin)
}
