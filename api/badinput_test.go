package api

import (
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/longwire/longwire/api/internal/problem"
	"github.com/longwire/longwire/internal/gatewaytest"
)

func TestBadInputIsNamed(t *testing.T) {
	h := newHarness(t)
	h.known("b")
	const one, many = "POST /v1/clients/b/messages", "POST /v1/messages"
	long := strings.Repeat("x", 300)
	tests := []struct {
		name    string
		call    string
		body    string
		status  int
		kind    problem.Kind
		pointer string // or parameter
	}{
		{"empty body", one, " ", 400, problem.MalformedJSON, ""},
		{"array", one, `[1]`, 400, problem.MalformedJSON, ""},
		{"null", one, `null`, 400, problem.MalformedJSON, ""},
		{"syntax", one, `{"text":}`, 400, problem.MalformedJSON, ""},
		{"not closed", one, `{"text":"a"`, 400, problem.MalformedJSON, ""},
		{"trailing data", one, `{"text":"a"} {"text":"b"}`, 400, problem.MalformedJSON, ""},
		{"invalid UTF-8", one, "{\"text\":\"\xff\"}", 400, problem.MalformedJSON, ""},
		{"byte order mark", one, "\ufeff{\"text\":\"a\"}", 400, problem.MalformedJSON, ""},
		{"byte order mark in front of a list", many, "\ufeff{\"to\":{\"all\":true},\"text\":\"a\"}", 400, problem.MalformedJSON, ""},
		{"a member twice", one, `{"text":"a","text":"b"}`, 400, problem.MalformedJSON, "/text"},
		{"a member twice, once escaped", one, `{"text":"a","te\u0078t":"b"}`, 400, problem.MalformedJSON, "/text"},
		{"a member twice below", many, `{"to":{"client":"b","client":"c"},"text":"x"}`, 400, problem.MalformedJSON, "/to/client"},
		{"a label twice", many, `{"to":{"labels":{"a":"1","a":"2"}},"text":"x"}`, 400, problem.MalformedJSON, "/to/labels/a"},
		{"a member twice in the payload", one, `{"json":{"list":[0,{"a":1,"b":2,"a":3}]}}`, 400, problem.MalformedJSON, "/json/list/1/a"},
		{"metadata twice", one, `{"text":"a","metadata":{"k":"1","k":"2"}}`, 400, problem.MalformedJSON, "/metadata/k"},
		{"another case", one, `{"Text":"a"}`, 400, problem.UnknownField, "/Text"},
		{"both cases", one, `{"text":"a","TEXT":"b"}`, 400, problem.UnknownField, "/TEXT"},
		{"another case below", many, `{"to":{"ALL":true},"text":"x"}`, 400, problem.UnknownField, "/to/ALL"},
		{"another case of another type", one, `{"Text":5}`, 400, problem.UnknownField, "/Text"},
		{"high surrogate alone", one, `{"text":"a\ud83db"}`, 400, problem.MalformedJSON, "/text"},
		{"high surrogate at the end", one, `{"text":"a\ud83d"}`, 400, problem.MalformedJSON, "/text"},
		{"low surrogate alone", one, `{"text":"a\udc00b"}`, 400, problem.MalformedJSON, "/text"},
		{"surrogates the wrong way round", one, `{"text":"\udc00\ud83d"}`, 400, problem.MalformedJSON, "/text"},
		{"high surrogate and another escape", one, `{"text":"\ud83d\n"}`, 400, problem.MalformedJSON, "/text"},
		{"high surrogate and another character", one, `{"text":"\ud83d\u0041"}`, 400, problem.MalformedJSON, "/text"},
		{"surrogate in metadata", one, `{"text":"a","metadata":{"k":"\ud83d"}}`, 400, problem.MalformedJSON, "/metadata/k"},
		{"surrogate in a name", one, `{"text":"a","metadata":{"\ud83d":"v"}}`, 400, problem.MalformedJSON, "/metadata"},
		{"surrogate in the payload", one, `{"json":["\ud83d"]}`, 400, problem.MalformedJSON, "/json/0"},
		{"patch a label twice", "PATCH /v1/clients/b", `{"labels":{"a":"1","a":null}}`, 400, problem.MalformedJSON, "/labels/a"},
		{"wrong type", one, `{"text":5}`, 400, problem.MalformedJSON, "/text"},
		{"null in metadata", one, `{"text":"a","metadata":{"k":null}}`, 400, problem.MalformedJSON, "/metadata/k"},
		{"null in labels", many, `{"to":{"labels":{"a": null}},"text":"a"}`, 400, problem.MalformedJSON, "/to/labels/a"},
		{"null in a list", many, `{"to":{"clients":["b", null]},"text":"a"}`, 400, problem.MalformedJSON, "/to/clients/1"},
		{"null in the labels of a client", "POST /v1/clients", `{"id":"c","labels":{"a":null}}`, 400, problem.MalformedJSON, "/labels/a"},
		{"null in groups", "PATCH /v1/clients/b", `{"groups":[null]}`, 400, problem.MalformedJSON, "/groups/0"},
		{"wrong type below", many, `{"to":{"clients":"a"},"text":"x"}`, 400, problem.MalformedJSON, "/to/clients"},
		{"unknown member", one, `{"text":"a","txet":"b"}`, 400, problem.UnknownField, "/txet"},
		{"unknown member below", many, `{"to":{"clientss":["a"]},"text":"x"}`, 400, problem.UnknownField, "/to/clientss"},
		{"unknown member with a slash", one, `{"text":"a","a/b~c":"b"}`, 400, problem.UnknownField, "/a~1b~0c"},
		{"to for one client", one, `{"to":{"client":"b"},"text":"x"}`, 400, problem.UnknownField, "/to"},
		{"both text and json", one, `{"text":"a","json":{}}`, 422, problem.ValidationFailed, ""},
		{"no content", one, `{"ttl":"1h"}`, 422, problem.ValidationFailed, ""},
		{"bad base64", one, `{"base64":"%%%"}`, 422, problem.ValidationFailed, "/base64"},
		{"negative ttl", one, `{"text":"a","ttl":"-5s"}`, 422, problem.ValidationFailed, "/ttl"},
		{"ttl too short", one, `{"text":"a","ttl":"999ms"}`, 422, problem.ValidationFailed, "/ttl"},
		{"ttl too long", one, `{"text":"a","ttl":"31d"}`, 422, problem.ValidationFailed, "/ttl"},
		{"ttl no duration", one, `{"text":"a","ttl":"soon"}`, 422, problem.ValidationFailed, "/ttl"},
		{"mode", one, `{"text":"a","mode":"maybe"}`, 422, problem.ValidationFailed, "/mode"},
		{"on_unknown", one, `{"text":"a","on_unknown":"x"}`, 422, problem.ValidationFailed, "/on_unknown"},
		{"metadata value", one, `{"text":"a","metadata":{"k":"` + long + long + `"}}`, 422, problem.ValidationFailed, "/metadata/k"},
		{"metadata value of too many bytes", one, `{"text":"a","metadata":{"k":"` + strings.Repeat("é", 257) + `"}}`, 422, problem.ValidationFailed, "/metadata/k"},
		{"metadata name of too many bytes", one, `{"text":"a","metadata":{"` + strings.Repeat("é", 33) + `":"v"}}`, 422, problem.ValidationFailed, "/metadata/" + strings.Repeat("é", 33)},
		{"label of too many bytes", "PATCH /v1/clients/b", `{"labels":{"k":"` + strings.Repeat("é", 129) + `"}}`, 422, problem.ValidationFailed, "/labels/k"},
		{"label of too many bytes of a new client", "POST /v1/clients", `{"id":"c","labels":{"k":"` + strings.Repeat("é", 129) + `"}}`, 422, problem.ValidationFailed, "/labels/k"},
		{"label of too many bytes of a webhook", "POST /v1/webhooks", `{"url":"http://127.0.0.1:1/","labels":{"k":"` + strings.Repeat("é", 129) + `"}}`, 422, problem.ValidationFailed, "/labels/k"},
		{"label of too many bytes of a consumer", "PUT /v1/consumers/c", `{"labels":{"k":"` + strings.Repeat("é", 129) + `"}}`, 422, problem.ValidationFailed, "/labels/k"},
		{"label of too many bytes of an audience", many, `{"to":{"labels":{"k":"` + strings.Repeat("é", 129) + `"}},"text":"a"}`, 422, problem.ValidationFailed, "/to/labels/k"},
		{"note of too many bytes", "POST /v1/clients/b/tokens", `{"note":"` + strings.Repeat("é", 129) + `"}`, 422, problem.ValidationFailed, "/note"},
		{"header of a webhook twice", "POST /v1/webhooks", `{"url":"http://127.0.0.1:1/","headers":{"x-a":"1","X-A":"2"}}`, 422, problem.ValidationFailed, "/headers"},
		{"online with ttl", one, `{"text":"a","mode":"online","ttl":"5s"}`, 422, problem.ValidationFailed, "/ttl"},
		{"online with on_unknown", one, `{"text":"a","mode":"online","on_unknown":"queue"}`, 422, problem.ValidationFailed, "/on_unknown"},
		{"no to", many, `{"text":"a"}`, 422, problem.ValidationFailed, "/to"},
		{"to with nothing", many, `{"to":{},"text":"a"}`, 422, problem.ValidationFailed, "/to"},
		{"to with two", many, `{"to":{"client":"a","all":true},"text":"a"}`, 422, problem.ValidationFailed, "/to"},
		{"bad id in a list", many, `{"to":{"clients":["a","b c"]},"text":"a"}`, 422, problem.ValidationFailed, "/to/clients/1"},
		{"empty list", many, `{"to":{"clients":[]},"text":"a"}`, 422, problem.ValidationFailed, "/to/clients"},
		{"bad group", many, `{"to":{"group":"a b"},"text":"a"}`, 422, problem.ValidationFailed, "/to/group"},
		{"online to many", many, `{"to":{"all":true},"text":"a","mode":"online"}`, 422, problem.ValidationFailed, "/mode"},
		{"online_only for one", many, `{"to":{"client":"b"},"text":"a","online_only":true}`, 422, problem.ValidationFailed, "/online_only"},
		{"rate for one", many, `{"to":{"client":"b"},"text":"a","rate":5}`, 422, problem.ValidationFailed, "/rate"},
		{"rate below 1", many, `{"to":{"all":true},"text":"a","rate":-1}`, 422, problem.ValidationFailed, "/rate"},
		{"rate 0", many, `{"to":{"all":true},"text":"a","rate":0}`, 422, problem.ValidationFailed, "/rate"},
		{"rate 0 in a dry run", many, `{"to":{"all":true},"text":"a","rate":0,"dry_run":true}`, 422, problem.ValidationFailed, "/rate"},
		{"rate too high", many, `{"to":{"all":true},"text":"a","rate":100001}`, 422, problem.ValidationFailed, "/rate"},
		{"rate of another type", many, `{"to":{"all":true},"text":"a","rate":"5"}`, 400, problem.MalformedJSON, "/rate"},
		{"ttl in both places", one + "?ttl=5s", `{"text":"a","ttl":"5s"}`, 400, problem.InvalidParameter, "ttl"},
		{"payload over its limit", one, `{"text":"` + strings.Repeat("x", 300<<10) + `"}`, 413, problem.PayloadTooLarge, ""},
		{"10 MB body", one, `{"text":"` + strings.Repeat("x", 10<<20) + `"}`, 413, problem.PayloadTooLarge, ""},
		{"unknown parameter", one + "?waite=5s", `{"text":"a"}`, 400, problem.InvalidParameter, "waite"},
		{"wait too long", one + "?wait=61s", `{"text":"a"}`, 400, problem.InvalidParameter, "wait"},
		{"wait negative", one + "?wait=-1s", `{"text":"a"}`, 400, problem.InvalidParameter, "wait"},
		{"wait twice", one + "?wait=1s&wait=2s", `{"text":"a"}`, 400, problem.InvalidParameter, "wait"},
		{"unknown client", "POST /v1/clients/nobody/messages", `{"text":"a"}`, 404, "client-not-found", ""},
		{"invalid client id", "POST /v1/clients/a%20b/messages", `{"text":"a"}`, 400, problem.InvalidParameter, "id"},
		{"limit 0", "GET /v1/clients?limit=0", "", 400, problem.InvalidParameter, "limit"},
		{"limit 1001", "GET /v1/messages?limit=1001", "", 400, problem.InvalidParameter, "limit"},
		{"limit no number", "GET /v1/uplinks?limit=many", "", 400, problem.InvalidParameter, "limit"},
		{"status", "GET /v1/clients?status=onlin", "", 400, problem.InvalidParameter, "status"},
		{"message status", "GET /v1/messages?status=done", "", 400, problem.InvalidParameter, "status"},
		{"sent without client", "GET /v1/messages?status=sent", "", 400, problem.InvalidParameter, "status"},
		{"state of no message", "GET /v1/messages?status=completed", "", 400, problem.InvalidParameter, "status"},
		{"prefix", "GET /v1/clients?prefix=a%20b", "", 400, problem.InvalidParameter, "prefix"},
		{"prefix of events", "GET /v1/events?prefix=a%20b", "", 400, problem.InvalidParameter, "prefix"},
		{"prefix of refused devices", "GET /v1/refused?prefix=a%00", "", 400, problem.InvalidParameter, "prefix"},
		{"prefix to forget", "DELETE /v1/clients?forget=true&prefix=a/", "", 400, problem.InvalidParameter, "prefix"},
		{"group", "GET /v1/clients?group=" + long, "", 400, problem.InvalidParameter, "group"},
		{"group of events", "GET /v1/events?group=a%20b", "", 400, problem.InvalidParameter, "group"},
		{"since", "GET /v1/messages?since=yesterday", "", 400, problem.InvalidParameter, "since"},
		{"fields", "GET /v1/clients?fields=id,colour", "", 400, problem.InvalidParameter, "fields"},
		{"label", "GET /v1/clients?label=north", "", 400, problem.InvalidParameter, "label"},
		{"label with a colon", "GET /v1/clients?label=site:north", "", 400, problem.InvalidParameter, "label"},
		{"queued_gt", "GET /v1/clients?queued_gt=-2", "", 400, problem.InvalidParameter, "queued_gt"},
		{"id with filter", "GET /v1/clients?id=b&group=x", "", 400, problem.InvalidParameter, "id"},
		{"cursor garbage", "GET /v1/clients?cursor=***", "", 400, problem.InvalidCursor, "cursor"},
		{"cursor of another list", "GET /v1/clients?cursor=" + cursors{}.encode(cursorMessages, "msg_1"), "", 400, problem.InvalidCursor, "cursor"},
		{"cursor with a bad key", "GET /v1/clients/b/messages?cursor=" + cursors{}.encode(cursorHistory, "x"), "", 400, problem.InvalidCursor, "cursor"},
		{"after", "GET /v1/uplinks?after=x", "", 400, problem.InvalidParameter, "after"},
		{"event types", "GET /v1/events?types=client.x", "", 400, problem.InvalidParameter, "types"},
		{"malformed query", "GET /v1/clients?a=%zz", "", 400, problem.InvalidParameter, ""},
		{"metadata that is no UTF-8", "POST /v1/clients/here/messages?metadata.order=%ff", "hi", 400, problem.InvalidParameter, ""},
		{"name of metadata that is no UTF-8", "POST /v1/clients/here/messages?metadata.%c3=1", "hi", 400, problem.InvalidParameter, ""},
		{"block", "DELETE /v1/clients/b?block=-1s", "", 400, problem.InvalidParameter, "block"},
		{"purge", "DELETE /v1/clients/b?purge=yes", "", 400, problem.InvalidParameter, "purge"},
		{"empty mode", one, `{"text":"a","mode":""}`, 422, problem.ValidationFailed, "/mode"},
		{"empty ttl", one, `{"text":"a", "ttl" : ""}`, 422, problem.ValidationFailed, "/ttl"},
		{"empty on_unknown", one, `{"text":"a","on_unknown":""}`, 422, problem.ValidationFailed, "/on_unknown"},
		{"empty mode to many", many, `{"to":{"client":"b"},"json":{"mode":""},"mode":""}`, 422, problem.ValidationFailed, "/mode"},
		{"empty client beside all", many, `{"to":{"client":"","all":true},"text":"a"}`, 422, problem.ValidationFailed, "/to/client"},
		{"empty group beside a client", many, `{"to":{"client":"b","group":""},"text":"a"}`, 422, problem.ValidationFailed, "/to/group"},
		{"empty start of a consumer", "PUT /v1/consumers/c", `{"start":""}`, 422, problem.ValidationFailed, "/start"},
		{"empty time of a trace", "POST /v1/clients/b/trace", `{"for":""}`, 422, problem.ValidationFailed, "/for"},
		{"empty replaced token", "POST /v1/clients/b/tokens", `{"replaces":""}`, 422, problem.ValidationFailed, "/replaces"},
		{"empty profile", "PUT /v1/simulator", `{"count":1,"profile":""}`, 422, problem.ValidationFailed, "/profile"},
		{"empty state of a webhook", "POST /v1/webhooks", `{"url":"http://127.0.0.1:1/","state":""}`, 422, problem.ValidationFailed, "/state"},
		{"empty timeout of a webhook", "POST /v1/webhooks", `{"url":"http://127.0.0.1:1/","timeout":""}`, 422, problem.ValidationFailed, "/timeout"},
		{"empty retry_for of a webhook", "POST /v1/webhooks", `{"url":"http://127.0.0.1:1/","retry_for":""}`, 422, problem.ValidationFailed, "/retry_for"},
		{"empty settle of a webhook", "POST /v1/webhooks", `{"url":"http://127.0.0.1:1/","settle":""}`, 422, problem.ValidationFailed, "/settle"},
		{"empty start of a webhook", "POST /v1/webhooks", `{"url":"http://127.0.0.1:1/","start":""}`, 422, problem.ValidationFailed, "/start"},
		{"empty since of a replay", "POST /v1/webhooks/whk_none/replay", `{"since":""}`, 422, problem.ValidationFailed, "/since"},
		{"empty until of a replay", "POST /v1/webhooks/whk_none/replay", `{"until":""}`, 422, problem.ValidationFailed, "/until"},
		{"empty timeout of a changed webhook", "PATCH /v1/webhooks/whk_none", `{"timeout":""}`, 422, problem.ValidationFailed, "/timeout"},
		{"patch label name", "PATCH /v1/clients/b", `{"labels":{"a b":"c"}}`, 422, problem.ValidationFailed, "/labels/a b"},
		{"patch group", "PATCH /v1/clients/b", `{"groups":["ok","not ok"]}`, 422, problem.ValidationFailed, "/groups/1"},
		{"group of a new client", "POST /v1/clients", `{"id":"c","groups":["not ok"]}`, 422, problem.ValidationFailed, "/groups/0"},
		{"no id of a new client", "POST /v1/clients", `{}`, 422, problem.ValidationFailed, "/id"},
		{"scope of a key", "POST /v1/keys", `{"name":"a","scopes":["x"]}`, 422, problem.ValidationFailed, "/scopes/0"},
		{"empty prefix of a key", "POST /v1/keys", `{"name":"a","scopes":["clients:read"],"prefix":""}`, 422, problem.ValidationFailed, "/prefix"},
		{"empty group of a key", "POST /v1/keys", `{"name":"a","scopes":["clients:read"],"group":""}`, 422, problem.ValidationFailed, "/group"},
		{"empty prefix of a webhook", "POST /v1/webhooks", `{"url":"http://127.0.0.1:1/","prefix":""}`, 422, problem.ValidationFailed, "/prefix"},
		{"empty group of a webhook", "POST /v1/webhooks", `{"url":"http://127.0.0.1:1/","group":""}`, 422, problem.ValidationFailed, "/group"},
		{"empty client of a consumer", "PUT /v1/consumers/c", `{"client":""}`, 422, problem.ValidationFailed, "/client"},
		{"empty life of a key", "POST /v1/keys", `{"name":"a","scopes":["clients:read"],"expires_in":""}`, 422, problem.ValidationFailed, "/expires_in"},
		{"empty life of a token", "POST /v1/clients/b/tokens", `{"expires_in":""}`, 422, problem.ValidationFailed, "/expires_in"},
		{"forget by an empty prefix", "DELETE /v1/clients?forget=true&prefix=", "", 400, problem.InvalidParameter, "prefix"},
		{"forget by an empty group", "DELETE /v1/clients?forget=true&group=", "", 400, problem.InvalidParameter, "group"},
		{"forget by an empty status", "DELETE /v1/clients?forget=true&status=", "", 400, problem.InvalidParameter, "status"},
		{"client of a consumer", "PUT /v1/consumers/c", `{"client":"a b"}`, 422, problem.ValidationFailed, "/client"},
		{"label of a consumer", "PUT /v1/consumers/c", `{"labels":{"a b":"c"}}`, 422, problem.ValidationFailed, "/labels/a b"},
		{"null in a filter", "PUT /v1/consumers/c", `{"labels":{"a":null}}`, 400, problem.MalformedJSON, "/labels/a"},
		{"no lease of an ack", "POST /v1/consumers/c/ack", `{"through":"1"}`, 422, problem.ValidationFailed, "/lease"},
		{"label of an event", "GET /v1/events?follow=false&label.a%20b=c", "", 400, problem.InvalidParameter, "label.a b"},
		{"patch type", "PATCH /v1/clients/b", `{"groups":"a"}`, 400, problem.MalformedJSON, "/groups"},
		{"no such path", "GET /v1/devices", "", 404, problem.RouteNotFound, ""},
		{"no such page", "GET /swagger/evil.js", "", 404, problem.RouteNotFound, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			method, target, _ := strings.Cut(tt.call, " ")
			var headers []string
			if method == "POST" || method == "PUT" {
				headers = []string{"Content-Type", "application/json"}
			}
			p := h.in(t).call(method, target, tt.body, headers...).wantProblem(tt.status, tt.kind)
			var got string
			if len(p.Errors) > 0 {
				got = p.Errors[0].Pointer + p.Errors[0].Parameter
			}
			if got != tt.pointer {
				t.Errorf("names %q, want %q (%+v)", got, tt.pointer, p)
			}
			if p.Detail == "" {
				t.Error("no detail")
			}
		})
	}
}

