package webhook

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

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
		{to: "[5f00::1]:80"}, {to: "[100::1]:80"}, {to: "[::ffff:0:7f00:1]:80"}, {to: "[2001:db8::1]:80"}, {to: "[3fff::1]:80"},
		{to: "192.0.2.1:80"}, {to: "198.51.100.1:80"}, {to: "203.0.113.1:80"}, {to: "192.88.99.1:80"}, {to: "[2001:db8::1]:80", networks: "2001:db8::/32", want: true},
		{to: "[::ffff:10.0.0.1]:80"}, {to: "[::ffff:127.0.0.1]:80"}, {to: "[::ffff:169.254.169.254]:80"}, {to: "[::127.0.0.1]:80"},
		{to: "127.0.0.1:80"}, {to: "127.1.2.3:80"}, {to: "[::1]:80"}, {to: "127.0.0.1:80", loopback: no},
		{to: "127.0.0.1:80", loopback: yes, want: true}, {to: "[::1]:80", loopback: yes, want: true}, {to: "[::ffff:127.0.0.1]:80", loopback: yes, want: true},
		{to: "10.0.0.1:80", loopback: yes},
		{to: "10.0.0.1:80", networks: "10.0.0.0/24", want: true}, {to: "[::ffff:10.0.0.1]:80", networks: "10.0.0.0/24", want: true},
		{to: "10.0.1.1:80", networks: "10.0.0.0/24"}, {to: "127.0.0.1:80", networks: "127.0.0.0/8", want: true},
		{to: "127.0.0.1:8080", networks: "127.0.0.0/8", loopback: yes}, {to: "[::ffff:127.0.0.1]:8080", loopback: yes},
		{to: "127.0.0.1:9000", loopback: yes}, {to: "127.9.9.9:9000", loopback: yes}, {to: "[::1]:9000", loopback: yes}, {to: "93.184.216.34:9000", want: true},
		{to: "0.0.0.0:8080", networks: "0.0.0.0/0"}, {to: "[::]:8080", networks: "::/0"}, {to: "[::ffff:0.0.0.0]:9000", networks: "0.0.0.0/0"},
	} {
		cfg := Config{AllowLoopback: c.loopback, Own: own}
		if c.networks != "" {
			cfg.AllowNetworks = []netip.Prefix{netip.MustParsePrefix(c.networks)}
		}
		m := &Manager{cfg: cfg}
		if got := m.refuse(netip.MustParseAddrPort(c.to)) == nil; got != c.want {
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
	return trySpec(t, m, Spec{URL: url})
}

func trySpec(t *testing.T, m *Manager, s Spec) Attempt {
	t.Helper()
	s.State, s.Timeout = Paused, MinTimeout
	h, err := m.Create(t.Context(), s, apikey.Limit{}, true, 0)
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

// A rule that comes into force later, as that of the first API key does, is named in the
// webhook at once, also before a request, and holds for connections that are open.
func TestAWebhookSaysThatItsAddressIsRefused(t *testing.T) {
	var requests atomic.Int64
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { requests.Add(1) }))
	t.Cleanup(srv.Close)
	port := srv.URL[strings.LastIndex(srv.URL, ":"):]
	var open atomic.Bool
	open.Store(true)
	m := onNetwork(t, open.Load)
	for _, c := range []struct{ host, says string }{
		{"127.0.0.1", "the address 127.0.0.1 is not allowed: webhooks reach this machine only while the API is on loopback and needs no key (list 127.0.0.1 in webhooks.allow_networks)"},
		{"LocalHost", "the address 127.0.0.1 is not allowed: webhooks reach this machine only while"},
		{"[::1]", "the address ::1 is not allowed: webhooks reach this machine only while"},
		{"10.0.0.1", "the address 10.0.0.1 is not allowed: it is not public (list 10.0.0.1 in webhooks.allow_networks)"},
		{"93.184.216.34", ""}, {"backend.example", ""},
	} {
		h, err := m.Create(t.Context(), Spec{URL: "http://" + c.host + port, State: Paused}, apikey.Limit{}, true, 0)
		if err != nil {
			t.Fatal(err)
		}
		here := c.host == "127.0.0.1"
		if here {
			if a, err := m.Test(t.Context(), h.ID, apikey.Limit{}); err != nil || a.Status != 200 {
				t.Fatalf("while it is allowed: %d, %q, %v", a.Status, a.Error, err)
			}
			if st, _ := m.Get(h.ID, apikey.Limit{}); st.Forbidden || st.LastError != "" {
				t.Errorf("while it is allowed: forbidden %v, %q", st.Forbidden, st.LastError)
			}
		}
		open.Store(false)
		st, err := m.Get(h.ID, apikey.Limit{})
		if err != nil || st.Forbidden != (c.says != "") || !strings.HasPrefix(st.LastError, c.says) || c.says == "" && st.LastError != "" {
			t.Errorf("%s: forbidden %v, %q, %v; want %q", c.host, st.Forbidden, st.LastError, err, c.says)
		}
		if here {
			if a, err := m.Test(t.Context(), h.ID, apikey.Limit{}); err != nil || a.Error != c.says {
				t.Errorf("over the open connection: %d, %q, %v; want %q", a.Status, a.Error, err, c.says)
			}
		}
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
	nowhere := onWire(t, func(c net.Conn) {
		takeRequest(c)
		_, _ = io.WriteString(c, "HTTP/1.1 307 Temporary Redirect\r\nLocation: ::::\r\nContent-Length: 0\r\n\r\n")
	})
	for _, url := range []string{srv.URL, nowhere} {
		if a := try(t, onNetwork(t, yes), url); a.Status != 307 || a.Error != "the endpoint redirects, and redirects are not followed" || followed.Load() {
			t.Errorf("%s: %d, %q, followed: %v", url, a.Status, a.Error, followed.Load())
		}
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

// An answer that does not end is given up after the timeout. It has taken the event if its
// header has come.
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
		taken := a.Error == "" && a.Answer == "so far"
		if a.Status != status || taken != (status == 200) || !taken && !strings.Contains(a.Error, "within 1s") || a.Duration < MinTimeout || a.Duration > 30*time.Second {
			t.Errorf("%s: %d, %q after %v, want it given up after %v", path, a.Status, a.Error, a.Duration, MinTimeout)
		}
	}
}

// An answer 101 leaves the connection open for another protocol. It is a failure at
// once: no timeout ends a read from such a connection.
func TestAnEndpointThatSwitchesProtocols(t *testing.T) {
	leave := make(chan bool)
	url := onWire(t, func(c net.Conn) {
		takeRequest(c)
		_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
		<-leave
	})
	t.Cleanup(func() { close(leave) })
	m := onNetwork(t, yes)
	done := make(chan Attempt, 1)
	go func() { done <- try(t, m, url) }()
	select {
	case a := <-done:
		if a.Status != 101 || a.Error != "the endpoint has answered 101" {
			t.Errorf("%d, %q, want a failure", a.Status, a.Error)
		}
	case <-time.After(10 * MinTimeout):
		leave <- true // which ends the request
		<-done
		t.Error("a request with a timeout of 1s has not ended after 10s")
	}
}

// An answer that comes byte by byte is given up after the timeout, whether it is the
// header or the body that drips. By then the status of success has taken the event, unless
// the body is for the device.
func TestAnAnswerThatDripsIsGivenUp(t *testing.T) {
	for _, c := range []struct {
		begin string
		reply bool
		err   string // "" = taken
	}{
		{"HTTP/1.1 200 OK\r\nX-Long: ", false, "within 1s"},
		{"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n", false, ""},
		{"HTTP/1.1 202 Accepted\r\nContent-Length: 60000\r\n\r\n", true, ""},
		{"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n", true, "within 1s"},
		{"HTTP/1.1 500 Oh\r\nContent-Length: 60000\r\n\r\n", false, "within 1s"},
		{"HTTP/1.1 410 Gone\r\nContent-Length: 60000\r\n\r\n", false, errGone},
	} {
		url := onWire(t, func(conn net.Conn) {
			takeRequest(conn)
			_, err := io.WriteString(conn, c.begin)
			for err == nil {
				time.Sleep(20 * time.Millisecond) // drips on the real network
				_, err = io.WriteString(conn, "x")
			}
		})
		a := trySpec(t, onNetwork(t, yes), Spec{URL: url, Reply: c.reply})
		if (a.Error == "") != (c.err == "") || !strings.Contains(a.Error, c.err) || a.Duration < MinTimeout || a.Duration > 20*time.Second {
			t.Errorf("%q, reply %v: %d, %q after %v, want it given up after %v with %q", c.begin, c.reply, a.Status, a.Error, a.Duration, MinTimeout, c.err)
		}
	}
}

// An endpoint that answers 200 and closes has taken the event if the answer is whole; the
// next request makes a connection anew.
func TestAnEndpointThatClosesAfterItsAnswer(t *testing.T) {
	for _, c := range []struct {
		answer string
		ok     bool
	}{
		{"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", true},
		{"HTTP/1.1 204 No Content\r\n\r\n", true},
		{"HTTP/1.0 200 OK\r\n\r\nup to the end", true},
		{"HTTP/1.1 200 OK\r\nContent-Length: 200\r\n\r\ncut", false},
		{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", false},
		{"HTTP/1.1 200", false},
		{"", false},
		{"SSH-2.0-OpenSSH_9.9\r\n", false},
	} {
		m := onNetwork(t, yes)
		url := onWire(t, func(conn net.Conn) {
			takeRequest(conn)
			_, _ = io.WriteString(conn, c.answer)
		})
		for range 3 {
			if a := try(t, m, url); (a.Error == "") != c.ok {
				t.Errorf("%q: %d, %q, want taken: %v", c.answer, a.Status, a.Error, c.ok)
			}
		}
	}
}

func takeRequest(c net.Conn) {
	if req, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
		_, _ = io.Copy(io.Discard, req.Body)
	}
}

// onWire returns the URL of a server that gives each connection to serve, and closes it
// then.
func onWire(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer c.Close()
				serve(c)
			})
		}
	})
	t.Cleanup(func() { ln.Close(); serving.Wait() })
	return "http://" + ln.Addr().String()
}

