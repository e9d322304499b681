package api

import (
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"strings"
	"testing"

	"github.com/longwire/longwire/api/internal/problem"
	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/apikey"
)

// bound is a request whose size is one number, and the largest that is taken.
type bound struct {
	name   string
	call   string
	body   func(n int) string // nil: the query has it
	query  func(n int) string
	most   int
	status int // of a larger one
	kind   problem.Kind
	where  string // pointer or parameter that the refusal names; "" = not looked at
}

func quoted(s string) string { b, _ := json.Marshal(s); return string(b) }

func xs(n int) string { return strings.Repeat("x", n) }

// object is a JSON object of n members.
func object(n int, member func(i int) string) string {
	list := make([]string, n)
	for i := range list {
		list[i] = member(i)
	}
	return "{" + strings.Join(list, ",") + "}"
}

func numbered(i int) string { return fmt.Sprintf(`"k%d":"v"`, i) }

func repeated(n int, v string) string {
	return "[" + strings.TrimSuffix(strings.Repeat(quoted(v)+",", n), ",") + "]"
}

func names(n int) string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprint("c", i)
	}
	b, _ := json.Marshal(list)
	return string(b)
}

var bounds = []bound{
	{name: "entries of metadata", call: "POST /v1/clients/a/messages", most: 16, status: 422, kind: problem.ValidationFailed, where: "/metadata",
		body: func(n int) string { return `{"text":"x","metadata":` + object(n, numbered) + `}` }},
	{name: "name in metadata", call: "POST /v1/clients/a/messages", most: 64, status: 422, kind: problem.ValidationFailed, where: "/metadata/" + xs(65),
		body: func(n int) string { return `{"text":"x","metadata":{` + quoted(xs(n)) + `:"v"}}` }},
	{name: "value in metadata", call: "POST /v1/clients/a/messages", most: 512, status: 422, kind: problem.ValidationFailed, where: "/metadata/k",
		body: func(n int) string { return `{"text":"x","metadata":{"k":` + quoted(xs(n)) + `}}` }},
	{name: "named clients", call: "POST /v1/messages", most: 1000, status: 422, kind: problem.ValidationFailed, where: "/to/clients",
		body: func(n int) string { return `{"to":{"clients":` + names(n) + `},"text":"x"}` }},
	{name: "client id", call: "POST /v1/messages", most: 128, status: 422, kind: problem.ValidationFailed, where: "/to/client",
		body: func(n int) string { return `{"to":{"client":` + quoted(xs(n)) + `},"text":"x","on_unknown":"queue"}` }},
	{name: "group", call: "POST /v1/messages", most: 64, status: 422, kind: problem.ValidationFailed, where: "/to/group",
		body: func(n int) string { return `{"to":{"group":` + quoted(xs(n)) + `},"text":"x"}` }},
	{name: "labels of an audience", call: "POST /v1/messages", most: 32, status: 422, kind: problem.ValidationFailed, where: "/to/labels",
		body: func(n int) string { return `{"to":{"labels":` + object(n, numbered) + `},"text":"x"}` }},
	{name: "label of an audience", call: "POST /v1/messages", most: 64, status: 422, kind: problem.ValidationFailed, where: "/to/labels/" + xs(65),
		body: func(n int) string { return `{"to":{"labels":{` + quoted(xs(n)) + `:"v"}},"text":"x"}` }},
	{name: "label value of an audience", call: "POST /v1/messages", most: 256, status: 422, kind: problem.ValidationFailed, where: "/to/labels/k",
		body: func(n int) string { return `{"to":{"labels":{"k":` + quoted(xs(n)) + `}},"text":"x"}` }},
	{name: "rate", call: "POST /v1/messages", most: gateway.MaxRate, status: 422, kind: problem.ValidationFailed, where: "/rate",
		body: func(n int) string { return fmt.Sprintf(`{"to":{"all":true},"text":"x","rate":%d}`, n) }},
	{name: "payload as text", call: "POST /v1/clients/a/messages", most: gateway.MaxPayload, status: 413, kind: problem.PayloadTooLarge,
		body: func(n int) string { return `{"text":` + quoted(xs(n)) + `}` }},
	{name: "payload as it is", call: "POST /v1/clients/a/messages", most: gateway.MaxPayload, status: 413, kind: problem.PayloadTooLarge, body: xs},
	{name: "ttl in seconds", call: "POST /v1/clients/a/messages", most: 30 * 24 * 3600, status: 422, kind: problem.ValidationFailed, where: "/ttl",
		body: func(n int) string { return fmt.Sprintf(`{"text":"x","ttl":"%d"}`, n) }},

	{name: "ttl in the query", call: "POST /v1/clients/a/messages", most: 30 * 24 * 3600, status: 400, kind: problem.InvalidParameter, where: "ttl",
		query: func(n int) string { return fmt.Sprintf("ttl=%d", n) }},
	{name: "entries of metadata in the query", call: "POST /v1/clients/a/messages", most: 16, status: 400, kind: problem.InvalidParameter, where: "metadata",
		query: func(n int) string {
			q := url.Values{}
			for i := range n {
				q.Set(fmt.Sprint("metadata.", i), "v")
			}
			return q.Encode()
		}},
	{name: "name in metadata in the query", call: "POST /v1/clients/a/messages", most: 64, status: 400, kind: problem.InvalidParameter, where: "metadata." + xs(65),
		query: func(n int) string { return "metadata." + xs(n) + "=v" }},
	{name: "value in metadata in the query", call: "POST /v1/clients/a/messages", most: 512, status: 400, kind: problem.InvalidParameter, where: "metadata.k",
		query: func(n int) string { return "metadata.k=" + xs(n) }},

	{name: "labels of a patch", call: "PATCH /v1/clients/a", most: 32, status: 422, kind: problem.ValidationFailed, where: "/labels",
		body: func(n int) string { return `{"labels":` + object(n, numbered) + `}` }},
	{name: "label of a patch", call: "PATCH /v1/clients/a", most: 64, status: 422, kind: problem.ValidationFailed, where: "/labels/" + xs(65),
		body: func(n int) string { return `{"labels":{` + quoted(xs(n)) + `:"v"}}` }},
	{name: "label value of a patch", call: "PATCH /v1/clients/a", most: 256, status: 422, kind: problem.ValidationFailed, where: "/labels/k",
		body: func(n int) string { return `{"labels":{"k":` + quoted(xs(n)) + `}}` }},
	{name: "groups of a patch", call: "PATCH /v1/clients/a", most: 32, status: 422, kind: problem.ValidationFailed, where: "/groups",
		body: func(n int) string { return `{"groups":` + names(n) + `}` }},
	{name: "group of a patch", call: "PATCH /v1/clients/a", most: 64, status: 422, kind: problem.ValidationFailed, where: "/groups/0",
		body: func(n int) string { return `{"groups":[` + quoted(xs(n)) + `]}` }},
	{name: "block in days", call: "DELETE /v1/clients/a", most: 365, status: 400, kind: problem.InvalidParameter, where: "block",
		query: func(n int) string { return fmt.Sprintf("block=%dd", n) }},

	{name: "ids of a list", call: "GET /v1/clients", most: 100, status: 400, kind: problem.InvalidParameter, where: "id",
		query: func(n int) string { return strings.TrimSuffix(strings.Repeat("id=a&", n), "&") }},
	{name: "labels of a list", call: "GET /v1/clients", most: 32, status: 400, kind: problem.InvalidParameter, where: "label",
		query: func(n int) string {
			q := url.Values{}
			for i := range n {
				q.Add("label", fmt.Sprintf("k%d=v", i))
			}
			return q.Encode()
		}},
	{name: "rows of a page", call: "GET /v1/clients", most: 1000, status: 400, kind: problem.InvalidParameter, where: "limit",
		query: func(n int) string { return fmt.Sprint("limit=", n) }},

	{name: "name of a key", call: "POST /v1/keys", most: apikey.MaxName, status: 422, kind: problem.ValidationFailed, where: "/name",
		body: func(n int) string { return `{"name":` + quoted(xs(n)) + `,"scopes":["clients:read"]}` }},
	{name: "scopes of a key", call: "POST /v1/keys", most: 9, status: 422, kind: problem.ValidationFailed, where: "/scopes",
		body: func(n int) string { return `{"name":"x","scopes":` + repeated(n, "clients:read") + `}` }},
	{name: "prefix of a key", call: "POST /v1/keys", most: 128, status: 422, kind: problem.ValidationFailed, where: "/prefix",
		body: func(n int) string { return `{"name":"x","scopes":["clients:read"],"prefix":` + quoted(xs(n)) + `}` }},
	{name: "group of a key", call: "POST /v1/keys", most: 64, status: 422, kind: problem.ValidationFailed, where: "/group",
		body: func(n int) string { return `{"name":"x","scopes":["clients:read"],"group":` + quoted(xs(n)) + `}` }},
	{name: "life of a key in days", call: "POST /v1/keys", most: 3660, status: 422, kind: problem.ValidationFailed, where: "/expires_in",
		body: func(n int) string { return fmt.Sprintf(`{"name":"x","scopes":["clients:read"],"expires_in":"%dd"}`, n) }},
}

