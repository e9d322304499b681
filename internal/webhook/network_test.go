package webhook

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/apikey"
	"github.com/longwire/longwire/internal/engine/memstore"
	"github.com/longwire/longwire/internal/feed"
	"github.com/longwire/longwire/internal/gatewaytest"
)

func yes() bool { return true }
func no() bool  { return false }

// TestAddressesThatWebhooksMayReach: public ones, and those that the configuration names.
func TestAddressesThatWebhooksMayReach(t *testing.T) {
	own := []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:8080"), netip.MustParseAddrPort("[::]:9000")}
	for _, c := range []struct {
		to       string
		networks string
		loopback func() bool
		want     bool
	}{
		{to: "93.184.216.34:443", want: true},
		{to: "[2606:2800:220:1::1]:443", want: true},
		{to: "10.0.0.1:80"}, {to: "172.16.0.1:80"}, {to: "192.168.1.1:80"}, {to: "169.254.169.254:80"}, {to: "100.64.0.1:80"},
		{to: "198.18.0.1:80"}, {to: "0.0.0.0:80"}, {to: "0.1.2.3:80"}, {to: "192.0.0.8:80"}, {to: "224.0.0.1:80"}, {to: "255.255.255.255:80"}, {to: "240.0.0.1:80"},
		{to: "[::]:80"}, {to: "[fe80::1%eth0]:80"}, {to: "[fc00::1]:80"}, {to: "[ff02::1]:80"},
		{to: "[64:ff9b::7f00:1]:80"}, {to: "[64:ff9b::5db8:d822]:80"}, {to: "[64:ff9b:1::7f00:1]:80"}, {to: "[2002:7f00:1::]:80"}, {to: "[2001::1]:80"}, {to: "[fec0::1]:80"},
		{to: "[::ffff:10.0.0.1]:80"}, {to: "[::ffff:127.0.0.1]:80"}, {to: "[::ffff:169.254.169.254]:80"}, {to: "[::127.0.0.1]:80"},
		{to: "127.0.0.1:80"}, {to: "127.1.2.3:80"}, {to: "[::1]:80"}, {to: "127.0.0.1:80", loopback: no},
		{to: "127.0.0.1:80", loopback: yes, want: true}, {to: "[::1]:80", loopback: yes, want: true}, {to: "[::ffff:127.0.0.1]:80", loopback: yes, want: true},
		{to: "10.0.0.1:80", loopback: yes},
		{to: "10.0.0.1:80", networks: "10.0.0.0/24", want: true}, {to: "[::ffff:10.0.0.1]:80", networks: "10.0.0.0/24", want: true},
		{to: "10.0.1.1:80", networks: "10.0.0.0/24"}, {to: "127.0.0.1:80", networks: "127.0.0.0/8", want: true},
		{to: "127.0.0.1:8080", networks: "127.0.0.0/8", loopback: yes}, {to: "[::ffff:127.0.0.1]:8080", loopback: yes},
		{to: "127.0.0.1:9000", loopback: yes}, {to: "127.9.9.9:9000", loopback: yes}, {to: "[::1]:9000", loopback: yes}, {to: "93.184.216.34:9000", want: true},
	} {
		cfg := Config{AllowLoopback: c.loopback, Own: own}
		if c.networks != "" {
			cfg.AllowNetworks = []netip.Prefix{netip.MustParsePrefix(c.networks)}
		}
		m := &Manager{cfg: cfg}
		if got := m.allowed(netip.MustParseAddrPort(c.to)); got != c.want {
			t.Errorf("%s with networks %q and loopback %v: %v, want %v", c.to, c.networks, c.loopback != nil && c.loopback(), got, c.want)
		}
	}
}

