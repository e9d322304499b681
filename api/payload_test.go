package api

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"github.com/longwire/longwire/api/internal/problem"
	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/gatewaytest"
)

func TestAPayloadIsHarmlessInABrowser(t *testing.T) {
	h := newHarness(t)
	h.known("a")
	page := "<script>alert(document.cookie)</script>"
	m := decode[Message](h.call("POST", "/v1/clients/a/messages", page, "Content-Type", "text/html").want(202))
	a := h.call("GET", "/v1/messages/"+m.ID+"/payload", "").want(200)
	for name, want := range map[string]string{
		"Content-Type": "text/plain; charset=utf-8", "X-Content-Type-Options": "nosniff", "Cache-Control": "no-store",
		"Content-Disposition": `attachment; filename="` + m.ID + `.txt"`, "Content-Length": fmt.Sprint(len(page)),
		"Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; sandbox", "Cross-Origin-Resource-Policy": "same-origin",
	} {
		if got := a.header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if string(a.body) != page {
		t.Errorf("payload %q", a.body)
	}
}

func TestPayloadsHaveTheirTypes(t *testing.T) {
	h := newHarness(t)
	l := h.device("a", gatewaytest.Options{})
	for body, want := range map[string][2]string{
		`{"json":{"a": [1, 2]}}`: {"application/json", `{"a":[1,2]}`},
		`{"text":"grüße"}`:       {"text/plain; charset=utf-8", "grüße"},
		`{"base64":"/wAB"}`:      {"application/octet-stream", "\xff\x00\x01"},
		`{"text":""}`:            {"text/plain; charset=utf-8", ""},
		`{"base64":""}`:          {"application/octet-stream", ""},
	} {
		m := decode[Message](h.call("POST", "/v1/clients/a/messages", body).want(202))
		if a := h.call("GET", "/v1/messages/"+m.ID+"/payload", "").want(200); a.header.Get("Content-Type") != want[0] || string(a.body) != want[1] {
			t.Errorf("%s is answered as %s: %q", body, a.header.Get("Content-Type"), a.body)
		}
	}
	for i, payload := range []string{"21.5", "\xff\xfe"} {
		if err := l.Session.Received(t.Context(), uint64(i+1), []byte(payload)); err != nil {
			t.Fatal(err)
		}
	}
	for i, want := range []string{"text/plain; charset=utf-8", "application/octet-stream"} {
		a := h.call("GET", fmt.Sprintf("/v1/uplinks/%d/payload", i+1), "").want(200)
		if a.header.Get("Content-Type") != want || string(a.body) != []string{"21.5", "\xff\xfe"}[i] || !strings.Contains(a.header.Get("Content-Disposition"), "attachment") {
			t.Errorf("uplink %d: %s %q", i+1, a.header.Get("Content-Type"), a.body)
		}
	}
	h.call("GET", "/v1/uplinks/1/payload", "", "Range", "bytes=1-2").want(206)
	h.call("GET", "/v1/uplinks/1/payload", "", "Range", "bytes=4-").wantProblem(416, problem.RangeNotSatisfiable)
	h.call("GET", "/v1/uplinks/3/payload", "").wantProblem(404, problem.UplinkNotFound)
	h.call("GET", "/v1/uplinks/0/payload", "").wantProblem(404, problem.UplinkNotFound)
	h.call("GET", "/v1/uplinks/x/payload", "").wantProblem(400, problem.InvalidParameter)
	h.call("GET", "/v1/messages/msg_none/payload", "").wantProblem(404, "message-not-found")
	keyed := decode[Message](h.call("POST", "/v1/clients/a/messages?mode=online", `{"text":""}`, "Content-Type", "application/json", "Idempotency-Key", "k").want(200))
	if a := h.call("GET", "/v1/messages/"+keyed.ID+"/payload", "").want(200); len(a.body) != 0 {
		t.Errorf("the empty payload of an online message with a key: %q", a.body)
	}
	online := decode[Message](h.call("POST", "/v1/clients/a/messages?mode=online", "now").want(200))
	if a := h.call("GET", "/v1/messages/"+online.ID+"/payload", ""); a.status != 404 {
		t.Errorf("the payload of an online message is answered %d", a.status)
	}
}

// An empty payload is one: whoever reads it sees the kind that was pushed.
func TestAnEmptyPayloadHasItsMember(t *testing.T) {
	h := newHarness(t)
	h.known("a")
	for _, member := range []string{"text", "base64"} {
		m := decode[Message](h.call("POST", "/v1/clients/a/messages", `{"`+member+`":""}`).want(202))
		preview := map[string]string{"text": "preview", "base64": "preview_base64"}[member]
		for target, want := range map[string]string{
			"/v1/messages/" + m.ID:                                 `"` + member + `":""`,
			"/v1/messages/" + m.ID + "?fields=" + member:           `"` + member + `":""`,
			"/v1/messages/" + m.ID + "?fields=" + preview:          `"` + preview + `":""`,
			"/v1/messages?limit=1&fields=" + preview:               `"` + preview + `":""`,
			"/v1/clients/a/messages?limit=1&fields=" + preview:     `"` + preview + `":""`,
			"/v1/messages?limit=1&fields=payload_bytes," + preview: `"payload_bytes":0,"` + preview + `":""`,
		} {
			if got := string(h.call("GET", target, "").want(200).body); !strings.Contains(got, want) {
				t.Errorf("%s: %s, want %s", target, got, want)
			}
		}
	}
}

func TestARangeOfAPayload(t *testing.T) {
	h := newHarness(t)
	h.known("a")
	payload := "0123456789"
	m := decode[Message](h.call("POST", "/v1/clients/a/messages", pushText(payload)).want(202))
	target := "/v1/messages/" + m.ID + "/payload"
	for _, c := range []struct {
		header, rest string
		status       int
		body, part   string
	}{
		{"bytes=0-3", "", 206, "0123", "bytes 0-3/10"},
		{"bytes=4-", "", 206, "456789", "bytes 4-9/10"},
		{"bytes=8-99999999999999999999", "", 200, payload, ""}, // no number
		{"bytes=8-9999999999", "", 206, "89", "bytes 8-9/10"},
		{"bytes=-3", "", 206, "789", "bytes 7-9/10"},
		{"bytes=-99", "", 206, payload, "bytes 0-9/10"},
		{"bytes=9-9", "", 206, "9", "bytes 9-9/10"},
		{"bytes=3-1", "", 200, payload, ""},
		{"bytes=0-1,4-5", "", 200, payload, ""}, // a server may ignore several
		{"lines=0-1", "", 200, payload, ""},
		{"bytes=+1-2", "", 200, payload, ""},
		{"bytes=-", "", 200, payload, ""},
		{"", "", 200, payload, ""},
		{"bytes=0-3", `"` + m.ID + `"`, 206, "0123", "bytes 0-3/10"},
		{"bytes=0-3", `"another"`, 200, payload, ""},
	} {
		headers := []string{"Range", c.header}
		if c.rest != "" {
			headers = append(headers, "If-Range", c.rest)
		}
		a := h.call("GET", target, "", headers...).want(c.status)
		if string(a.body) != c.body || a.header.Get("Content-Range") != c.part || a.header.Get("Content-Length") != fmt.Sprint(len(c.body)) {
			t.Errorf("%s (%s): %q as %q, want %q as %q", c.header, c.rest, a.body, a.header.Get("Content-Range"), c.body, c.part)
		}
	}
	for _, header := range []string{"bytes=0-3", "bytes=10-"} { // HEAD ignores it, as RFC 9110 says
		a := h.call("HEAD", target, "", "Range", header).want(200)
		if a.header.Get("Content-Length") != "10" || a.header.Get("Content-Range") != "" || a.header.Get("Accept-Ranges") != "bytes" {
			t.Errorf("HEAD with %s: %v", header, a.header)
		}
	}
	for _, header := range []string{"bytes=10-", "bytes=10-12", "bytes=-0"} {
		a := h.call("GET", target, "", "Range", header)
		a.wantProblem(416, problem.RangeNotSatisfiable)
		if got := a.header.Get("Content-Range"); got != "bytes */10" {
			t.Errorf("%s: Content-Range %q", header, got)
		}
	}
	empty := decode[Message](h.call("POST", "/v1/clients/a/messages", pushText("")).want(202))
	h.call("GET", "/v1/messages/"+empty.ID+"/payload", "", "Range", "bytes=0-3").wantProblem(416, problem.RangeNotSatisfiable)
}

func TestListsShowDigestsInPlaceOfPayloads(t *testing.T) {
	h := newHarness(t)
	l := h.device("a", gatewaytest.Options{React: gatewaytest.FlushOnly})
	long := strings.Repeat("ü", 100) // a rune ends at byte 64
	odd := "x" + long                // no rune ends there
	binary := bytes.Repeat([]byte{0xff}, 300)
	for _, body := range []string{pushText(long), pushText(odd), `{"base64":"` + base64.StdEncoding.EncodeToString(binary) + `"}`, `{"json":{"a":1}}`} {
		h.call("POST", "/v1/clients/a/messages", body).want(202)
	}
	type row struct {
		ID, Seq       any
		Status        string `json:"status"`
		PayloadBytes  *int   `json:"payload_bytes"`
		Content       string `json:"content"`
		Preview       *string
		PreviewBase64 []byte  `json:"preview_base64"`
		Text          *string `json:"text"`
	}
	rows := func(target string) []row {
		t.Helper()
		return decode[struct {
			Items      []row  `json:"items"`
			NextAfter  int    `json:"next_after"`
			NextCursor string `json:"next_cursor"`
			More       bool   `json:"more"`
			Now        string `json:"now"`
		}](h.call("GET", target, "").want(200)).Items
	}
	for _, list := range []string{"/v1/messages?", "/v1/messages?client=a&", "/v1/clients/a/messages?"} {
		got := rows(list + "fields=payload_bytes,content,preview")
		if len(got) != 4 {
			t.Fatalf("%s: %d messages", list, len(got))
		}
		for i, want := range []struct {
			n               int
			content, prefix string
		}{{7, "json", `{"a":1}`}, {300, "binary", ""}, {201, "text", odd[:63]}, {200, "text", long[:64]}} {
			r := got[i]
			if r.PayloadBytes == nil || *r.PayloadBytes != want.n || r.Content != want.content || r.Status != "" || r.ID == nil {
				t.Errorf("%s: item %d is %+v, want %+v", list, i, r, want)
			}
			if want.content == "binary" {
				if r.Preview != nil || !bytes.Equal(r.PreviewBase64, binary[:64]) {
					t.Errorf("%s: preview of bytes %v %x", list, r.Preview, r.PreviewBase64)
				}
			} else if r.Preview == nil || *r.Preview != want.prefix {
				t.Errorf("%s: item %d has the preview %v, want %q", list, i, r.Preview, want.prefix)
			}
		}
		plain := h.call("GET", list, "").want(200)
		if bytes.Contains(plain.body, []byte("preview")) || bytes.Contains(plain.body, []byte("payload_bytes")) {
			t.Errorf("%s without fields shows digests: %s", list, plain.body)
		}
		h.call("GET", list+"fields=text", "").wantProblem(400, problem.InvalidParameter)
		h.call("GET", list+"fields=nonsense", "").wantProblem(400, problem.InvalidParameter)
	}
	if err := l.Session.Received(t.Context(), 1, []byte(long)); err != nil {
		t.Fatal(err)
	}
	if got := rows("/v1/uplinks?fields=payload_bytes,preview"); len(got) != 1 || *got[0].PayloadBytes != 200 || *got[0].Preview != long[:64] || got[0].Text != nil || got[0].Seq == nil {
		t.Errorf("uplinks: %+v", got)
	}
	plain := decode[UplinkPage](h.call("GET", "/v1/uplinks", "").want(200)) // as before
	if text(plain.Items[0].Text) != long || plain.Items[0].PayloadBytes != nil {
		t.Errorf("without fields: %+v, want the payload", plain.Items[0])
	}
	id := decode[MessagePage](h.call("GET", "/v1/messages?limit=1", "").want(200)).Items[0].ID
	if got := strings.TrimSpace(string(h.call("GET", "/v1/messages/"+id+"?fields=mode,payload_bytes", "").want(200).body)); got != `{"id":"`+id+`","mode":"durable","payload_bytes":7}` {
		t.Errorf("one message: %s", got)
	}
}

func TestMessagesInBothOrders(t *testing.T) {
	h := newHarness(t)
	h.known("a")
	var ids []string
	for i := range 5 {
		ids = append(ids, decode[Message](h.call("POST", "/v1/clients/a/messages", pushText(fmt.Sprint(i))).want(202)).ID)
	}
	read := func(query string) (got []string) {
		t.Helper()
		for cursor := ""; ; {
			page := decode[MessagePage](h.call("GET", "/v1/messages?limit=2&"+query+cursor, "").want(200))
			if page.Now == "" {
				t.Error("the page does not say when it was made")
			}
			for _, m := range page.Items {
				got = append(got, m.ID)
			}
			if page.NextCursor == "" {
				return got
			}
			cursor = "&cursor=" + page.NextCursor
		}
	}
	down := []string{ids[4], ids[3], ids[2], ids[1], ids[0]}
	for query, want := range map[string][]string{
		"": down, "order=desc": down, "order=asc": ids, "before=" + ids[3]: down[2:], "order=asc&before=" + ids[3]: ids[:3],
		"client=a&before=" + ids[3]: down[2:], "before=1h": nil, "before=2100-01-01T00:00:00Z": down,
	} {
		if got := read(query); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: %v, want %v", query, got, want)
		}
	}
	h.call("GET", "/v1/messages?client=a&order=asc", "").wantProblem(400, problem.InvalidParameter)
	h.call("GET", "/v1/messages?client=a&before=msg_0193f2a0-7c1e-7d3a-9b1f-2f6d1c0a9e11", "").wantProblem(404, "message-not-found")
	h.call("GET", "/v1/clients/a/messages?before=msg_0193f2a0-7c1e-7d3a-9b1f-2f6d1c0a9e11", "").wantProblem(404, "message-not-found")
	h.call("GET", "/v1/messages?before=msg_!", "").wantProblem(400, problem.InvalidParameter)
	down1 := decode[MessagePage](h.call("GET", "/v1/messages?limit=2", "").want(200)).NextCursor
	h.call("GET", "/v1/messages?order=asc&cursor="+down1, "").wantProblem(400, problem.InvalidCursor)
}

