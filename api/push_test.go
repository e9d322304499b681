package api

import (
	"context"
	"encoding/base64"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/longwire/longwire/api/internal/problem"
	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/gatewaytest"
)

func TestPushIsAcked(t *testing.T) {
	h := newHarness(t)
	link := h.device("truck-17", answering(gateway.AckOK, "done"))

	a := h.call("POST", "/v1/clients/truck-17/messages?wait=5s", `{"text":"hello","ttl":"1h","metadata":{"order":"4711"}}`).want(200)

	m := decode[Message](a)
	if m.Status != "acked" || text(m.Result) != "done" || m.Attempts != 1 || m.Client != "truck-17" || m.Mode != "durable" {
		t.Errorf("got %+v, want acked with result done on the first attempt", m)
	}
	if m.SentAt == "" || m.FinalAt == "" || m.ExpiresAt == "" || m.Metadata["order"] != "4711" {
		t.Errorf("got %+v, want times and metadata", m)
	}
	if got := a.header.Get("Location"); got != "/v1/messages/"+m.ID {
		t.Errorf("Location %q, want the message", got)
	}
	if got := string(link.Transmissions()[0].Payload); got != "hello" {
		t.Errorf("device got %q, want hello", got)
	}
	read := decode[Message](h.call("GET", "/v1/messages/"+m.ID, "").want(200))
	if read.Status != "acked" || text(read.Text) != "hello" || text(read.Result) != "done" {
		t.Errorf("read back %+v, want the same and the text", read)
	}
}

func TestPushToOfflineIsQueued(t *testing.T) {
	h := newHarness(t)
	h.known("b")
	m := decode[Message](h.call("POST", "/v1/clients/b/messages", pushText("later")).want(202))
	if m.Status != "queued" || m.ExpiresAt == "" {
		t.Errorf("got %+v, want queued with an expiry", m)
	}
	created, _ := time.Parse(timeLayout, m.CreatedAt)
	expires, _ := time.Parse(timeLayout, m.ExpiresAt)
	if got := expires.Sub(created); got != 24*time.Hour {
		t.Errorf("expires after %s, want the default of 24h", got)
	}
	h.device("b", gatewaytest.Options{})
	if m := decode[Message](h.call("GET", "/v1/messages/"+m.ID+"?wait=5s", "").want(200)); m.Status != "acked" {
		t.Errorf("after it came back: %s, want acked", m.Status)
	}
}

func TestPushRejectedByDevice(t *testing.T) {
	h := newHarness(t)
	h.device("b", answering(gateway.AckReject, "\xff\x00no"))
	m := decode[Message](h.call("POST", "/v1/clients/b/messages?wait=5s", pushText("x")).want(200))
	if m.Status != "rejected" || m.Result != nil || string(m.ResultBase64) != "\xff\x00no" {
		t.Errorf("got %+v, want rejected with a binary result", m)
	}
}

func TestPushPayloads(t *testing.T) {
	h := newHarness(t)
	link := h.device("d", gatewaytest.Options{})
	raw := "\x00\x01\xfe\xff"
	tests := []struct {
		name, body, contentType, want string
		show                          func(Message) string
	}{
		{"text", `{"text":"grüße"}`, "application/json", "grüße", func(m Message) string { return text(m.Text) }},
		{"empty text", `{"text":""}`, "application/json", "", func(m Message) string { return text(m.Text) }},
		{"json, compacted", `{"json": {"cmd": "lock",  "n": 1.50}}`, "application/json", `{"cmd":"lock","n":1.50}`, func(m Message) string { return string(m.JSON) }},
		{"json null", `{"json":null}`, "application/json", `null`, func(m Message) string { return string(m.JSON) }},
		{"base64", `{"base64":"` + base64.StdEncoding.EncodeToString([]byte(raw)) + `"}`, "application/json", raw, func(m Message) string { return string(m.Base64) }},
		{"raw bytes", raw, "application/octet-stream", raw, func(m Message) string { return string(m.Base64) }},
		{"raw text", "hello", "text/plain; charset=utf-8", "hello", func(m Message) string { return text(m.Text) }},
		{"curl -d", "hello", "application/x-www-form-urlencoded", "hello", func(m Message) string { return text(m.Text) }},
		{"curl -d with form-like text", "a=1&b=2", "application/x-www-form-urlencoded", "a=1&b=2", func(m Message) string { return text(m.Text) }},
		{"other json type is raw", `{"a":1}`, "application/vnd.acme+json", `{"a":1}`, func(m Message) string { return string(m.Base64) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := h.in(t)
			before := len(link.Transmissions())
			m := decode[Message](h.call("POST", "/v1/clients/d/messages?wait=5s", tt.body, "Content-Type", tt.contentType).want(200))
			if got := string(link.Transmissions()[before].Payload); got != tt.want {
				t.Errorf("device got %q, want %q", got, tt.want)
			}
			if got := tt.show(decode[Message](h.call("GET", "/v1/messages/"+m.ID, "").want(200))); got != tt.want {
				t.Errorf("read back %q, want %q", got, tt.want)
			}
		})
	}
}

