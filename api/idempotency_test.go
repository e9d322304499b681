package api

import (
	"bufio"
	"encoding/json"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/longwire/longwire/api/internal/problem"
	"github.com/longwire/longwire/gateway"
)

// idempotencyKeys are keys that can be, and others that cannot.
var idempotencyKeys = []struct {
	name, key string
	ok        bool
}{
	{"plain", "order-4711", true},
	{"printable ASCII", ` !"#$%&'()*+,-./:;<=>?@[\]^_{|}~`, true},
	{"the longest", strings.Repeat("k", gateway.MaxIdempotency), true},
	{"empty", "", false},
	{"too long", strings.Repeat("k", gateway.MaxIdempotency+1), false},
	{"NUL", "a\x00b", false},
	{"tab", "a\tb", false},
	{"line feed", "a\nb", false},
	{"DEL", "a\x7fb", false},
	{"non-ASCII", "Größe", false},
	{"a byte that is no UTF-8", "a\xffb", false},
}

// TestIdempotencyKeysAreCheckedInTheHeader, bare and quoted.
func TestIdempotencyKeysAreCheckedInTheHeader(t *testing.T) {
	for _, k := range idempotencyKeys {
		t.Run(k.name, func(t *testing.T) {
			h := newHarness(t)
			h.known("b")
			quoted := `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(k.key) + `"`
			for _, value := range []string{k.key, quoted} {
				a := h.call("POST", "/v1/clients/b/messages", pushText("x"), "Idempotency-Key", value)
				if k.ok {
					a.want(202)
					continue
				}
				p := a.wantProblem(400, problem.InvalidParameter)
				if len(p.Errors) != 1 || p.Errors[0].Parameter != "Idempotency-Key" || !strings.Contains(p.Detail, "1 to 255 characters of printable ASCII") {
					t.Errorf("%q: %+v, want the header and the rule named", value, p)
				}
			}
			got := len(decode[MessagePage](h.call("GET", "/v1/messages", "")).Items)
			if want := map[bool]int{true: 1, false: 0}[k.ok]; got != want {
				t.Errorf("%d messages, want %d: quoted and bare are one key, and a refusal stores nothing", got, want)
			}
		})
	}
}

func TestTwoIdempotencyKeysAreNone(t *testing.T) {
	h := newHarness(t)
	h.known("b")
	r := newRequest(t.Context(), "POST", "/v1/clients/b/messages", pushText("x"))
	r.Header["Idempotency-Key"] = []string{"one", "two"}
	w := newRecorder()
	h.handler.ServeHTTP(w, r)
	answer{t: t, status: w.Code, header: w.Header(), body: w.Body.Bytes()}.wantProblem(400, problem.InvalidParameter)
}

// TestIdempotencyKeysAreCheckedInLines: the same rule as in the header. A key
// that cannot be is not repeated in the answer.
func TestIdempotencyKeysAreCheckedInLines(t *testing.T) {
	h := newHarness(t)
	h.known("b")
	for _, k := range idempotencyKeys {
		if k.key != strings.ToValidUTF8(k.key, "") {
			continue // no JSON, which is another refusal
		}
		// The second line has a member in an order that only the slow way reads.
		for _, form := range []string{`{"to":{"client":"b"},"text":"x","key":%}`, `{"metadata":{},"to":{"client":"b"},"text":"x","key":%}`} {
			key, _ := json.Marshal(k.key)
			a := h.call("POST", "/v1/messages/bulk", strings.Replace(form, "%", string(key), 1), "Content-Type", ndjson).want(200)
			line, _, _ := strings.Cut(string(a.body), "\n")
			var got BulkResult
			if err := json.Unmarshal([]byte(line), &got); err != nil {
				t.Fatal(err)
			}
			switch {
			case k.ok && (got.Status != 202 || got.Key != k.key):
				t.Errorf("%s: %s, want it accepted under its key", k.name, line)
			case !k.ok && (got.Status != 422 || got.Key != "" || len(got.Problem.Errors) != 1 || got.Problem.Errors[0].Pointer != "/key"):
				t.Errorf("%s: %s, want 422 at /key and no key", k.name, line)
			}
		}
	}
}

// TestControlCharactersInAHeaderGetNoFurther than the HTTP server.
func TestControlCharactersInAHeaderGetNoFurther(t *testing.T) {
	h := newHarness(t)
	h.known("b")
	srv := NewServer(Config{Gateway: h.gateway})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go srv.Serve(l)
	t.Cleanup(func() { srv.Close() })
	for _, key := range []string{"a\x00b", "a\x01b", "a\x7fb"} {
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := conn.Write([]byte("POST /v1/clients/b/messages HTTP/1.1\r\nHost: localhost\r\nIdempotency-Key: " + key + "\r\nContent-Length: 1\r\n\r\nx")); err != nil {
			t.Fatal(err)
		}
		answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != 400 {
			t.Errorf("%q: status %d, want 400", key, answer.StatusCode)
		}
	}
}

