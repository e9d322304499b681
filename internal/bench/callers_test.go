package bench

import (
	"bufio"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
)

func TestReadAnswer(t *testing.T) {
	stream := "HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nContent-Length: 5\r\n\r\nhello" +
		"HTTP/1.1 200 OK\r\ncontent-length:0\r\n\r\n" +
		"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 3000\r\n\r\n" + strings.Repeat("x", 3000) +
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
	r := bufio.NewReaderSize(iotest.OneByteReader(strings.NewReader(stream)), 2048)
	for _, want := range []struct{ status, body string }{{"202", "hello"}, {"200", ""}, {"503", ""}, {"200", "ok"}} {
		status, body, err := readAnswer(r)
		if err != nil || status != want.status || string(body) != want.body {
			t.Errorf("got %s %q %v, want %s %q", status, body, err, want.status, want.body)
		}
	}
}

func TestReadAnswerRefuses(t *testing.T) {
	for name, stream := range map[string]string{
		"nothing":           "",
		"cut head":          "HTTP/1.1 200 OK\r\nContent-Le",
		"cut body":          "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel",
		"no length":         "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"wrong length":      "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
		"negative":          "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
		"another protocol":  "ERROR 400 bad\r\n\r\n",
		"short first line":  "HTTP/1.1\r\n\r\n",
		"endless head line": "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 4000) + "\r\n\r\n",
	} {
		if status, _, err := readAnswer(bufio.NewReaderSize(strings.NewReader(stream), 2048)); err == nil {
			t.Errorf("%s: status %s and no error", name, status)
		}
	}
}

// TestRequestIsHTTP makes net/http read the loader's request.
func TestRequestIsHTTP(t *testing.T) {
	b := requestStart + clientID(17) + newPushRequest(&target{http: "127.0.0.1:80", key: "lwk_k"}, load{online: true, wait: true}, 100).rest
	r := bufio.NewReader(strings.NewReader(b))
	req, err := http.ReadRequest(r)
	if err != nil {
		t.Fatal(err)
	}
	if req.Method != "POST" || req.URL.Path != "/v1/clients/c-000017/messages" || req.URL.Query().Get("wait") == "" || req.Header.Get("Authorization") != "Bearer lwk_k" {
		t.Errorf("request is %s %s, %v", req.Method, req.URL, req.Header)
	}
	if req.ContentLength != int64(r.Buffered()) {
		t.Errorf("Content-Length is %d, the body has %d bytes", req.ContentLength, r.Buffered())
	}
}

func TestMetric(t *testing.T) {
	page := []byte("# TYPE go_goroutines gauge\ngo_goroutines 31\nbig 2.5e+06\nodd x\n\n")
	for name, want := range map[string]Figure{"go_goroutines": 31, "big": 2.5e6, "odd": unknown, "absent": unknown} {
		if got := metric(page, name); got != want && !(got.none() && want.none()) {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
}

func TestReadWrk(t *testing.T) {
	s, err := readWrk("Running 1s test\nRESULT 5000 1250000 0 2000 9000\n")
	if err != nil || s.done != 5000 || s.perSecond() != 4000 {
		t.Errorf("%d requests at %v/s, %v; want 5000 at 4000", s.done, s.perSecond(), err)
	}
	if p50, p99 := s.latency.ms(0.5), s.latency.ms(0.99); p50 < 1.98 || p50 > 2.02 || p99 < 8.9 || p99 > 9.1 {
		t.Errorf("p50 %v and p99 %v, want 2 and 9", p50, p99)
	}
	for _, out := range []string{"", "RESULT 1\n", "RESULT 5000 1250000 3 2000 9000\n", "RESULT 0 1250000 0 0 0\n"} {
		if _, err := readWrk(out); err == nil {
			t.Errorf("%q is taken", out)
		}
	}
}