// TestBounds: the largest that is documented is taken, and one more is refused
// by name.
func TestBounds(t *testing.T) {
	for _, b := range bounds {
		t.Run(strings.ReplaceAll(b.name, " ", "_"), func(t *testing.T) {
			w := newWorld(t)
			w.known("a")
			if got := b.send(w, b.most); got.status >= 300 {
				t.Errorf("%d is answered %d, want it taken: %.300s", b.most, got.status, got.body)
			}
			p := b.send(w, b.most+1).wantProblem(b.status, b.kind)
			if b.where == "" {
				return
			}
			if len(p.Errors) == 0 || p.Errors[0].Pointer+p.Errors[0].Parameter != b.where {
				t.Errorf("%d is refused with %+v, want %s named", b.most+1, p.Errors, b.where)
			}
		})
	}
}

func (b *bound) send(w *world, n int) answer {
	w.t.Helper()
	method, target, _ := strings.Cut(b.call, " ")
	body := ""
	if b.query != nil {
		target += "?" + b.query(n)
		if method == "POST" {
			body = "payload"
		}
	} else {
		body = b.body(n)
	}
	return w.as("unlimited", method, target, body)
}

// TestAPayloadIsReadNoFurtherThanItMayBe: what would follow is never asked for.
func TestAPayloadIsReadNoFurtherThanItMayBe(t *testing.T) {
	h := newHarness(t)
	h.known("a")
	r := newRequest(t.Context(), "POST", "/v1/clients/a/messages", "")
	r.Header.Set("Content-Type", "application/octet-stream")
	r.Body, r.ContentLength = readCloser{io.MultiReader(strings.NewReader(xs(gateway.MaxPayload+1)), failingReader{})}, -1
	w := newRecorder()
	h.handler.ServeHTTP(w, r)
	answer{t: t, status: w.Code, header: w.Header(), body: w.Body.Bytes()}.wantProblem(413, problem.PayloadTooLarge)
}