// onNetwork returns a manager that uses the real network.
func onNetwork(t *testing.T, loopback func() bool) *Manager {
	t.Helper()
	s := memstore.New(memstore.Options{})
	t.Cleanup(func() { s.Close() })
	g := gatewaytest.New(t, s, gateway.Config{})
	m, err := New(Config{Gateway: g, Lookup: feed.NewLookup(g), Encode: encode, AllowLoopback: loopback})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// try sends a sample to a URL.
func try(t *testing.T, m *Manager, url string) Attempt {
	t.Helper()
	h, err := m.Create(t.Context(), Spec{URL: url, State: Paused, Timeout: MinTimeout}, apikey.Limit{}, true, 0)
	if err != nil {
		t.Fatal(err)
	}
	a, err := m.Test(t.Context(), h.ID, apikey.Limit{})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// Refused addresses are not connected to, however they are written.
func TestRefusedAddressesGetNoConnection(t *testing.T) {
	var requests atomic.Int64
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { requests.Add(1) }))
	t.Cleanup(srv.Close)
	port := srv.URL[strings.LastIndex(srv.URL, ":"):]
	m := onNetwork(t, no)
	for _, host := range []string{"127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "0.0.0.0", "[::]", "10.0.0.1", "169.254.169.254", "100.64.0.1", "[64:ff9b::7f00:1]"} {
		if a := try(t, m, "http://"+host+port); a.Status != 0 || !strings.Contains(a.Error, "is not allowed") {
			t.Errorf("%s: %d, %q, want it refused", host, a.Status, a.Error)
		}
	}
	if a := try(t, onNetwork(t, yes), srv.URL); a.Status != 200 || a.Error != "" {
		t.Errorf("allowed: %d, %q", a.Status, a.Error)
	}
	if n := requests.Load(); n != 1 {
		t.Errorf("%d requests have come, want the allowed one", n)
	}
}

// A proxy of the environment would take the request past the check of its address.
func TestTheEnvironmentsProxyIsNotUsed(t *testing.T) {
	if m := onNetwork(t, yes); m.newTransport().Proxy != nil {
		t.Error("the transport uses a proxy")
	}
}

// A redirect is a failure: it could lead to another address.
func TestRedirectsAreNotFollowed(t *testing.T) {
	var followed atomic.Bool
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/elsewhere" {
			followed.Store(true)
			return
		}
		http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
	}))
	t.Cleanup(srv.Close)
	if a := try(t, onNetwork(t, yes), srv.URL); a.Status != 307 || !strings.Contains(a.Error, "redirect") || followed.Load() {
		t.Errorf("%d, %q, followed: %v", a.Status, a.Error, followed.Load())
	}
}

// Of a long answer the first part is read, and the first KiB is kept.
func TestALongAnswerIsCut(t *testing.T) {
	sent := make(chan int64, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		n, _ := io.Copy(w, io.LimitReader(endless{}, 10<<20))
		sent <- n
	}))
	t.Cleanup(srv.Close)
	a := try(t, onNetwork(t, yes), srv.URL)
	if a.Status != 200 || a.Error != "" || len(a.Answer) != shownAnswer {
		t.Errorf("%d, %q, %d bytes are kept", a.Status, a.Error, len(a.Answer))
	}
	if n := <-sent; n >= 10<<20 {
		t.Error("the whole answer was read")
	}
}

// endless is a body of the letter x.
type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

// An answer that does not end is given up after the timeout, whether its header has come
// or not.
func TestAnAnswerWithoutAnEndIsGivenUp(t *testing.T) {
	leave := make(chan bool)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/drops" {
			io.WriteString(w, "so far")
			w.(http.Flusher).Flush()
		}
		<-leave
	}))
	t.Cleanup(srv.Close)
	t.Cleanup(func() { close(leave) })
	for path, status := range map[string]int{"/drops": 200, "/silence": 0} {
		a := try(t, onNetwork(t, yes), srv.URL+path)
		if a.Status != status || !strings.Contains(a.Error, "within 1s") || a.Duration < MinTimeout || a.Duration > 30*time.Second {
			t.Errorf("%s: %d, %q after %v, want it given up after %v", path, a.Status, a.Error, a.Duration, MinTimeout)
		}
	}
}