// A status that is refused gets a list of those that are accepted.
func TestAStatusIsOneOfTheListedOnes(t *testing.T) {
	h := newHarness(t)
	h.known("b")
	id := decode[Message](h.call("POST", "/v1/messages", `{"to":{"clients":["b"]},"text":"x"}`).want(202)).ID
	for target, without := range map[string][]string{"/v1/messages?status=": {"sent"}, "/v1/clients/b/messages?status=": nil, "/v1/messages/" + id + "/deliveries?status=": nil} {
		p := h.call("GET", target+"none", "").wantProblem(400, problem.InvalidParameter)
		_, list, _ := strings.Cut(p.Errors[0].Detail, "must be one of ")
		listed := strings.Split(list, ", ")
		for _, status := range append(listed, "pending", "unknown") {
			a := h.call("GET", target+status, "")
			if accepted := a.status == 200 || slices.Contains(without, status); accepted != slices.Contains(listed, status) {
				t.Errorf("%s%s is accepted: %v, and the list is %q", target, status, accepted, list)
			}
		}
	}
}

func TestEveryBrokenRuleIsListed(t *testing.T) {
	h := newHarness(t)
	p := h.call("POST", "/v1/messages", `{"to":{"clients":["!","ok","?"]},"text":"a","ttl":"1ms","mode":"x"}`).wantProblem(422, problem.ValidationFailed)
	var got []string
	for _, e := range p.Errors {
		got = append(got, e.Pointer)
	}
	if want := "/to/clients/0 /to/clients/2 /mode /ttl"; strings.Join(got, " ") != want {
		t.Errorf("got %v, want %s", got, want)
	}
}

