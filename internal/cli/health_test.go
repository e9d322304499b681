package cli

import (
	"bytes"
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

// The probe does not check who answers at the address of the settings, so it sends no key.
func TestHealthSendsNoKey(t *testing.T) {
	for _, scheme := range []string{"http", "https"} {
		var keys []string
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { keys = append(keys, r.Header.Get("Authorization")) }))
		env := []string{"LONGWIRE_API_KEY=lwk_secret", "LONGWIRE_HTTP_ADDR=" + s.Listener.Addr().String()}
		if scheme == "https" {
			s.StartTLS()
			env = append(env, "LONGWIRE_HTTP_TLS_CERT_FILE=cert.pem", "LONGWIRE_HTTP_TLS_KEY_FILE=key.pem")
		} else {
			s.Start()
		}
		var out bytes.Buffer
		status := Main(t.Context(), Program{In: strings.NewReader(""), Out: &out, Err: &out, Env: env}, []string{"health"})
		s.Close()
		if status != exitOK || len(keys) != 1 || keys[0] != "" {
			t.Errorf("over %s: exit code %d, %q, keys %q, want one request without a key", scheme, status, out.String(), keys)
		}
	}
}
