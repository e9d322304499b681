package hostile

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// newCaller makes requests without keeping connections: an idle one would be
// counted in the footprint. With trust it speaks TLS, and HTTP/2.
func newCaller(trust *tls.Config) *http.Client {
	return &http.Client{
		Timeout:       time.Minute,
		Transport:     &http.Transport{DisableKeepAlives: true, TLSClientConfig: trust, ForceAttemptHTTP2: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// answer is a response, read.
type answer struct {
	status int
	header http.Header
	body   string
}

// ask sends a request as an honest caller would, with the key of the site;
// headers are name, value pairs and win over that.
func (s *site) ask(method, target, body string, headers ...string) answer {
	s.Helper()
	a, err := s.try(context.Background(), method, target, body, headers...)
	if err != nil {
		s.Fatalf("%s %s: %v", method, target, err)
	}
	return a
}

func (s *site) try(ctx context.Context, method, target, body string, headers ...string) (answer, error) {
	req, err := http.NewRequestWithContext(ctx, method, s.url(target), strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	// It is not sent. It has net/http send a POST again whose idle connection the
	// gateway was just closing.
	req.Header["X-Idempotency-Key"] = nil
	if s.key != "" {
		req.Header.Set("Authorization", "Bearer "+s.key)
	}
	if strings.HasPrefix(body, "{") {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Host" {
			req.Host = headers[i+1]
		}
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := s.caller.Do(req)
	if err != nil {
		return answer{}, err
	}
	return read(res)
}

func (s *site) url(target string) string {
	if s.trust != nil {
		return "https://" + s.http + target
	}
	return "http://" + s.http + target
}

func read(res *http.Response) (answer, error) {
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, 64<<20))
	return answer{res.StatusCode, res.Header, string(b)}, err
}

// wantProblem wants a refusal of the API: status, type, and nothing that a
// stranger should not learn.
func (s *site) wantProblem(a answer, status int, kind string) {
	s.Helper()
	var p struct {
		Type, Title string
		Status      int
	}
	err := json.Unmarshal([]byte(a.body), &p)
	if a.status != status || err != nil || p.Status != status || p.Type != "/docs/problems/"+kind {
		s.Errorf("got %d %s, want %d %s", a.status, clip(a.body), status, kind)
		return
	}
	if got := a.header.Get("Content-Type"); got != "application/problem+json" || p.Title == "" {
		s.Errorf("%s comes as %q with the title %q, want problem+json and some title", kind, got, p.Title)
	}
}

func clip(s string) string {
	if len(s) > 300 {
		return s[:300] + "…"
	}
	return s
}

// caller's raw side: bytes as no HTTP library would send them.
type wire struct {
	net.Conn
	s *site
	r *bufio.Reader
}

// wire speaks TLS where the API does, and HTTP/1.1.
func (s *site) wire() *wire {
	s.Helper()
	c := s.dialHTTP()
	if s.trust != nil {
		c = tls.Client(c, s.trust) // the first write shakes hands
	}
	return s.wireOn(c)
}

// dialHTTP connects to the port of the API.
func (s *site) dialHTTP() net.Conn {
	s.Helper()
	c, err := net.Dial("tcp", s.http)
	if err != nil {
		s.Fatal(err)
	}
	return c
}

// wireOn takes over c for the length of the attack.
func (s *site) wireOn(c net.Conn) *wire {
	s.Cleanup(func() { c.Close() })
	_ = c.SetReadDeadline(time.Now().Add(patience)) // a real socket
	return &wire{c, s, bufio.NewReader(c)}
}

// socket is what is below TLS, if there is any.
func (w *wire) socket() *net.TCPConn {
	if c, ok := w.Conn.(*tls.Conn); ok {
		return c.NetConn().(*net.TCPConn)
	}
	return w.Conn.(*net.TCPConn)
}

// send writes and does not mind when the gateway has closed already.
func (w *wire) send(data string) error {
	_, err := io.WriteString(w.Conn, data)
	return err
}

// answer reads one response.
func (w *wire) answer() answer {
	w.s.Helper()
	res, err := http.ReadResponse(w.r, nil)
	if err != nil {
		w.s.Fatalf("want a response: %v\n%s", err, w.s.log)
	}
	a, err := read(res)
	if err != nil && !gone(err) {
		w.s.Fatalf("read a response: %v", err)
	}
	return a
}

// wantGone wants the end of the connection and returns what came before it.
func (w *wire) wantGone() string {
	w.s.Helper()
	rest, err := io.ReadAll(w.r)
	if err != nil && !gone(err) {
		w.s.Errorf("want the connection closed: %v", err)
	}
	w.Close()
	return string(rest)
}

// metric is one series of /metrics, by its name with labels as printed; 0 when
// it is not there.
func (s *site) metric(series string) float64 {
	s.Helper()
	for line := range strings.Lines(s.ask("GET", "/metrics", "").body) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), "} ")
		if ok {
			name += "}"
		} else {
			name, value, _ = strings.Cut(strings.TrimSpace(line), " ")
		}
		if name == series {
			v, err := strconv.ParseFloat(value, 64)
			if err != nil {
				s.Fatalf("%s: %v", line, err)
			}
			return v
		}
	}
	return 0
}

// counted wants a counter to rise by n during what it runs.
func (s *site) counted(series string, n int, run func()) {
	s.Helper()
	want := s.metric(series) + float64(n)
	run()
	got := 0.0
	s.eventually(series+" has risen", func() bool { got = s.metric(series); return got >= want })
	if got != want {
		s.Errorf("%s is %v, want %v", series, got, want)
	}
}

func closedBy(reason string) string { return `longwire_tcp_closed_total{reason="` + reason + `"}` }
func refusedBy(reason string) string {
	return `longwire_tcp_refused_total{reason="` + reason + `"}`
}