// TestWhatNoNameMayBe: empty where there must be something.
func TestWhatNoNameMayBe(t *testing.T) {
	h := newHarness(t)
	h.known("a")
	if p := h.call("POST", "/v1/clients/a/messages", `{"text":"x","metadata":{"":"v"}}`).wantProblem(422, problem.ValidationFailed); len(p.Errors) == 0 || p.Errors[0].Pointer != "/metadata/" {
		t.Errorf("an empty name in metadata is refused with %+v, want its place", p.Errors)
	}
	h.call("POST", "/v1/clients/a/messages?metadata.=v", "x").wantProblem(400, problem.InvalidParameter)
	h.call("POST", "/v1/messages", `{"to":{"labels":{}},"text":"x"}`).wantProblem(422, problem.ValidationFailed)
	h.call("POST", "/v1/messages", `{"to":{"labels":{"":"v"}},"text":"x"}`).wantProblem(422, problem.ValidationFailed)
	h.call("POST", "/v1/clients/a/messages?metadata.k=v", `{"text":"x","metadata":{"k":"w"}}`).wantProblem(400, problem.InvalidParameter)
	for _, list := range []string{"/v1/clients?id=", "/v1/messages?client=", "/v1/uplinks?client=", "/v1/events?client="} {
		h.call("GET", list+"a%20b", "").wantProblem(400, problem.InvalidParameter)
	}
	h.call("GET", "/v1/clients?label=k=1&label=k=2", "").wantProblem(400, problem.InvalidParameter)
	h.call("GET", "/v1/clients?label=k=1&label=k=1", "").want(200)
	for _, filter := range []string{"prefix=a", "group=g", "label=k=v", "queued_gt=0", "cursor=" + cursors{}.encode(cursorClients, "a")} {
		h.call("GET", "/v1/clients?id=a&"+filter, "").wantProblem(400, problem.InvalidParameter)
	}
}

// TestACommandThatIsShownIsSafeToPaste: what a caller has put into the URL does
// not end the quotes around it.
func TestACommandThatIsShownIsSafeToPaste(t *testing.T) {
	h := newHarness(t)
	p := h.call("POST", "/v1/clients/a/messages?metadata.x='$(id)'", `{"a":"b"}`, "Content-Type", formType).wantProblem(415, problem.UnsupportedMediaType)
	if !strings.HasSuffix(p.Detail, ` '{"json":{"a":"b"}}' 'http://localhost/v1/clients/a/messages?metadata.x=%27$(id)%27'`) {
		t.Errorf("detail %s", p.Detail)
	}
}
