package api

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/longwire/longwire/api/internal/problem"
	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/gatewaytest"
)

func gzipped(s string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Write([]byte(s))
	w.Close()
	return b.String()
}

func zstded(s string) string {
	w, _ := zstd.NewWriter(nil)
	return string(w.EncodeAll([]byte(s), nil))
}

// The device gets what the caller has encoded, not the encoding.
func TestContentCodingsAreUndone(t *testing.T) {
	h := newHarness(t)
	l := h.device("a", gatewaytest.Options{})
	const target = "/v1/clients/a/messages?wait=5s"
	for i, c := range []struct{ coding, body, contentType, want string }{
		{"gzip", gzipped("open"), "text/plain", "open"},
		{"x-gzip", gzipped("open"), "application/octet-stream", "open"},
		{"GZIP", gzipped(`{"json":{"cmd":"open"}}`), "application/json", `{"cmd":"open"}`},
		{"zstd", zstded("open"), "text/plain", "open"},
		{"zstd", zstded(`{"text":"hi"}`), "application/json", "hi"},
		{"identity", "open", "text/plain", "open"},
		{"gzip", gzipped(strings.Repeat("x", gateway.MaxPayload)), "text/plain", strings.Repeat("x", gateway.MaxPayload)},
	} {
		h.call("POST", target, c.body, "Content-Type", c.contentType, "Content-Encoding", c.coding).want(200)
		if p := l.Transmissions(); len(p) != i+1 || string(p[i].Payload) != c.want {
			t.Fatalf("%s of %s: the device got %.60q", c.coding, c.contentType, p[len(p)-1].Payload)
		}
	}
	for _, c := range []struct {
		coding, body string
		status       int
	}{
		{"br", "open", 415}, {"gzip, gzip", gzipped(gzipped("open")), 415}, {"compress", "open", 415},
		{"gzip", "open", 415}, {"zstd", "open", 415}, {"gzip", gzipped("open")[:15], 415},
		{"gzip", gzipped(strings.Repeat("x", gateway.MaxPayload+1)), 413}, {"zstd", zstded(strings.Repeat("x", 100<<20)), 413},
	} {
		a := h.call("POST", target, c.body, "Content-Type", "text/plain", "Content-Encoding", c.coding).want(c.status)
		if got := a.header.Get("Accept-Encoding"); (c.status == 415) != (got != "") {
			t.Errorf("%s: %d with Accept-Encoding %q", c.coding, c.status, got)
		}
	}
	h.call("PATCH", "/v1/clients/a", gzipped(`{"groups":["g"]}`), "Content-Type", "application/json", "Content-Encoding", "gzip").want(200)
	bulk := h.call("POST", "/v1/messages/bulk", gzipped("{}"), "Content-Type", "application/x-ndjson", "Content-Encoding", "gzip").want(415)
	if got := bulk.header.Get("Accept-Encoding"); got != "identity" {
		t.Errorf("bulk takes %q, want identity", got)
	}
}

// The command in a 415 does what the caller wanted, when it is pasted.
func TestTheCommandOfA415Works(t *testing.T) {
	h := newHarness(t)
	l := h.device("a", gatewaytest.Options{})
	for i, c := range []struct{ typed, want string }{
		{`{"text":"hi"}`, "hi"},
		{`{"cmd":"unlock"}`, `{"cmd":"unlock"}`},
		{`{"json":{"cmd":"unlock"},"ttl":"5s"}`, `{"cmd":"unlock"}`},
		{`{"text":5}`, `{"text":5}`},
		{`{no json}`, "hello"},
		{`{"it's":1}`, "hello"},
	} {
		p := h.call("POST", "/v1/clients/a/messages?wait=5s", c.typed, "Content-Type", formType).wantProblem(415, problem.UnsupportedMediaType)
		words := strings.Split(p.Detail[strings.Index(p.Detail, "curl -H"):], "'")
		if len(words) != 7 || words[1] != "Content-Type: application/json" {
			t.Fatalf("no command in %q", p.Detail)
		}
		u, err := url.Parse(words[5])
		if err != nil {
			t.Fatal(err)
		}
		h.call("POST", u.RequestURI(), words[3], "Content-Type", "application/json").want(200)
		if got := l.Transmissions(); len(got) != i+1 || string(got[i].Payload) != c.want {
			t.Fatalf("%s became %q, want %q", c.typed, got[len(got)-1].Payload, c.want)
		}
	}
	p := h.call("POST", "/v1/clients/a/messages", `{"cmd":"unlock"}`).wantProblem(400, problem.UnknownField)
	if !strings.Contains(p.Detail, `{"json":{…}}`) {
		t.Errorf("%q, want to read how a payload is sent", p.Detail)
	}
}