// Nothing is posted to a server whose certificate is not valid, and the attempt says why.
func TestCertificatesAreChecked(t *testing.T) {
	var requests atomic.Int64
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { requests.Add(1) }))
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.StartTLS()
	t.Cleanup(srv.Close)
	if a := try(t, onNetwork(t, yes), srv.URL); a.Status != 0 || !strings.Contains(a.Error, "certificate") {
		t.Errorf("of an unknown authority: %d, %q", a.Status, a.Error)
	}
	plain := httptest.NewServer(srv.Config.Handler)
	t.Cleanup(plain.Close)
	if a := try(t, onNetwork(t, yes), strings.Replace(plain.URL, "http:", "https:", 1)); a.Status != 0 || a.Error == "" {
		t.Errorf("of a server without TLS: %d, %q", a.Status, a.Error)
	}
	if n := requests.Load(); n != 0 {
		t.Errorf("%d requests have come", n)
	}
}

// A name that leads to a public address while a webhook is made, and to a refused one
// when it is dialled, gets no connection: the check is of the address that is dialled.
func TestANameThatMovesGetsNoConnection(t *testing.T) {
	var requests atomic.Int64
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { requests.Add(1) }))
	t.Cleanup(srv.Close)
	names := newNameServer(t)
	m := onNetwork(t, no)
	m.cfg.resolver = names.resolver()
	port := srv.URL[strings.LastIndex(srv.URL, ":"):]
	for i, list := range [][]string{{"127.0.0.1"}, {"10.0.0.1", "127.0.0.1"}, {"169.254.169.254"}} {
		names.answer(list...)
		if a := try(t, m, fmt.Sprint("http://moves.example", port)); a.Status != 0 || !strings.Contains(a.Error, "is not allowed") {
			t.Errorf("%d: %d, %q, want it refused", i, a.Status, a.Error)
		}
	}
	if names.asked() == 0 || requests.Load() > 0 {
		t.Errorf("%d questions, %d requests; want the name looked up and no request", names.asked(), requests.Load())
	}
	open := onNetwork(t, yes)
	open.cfg.resolver = names.resolver()
	names.answer("127.0.0.1")
	if a := try(t, open, fmt.Sprint("http://moves.example", port)); a.Status != 200 {
		t.Errorf("allowed: %d, %q", a.Status, a.Error)
	}
}

