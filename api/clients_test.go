package api

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/longwire/longwire/api/internal/problem"
	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/gatewaytest"
)

func ids(clients []Client) string {
	var all []string
	for _, c := range clients {
		all = append(all, c.ID)
	}
	return strings.Join(all, " ")
}

func TestListClients(t *testing.T) {
	h := newHarness(t)
	h.device("truck-1", gatewaytest.Options{Hello: gateway.Hello{Groups: []string{"fleet"}}})
	h.device("truck-2", gatewaytest.Options{Hello: gateway.Hello{Labels: map[string]string{"site": "north"}}}) // says so itself
	h.device("van-1", gatewaytest.Options{})
	h.label("truck-1", map[string]string{"site": "north", "model": "x2"})
	h.label("van-1", map[string]string{"site": "north"})
	h.known("truck-3")
	h.call("POST", "/v1/clients/truck-3/messages", pushText("queued")).want(202)
	tests := []struct{ query, want string }{
		{"", "truck-1 truck-2 van-1"},
		{"?status=offline", "truck-3"},
		{"?status=all", "truck-1 truck-2 truck-3 van-1"},
		{"?prefix=truck-", "truck-1 truck-2"},
		{"?status=all&prefix=truck-", "truck-1 truck-2 truck-3"},
		{"?group=fleet", "truck-1"},
		{"?label=site=north", "truck-1 van-1"},
		{"?label=site=north&label=model=x2", "truck-1"},
		{"?label=site%3Dnorth", "truck-1 van-1"},
		{"?status=all&queued_gt=0", "truck-3"},
		{"?id=truck-3&id=van-1&id=ghost&id=van-1", "truck-3 van-1"},
		{"?id=truck-3&id=van-1&status=online", "van-1"},
		{"?prefix=nothing", ""},
	}
	for _, tt := range tests {
		if got := ids(decode[ClientPage](h.call("GET", "/v1/clients"+tt.query, "").want(200)).Items); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.query, got, tt.want)
		}
	}
}

func TestClientListIsPaged(t *testing.T) {
	h := newHarness(t)
	for i := range 11 {
		h.device(gateway.ClientID(fmt.Sprintf("c%02d", i)), gatewaytest.Options{})
	}
	for _, status := range []string{"online", "all"} {
		var got []string
		target := "/v1/clients?limit=4&status=" + status
		for cursor, pages := "", 0; pages < 4; pages++ {
			next := target
			if cursor != "" {
				next += "&cursor=" + cursor
			}
			page := decode[ClientPage](h.call("GET", next, "").want(200))
			got = append(got, ids(page.Items))
			if cursor = page.NextCursor; cursor == "" {
				break
			}
		}
		if want := "c00 c01 c02 c03|c04 c05 c06 c07|c08 c09 c10"; strings.Join(got, "|") != want {
			t.Errorf("%s: got %v, want %s", status, got, want)
		}
	}
}