// TestNullWhereItMeansSomething: in a payload, in place of a member, and to remove a label.
func TestNullWhereItMeansSomething(t *testing.T) {
	h := newHarness(t)
	h.known("b")
	for _, body := range []string{`{"json":null}`, `{"json":[null]}`, `{"json":{"a":[{"b": null}]}}`, `{"text":"a","base64":null,"metadata":null,"mode":null}`} {
		h.call("POST", "/v1/clients/b/messages", body).want(202)
	}
	h.call("PATCH", "/v1/clients/b", `{"labels":{"a":"1","b":"2"}}`).want(200)
	c := decode[Client](h.call("PATCH", "/v1/clients/b", `{"labels":{"a":null},"groups":null}`).want(200))
	if len(c.Labels) != 1 || c.Labels["b"] != "2" {
		t.Errorf("labels %v, want b alone", c.Labels)
	}
}

func TestRawPushTakesOptionsFromQuery(t *testing.T) {
	h := newHarness(t)
	a := h.call("POST", "/v1/clients/new/messages?ttl=90s&on_unknown=queue&metadata.order=7&mode=durable", "x", "Content-Type", "text/plain").want(202)
	m := decode[Message](a)
	created, _ := time.Parse(timeLayout, m.CreatedAt)
	expires, _ := time.Parse(timeLayout, m.ExpiresAt)
	if expires.Sub(created) != 90*time.Second || m.Metadata["order"] != "7" {
		t.Errorf("got %+v, want a ttl of 90s and metadata", m)
	}
}

// TestMalformedContentTypeIsNoPayload: a caller who means JSON must not push the envelope.
func TestMalformedContentTypeIsNoPayload(t *testing.T) {
	h := newHarness(t)
	h.known("b")
	for _, of := range []string{"application/json; charset", "application/json; charset=utf-8; charset=latin1", "application/json, text/plain", "json; a=\"b"} {
		h.call("POST", "/v1/clients/b/messages", `{"text":"hi"}`, "Content-Type", of).wantProblem(415, problem.UnsupportedMediaType)
	}
	for _, of := range []string{"application/json;", "Application/JSON; charset=utf-8"} {
		h.call("POST", "/v1/clients/b/messages", `{"text":"hi"}`, "Content-Type", of).want(202)
	}
}

func TestFormWithJSONObjectNamesTheRightCommand(t *testing.T) {
	h := newHarness(t)
	h.known("b")
	p := h.call("POST", "/v1/clients/b/messages?wait=5s", `{"text":"hi"}`, "Content-Type", "application/x-www-form-urlencoded").wantProblem(415, problem.UnsupportedMediaType)
	want := `curl -H 'Content-Type: application/json' -d '{"text":"hi"}' 'http://localhost/v1/clients/b/messages?wait=5s'`
	if !strings.Contains(p.Detail, want) {
		t.Errorf("detail %q, want it to have %q", p.Detail, want)
	}
}

