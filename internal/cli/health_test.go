package cli

import (
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
)

// TestHealthAsksNoProxy: the gateway of the settings runs on this machine, and many
// containers have HTTP_PROXY in their environment.
func TestHealthAsksNoProxy(t *testing.T) {
	if os.Getenv("ASK_HEALTH") != "" {
		os.Exit(Main(t.Context(), Program{In: strings.NewReader(""), Out: os.Stdout, Err: os.Stderr, Env: os.Environ()}, []string{"health"}))
	}
	var asked atomic.Int32
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { asked.Add(1) }))
	defer proxy.Close()
	child := exec.Command(os.Args[0], "-test.run=^TestHealthAsksNoProxy$") // the environment's proxy is read once in a process
	child.Env = []string{"ASK_HEALTH=1", "HTTP_PROXY=" + proxy.URL, "LONGWIRE_HTTP_ADDR=gateway.invalid:8080"}
	out, err := child.CombinedOutput()
	if asked.Load() != 0 || err == nil {
		t.Errorf("the proxy was asked %d times, the command said %q (%v)", asked.Load(), out, err)
	}
}