func TestFieldsNarrowTheAnswer(t *testing.T) {
	h := newHarness(t)
	h.device("a", gatewaytest.Options{})
	a := h.call("GET", "/v1/clients?fields=online,queued,blocked_until", "", "Accept", "application/json").want(200)
	got, _, _ := strings.Cut(string(a.body), `,"now"`)
	if want := `{"items":[{"id":"a","online":true,"queued":0}]`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestGetClient(t *testing.T) {
	h := newHarness(t)
	link := h.device("a:b@c", gatewaytest.Options{})
	c := decode[Client](h.call("GET", "/v1/clients/a%3Ab%40c", "").want(200))
	if !c.Online || c.Session == "" || c.ConnectedAt == "" || c.Dialect != "v2" || c.RemoteAddr != "192.0.2.7:40000" || c.Transport != "tcp" {
		t.Errorf("got %+v, want what is known of the connection", c)
	}
	h.call("HEAD", "/v1/clients/a:b@c", "").want(200)
	h.call("HEAD", "/v1/clients/nobody", "").want(404)
	link.Disconnect(gateway.ReasonHeartbeatTimeout)
	c = decode[Client](h.call("GET", "/v1/clients/a:b@c", "").want(200))
	if c.Online || c.LastClose == nil || *c.LastClose != (LastClose{"heartbeat_timeout", "gateway"}) || c.Session != "" || c.RemoteAddr != "" || c.LastSeenAt == "" {
		t.Errorf("got %+v, want offline with the reason", c)
	}
	h.call("GET", "/v1/clients/nobody", "").wantProblem(404, "client-not-found")
}

func TestPatchClient(t *testing.T) {
	h := newHarness(t)
	h.device("a", gatewaytest.Options{Hello: gateway.Hello{Labels: map[string]string{"hw": "7"}, Groups: []string{"g1"}}})
	h.label("a", map[string]string{"site": "north", "model": "x2"})
	steps := []struct{ patch, labels, groups string }{
		{`{"labels":{"site":null,"floor":"3"}}`, "map[floor:3 model:x2]", "[g1]"},
		{`{"groups":["g2","g3"]}`, "map[floor:3 model:x2]", "[g2 g3]"},
		{`{}`, "map[floor:3 model:x2]", "[g2 g3]"},
		{`{"labels":null}`, "map[]", "[g2 g3]"},
		{`{"groups":null}`, "map[]", "[]"},
	}
	for _, step := range steps {
		c := decode[Client](h.call("PATCH", "/v1/clients/a", step.patch).want(200))
		if fmt.Sprint(c.Labels) != step.labels || fmt.Sprint(c.Groups) != step.groups || fmt.Sprint(c.Reported) != "map[hw:7]" {
			t.Errorf("after %s: %v %v, want %s %s; reported is %v", step.patch, c.Labels, c.Groups, step.labels, step.groups, c.Reported)
		}
	}
	h.call("PATCH", "/v1/clients/nobody", `{"groups":["x"]}`).wantProblem(404, "client-not-found")
}

// A client is created once, is offline, and gets what was pushed to it before its first
// contact.
func TestClientIsCreatedBeforeItsFirstContact(t *testing.T) {
	h := newHarness(t)
	body := `{"id":"a:1","labels":{"site":"north"},"groups":["fleet","fleet"]}`
	a := h.call("POST", "/v1/clients", body).want(201)
	if location := a.header.Get("Location"); location != "/v1/clients/a:1" {
		t.Errorf("Location %s, want the client", location)
	}
	c := decode[Client](a)
	if c.ID != "a:1" || c.Online || c.CreatedAt == "" || c.LastSeenAt != "" || fmt.Sprint(c.Labels, c.Groups) != "map[site:north] [fleet]" {
		t.Errorf("created %+v", c)
	}
	h.call("GET", "/v1/clients/a:1", "").want(200)
	if got := ids(decode[ClientPage](h.call("GET", "/v1/clients?status=offline&group=fleet&label=site=north", "").want(200)).Items); got != "a:1" {
		t.Errorf("members %q, want the created client", got)
	}
	one := decode[Message](h.call("POST", "/v1/clients/a:1/messages", pushText("x")).want(202))
	many := decode[Message](h.call("POST", "/v1/messages", `{"to":{"all":true},"text":"y"}`).want(202))
	h.device("a:1", answering(gateway.AckOK, ""))
	for _, m := range []Message{one, many} {
		if got := decode[Message](h.call("GET", "/v1/messages/"+m.ID+"?wait=10s", "").want(200)); got.CompletedAt == "" {
			t.Errorf("after the first contact: %+v", got)
		}
	}
	h.call("POST", "/v1/clients", `{"id":"a:1"}`).wantProblem(409, problem.Kind(gateway.CodeClientExists))
	h.call("POST", "/v1/clients", `{"id":".."}`).wantProblem(422, problem.ValidationFailed)
	h.call("POST", "/v1/clients", `{}`).wantProblem(422, problem.ValidationFailed)
	h.call("POST", "/v1/clients", `{"id":"b","groups":["not a group"]}`).wantProblem(422, problem.ValidationFailed)
	h.call("POST", "/v1/clients", `{"id":"b","label":{}}`).wantProblem(400, problem.UnknownField)
	h.call("POST", "/v1/clients", "b", "Content-Type", "text/plain").wantProblem(415, problem.UnsupportedMediaType)
	h.call("GET", "/v1/clients/b", "").want(404)
}

// A limited key creates clients within its limit only.
func TestTenantsCreateTheirOwnClients(t *testing.T) {
	w := newWorld(t)
	create := func(key, id, groups string) answer {
		return w.as(key, "POST", "/v1/clients", `{"id":"`+id+`","groups":`+groups+`}`)
	}
	create("a", "a-1", `["yard"]`).want(201)
	create("a", "b-1", `[]`).wantProblem(403, ofLimits)
	create("a", "a-2", `["gang"]`).wantProblem(403, ofLimits)
	create("a", "a-truck", `[]`).wantProblem(409, problem.Kind(gateway.CodeClientExists))
	create("g", "g-1", `["gang"]`).want(201)
	create("g", "g-2", `null`).want(201)
	create("g", "g-3", `[]`).wantProblem(403, ofLimits)
	create("g", "g-3", `["gang","yard"]`).wantProblem(403, ofLimits)
	create("g", "a-3", `["gang"]`).wantProblem(403, ofLimits)
	for _, id := range []string{"g-1", "g-2"} {
		if c := decode[Client](w.as("g", "GET", "/v1/clients/"+id, "").want(200)); fmt.Sprint(c.Groups) != "[gang]" {
			t.Errorf("%s is in %v, want the key's group", id, c.Groups)
		}
	}
	for _, id := range []string{"b-1", "a-2", "g-3", "a-3"} {
		w.as("unlimited", "GET", "/v1/clients/"+id, "").want(404)
	}
}

func TestDisconnect(t *testing.T) {
	h := newHarness(t)
	link := h.device("a", gatewaytest.Options{React: gatewaytest.FlushOnly})
	m := decode[Message](h.call("POST", "/v1/clients/a/messages", pushText("x")).want(202))
	h.call("DELETE", "/v1/clients/a?purge=true&block=10m", "").want(204)
	if c := link.Closes(); len(c) != 1 || c[0].Reason != gateway.ReasonKicked {
		t.Errorf("the device was told %+v, want kicked", c)
	}
	if got := decode[Message](h.call("GET", "/v1/messages/"+m.ID, "").want(200)).Status; got != "canceled" {
		t.Errorf("message is %s, want canceled", got)
	}
	c := decode[Client](h.call("GET", "/v1/clients/a", "").want(200))
	until, _ := time.Parse(timeLayout, c.BlockedUntil)
	if left := time.Until(until); left < 9*time.Minute || left > 10*time.Minute {
		t.Errorf("blocked for %s, want 10m", left)
	}
	h.call("DELETE", "/v1/clients/nobody", "").wantProblem(404, "client-not-found")
}

func TestUplinks(t *testing.T) {
	h := newHarness(t)
	a, b := h.device("a", gatewaytest.Options{}), h.device("b", gatewaytest.Options{})
	for i, payload := range []string{"21.5", "\xff\xfe", ""} {
		if err := a.Session.Received(t.Context(), uint64(i+1), []byte(payload)); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Session.Received(t.Context(), 1, []byte("b")); err != nil {
		t.Fatal(err)
	}
	page := decode[UplinkPage](h.call("GET", "/v1/uplinks?client=a", "").want(200))
	if len(page.Items) != 3 || text(page.Items[0].Text) != "21.5" || string(page.Items[1].Base64) != "\xff\xfe" || text(page.Items[2].Text) != "" {
		t.Fatalf("got %+v, want text, bytes and an empty text", page.Items)
	}
	var got []string
	for after := uint64(0); ; {
		page := decode[UplinkPage](h.call("GET", fmt.Sprintf("/v1/uplinks?limit=3&after=%d", after), "").want(200))
		for _, u := range page.Items {
			got = append(got, u.Client)
		}
		if after = page.NextAfter; !page.More {
			break
		}
	}
	if fmt.Sprint(got) != "[a a a b]" {
		t.Errorf("got %v, want all four in order", got)
	}
	last := decode[UplinkPage](h.call("GET", "/v1/uplinks?after=4", "").want(200))
	if len(last.Items) != 0 || last.NextAfter != 4 {
		t.Errorf("got %+v, want nothing and the same position", last)
	}
}

// A block is found, and lifted before its time; who is connected stays so.
func TestABlockIsListedAndLifted(t *testing.T) {
	h := newHarness(t)
	h.device("here", gatewaytest.Options{})
	h.known("a")
	h.known("b")
	h.call("DELETE", "/v1/clients/a?block=8760h", "").want(204)
	blocked := func(query string) string {
		return ids(decode[ClientPage](h.call("GET", "/v1/clients?status=blocked"+query, "").want(200)).Items)
	}
	if got := blocked(""); got != "a" {
		t.Errorf("blocked are %q, want a", got)
	}
	if got := blocked("&id=a&id=b"); got != "a" {
		t.Errorf("of a and b blocked are %q, want a", got)
	}
	_, _, err := h.gateway.Connect(t.Context(), gateway.Hello{Client: "a", Dialect: "v2"}, gatewaytest.NewLink(gatewaytest.Options{}))
	if gateway.CodeOf(err) != gateway.CodeBlocked {
		t.Errorf("a blocked client registers: %v", err)
	}
	h.call("DELETE", "/v1/clients/a?block=0", "").want(204)
	if c := decode[Client](h.call("GET", "/v1/clients/a", "").want(200)); c.BlockedUntil != "" || blocked("") != "" {
		t.Errorf("blocked until %q after the block was lifted", c.BlockedUntil)
	}
	h.device("a", gatewaytest.Options{})
	h.call("DELETE", "/v1/clients/here?block=0s", "").want(204)
	if !h.gateway.Online("here") {
		t.Error("lifting a block that is none disconnects")
	}
	h.call("DELETE", "/v1/clients/ghost?block=0", "").wantProblem(404, "client-not-found")
	h.call("DELETE", "/v1/clients/a?block=0&purge=true", "").wantProblem(400, problem.InvalidParameter)
	h.call("DELETE", "/v1/clients/a?block=500ms", "").wantProblem(400, problem.InvalidParameter)
}

// One client, and a selection if its number is confirmed, are forgotten with all that
// is queued for them.
func TestForgetClients(t *testing.T) {
	h := newHarness(t)
	link := h.device("a", gatewaytest.Options{React: gatewaytest.FlushOnly})
	m := decode[Message](h.call("POST", "/v1/clients/a/messages", pushText("x")).want(202))
	h.call("DELETE", "/v1/clients/a?forget=true&purge=true", "").wantProblem(400, problem.InvalidParameter)
	h.call("DELETE", "/v1/clients/a?forget=true&block=0", "").wantProblem(400, problem.InvalidParameter)
	h.call("DELETE", "/v1/clients/a?forget=true", "").want(204)
	for began := time.Now(); len(link.Closes()) == 0 && time.Since(began) < 10*time.Second; {
		runtime.Gosched() // the connection ends behind the answer
	}
	if c := link.Closes(); len(c) != 1 || c[0].Reason != gateway.ReasonKicked {
		t.Errorf("the device was told %+v, want kicked", c)
	}
	got := decode[Message](h.call("GET", "/v1/messages/"+m.ID, "").want(200))
	if got.Status != "canceled" || got.Reason != gateway.ReasonClientForgotten {
		t.Errorf("message is %s, %q; want canceled, client_forgotten", got.Status, got.Reason)
	}
	h.call("GET", "/v1/clients/a", "").wantProblem(404, "client-not-found")
	h.call("DELETE", "/v1/clients/a?forget=true", "").wantProblem(404, "client-not-found")

	for i := range 5 {
		h.known(gateway.ClientID(fmt.Sprint("test-", i)))
	}
	h.known("other")
	h.call("POST", "/v1/clients/test-3/messages", pushText("x")).want(202)
	for _, query := range []string{"?forget=true&prefix=test-", "?forget=true&prefix=test-&confirm=4"} {
		if p := h.call("DELETE", "/v1/clients"+query, "").wantProblem(400, problem.InvalidParameter); !strings.Contains(p.Errors[0].Detail, "must be 5") {
			t.Errorf("%s: %+v, want the number of clients", query, p)
		}
	}
	h.call("DELETE", "/v1/clients?prefix=test-&confirm=5", "").wantProblem(400, problem.InvalidParameter)
	h.call("DELETE", "/v1/clients?forget=true&confirm=6", "").wantProblem(400, problem.InvalidParameter)
	if got := decode[ForgetResult](h.call("DELETE", "/v1/clients?forget=true&prefix=test-&confirm=5", "").want(200)); got != (ForgetResult{Forgotten: 5, Canceled: 1}) {
		t.Errorf("forgot %+v, want 5 clients with 1 message", got)
	}
	if got := ids(decode[ClientPage](h.call("GET", "/v1/clients?status=all", "").want(200)).Items); got != "other" {
		t.Errorf("the clients are %q, want other", got)
	}
}