func TestPushOnline(t *testing.T) {
	h := newHarness(t)
	h.device("on", answering(gateway.AckOK, "23"))
	h.known("off")
	m := decode[Message](h.call("POST", "/v1/clients/on/messages?mode=online", pushText("read")).want(200))
	if m.Mode != "online" || m.Status != "acked" || text(m.Result) != "23" || m.ExpiresAt == "" || m.ID == "" {
		t.Errorf("got %+v, want the device's answer", m)
	}
	h.call("GET", "/v1/messages/"+m.ID, "").wantProblem(404, "message-not-found")
	h.call("POST", "/v1/clients/off/messages", `{"text":"x","mode":"online"}`).wantProblem(409, "client-offline")
	h.call("POST", "/v1/clients/nobody/messages", `{"text":"x","mode":"online"}`).wantProblem(404, "client-not-found")
	if m := decode[Message](h.call("POST", "/v1/messages", `{"to":{"client":"on"},"text":"x","mode":"online"}`).want(200)); m.Status != "acked" {
		t.Errorf("by audience: %+v, want acked", m)
	}
}

func TestPushOnlineTimesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t)
		h.device("deaf", gatewaytest.Options{React: gatewaytest.FlushOnly})
		began := time.Now()
		p := h.call("POST", "/v1/clients/deaf/messages?mode=online&wait=3s", pushText("x")).wantProblem(504, "ack-timeout")
		if p.MessageID == "" {
			t.Error("no message_id, want the one that the device may still answer")
		}
		if got := time.Since(began); got != 3*time.Second {
			t.Errorf("answered after %s, want 3s", got)
		}
	})
}

// The answer to a push, a repeat and a read say that the message was sent before the
// connection was lost.
func TestAnswerSaysThatTheMessageWasSentBefore(t *testing.T) {
	h := newHarness(t)
	h.device("a", gatewaytest.Options{React: func(l *gatewaytest.Link, p gateway.Transmission) {
		l.Sent(p)
		go l.Disconnect(gateway.ReasonConnectionLost)
	}})
	push := func(query string) answer {
		return h.call("POST", "/v1/clients/a/messages"+query, pushText("x"), "Idempotency-Key", "k")
	}
	first := push("?wait=100ms")
	id := decode[Message](first.want(202)).ID
	for name, a := range map[string]answer{"push": first, "repeat": push(""), "read": h.call("GET", "/v1/messages/"+id, "")} {
		if m := decode[Message](a); m.Status != "queued" || m.Attempts != 1 || m.SentAt == "" {
			t.Errorf("%s: %s after %d attempts, sent at %q, want queued after 1", name, m.Status, m.Attempts, m.SentAt)
		}
	}
}

func TestWaitEndsWithWhatIsKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t)
		h.device("deaf", gatewaytest.Options{React: gatewaytest.FlushOnly})
		began := time.Now()
		a := h.call("POST", "/v1/clients/deaf/messages", pushText("x"), "Prefer", "respond-async, wait=7").want(202)
		if got := time.Since(began); got != 7*time.Second {
			t.Errorf("answered after %s, want 7s", got)
		}
		if got := a.header.Get("Preference-Applied"); got != "wait=7" {
			t.Errorf("Preference-Applied %q, want wait=7", got)
		}
		m := decode[Message](a)
		if m.Status != "sent" || m.SentAt == "" {
			t.Errorf("got %+v, want sent with its time", m)
		}
		a = h.call("GET", "/v1/messages/"+m.ID, "", "Prefer", "wait=3600").want(200)
		if got := time.Since(began); got != 67*time.Second {
			t.Errorf("long poll ended at %s, want 60s after 7s", got)
		}
		if got := a.header.Get("Preference-Applied"); got != "wait=60" {
			t.Errorf("Preference-Applied %q, want the longest possible", got)
		}
	})
}

// A preference may have parameters (RFC 7240, §2); those of wait are ignored.
func TestAPreferenceWithParameters(t *testing.T) {
	h := newHarness(t)
	h.known("b")
	for value, want := range map[string]string{"wait=0; x=y": "wait=0", "wait=0;": "wait=0", `wait="0" ;a;b="c"`: "wait=0", "x; wait=0": "", "handling=lenient; wait, wait=0;x": "wait=0"} {
		a := h.call("POST", "/v1/clients/b/messages", pushText("x"), "Prefer", value).want(202)
		if got := a.header.Get("Preference-Applied"); got != want {
			t.Errorf("Prefer: %s is answered with %q, want %q", value, got, want)
		}
	}
}