func TestUplinksNewestFirst(t *testing.T) {
	h := newHarness(t)
	for n, id := range []gateway.ClientID{"a", "b", "a", "a", "b"} {
		l := h.device(id, gatewaytest.Options{})
		if err := l.Session.Received(t.Context(), uint64(n+1), []byte{byte('0' + n)}); err != nil {
			t.Fatal(err)
		}
		l.Disconnect(gateway.ReasonClientClosed)
	}
	for query, want := range map[string]string{"": "54321", "client=a&": "431", "client=b&": "52", "since=1h&": "54321", "until=1h&": ""} {
		got, before, newest := "", "", uint64(0)
		for range 10 {
			page := decode[UplinkPage](h.call("GET", "/v1/uplinks?order=desc&limit=2&"+query+before, "").want(200))
			for _, u := range page.Items {
				got += fmt.Sprint(u.Seq)
			}
			if before == "" {
				newest = page.NextAfter
			}
			if !page.More {
				break
			}
			before = fmt.Sprint("before=", page.NextBefore)
		}
		if got != want || newest != 5 {
			t.Errorf("%s: %s, then after %d; want %s, then after 5", query, got, newest, want)
		}
	}
	for _, query := range []string{"order=desc&after=1", "order=desc&wait=1s", "order=desc&before=0", "order=desc&before=x", "before=2", "order=up"} {
		h.call("GET", "/v1/uplinks?"+query, "").wantProblem(400, problem.InvalidParameter)
	}
}