// HEAD is there where GET is, but for the streams.
func TestHeadOfLists(t *testing.T) {
	h := newHarness(t)
	h.known("a")
	m := decode[Message](h.call("POST", "/v1/clients/a/messages", pushText("x")).want(202))
	for _, target := range []string{"/v1/clients", "/v1/clients/a", "/v1/clients/a/messages", "/v1/messages", "/v1/messages/" + m.ID,
		"/v1/messages/" + m.ID + "/deliveries", "/v1/uplinks", "/v1/refused", "/v1/stats", "/version"} {
		if a := h.call("HEAD", target, ""); a.status != 200 || a.header.Get("Content-Type") != "application/json" {
			t.Errorf("HEAD %s: %d %s", target, a.status, a.header.Get("Content-Type"))
		}
	}
	h.call("HEAD", "/v1/clients?status=onlin", "").want(400)
	h.call("HEAD", "/v1/messages/msg_none", "").want(404)
	if got := h.call("HEAD", "/v1/events", "").want(405).header.Get("Allow"); got != "GET" {
		t.Errorf("events allow %q", got)
	}
}

// TestEveryGetHasItsHead: HEAD is answered where GET is, but for streams, and for the
// pull that takes a lease.
func TestEveryGetHasItsHead(t *testing.T) {
	without := []string{"/v1/events", "/v1/clients/{id}/timeline", "/v1/consumers/{name}/events"}
	own := map[string]bool{}
	routes := newServer(Config{}).endpoints()
	for _, e := range routes {
		own[e.pattern] = own[e.pattern] || e.method == "HEAD"
	}
	for _, e := range routes {
		if has := e.head || own[e.pattern]; e.method == "GET" && has == slices.Contains(without, e.pattern) {
			t.Errorf("HEAD %s: %t, want %t", e.pattern, has, !has)
		}
	}
	h := newHarness(t)
	h.known("a")
	m := decode[Message](h.call("POST", "/v1/clients/a/messages", pushText("x")).want(202))
	for _, target := range []string{"/v1/clients/a/why", "/v1/messages/" + m.ID + "/why", "/v1/messages/" + m.ID + "/deliveries/a"} {
		if a := h.call("HEAD", target, ""); a.status != 200 {
			t.Errorf("HEAD %s: %d", target, a.status)
		}
	}
}

func TestMessagesOfAnUnknownClient(t *testing.T) {
	h := newHarness(t)
	h.known("a")
	h.call("GET", "/v1/clients/a/messages", "").want(200)
	h.call("GET", "/v1/clients/ghost/messages", "").wantProblem(404, "client-not-found")
}

func TestMediaTypesHaveNoCase(t *testing.T) {
	h := newHarness(t)
	for accept, want := range map[string]string{"TEXT/EVENT-STREAM": "text/event-stream; charset=utf-8", "Application/X-NDJSON": "application/x-ndjson"} {
		if got := h.subscribe("/v1/events", "Accept", accept).header.Get("Content-Type"); got != want {
			t.Errorf("Accept %s: %q, want %q", accept, got, want)
		}
	}
	h.known("a")
	for i, contentType := range []string{"APPLICATION/JSON", "Application/Json; Charset=UTF-8"} {
		h.call("POST", "/v1/clients/a/messages", fmt.Sprintf(`{"text":"%d"}`, i), "Content-Type", contentType).want(202)
	}
}

// The body of a call that has none is not decoded, so its coding does not matter.
func TestTheCodingOfABodyThatNobodyReads(t *testing.T) {
	h := newHarness(t)
	h.known("a")
	hook := decode[Webhook](h.call("POST", "/v1/webhooks", `{"url":"http://127.0.0.1:9/"}`).want(201))
	for _, call := range []string{"GET /v1/clients", "DELETE /v1/clients/a/messages", "POST /v1/webhooks/" + hook.ID + "/rotate"} {
		method, target, _ := strings.Cut(call, " ")
		for _, coding := range []string{"br", "gzip"} {
			h.call(method, target, "{}", "Content-Encoding", coding).want(200)
		}
	}
}