// A number that is refused for its form or size is called a number.
func TestNumbersThatAreNotWhole(t *testing.T) {
	h := newHarness(t)
	for _, rate := range []string{"1.5", "1e3", "9223372036854775808"} {
		p := h.call("POST", "/v1/messages", `{"to":{"all":true},"text":"a","rate":`+rate+`}`).wantProblem(400, problem.MalformedJSON)
		if !strings.Contains(p.Detail, "must be a whole number below 2^63") {
			t.Errorf("%s: %s", rate, p.Detail)
		}
	}
}

func TestCallerWhoLeavesDoesNotCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t)
		h.known("b")
		ctx, leave := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			r := newRequest(ctx, "POST", "/v1/clients/b/messages?wait=30s", pushText("kept"))
			h.handler.ServeHTTP(newRecorder(), r)
		}()
		synctest.Wait()
		leave()
		<-done
		page := decode[MessagePage](h.call("GET", "/v1/clients/b/messages", "").want(200))
		if len(page.Items) != 1 || page.Items[0].Status != "queued" {
			t.Errorf("queue %+v, want the message", page.Items)
		}
	})
}

func TestIdempotencyKeyReplays(t *testing.T) {
	h := newHarness(t)
	h.known("b")
	first := h.call("POST", "/v1/clients/b/messages", `{"text":"once"}`, "Idempotency-Key", `"k-1"`).want(202)
	again := h.call("POST", "/v1/clients/b/messages", `{ "text" : "once" }`, "Idempotency-Key", "k-1").want(202)
	if got := first.header.Get("Idempotency-Replayed"); got != "" {
		t.Errorf("first answer says replayed: %q", got)
	}
	if got := again.header.Get("Idempotency-Replayed"); got != "true" {
		t.Errorf("Idempotency-Replayed %q, want true", got)
	}
	if a, b := decode[Message](first).ID, decode[Message](again).ID; a != b {
		t.Errorf("two messages %s and %s, want one", a, b)
	}
	h.call("POST", "/v1/clients/b/messages", `{"text":"other"}`, "Idempotency-Key", "k-1").wantProblem(422, "idempotency-mismatch")
	h.call("POST", "/v1/clients/b/messages", `{"text":"once","ttl":"1h"}`, "Idempotency-Key", "k-1").wantProblem(422, "idempotency-mismatch")
	h.call("POST", "/v1/clients/b/messages?mode=online", `{"text":"once"}`, "Idempotency-Key", "k-1").wantProblem(422, "idempotency-mismatch")
	if got := len(decode[MessagePage](h.call("GET", "/v1/messages", "").want(200)).Items); got != 1 {
		t.Errorf("%d messages stored, want 1", got)
	}
}

// An online push with a key is sent once, replayed, and read like a stored message.
func TestOnlinePushWithAKey(t *testing.T) {
	h := newHarness(t)
	h.known("off")
	l := h.device("on", answering(gateway.AckOK, "23"))
	push := func(id, text string) answer {
		return h.call("POST", "/v1/clients/"+id+"/messages?mode=online", pushText(text), "Idempotency-Key", "k-1")
	}
	push("off", "read").wantProblem(409, "client-offline")
	first := push("on", "read").want(200)
	again := push("on", "read").want(200)
	a, b := decode[Message](first), decode[Message](again)
	if a.ID != b.ID || a.Mode != "online" || text(b.Result) != "23" || a.CreatedAt != b.CreatedAt || a.CompletedAt != b.CompletedAt {
		t.Errorf("got %+v and %+v, want one outcome", a, b)
	}
	if r, s := first.header.Get("Idempotency-Replayed"), again.header.Get("Idempotency-Replayed"); r != "" || s != "true" {
		t.Errorf("replayed %q and %q, want the second alone", r, s)
	}
	if n := len(l.Transmissions()); n != 1 {
		t.Errorf("sent %d times, want once", n)
	}
	m := decode[Message](h.call("GET", again.header.Get("Location"), "").want(200))
	if m.ID != a.ID || m.Mode != "online" || m.Status != "acked" || text(m.Result) != "23" || text(m.Text) != "read" {
		t.Errorf("stored as %+v", m)
	}
	if list := decode[MessagePage](h.call("GET", "/v1/clients/on/messages?status=acked", "").want(200)); len(list.Items) != 1 || list.Items[0].Mode != "online" {
		t.Errorf("the client's messages: %+v", list)
	}
	push("on", "other").wantProblem(422, "idempotency-mismatch")
	h.call("POST", "/v1/clients/on/messages", pushText("read"), "Idempotency-Key", "k-1").wantProblem(422, "idempotency-mismatch")
	lines, _ := h.bulk("/v1/messages/bulk", `{"to":{"client":"on"},"text":"x","mode":"online","key":"k"}`+"\n")
	if len(lines) != 1 || lines[0].Status != 422 {
		t.Errorf("in a bulk request: %+v, want 422", lines)
	}
}