func TestPayloadsStayWithinTheTenant(t *testing.T) {
	w := newWorld(t)
	w.message2("a")
	w.message2("b")
	for _, target := range []string{"/v1/messages?fields=preview", "/v1/messages?client=a-truck&fields=preview", "/v1/uplinks?fields=preview", "/v1/uplinks?order=desc&fields=preview"} {
		body := string(w.as("a", "GET", target, "").want(200).body)
		for _, foreign := range []string{"of b", "for all", "from b", "from g"} {
			if strings.Contains(body, foreign) {
				t.Errorf("%s shows a %q: %s", target, foreign, body)
			}
		}
	}
	for _, target := range []string{"/v1/messages?client=a-truck&before=", "/v1/clients/a-truck/messages?before="} {
		foreign, unknown := w.as("a", "GET", target+w.messages["b"], ""), w.as("a", "GET", target+w.message(nobody), "")
		if foreign.status != 404 || same(foreign) != same(unknown) {
			t.Errorf("%s: of a foreign message a hears\n%s\nand of an unknown one\n%s", target, same(foreign), same(unknown))
		}
	}
	own := fmt.Sprintf("/v1/uplinks/%d/payload", w.uplinkOf("a-truck"))
	w.as("a", "GET", own, "").want(200)
	w.as("b", "GET", own, "").wantProblem(404, problem.UplinkNotFound)
	w.as("g", "GET", own, "").wantProblem(404, problem.UplinkNotFound)
}