// A rule that is new holds for open connections to a name, too, over HTTP/1 and HTTP/2.
func TestAnOpenConnectionIsNoWayAroundARule(t *testing.T) {
	for _, secure := range []bool{false, true} {
		var requests atomic.Int64
		srv := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { requests.Add(1) }))
		names := newNameServer(t)
		names.answer("127.0.0.1")
		var open atomic.Bool
		open.Store(true)
		m := onNetwork(t, open.Load)
		m.cfg.resolver = names.resolver()
		if srv.EnableHTTP2 = secure; secure {
			srv.StartTLS()
		} else {
			srv.Start()
		}
		t.Cleanup(srv.Close)
		scheme, _, _ := strings.Cut(srv.URL, ":")
		h, err := m.Create(t.Context(), Spec{URL: scheme + "://example.com" + srv.URL[strings.LastIndex(srv.URL, ":"):], State: Paused}, apikey.Limit{}, true, 0)
		if err != nil {
			t.Fatal(err)
		}
		if secure {
			roots := x509.NewCertPool()
			roots.AddCert(srv.Certificate())
			m.endpoints[h.ID].transport.(*http.Transport).TLSClientConfig = &tls.Config{RootCAs: roots}
		}
		test := func() Attempt {
			a, err := m.Test(t.Context(), h.ID, apikey.Limit{})
			if err != nil {
				t.Fatal(err)
			}
			return a
		}
		if a := test(); a.Status != 200 {
			t.Fatalf("%s, while it is allowed: %d, %q", scheme, a.Status, a.Error)
		}
		open.Store(false)
		for range 2 {
			if a := test(); a.Status != 0 || !strings.HasPrefix(a.Error, "the address 127.0.0.1 is not allowed") {
				t.Errorf("%s: %d, %q, want it refused", scheme, a.Status, a.Error)
			}
		}
		open.Store(true)
		if a := test(); a.Status != 200 || requests.Load() != 2 {
			t.Errorf("%s, allowed again: %d, %q; %d requests, want 2", scheme, a.Status, a.Error, requests.Load())
		}
	}
}

