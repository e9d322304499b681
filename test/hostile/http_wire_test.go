package hostile

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// What no HTTP library would send.
func TestHostileHTTP(t *testing.T) {
	alone(t, func(t *testing.T) {
		s := openSite(t, nil, nil)
		wait := s.unreadStream() // its time passes meanwhile
		s.face([]behaviour{
			{"connections that say nothing", silentHTTP},
			{"headers byte by byte", dripHeaders},
			{"a body byte by byte", dripBody},
			{"a bulk line byte by byte", dripBulk},
			{"headers that are bombs", headerBombs},
			{"a body that is announced and does not come", absentBody},
			{"a body that is announced too large", announcedBody},
			{"a chunked body without end", endlessChunks},
			{"two lengths for one body", smuggling},
			{"requests that are none", notHTTP},
			{"answers that nobody reads", unreadAnswers},
			{"a new line in the request id", forgedLogLines},
			{"a foreign Host", foreignHost},
			{"another origin", otherOrigin},
			{"a method in disguise", methodOverride},
		})
		wait()
	})
}

func silentHTTP(t *testing.T, s *site) {
	var list []*wire
	for range 200 {
		list = append(list, s.wire())
	}
	s.wantServed()
	for _, w := range list {
		if said := w.wantGone(); said != "" {
			t.Errorf("a connection that has said nothing was told %q", clip(said))
		}
	}
}

// drip sends head, and then body byte by byte until the gateway has had enough.
func (w *wire) drip(head, body string) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	if w.send(head) != nil {
		return
	}
	for i := range len(body) {
		if w.send(body[i:i+1]) != nil {
			return
		}
		<-tick.C
	}
	w.s.Errorf("%d bytes were taken one by one", len(body))
}

func dripHeaders(t *testing.T, s *site) {
	w := s.wire()
	go w.drip("GET /v1/clients HTTP/1.1\r\nHost: localhost\r\nX-Slow: ", strings.Repeat("x", 2000))
	if said := w.wantGone(); said != "" {
		t.Errorf("half a request was answered %q", clip(said))
	}
}

func dripBody(_ *testing.T, s *site) {
	w := s.wire()
	go w.drip("POST /v1/clients/honest-v10/messages HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 2000\r\n\r\n",
		`{"text":"`+strings.Repeat("x", 1989)+`"}`)
	s.wantProblem(w.answer(), 408, "request-timeout")
	w.wantGone()
}

// Each byte of a bulk request may take its time, for it is a stream; the one
// who drips holds a connection and one line, and his leaving ends it.
func dripBulk(t *testing.T, s *site) {
	w := s.wire()
	if err := w.send("POST /v1/messages/bulk HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	for range 100 {
		if err := w.send("1\r\n{\r\n"); err != nil {
			t.Fatal(err)
		}
	}
	s.wantServed()
	w.Close()
}

func headerBombs(t *testing.T, s *site) {
	for name, headers := range map[string]string{
		"one long":  "X-Bomb: " + strings.Repeat("x", 64<<10) + "\r\n",
		"many":      strings.Repeat("X-Bomb: x\r\n", 10_000),
		"long name": strings.Repeat("x", 64<<10) + ": x\r\n",
	} {
		w := s.wire()
		_ = w.send("GET /v1/clients HTTP/1.1\r\nHost: localhost\r\n" + headers + "\r\n")
		if said := w.wantGone(); said != "" && !strings.HasPrefix(said, "HTTP/1.1 431 ") {
			t.Errorf("%s: %q, want 431", name, clip(said))
		}
	}
	w := s.wire()
	_ = w.send("GET /v1/clients?" + strings.Repeat("a=b&", 16<<10) + " HTTP/1.1\r\nHost: localhost\r\n\r\n")
	if said := w.wantGone(); said != "" && !strings.HasPrefix(said, "HTTP/1.1 431 ") {
		t.Errorf("a long query: %q, want 431", clip(said))
	}
}

const pushHead = "POST /v1/clients/honest-v10/messages HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"