// TestPointersNameTheMember of the body, whatever the type of the body is.
func TestPointersNameTheMember(t *testing.T) {
	h := newHarness(t)
	h.known("a")
	for _, c := range []struct{ method, target, body, pointer string }{
		{"POST", "/v1/clients", `{"id":".."}`, "/id"},
		{"POST", "/v1/clients", `{"id":"b","groups":["g",".."]}`, "/groups/1"},
		{"POST", "/v1/clients", `{"id":"b","labels":{"k":"` + strings.Repeat("v", 257) + `"}}`, "/labels/k"},
		{"POST", "/v1/clients", `{"id":"b","labels":{"a].b/[c":"v"}}`, "/labels/a].b~1[c"},
		{"POST", "/v1/clients/a/messages", `{"text":"x","metadata":{"a]":"` + strings.Repeat("v", 513) + `"}}`, "/metadata/a]"},
		{"PATCH", "/v1/clients/a", `{"groups":["."]}`, "/groups/0"},
		{"POST", "/v1/webhooks", `{"url":"http://127.0.0.1:9/","prefix":".."}`, "/prefix"},
		{"PUT", "/v1/consumers/c", `{"prefix":".."}`, "/prefix"},
		{"POST", "/v1/keys", `{"name":"k","scopes":["clients:read"],"prefix":".."}`, "/prefix"},
		{"POST", "/v1/messages", `{"to":{"client":".."},"text":"x"}`, "/to/client"},
		{"POST", "/v1/clients/a/messages", `{"text":"x","ttl":"x"}`, "/ttl"},
	} {
		p := h.call(c.method, c.target, c.body, "Content-Type", "application/json").wantProblem(422, problem.ValidationFailed)
		if len(p.Errors) != 1 || p.Errors[0].Pointer != c.pointer {
			t.Errorf("%s %s %s: %+v, want the pointer %s", c.method, c.target, c.body, p.Errors, c.pointer)
		}
	}
}