// nameServer answers all questions for IPv4 addresses with the same list.
type nameServer struct {
	conn net.PacketConn
	mu   sync.Mutex
	list []netip.Addr
	n    int
}

func newNameServer(t *testing.T) *nameServer {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &nameServer{conn: conn}
	var serving sync.WaitGroup
	serving.Go(s.serve)
	t.Cleanup(func() { conn.Close(); serving.Wait() })
	return s
}

func (s *nameServer) answer(list ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = nil
	for _, a := range list {
		s.list = append(s.list, netip.MustParseAddr(a))
	}
}

func (s *nameServer) asked() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.n
}

func (s *nameServer) resolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", s.conn.LocalAddr().String())
	}}
}

func (s *nameServer) serve() {
	buf := make([]byte, 1500)
	for {
		n, from, err := s.conn.ReadFrom(buf)
		if err != nil {
			return
		}
		var q dnsmessage.Message
		if q.Unpack(buf[:n]) != nil || len(q.Questions) != 1 {
			continue
		}
		r := dnsmessage.Message{Header: dnsmessage.Header{ID: q.ID, Response: true, Authoritative: true}, Questions: q.Questions}
		s.mu.Lock()
		if s.n++; q.Questions[0].Type == dnsmessage.TypeA {
			for _, a := range s.list {
				r.Answers = append(r.Answers, dnsmessage.Resource{
					Header: dnsmessage.ResourceHeader{Name: q.Questions[0].Name, Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET},
					Body:   &dnsmessage.AResource{A: a.As4()}})
			}
		}
		s.mu.Unlock()
		if out, err := r.Pack(); err == nil {
			_, _ = s.conn.WriteTo(out, from)
		}
	}
}