// An online push that got no ack reads unknown, if it had a key. A late answer is read
// under its id in both cases, within the caller's limit.
func TestLateAnswerOfAnOnlinePush(t *testing.T) {
	w := newWorld(t)
	l := w.device("a-deaf", gatewaytest.Options{React: gatewaytest.FlushOnly})
	push := func(key string) string {
		for i := 0; ; i++ { // until it was sent within the wait
			var headers []string
			if key != "" {
				headers = []string{"Idempotency-Key", fmt.Sprint(key, i)}
			}
			before := len(l.Transmissions())
			p := w.as("a", "POST", "/v1/clients/a-deaf/messages?mode=online&wait=50ms", "x", headers...).wantProblem(504, "ack-timeout")
			if len(l.Transmissions()) > before {
				return "/v1/messages/" + p.MessageID
			}
		}
	}
	plain, keyed := push(""), push("k")
	w.as("a", "GET", plain, "").want(404)
	if m := decode[Message](w.as("a", "GET", keyed, "").want(200)); m.Status != "unknown" || m.Reason != "ack_timeout" || m.Mode != "online" {
		t.Errorf("without an answer: %+v", m)
	}
	if page := decode[MessagePage](w.as("a", "GET", "/v1/messages?status=unknown", "").want(200)); len(page.Items) != 1 {
		t.Errorf("%d messages are unknown, want 1", len(page.Items))
	}
	for _, p := range l.Transmissions() {
		l.Ack(p, gateway.AckOK, []byte("late"))
	}
	for _, target := range []string{plain, keyed} {
		m := decode[Message](w.as("a", "GET", target+"?wait=10s", "").want(200))
		for m.Status == "unknown" { // the store writes the answer
			m = decode[Message](w.as("a", "GET", target, "").want(200))
		}
		if m.Status != "acked" || text(m.Result) != "late" || m.Mode != "online" || m.CreatedAt == "" || m.ExpiresAt == "" {
			t.Errorf("%s: %+v, want the late answer", target, m)
		}
		w.as("b", "GET", target, "").want(404)
		w.as("unlimited", "GET", target, "").want(200)
	}
}

func TestIdempotencyKeysOfPrincipalsAreApart(t *testing.T) {
	h := newHarness(t, func(c *Config) { c.Authorizer = APIKeys("lwk_one", "lwk_two") })
	h.known("b")
	one := h.call("POST", "/v1/clients/b/messages", pushText("x"), "Idempotency-Key", "k", "X-API-Key", "lwk_one").want(202)
	two := h.call("POST", "/v1/clients/b/messages", pushText("x"), "Idempotency-Key", "k", "Authorization", "bearer lwk_two").want(202)
	if a, b := decode[Message](one).ID, decode[Message](two).ID; a == b {
		t.Errorf("both got %s, want a message each", a)
	}
}