func absentBody(_ *testing.T, s *site) {
	w := s.wire()
	_ = w.send(pushHead + "Content-Length: 10\r\n\r\n")
	s.wantProblem(w.answer(), 408, "request-timeout")

	w = s.wire()
	_ = w.send(pushHead + "Content-Length: 10\r\n\r\n{\"te")
	_ = w.Conn.(interface{ CloseWrite() error }).CloseWrite()
	s.wantProblem(w.answer(), 400, "incomplete-body")
}

// It is refused for what it announces, before a byte of it is read.
func announcedBody(_ *testing.T, s *site) {
	for _, n := range []string{"524289", "1099511627776", "9223372036854775807"} {
		w := s.wire()
		_ = w.send(pushHead + "Expect: 100-continue\r\nContent-Length: " + n + "\r\n\r\n")
		s.wantProblem(w.answer(), 413, "payload-too-large")
		w.wantGone()
	}
}

func endlessChunks(_ *testing.T, s *site) {
	w := s.wire()
	go func() {
		_ = w.send(pushHead + "Transfer-Encoding: chunked\r\n\r\n")
		chunk := fmt.Sprintf("%x\r\n%s\r\n", 64<<10, strings.Repeat("{", 64<<10))
		for w.send(chunk) == nil {
		}
	}()
	s.wantProblem(w.answer(), 413, "payload-too-large")
	w.wantGone()
}