// TestDetailsOfNumbersAndNames say what is wrong with the value that was sent.
func TestDetailsOfNumbersAndNames(t *testing.T) {
	h := newHarness(t)
	for _, c := range []struct{ method, target, body, detail string }{
		{"PUT", "/v1/simulator", `{"count":0}`, "is required, and not 0"},
		{"POST", "/v1/webhooks", `{"url":"http://127.0.0.1:9/","settle":"-1s"}`, "must be a duration, such as 30s, and not negative"},
		{"POST", "/v1/webhooks", `{"url":"http://127.0.0.1:9/","timeout":"-1s"}`, "must be a duration of at least 1s, such as 10m"},
		{"PUT", "/v1/consumers/a:b", `{}`, "is not 1 to 64 of A-Z a-z 0-9 . _ -"},
	} {
		a := h.call(c.method, c.target, c.body, "Content-Type", "application/json")
		if p := decode[problem.Problem](a); len(p.Errors) != 1 || p.Errors[0].Detail != c.detail {
			t.Errorf("%s %s %s: %s, want %q", c.method, c.target, c.body, a.body, c.detail)
		}
	}
}

// TestWrongTypesAreNamed also inside lists and maps, of which encoding/json names the whole.
func TestWrongTypesAreNamed(t *testing.T) {
	h := newHarness(t)
	h.known("a")
	for _, c := range []struct{ method, target, body, pointer string }{
		{"POST", "/v1/clients", `{"id":5}`, "/id"},
		{"POST", "/v1/clients", `{"id":"b","groups":["g",{"id":1}]}`, "/groups/1"},
		{"POST", "/v1/clients", `{"id":"b","groups":"g"}`, "/groups"},
		{"POST", "/v1/clients", `{"id":"b","labels":{"k":"v","a/b":[1]}}`, "/labels/a~1b"},
		{"PATCH", "/v1/clients/a", `{"labels":{"k" : true}}`, "/labels/k"},
		{"POST", "/v1/messages", `{"to":{"clients":["a", 7]},"text":"x"}`, "/to/clients/1"},
		{"POST", "/v1/messages", `{"to":"a","text":"x"}`, "/to"},
		{"POST", "/v1/clients/a/messages", `{"text":{"text":"x"}}`, "/text"},
		{"POST", "/v1/clients/a/messages", `{"text":"x","metadata":{"m":1}}`, "/metadata/m"},
	} {
		p := h.call(c.method, c.target, c.body, "Content-Type", "application/json").wantProblem(400, problem.MalformedJSON)
		if len(p.Errors) != 1 || p.Errors[0].Pointer != c.pointer || !strings.Contains(p.Detail, c.pointer+" must be") {
			t.Errorf("%s %s %s: %q, %+v, want the pointer %s", c.method, c.target, c.body, p.Detail, p.Errors, c.pointer)
		}
	}
}