func TestFingerprintTellsRequestsApart(t *testing.T) {
	variants := []push{
		{}, {PushRequest: gateway.PushRequest{Payload: []byte("a")}},
		{PushRequest: gateway.PushRequest{Payload: []byte("a"), Encoding: gateway.EncodingText}},
		{PushRequest: gateway.PushRequest{To: gateway.Audience{Client: "a"}}},
		{PushRequest: gateway.PushRequest{To: gateway.Audience{Group: "a"}}},
		{PushRequest: gateway.PushRequest{To: gateway.Audience{Clients: []gateway.ClientID{"a"}}}},
		{PushRequest: gateway.PushRequest{To: gateway.Audience{Clients: []gateway.ClientID{"a", "b"}}}},
		{PushRequest: gateway.PushRequest{To: gateway.Audience{Clients: []gateway.ClientID{"ab"}}}},
		{PushRequest: gateway.PushRequest{To: gateway.Audience{Labels: map[string]string{"a": "b"}}}},
		{PushRequest: gateway.PushRequest{Metadata: map[string]string{"a": "b"}}},
		{PushRequest: gateway.PushRequest{To: gateway.Audience{All: true}}},
		{PushRequest: gateway.PushRequest{OnlineOnly: true}},
		{PushRequest: gateway.PushRequest{QueueUnknown: true}},
		{PushRequest: gateway.PushRequest{TTL: time.Hour}},
		{PushRequest: gateway.PushRequest{Rate: 5}},
	}
	seen := make(map[[32]byte]int)
	for i := range variants {
		if err := variants[i].identify("k", ""); err != nil {
			t.Fatal(err)
		}
		if j, twice := seen[variants[i].Fingerprint]; twice {
			t.Errorf("requests %d and %d have one fingerprint", i, j)
		}
		seen[variants[i].Fingerprint] = i
	}
}

func TestPushToMany(t *testing.T) {
	h := newHarness(t)
	device := func(id gateway.ClientID, group, site string) {
		h.device(id, gatewaytest.Options{Hello: gateway.Hello{Groups: []string{group}, Labels: map[string]string{"site": "north"}}})
		h.label(id, map[string]string{"site": site})
	}
	device("a", "fleet", "north")
	device("b", "fleet", "south")
	device("c", "other", "north")
	h.known("off")
	tests := []struct {
		name, body          string
		total, acked, fails int
	}{
		{"list with an unknown one", `{"to":{"clients":["a","b","b","ghost"]},"text":"x"}`, 3, 2, 1},
		{"group", `{"to":{"group":"fleet"},"text":"x"}`, 2, 2, 0},
		{"labels", `{"to":{"labels":{"site":"north"}},"json":[1]}`, 2, 2, 0},
		{"all who are online", `{"to":{"all":true},"text":"x","online_only":true}`, 3, 3, 0},
		{"all who are online, with a pace", `{"to":{"all":true},"text":"x","online_only":true,"rate":1000}`, 3, 3, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := h.in(t)
			m := decode[Message](h.call("POST", "/v1/messages?wait=5s", tt.body).want(200))
			if m.Status != "completed" || m.Counts == nil || m.Counts.Total != tt.total || m.Counts.Acked != tt.acked || m.Counts.Failed != tt.fails {
				t.Errorf("got %s %+v, want %d of %d acked and %d failed", m.Status, m.Counts, tt.acked, tt.total, tt.fails)
			}
		})
	}
	m := decode[Message](h.call("POST", "/v1/messages", `{"to":{"all":true},"text":"x"}`).want(202))
	if m.Status != "pending" || m.Counts.Total != 4 || m.Deliveries != "/v1/messages/"+m.ID+"/deliveries" {
		t.Errorf("got %+v, want 4 pending", m)
	}
	h.call("POST", "/v1/messages", `{"to":{"client":"ghost"},"text":"x"}`).wantProblem(404, "client-not-found")
}