// TestTheSameKeyForAnotherMessage is refused, whatever of the message differs.
func TestTheSameKeyForAnotherMessage(t *testing.T) {
	h := newHarness(t)
	for _, id := range []gateway.ClientID{"b", "c", "bc"} {
		h.known(id)
	}
	for name, pair := range map[string][2]string{
		"client":             {`{"to":{"client":"b"},"text":"x"}`, `{"to":{"client":"c"},"text":"x"}`},
		"group":              {`{"to":{"group":"g"},"text":"x"}`, `{"to":{"group":"h"},"text":"x"}`},
		"client and group":   {`{"to":{"client":"b"},"text":"x"}`, `{"to":{"group":"b"},"text":"x"}`},
		"one of the clients": {`{"to":{"clients":["b","c"]},"text":"x"}`, `{"to":{"clients":["b","bc"]},"text":"x"}`},
		"number of clients":  {`{"to":{"clients":["b"]},"text":"x"}`, `{"to":{"clients":["b","c"]},"text":"x"}`},
		"a label's value":    {`{"to":{"labels":{"l":"1"}},"text":"x"}`, `{"to":{"labels":{"l":"2"}},"text":"x"}`},
		"a label's name":     {`{"to":{"labels":{"l":"1"}},"text":"x"}`, `{"to":{"labels":{"m":"1"}},"text":"x"}`},
		"labels and all":     {`{"to":{"labels":{"l":"1"}},"text":"x"}`, `{"to":{"all":true},"text":"x"}`},
		"all and group":      {`{"to":{"all":true},"text":"x"}`, `{"to":{"group":"g"},"text":"x"}`},
		"metadata":           {`{"to":{"all":true},"text":"x","metadata":{"a":"1"}}`, `{"to":{"all":true},"text":"x","metadata":{"a":"2"}}`},
		"label and metadata": {`{"to":{"labels":{"l":"1"}},"text":"x"}`, `{"to":{"labels":{"k":"1"}},"text":"x","metadata":{"l":"1"}}`},
		"payload":            {`{"to":{"all":true},"text":"x"}`, `{"to":{"all":true},"text":"y"}`},
		"encoding":           {`{"to":{"all":true},"text":"1"}`, `{"to":{"all":true},"json":1}`},
		"ttl":                {`{"to":{"all":true},"text":"x","ttl":"1h"}`, `{"to":{"all":true},"text":"x","ttl":"2h"}`},
		"online_only":        {`{"to":{"all":true},"text":"x"}`, `{"to":{"all":true},"text":"x","online_only":true}`},
		"on_unknown":         {`{"to":{"client":"b"},"text":"x"}`, `{"to":{"client":"b"},"text":"x","on_unknown":"queue"}`},
		"rate":               {`{"to":{"all":true},"text":"x","rate":5}`, `{"to":{"all":true},"text":"x","rate":6}`},
		"rate or none":       {`{"to":{"all":true},"text":"x"}`, `{"to":{"all":true},"text":"x","rate":6}`},
	} {
		h.call("POST", "/v1/messages", pair[0], "Idempotency-Key", name).want(202)
		if a := h.call("POST", "/v1/messages", pair[0], "Idempotency-Key", name).want(202); a.header.Get("Idempotency-Replayed") != "true" {
			t.Errorf("%s: the repeat was not replayed", name)
		}
		if a := h.call("POST", "/v1/messages", pair[1], "Idempotency-Key", name); a.status != 422 {
			t.Errorf("%s: another one is answered %d %s, want 422", name, a.status, a.body)
		}
	}
}

// TestFingerprintsDoNotRunTogether: the ends of strings and maps count.
func TestFingerprintsDoNotRunTogether(t *testing.T) {
	print := func(change func(*push)) [32]byte {
		t.Helper()
		var p push
		change(&p)
		if err := p.identify("k", "key_1"); err != nil {
			t.Fatal(err)
		}
		return p.Fingerprint
	}
	for name, pair := range map[string][2]func(*push){
		"client | group": {
			func(p *push) { p.To.Client, p.To.Group = "ab", "c" },
			func(p *push) { p.To.Client, p.To.Group = "a", "bc" }},
		"labels | metadata": {
			func(p *push) { p.To.Labels, p.Metadata = map[string]string{"a": "b"}, nil },
			func(p *push) { p.To.Labels, p.Metadata = nil, map[string]string{"a": "b"} }},
		"name | value": {
			func(p *push) { p.Metadata = map[string]string{"ab": "c"} },
			func(p *push) { p.Metadata = map[string]string{"a": "bc"} }},
		"one client | two": {
			func(p *push) { p.To.Clients = []gateway.ClientID{"a"} },
			func(p *push) { p.To.Clients = []gateway.ClientID{"a", ""} }},
	} {
		if print(pair[0]) == print(pair[1]) {
			t.Errorf("%s: two requests have one fingerprint", name)
		}
	}
}