// TestAMisreadTypeIsRefused: without one readable content type a JSON object would
// reach the device as its payload.
func TestAMisreadTypeIsRefused(t *testing.T) {
	h := newHarness(t)
	h.known("b")
	for _, types := range [][]string{
		{"application/json", "text/plain"}, {"text/plain", "application/json"}, {"application/json", "application/json"},
		{"application/json, application/json"}, {"text/plain, application/json"}, {"application/json; charset"}, {"application/json; a=1; a=2"}, {"/"},
	} {
		r := newRequest(t.Context(), "POST", "/v1/clients/b/messages", `{"text":"x"}`)
		r.Header["Content-Type"] = types
		w := newRecorder()
		h.handler.ServeHTTP(w, r)
		answer{t: t, status: w.Code, header: w.Header(), body: w.Body.Bytes()}.wantProblem(415, problem.UnsupportedMediaType)
	}
}

func TestMediaTypes(t *testing.T) {
	h := newHarness(t)
	h.known("b")
	for _, contentType := range []string{"", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary"} {
		p := h.call("POST", "/v1/messages", ` {"to":{"all":true},"text":"x"}`, "Content-Type", contentType).wantProblem(415, problem.UnsupportedMediaType)
		if !strings.Contains(p.Detail, "curl -H 'Content-Type: application/json'") {
			t.Errorf("%q: detail %q does not show the command", contentType, p.Detail)
		}
	}
	for _, contentType := range []string{"", "application/json", "text/plain", "application/x-www-form-urlencoded", "application/x-ndjson; a=b; c"} {
		h.call("POST", "/v1/messages/bulk", `{}`, "Content-Type", contentType).wantProblem(415, problem.UnsupportedMediaType)
	}
	h.call("PATCH", "/v1/clients/b", `{}`, "Content-Type", "text/plain").wantProblem(415, problem.UnsupportedMediaType)
	h.call("PATCH", "/v1/clients/b", `{}`, "Content-Type", "application/merge-patch+json; charset=utf-8").want(200)
	h.call("GET", "/v1/events", "", "Accept", "application/xml").wantProblem(406, problem.NotAcceptable)
}