func TestDeliveriesArePaged(t *testing.T) {
	h := newHarness(t)
	var names []string
	for i := range 7 {
		id := fmt.Sprintf("c%d", i)
		h.known(gateway.ClientID(id))
		names = append(names, `"`+id+`"`)
	}
	m := decode[Message](h.call("POST", "/v1/messages", `{"to":{"clients":[`+strings.Join(names, ",")+`]},"text":"x"}`).want(202))
	seen := map[string]bool{}
	target := m.Deliveries + "?limit=3&status=queued"
	for pages := 0; target != ""; pages++ {
		page := decode[DeliveryPage](h.call("GET", target, "").want(200))
		for _, d := range page.Items {
			if seen[d.Client] {
				t.Errorf("%s is shown twice", d.Client)
			}
			seen[d.Client] = true
		}
		if target = ""; page.NextCursor != "" {
			target = m.Deliveries + "?limit=3&status=queued&cursor=" + page.NextCursor
		}
		if pages > 5 {
			t.Fatal("the list does not end")
		}
	}
	if len(seen) != 7 {
		t.Errorf("%d deliveries, want 7", len(seen))
	}
}

func TestCancel(t *testing.T) {
	h := newHarness(t)
	h.known("b")
	m := decode[Message](h.call("POST", "/v1/clients/b/messages", pushText("x")).want(202))
	if m := decode[Message](h.call("DELETE", "/v1/messages/"+m.ID, "").want(200)); m.Status != "canceled" || m.FinalAt == "" {
		t.Errorf("got %+v, want canceled", m)
	}
	if p := h.call("DELETE", "/v1/messages/"+m.ID, "").wantProblem(409, "already-final"); p.MessageID != m.ID {
		t.Errorf("message_id %q, want %q", p.MessageID, m.ID)
	}
	h.call("DELETE", "/v1/messages/msg_nope", "").wantProblem(404, "message-not-found")
}

func TestMessageLists(t *testing.T) {
	h := newHarness(t)
	h.device("on", gatewaytest.Options{})
	h.known("off")
	acked := decode[Message](h.call("POST", "/v1/clients/on/messages?wait=5s", pushText("1")).want(200))
	queued := decode[Message](h.call("POST", "/v1/clients/off/messages", pushText("2")).want(202))
	many := decode[Message](h.call("POST", "/v1/messages", `{"to":{"all":true},"text":"3"}`).want(202))
	h.call("GET", "/v1/messages/"+many.ID+"?wait=1ms", "").want(200)
	tests := []struct {
		query string
		want  []string
	}{
		{"/v1/messages", []string{many.ID, queued.ID, acked.ID}},
		{"/v1/messages?status=pending", []string{many.ID, queued.ID}},
		{"/v1/messages?status=acked", []string{acked.ID}},
		{"/v1/messages?since=1h", []string{many.ID, queued.ID, acked.ID}},
		{"/v1/messages?since=2999-01-01T00:00:00Z", nil},
		{"/v1/messages?client=off", []string{many.ID, queued.ID}},
		{"/v1/messages?client=off&status=acked", nil},
		{"/v1/clients/off/messages?status=pending", []string{many.ID, queued.ID}},
		{"/v1/messages?limit=2", []string{many.ID, queued.ID}},
	}
	for _, tt := range tests {
		page := decode[MessagePage](h.call("GET", tt.query, "").want(200))
		var got []string
		for _, m := range page.Items {
			got = append(got, m.ID)
		}
		if fmt.Sprint(got) != fmt.Sprint(tt.want) {
			t.Errorf("%s: got %v, want %v", tt.query, got, tt.want)
		}
	}
	a := h.call("GET", "/v1/messages?limit=2", "")
	page := decode[MessagePage](a)
	if link := a.header.Get("Link"); !strings.Contains(link, "cursor="+page.NextCursor) || !strings.Contains(link, `rel="next"`) {
		t.Errorf("Link %q, want the next page", link)
	}
	rest := decode[MessagePage](h.call("GET", "/v1/messages?limit=2&cursor="+page.NextCursor, "").want(200))
	if len(rest.Items) != 1 || rest.Items[0].ID != acked.ID || rest.NextCursor != "" {
		t.Errorf("second page %+v, want the oldest and no cursor", rest)
	}
}