func TestAPayloadOnConditions(t *testing.T) {
	h := newHarness(t)
	l := h.device("a", gatewaytest.Options{React: gatewaytest.FlushOnly})
	m := decode[Message](h.call("POST", "/v1/clients/a/messages", pushText("0123456789")).want(202))
	if err := l.Session.Received(t.Context(), 1, []byte("0123456789")); err != nil {
		t.Fatal(err)
	}
	for name, target := range map[string]string{m.ID: "/v1/messages/" + m.ID + "/payload", "uplink-1": "/v1/uplinks/1/payload"} {
		tag := `"` + name + `"`
		for _, c := range []struct {
			status  int
			headers []string
		}{
			{304, []string{"If-None-Match", tag}},
			{304, []string{"If-None-Match", "W/" + tag}},
			{304, []string{"If-None-Match", "*"}},
			{304, []string{"If-None-Match", `"other, name", W/"x",` + tag}},
			{304, []string{"If-None-Match", tag, "Range", "bytes=0-3"}},
			{304, []string{"If-None-Match", tag, "If-Match", tag}},
			{200, []string{"If-None-Match", `"other"`}},
			{200, []string{"If-None-Match", `"` + name}},
			{200, []string{"If-None-Match", name}},
			{200, []string{"If-None-Match", `"a` + tag}},
			{206, []string{"If-None-Match", `"other"`, "Range", "bytes=0-3"}},
			{200, []string{"If-Match", tag}},
			{200, []string{"If-Match", "*"}},
			{200, []string{"If-Match", `"other", ` + tag}},
			{206, []string{"If-Match", tag, "Range", "bytes=0-3"}},
			{412, []string{"If-Match", `"other"`}},
			{412, []string{"If-Match", "W/" + tag}},
			{412, []string{"If-Match", `"other"`, "If-None-Match", tag}},
			{412, []string{"If-Match", `"other"`, "Range", "bytes=99-"}},
		} {
			for _, method := range []string{"GET", "HEAD"} {
				a, want := h.call(method, target, "", c.headers...), c.status
				if method == "HEAD" && want == 206 {
					want = 200 // a range is of a GET
				}
				if a.status != want || a.status < 400 && a.header.Get("ETag") != tag || a.status == 304 && len(a.body) > 0 {
					t.Errorf("%s %s %q: %d with the tag %q and %q, want %d", method, target, c.headers, a.status, a.header.Get("ETag"), a.body, want)
				}
			}
		}
		h.call("GET", target, "", "If-Match", `"other"`).wantProblem(412, problem.PreconditionFailed)
	}
}