func TestMethodNotAllowedNamesTheMethods(t *testing.T) {
	h := newHarness(t)
	for _, method := range []string{"BREW", "TRACE", "PUT"} {
		h.call(method, "/v1/nothing", "").wantProblem(404, problem.RouteNotFound) // 405 must have Allow (RFC 9110, section 15.5.6)
	}
	h.call("BREW", "/v1/clients/b", "").wantProblem(405, problem.MethodNotAllowed)
	a := h.call("PUT", "/v1/clients/b", "")
	a.wantProblem(405, problem.MethodNotAllowed)
	if got := a.header.Get("Allow"); got != "GET, HEAD, PATCH, DELETE" {
		t.Errorf("Allow %q, want GET, HEAD, PATCH, DELETE", got)
	}
}

// A path that stands beside a part of any value has its own methods.
func TestAFixedPathBesideAParameterHasItsOwnMethods(t *testing.T) {
	h := newHarness(t)
	for _, method := range []string{"GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"} {
		for _, target := range []string{"/v1/messages/bulk", "/v1/messages/b%75lk"} {
			a := h.call(method, target, "")
			if got := a.header.Get("Allow"); a.status != 405 || got != "POST" {
				t.Errorf("%s %s: %d with Allow %q, want 405 with POST", method, target, a.status, got)
			}
		}
	}
	for target, want := range map[string]string{"/v1/messages/bulky": "GET, HEAD, DELETE", "/swagger/": "GET, HEAD", "/v1/clients/a%2Fb/messages": "GET, HEAD, POST, DELETE", "/v1/stats": "GET, HEAD"} {
		if got := h.call("PUT", target, "").header.Get("Allow"); got != want {
			t.Errorf("%s: Allow %q, want %q", target, got, want)
		}
	}
}