// Whoever is in front of the gateway may read such a request otherwise than
// the gateway: nothing behind the first answer may be taken for a request.
func smuggling(t *testing.T, s *site) {
	const hidden = "DELETE /v1/clients/honest-v21 HTTP/1.1\r\nHost: localhost\r\n\r\n"
	for _, tt := range []struct{ name, headers, body, want string }{
		{"two lengths", "Content-Length: 5\r\nContent-Length: 6\r\n", "hello" + hidden, "400"},
		{"a list of lengths", "Content-Length: 5, 6\r\n", "hello" + hidden, "400"},
		{"a signed length", "Content-Length: +5\r\n", "hello" + hidden, "400"},
		{"a negative length", "Content-Length: -5\r\n", "hello" + hidden, "400"},
		{"a hexadecimal length", "Content-Length: 0x5\r\n", "hello" + hidden, "400"},
		{"a space before the colon", "Transfer-Encoding : chunked\r\nContent-Length: 5\r\n", "0\r\n\r\n" + hidden, "400"},
		{"an unknown coding", "Transfer-Encoding: xchunked\r\n", "0\r\n\r\n" + hidden, "501"},
		{"two codings", "Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n" + hidden, "501"},
		{"two Transfer-Encodings", "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", "0\r\n\r\n" + hidden, "501"},
		{"two Hosts", "Host: other\r\n", hidden, "400"},
		{"a bare CR in a header", "X-A: b\rTransfer-Encoding: chunked\r\n", hidden, "400"},
		{"a NUL in a header", "X-A: b\x00c\r\n", hidden, "400"},
	} {
		w := s.wire()
		_ = w.send("POST /v1/clients/honest-v10/messages HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\n" + tt.headers + "\r\n" + tt.body)
		said := w.wantGone()
		if !strings.HasPrefix(said, "HTTP/1.1 "+tt.want+" ") || strings.Count(said, "HTTP/1.1 ") != 1 {
			t.Errorf("%s: %q, want one answer, %s", tt.name, clip(said), tt.want)
		}
	}
	// A length beside chunks is dropped, as RFC 9112 allows.
	w := s.wire()
	_ = w.send("POST /v1/clients/nobody/messages HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\n" +
		"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
	s.wantProblem(w.answer(), 404, "client-not-found")
	w.Close()
}

func notHTTP(t *testing.T, s *site) {
	for _, tt := range []struct{ name, sent, want string }{
		{"a device's frame", frame(tRegister, `{"id":"lost"}`) + "\r\n\r\n", "400"},
		{"a text device", "REGISTER lost\r\n\r\n", "400"},
		{"a TLS hello", "\x16\x03\x01\x00\x05hello\r\n\r\n", "400"},
		{"a PROXY header", "PROXY TCP4 192.0.2.1 127.0.0.1 80 80\r\nGET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "400"},
		{"HTTP/2 without TLS", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "403"},
		{"HTTP/9", "GET / HTTP/9.0\r\nHost: localhost\r\n\r\n", "505"},
		{"no Host", "GET /v1/clients HTTP/1.1\r\n\r\n", "400"},
		{"a control character in the target", "GET /v1/\x01 HTTP/1.1\r\nHost: localhost\r\n\r\n", "400"},
	} {
		w := s.wire()
		_ = w.send(tt.sent)
		if said := w.wantGone(); !strings.HasPrefix(said, "HTTP/1.1 "+tt.want+" ") {
			t.Errorf("%s: %q, want %s", tt.name, clip(said), tt.want)
		}
	}
}

// Thousands of requests in one connection, and not one answer is read: the
// gateway stops to read when the socket is full.
func unreadAnswers(t *testing.T, s *site) {
	w := s.wire()
	_ = w.socket().SetReadBuffer(4 << 10)
	request := strings.Repeat("GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n", 100)
	_ = w.SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
	sent := 0
	for w.send(request) == nil {
		if sent += len(request); sent > 64<<20 {
			t.Fatalf("%d MiB of requests were taken from a caller that reads no answer", sent>>20)
		}
	}
	s.wantServed()
	w.Close()
}

func forgedLogLines(t *testing.T, s *site) {
	const forged = `{"level":"INFO","msg":"forged"}`
	w := s.wire()
	_ = w.send("GET /v1/clients HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: a\n" + forged + "\r\nConnection: close\r\n\r\n")
	w.wantGone() // a line feed ends a header: what follows is none
	for _, id := range []string{`a b`, `"`, forged, strings.Repeat("x", 129), "\xff\xfe", "<b>"} {
		a := s.ask("GET", "/v1/clients", "", "X-Request-Id", id)
		if got := a.header.Get("X-Request-Id"); a.status != 200 || got == id || got == "" {
			t.Errorf("the request id %q was answered %d with %q, want one of our own", id, a.status, got)
		}
	}
	for _, target := range []string{"/v1/x%0a" + forged, "/v1/clients?a=%0a%0d", "/v1/clients/%1b%5b2J", "/v1/x%00"} {
		w := s.wire()
		_ = w.send("GET " + strings.ReplaceAll(target, `"`, "%22") + " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
		w.wantGone()
	}
	// That every line of the log is one JSON object is checked after each attack.
}

func foreignHost(_ *testing.T, s *site) {
	for _, host := range []string{"evil.example", "evil.example:8080", "127.0.0.1.evil.example", "localhost.evil.example", "[::2]", "128.0.0.1", "0.0.0.0"} {
		s.wantProblem(s.ask("GET", "/v1/clients", "", "Host", host), 403, "host-not-allowed")
	}
	// The target's host wins over the header's (RFC 9112 §3.2.2).
	w := s.wire()
	_ = w.send("GET http://evil.example/v1/clients HTTP/1.1\r\nHost: localhost\r\n\r\n")
	s.wantProblem(w.answer(), 403, "host-not-allowed")
}

func otherOrigin(_ *testing.T, s *site) {
	for _, headers := range [][]string{
		{"Origin", "https://evil.example"}, {"Origin", "null"}, {"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"},
	} {
		for _, call := range [][2]string{{"POST", "/v1/clients/honest-v10/messages"}, {"DELETE", "/v1/clients/honest-v10"}, {"PATCH", "/v1/clients/honest-v10"}} {
			a := s.ask(call[0], call[1], "x", append([]string{"Content-Type", "text/plain"}, headers...)...)
			s.wantProblem(a, 403, "cross-origin")
		}
	}
}

func methodOverride(t *testing.T, s *site) {
	for _, header := range []string{"X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"} {
		if a := s.ask("GET", "/v1/clients/honest-v10", "", header, "DELETE"); a.status != 200 || !strings.Contains(a.body, `"online":true`) {
			t.Errorf("%s: %d %s, want a plain GET", header, a.status, a.body)
		}
	}
	for _, method := range []string{"TRACE", "CONNECT", "PROPFIND", "delete", "G\x01T"} {
		w := s.wire()
		_ = w.send(method + " /v1/clients/honest-v10 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
		if said := w.wantGone(); !strings.HasPrefix(said, "HTTP/1.1 40") {
			t.Errorf("%q: %q, want a refusal", method, clip(said))
		}
	}
}