// While the device is connected, GET shows what it said of a delivery that is
// not final.
func TestGetShowsRetryLaterAndProgress(t *testing.T) {
	h := newHarness(t)
	said := make(chan gateway.AckCode, 1)
	text := "40 %"
	h.device("a", gatewaytest.Options{React: func(l *gatewaytest.Link, p gateway.Transmission) {
		l.Sent(p)
		code := gateway.AckWorking
		if string(p.Payload) == "not now" {
			code = gateway.AckRetry
		}
		l.Ack(p, code, []byte(text))
		said <- code
	}})
	for _, tt := range []struct{ payload, status, reason, progress string }{
		{"not now", "queued", "retry_later", ""},
		{"long", "sent", "", text},
	} {
		m := decode[Message](h.call("POST", "/v1/clients/a/messages", pushText(tt.payload)).want(202))
		<-said
		of := func(page MessagePage) Message { return page.Items[0] }
		for _, got := range []Message{
			decode[Message](h.call("GET", "/v1/messages/"+m.ID, "").want(200)),
			of(decode[MessagePage](h.call("GET", "/v1/messages", "").want(200))),
			of(decode[MessagePage](h.call("GET", "/v1/clients/a/messages", "").want(200))),
		} {
			progress := ""
			if got.Progress != nil {
				progress = *got.Progress
			}
			if got.Status != tt.status || got.Reason != tt.reason || progress != tt.progress || got.SentAt == "" {
				t.Errorf("%s: status %s, reason %q, progress %q, sent at %q", tt.payload, got.Status, got.Reason, progress, got.SentAt)
			}
		}
	}
	if pending := decode[MessagePage](h.call("GET", "/v1/clients/a/messages?status=pending", "").want(200)).Items; len(pending) != 2 {
		t.Errorf("%d pending, want both: the one that is queued and the one that is sent", len(pending))
	}
}

// A full queue is not a matter of haste: to repeat the push in a moment changes nothing.
func TestAFullQueueNamesItsBound(t *testing.T) {
	h := newHarness(t)
	h.known("b")
	for range gateway.DefaultMaxQueued {
		if _, err := h.gateway.Push(t.Context(), gateway.PushRequest{To: gateway.Audience{Client: "b"}, Payload: []byte("x")}); err != nil {
			t.Fatal(err)
		}
	}
	a := h.call("POST", "/v1/clients/b/messages", pushText("one too many"))
	p := a.wantProblem(409, "queue-full")
	if p.Limit != gateway.DefaultMaxQueued || !strings.Contains(p.Detail, "limit of 10000 messages") {
		t.Errorf("%+v, want the bound in limit and detail", p)
	}
	if after := a.header.Get("Retry-After"); after != "" {
		t.Errorf("Retry-After %s, want none", after)
	}
}

func TestDrainingRefusesWithoutPromise(t *testing.T) {
	h := newHarness(t)
	h.known("b")
	h.gateway.Drain()
	a := h.call("POST", "/v1/clients/b/messages", pushText("x"))
	a.wantProblem(503, "draining")
	if a.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	h.call("POST", "/v1/messages/bulk", `{"to":{"client":"b"},"text":"x"}`, "Content-Type", "application/x-ndjson").wantProblem(503, "draining")
	if v := decode[Health](h.call("GET", "/readyz", "").want(503)); v.Status != "unavailable" {
		t.Errorf("readyz %+v, want unavailable", v)
	}
	h.call("GET", "/livez", "").want(200)
	h.call("GET", "/v1/clients/b", "").want(200)
}

func TestConcurrentRepeatsAreOneMessage(t *testing.T) {
	h := newHarness(t)
	h.known("b")
	var wg sync.WaitGroup
	var mu sync.Mutex
	ids, fresh := make(map[string]bool), 0
	for range 32 {
		wg.Go(func() {
			a := h.call("POST", "/v1/clients/b/messages", pushText("once"), "Idempotency-Key", "k")
			mu.Lock()
			defer mu.Unlock()
			ids[decode[Message](a).ID] = true
			if a.header.Get("Idempotency-Replayed") == "" {
				fresh++
			}
		})
	}
	wg.Wait()
	if len(ids) != 1 || fresh != 1 {
		t.Errorf("%d messages, %d of them called new; want one of each", len(ids), fresh)
	}
}