// An escape of a letter means the letter (RFC 3986, section 6.2.2.2).
func TestEscapesInPaths(t *testing.T) {
	h := newHarness(t)
	h.known("a-1")
	id := decode[Message](h.call("POST", "/v1/clients/a%2D1/messages", pushText("x")).want(202)).ID
	for _, target := range []string{"/v1/%73ession", "/%76%31/session", "/v1/clients/a%2d1", "/v1/client%73/%61-1", "/v1/messages/" + strings.Replace(id, "msg", "%6Dsg", 1), "/l%69vez"} {
		h.call("GET", target, "").want(200)
	}
	for target, want := range map[string]string{"/v1/session%2Fx": "there is no /v1/session%2Fx", "/v1/%2573ession": "there is no /v1/%2573ession", "/v1/s%C3%A9ance": "there is no /v1/s%C3%A9ance"} {
		if p := h.call("GET", target, "").wantProblem(404, problem.RouteNotFound); p.Detail != want {
			t.Errorf("%s: %q, want %q", target, p.Detail, want)
		}
	}
	for _, target := range []string{"/v1/messages/", "/v1/webhooks/", "/v1/consumers/", "/v1/events/", "/v1/keys/", "/docs/problems/"} {
		for escaped, plain := range map[string]string{"a%2Fb": "a/b", "a%3Ab": "a:b", "x%20%73": "x s"} {
			if p := decode[problem.Problem](h.call("GET", target+escaped, "").want(404)); strings.Contains(p.Detail, "%") || !strings.Contains(p.Detail, plain) {
				t.Errorf("%s%s: %q, want the id %s", target, escaped, p.Detail, plain)
			}
		}
	}
}

func TestBodyOfUnknownLengthIsBounded(t *testing.T) {
	h := newHarness(t)
	h.known("b")
	r := newRequest(t.Context(), "POST", "/v1/clients/b/messages", "")
	r.Body = readCloser{iotest.HalfReader(strings.NewReader(`{"text":"` + strings.Repeat("x", 3<<20) + `"}`))}
	r.ContentLength = -1
	w := httptest.NewRecorder()
	h.handler.ServeHTTP(w, r)
	if p := (answer{t: t, status: w.Code, header: w.Header(), body: w.Body.Bytes()}).wantProblem(413, problem.PayloadTooLarge); p.Limit != 2<<20 {
		t.Errorf("limit %d, want 2 MiB", p.Limit)
	}
}

// FuzzDecode: whatever the body, the answer is a push or a coded problem, and
// never an internal one.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{`{"to":{"client":"a"},"text":"x"}`, `{"to":{"clients":[1]}}`, `{"to":null,"json":null}`, `{"to":{"labels":{"":""}},"base64":"="}`,
		"{\"text\":\"\xff\"}", `{"a":{"b":[{"c":1}]}}`, `{"metadata":{"a.b[0]":"x"},"to":{"all":true},"text":""}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var body PushMany
		var p push
		err := decodeObject(data, &body)
		if err == nil {
			err = p.setMany(&body)
		}
		if err != nil && problem.Of(err).Status >= 500 {
			t.Errorf("%q: %v", data, err)
		}
	})
}

// What looks like the refused is taken, and arrives as it was sent.
func TestStrictJSONTakesWhatIsRight(t *testing.T) {
	h := newHarness(t)
	l := h.device("b", gatewaytest.Options{})
	for body, want := range map[string]string{
		`{"text":"\ud83d\ude00"}`:                      "\U0001f600",
		`{"text":"\\ud83d"}`:                           `\ud83d`,
		`{"text":"\ufffd\u0041"}`:                      "\ufffdA",
		`{"json":{"Text":1,"text":2,"a":{"a":{}}}}`:    `{"Text":1,"text":2,"a":{"a":{}}}`,
		`{"json":[{"a":1},{"a":1}] , "mode":"online"}`: `[{"a":1},{"a":1}]`,
	} {
		before := len(l.Transmissions())
		h.call("POST", "/v1/clients/b/messages?wait=5s", body).want(200)
		if p := l.Transmissions(); len(p) != before+1 || string(p[before].Payload) != want {
			t.Errorf("%s: the device got %+v, want %q", body, p[before:], want)
		}
	}
}

// Each answer says where.
func TestMalformedJSONSaysWhere(t *testing.T) {
	h := newHarness(t)
	h.known("b")
	for body, at := range map[string]string{
		`{"text":}`:                "at byte 9",
		`{"text":"a"`:              "at byte 11",
		`{"text":"a"} x`:           "at byte 14",
		`{"text":"a", "text":"b"}`: "at byte 14",
		`{"text":"a\ud83d"}`:       "at byte 9",
		"\ufeff" + `{"text":"a"}`:  "at byte 1",
		`{"text":5}`:               "at byte 9",
	} {
		p := h.call("POST", "/v1/clients/b/messages", body, "Content-Type", "application/json").wantProblem(400, problem.MalformedJSON)
		if !strings.HasPrefix(p.Detail, at+":") {
			t.Errorf("%s: %q, want %s", body, p.Detail, at)
		}
	}
}

// The mistakes that people make most get the next step.
func TestMalformedJSONSaysWhatToWrite(t *testing.T) {
	h := newHarness(t)
	h.known("b")
	for body, advice := range map[string]string{
		`{"text":"a",}`:                     "; no comma may stand before }",
		"{\"text\":\"a\",\n}":               "; no comma may stand before }",
		`{"to":{"clients":["b",]}}`:         "; no comma may stand before ]",
		`{'text':'a'}`:                      "; names and strings stand in double quotes",
		`{"text":'a'}`:                      "; names and strings stand in double quotes",
		`{text:"a"}`:                        "; a name in double quotes must stand here",
		`{"text":}`:                         "looking for beginning of value",
		`{"text":"a" "ttl":"1h"}`:           "; a comma must stand before it",
		`{"text":"a","metadata":{"k":"v",}`: "; no comma may stand before }",
	} {
		p := h.call("POST", "/v1/clients/b/messages", body, "Content-Type", "application/json").wantProblem(400, problem.MalformedJSON)
		if !strings.HasSuffix(p.Detail, advice) {
			t.Errorf("%s: %q, want the end %q", body, p.Detail, advice)
		}
	}
}

// A script whose variable is not set asks for something, and would get another answer.
func TestAnEmptyParameterIsRefused(t *testing.T) {
	h := newHarness(t)
	h.known("b")
	id := decode[Message](h.call("POST", "/v1/clients/b/messages", pushText("x")).want(202)).ID
	for call, names := range map[string]string{
		"GET /v1/clients":      "status prefix group queued_gt limit ip dialect since queued_older_than order from fields",
		"DELETE /v1/clients/b": "forget purge block", "DELETE /v1/clients/b/messages": "through",
		"POST /v1/clients/b/messages": "mode ttl on_unknown wait", "GET /v1/messages": "client status since limit order before fields",
		"GET /v1/clients/b/messages": "status since limit order before fields", "GET /v1/messages/" + id: "wait fields",
		"GET /v1/messages/" + id + "/why": "client", "GET /v1/messages/" + id + "/deliveries": "status limit",
		"GET /v1/uplinks": "client limit order since until after before wait fields", "GET /v1/clients/b/timeline": "message before since until limit follow",
		"GET /v1/events": "types client prefix group after since", "GET /v1/consumers/c/events": "max wait",
		"GET /v1/keys": "limit", "GET /v1/audit": "who target since limit", "GET /v1/refused": "prefix limit", "GET /v1/stats/history": "since step",
	} {
		method, target, _ := strings.Cut(call, " ")
		body := ""
		if method == "POST" {
			body = pushText("x")
		}
		for name := range strings.FieldsSeq(names) {
			query := name + "="
			if name == "before" && target == "/v1/uplinks" {
				query += "&order=desc"
			}
			if target == "/v1/events" {
				query += "&follow=false" // so that it ends if it is not refused
			}
			a := h.call(method, target+"?"+query, body)
			if a.status != 400 || !strings.Contains(string(a.body), `"parameter":"`+name) {
				t.Errorf("%s?%s: %d %s", call, query, a.status, a.body)
			}
		}
	}
	for _, target := range []string{"/v1/clients?cursor=", "/v1/messages?cursor=", "/v1/audit?after=", "/v1/clients?label=site="} {
		h.call("GET", target, "").want(200)
	}
	h.call("GET", "/v1/events?follow=false&label.site=", "", "Accept", ndjson).want(200)
	h.call("POST", "/v1/clients/b/messages?metadata.note=", "x", "Content-Type", "text/plain").want(202)
}
