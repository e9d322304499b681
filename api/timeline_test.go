package api

import (
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/longwire/longwire/api/internal/problem"
	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/apikey"
	"github.com/longwire/longwire/internal/engine/memstore"
	"github.com/longwire/longwire/internal/gatewaytest"
	"github.com/longwire/longwire/internal/timeline"
	"github.com/longwire/longwire/protocol"
)

// framed puts a frame of a client into the book, as the protocol does.
func (h *harness) framed(client string, typ protocol.FrameType, out bool, b string) {
	h.framedAt(time.Now(), client, typ, out, b)
}

func (h *harness) framedAt(at time.Time, client string, typ protocol.FrameType, out bool, b string) {
	h.timeline.Frame(protocol.Frame{Client: client, Began: time.UnixMilli(1_763_800_000_000), At: at, Dialect: protocol.Text, Type: typ, Out: out,
		Registered: true, Seq: 1, Size: len(b), Bytes: []byte(b)})
}

func TestATimelineIsReadInPages(t *testing.T) {
	h := newHarness(t)
	h.known("truck")
	for closed := false; !closed; time.Sleep(2 * logSkew) { // the close is logged later
		p, err := h.gateway.ClientEvents(gateway.ClientEventQuery{Client: "truck", Limit: 1, Scan: 10})
		closed = err == nil && len(p.Items) == 1 && p.Items[0].Type == gateway.EventClientDisconnected
	}
	for i := range 10 {
		h.framed("truck", protocol.FrameData, false, fmt.Sprint("DATA 1 ", i, "\n"))
	}
	all := decode[Timeline](h.call("GET", "/v1/clients/truck/timeline", "").want(200))
	if len(all.Items) != 12 || all.Items[0].Source != "log" || all.Items[0].What != "connected" || all.Items[1].Source != "log" || all.Items[1].What != "closed" || all.Items[1].By != "device" ||
		all.Before != "" || all.Dropped || all.Memory != all.Items[2].At {
		t.Fatalf("%+v, want the connection and its close, of the log, and 10 frames", all)
	}
	for _, e := range all.Items[2:] {
		if e.Source != "memory" || e.What != "frame" || e.Frame != "data" || e.Direction != "in" || e.Bytes != 9 || e.Number != "1" || e.Text != "" {
			t.Errorf("%+v", e)
		}
	}
	var got []string
	for before := ""; ; {
		page := decode[Timeline](h.call("GET", "/v1/clients/truck/timeline?limit=3"+before, "").want(200))
		for i := len(page.Items) - 1; i >= 0; i-- {
			got = append(got, page.Items[i].ID)
		}
		if page.Before == "" {
			break
		}
		before = "&before=" + page.Before
	}
	if len(got) != len(all.Items) || got[0] != all.Items[11].ID || got[11] != all.Items[0].ID {
		t.Errorf("pages have %q, want all of %+v", got, all.Items)
	}
	for _, query := range []string{"limit=0", "limit=1001", "before=x", "message=truck", "follow=maybe", "follow=true&before=5", "color=red"} {
		h.call("GET", "/v1/clients/truck/timeline?"+query, "").wantProblem(400, problem.InvalidParameter)
	}
	h.call("GET", "/v1/clients/truck/timeline?follow=true", "", "Accept", "image/png").wantProblem(406, problem.NotAcceptable)
}

func TestATimelineOfOneMessage(t *testing.T) {
	h := newHarness(t)
	h.device("truck", answering(gateway.AckOK, "done"))
	var ids []string
	for range 2 {
		a := h.call("POST", "/v1/clients/truck/messages?wait=10s", pushText("x")).want(200)
		ids = append(ids, decode[Message](a).ID)
	}
	online := decode[Message](h.call("POST", "/v1/clients/truck/messages?mode=online", pushText("x")).want(200)).ID
	for id, want := range map[string]string{ids[0]: "queued sent acked", ids[1]: "queued sent acked", online: "sent acked"} {
		tl := decode[Timeline](h.call("GET", "/v1/clients/truck/timeline?message="+id, "").want(200))
		var got []string
		for _, e := range tl.Items {
			if e.What != "delivery" || e.Message != id || e.Number == "" || strings.HasPrefix(e.Number, "e") != (id == online) {
				t.Errorf("%+v", e)
			}
			got = append(got, e.State)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s went %q, want %q", id, got, want)
		}
	}
}

// The bytes of payloads take messages:read. Other frames show theirs.
func TestATraceShowsPayloadsToThoseWhoMayReadMessages(t *testing.T) {
	w := newWorld(t)
	w.as("a", "POST", "/v1/clients/a-truck/trace", `{}`).want(200)
	w.framed("a-truck", protocol.FrameData, false, "DATA 1 secret\n")
	w.framed("a-truck", protocol.FrameAck, false, "ACK 1 secret\n")
	w.framed("a-truck", protocol.FrameMalformed, false, "DATA secret\n")
	w.framed("a-truck", protocol.FrameHeartbeat, true, "PING\n")
	w.framed("a-truck", protocol.FrameClose, true, "\x07\x02")
	w.key("events alone", apikey.Spec{Scopes: apikey.EventsRead, Limit: tenants["a"]})
	for name, reads := range map[string]bool{"a": true, "unlimited": true, "events alone": false, "events:read": false} {
		a := w.as(name, "GET", "/v1/clients/a-truck/timeline", "").want(200)
		if strings.Contains(string(a.body), "secret") != reads {
			t.Errorf("%s: %s", name, a.body)
		}
		tl := decode[Timeline](a)
		if tl.Traced == "" {
			t.Errorf("%s: the timeline does not say that the client is traced", name)
		}
		withheld := 0
		for _, e := range tl.Items {
			if e.Withheld && e.Source == "memory" {
				withheld++
			}
			if e.Frame == "heartbeat" && e.Text != "PING\n" || e.Frame == "close" && e.Hex != "0702" {
				t.Errorf("%s: %+v, want its bytes", name, e)
			}
		}
		if want := map[bool]int{true: 0, false: 3}[reads]; withheld != want {
			t.Errorf("%s: the bytes of %d frames are withheld, want %d", name, withheld, want)
		}
	}
	w.as("clients:read", "GET", "/v1/clients/a-truck/timeline", "").wantProblem(403, problem.InsufficientScope)
	w.as("events:read", "POST", "/v1/clients/a-truck/trace", `{}`).wantProblem(403, problem.InsufficientScope)
	list := decode[TraceList](w.as("a", "GET", "/v1/traces", "").want(200))
	if len(list.Items) != 1 || list.Items[0].Client != "a-truck" || list.Items[0].Name != "a" || list.Items[0].Frames != 5 || list.Items[0].Key != w.ids["a"] {
		t.Errorf("%+v, want the trace and who has it on", list.Items)
	}
	if list := decode[TraceList](w.as("b", "GET", "/v1/traces", "").want(200)); len(list.Items) != 0 {
		t.Errorf("b sees %+v", list.Items)
	}
	w.as("a", "DELETE", "/v1/clients/a-truck/trace", "").want(204)
	if a := w.as("a", "GET", "/v1/clients/a-truck/timeline", "").want(200); strings.Contains(string(a.body), "secret") {
		t.Errorf("the end of the trace leaves bytes: %s", a.body)
	}
	w.as("a", "DELETE", "/v1/clients/a-truck/trace", "").want(204)
}

func TestTracesHaveBounds(t *testing.T) {
	h := newHarness(t)
	for i := range 17 {
		h.known(gateway.ClientID(fmt.Sprint("c", i)))
	}
	for _, body := range []string{`{"for":"0s"}`, `{"for":"61m"}`, `{"for":"soon"}`} {
		h.call("POST", "/v1/clients/c0/trace", body).wantProblem(422, problem.ValidationFailed)
	}
	for i := range 16 {
		tr := decode[Trace](h.call("POST", fmt.Sprint("/v1/clients/c", i, "/trace"), `{"for":"1h"}`).want(200))
		if ends, _ := time.Parse(time.RFC3339, tr.EndsAt); time.Until(ends) > time.Hour || time.Until(ends) < 50*time.Minute {
			t.Errorf("it ends at %s, want in an hour", tr.EndsAt)
		}
	}
	h.call("POST", "/v1/clients/c16/trace", `{}`).wantProblem(409, problem.TooManyTraces)
	h.call("POST", "/v1/clients/nobody/trace", `{}`).wantProblem(404, problem.Kind(gateway.CodeClientNotFound))
}

func TestTimelinesThatAreOff(t *testing.T) {
	h := newHarness(t, func(c *Config) { c.Timeline = nil })
	h.known("truck")
	h.call("GET", "/v1/clients/truck/timeline", "").wantProblem(409, problem.TimelineOff)
	h.call("GET", "/v1/clients/truck/timeline?follow=true", "").wantProblem(409, problem.TimelineOff)
	h.call("POST", "/v1/clients/truck/trace", `{}`).wantProblem(409, problem.TimelineOff)
	h.call("DELETE", "/v1/clients/truck/trace", "").wantProblem(409, problem.TimelineOff)
	h.call("GET", "/v1/clients/nobody/timeline", "").wantProblem(404, problem.Kind(gateway.CodeClientNotFound))
	if list := decode[TraceList](h.call("GET", "/v1/traces", "").want(200)); len(list.Items) != 0 {
		t.Errorf("%+v, want none", list)
	}
}

// An id that was only refused has no line, and one entry of the list of refused
// devices.
func TestATimelineOfAStranger(t *testing.T) {
	h := newHarness(t, func(c *Config) {
		at := time.UnixMilli(1_763_800_000_123)
		c.Refusals = &fakeRefusals{{Client: "stranger", Count: 3, FirstAt: at, LastAt: at.Add(time.Second), Remote: netip.MustParseAddrPort("192.0.2.7:40112"), Dialect: "v2", Reason: "unknown_device"}}
	})
	tl := decode[Timeline](h.call("GET", "/v1/clients/stranger/timeline", "").want(200))
	if len(tl.Items) != 1 || tl.Items[0].What != "refused" || tl.Items[0].Count != 3 || tl.Items[0].Reason != "unknown_device" || tl.Items[0].Source != "record" {
		t.Errorf("%+v, want the refusals", tl.Items)
	}
	h.call("GET", "/v1/clients/other/timeline", "").wantProblem(404, problem.Kind(gateway.CodeClientNotFound))
	h.call("GET", "/v1/clients/stranger/timeline?follow=true", "").wantProblem(404, problem.Kind(gateway.CodeClientNotFound))
}

func TestATimelineIsFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t)
		h.device("truck", gatewaytest.Options{})
		h.framed("truck", protocol.FrameData, false, "DATA 1 x\n")
		events := h.subscribe("/v1/clients/truck/timeline?follow=true")
		if b := events.block(); b != "retry: 2000" {
			t.Errorf("the stream begins with %q", b)
		}
		if b := events.block(); !strings.Contains(b, "event: connected\n") || !strings.Contains(b, `"source":"record"`) {
			t.Errorf("%q, want the connection", b)
		}
		first := events.block()
		if !strings.Contains(first, "event: frame\n") {
			t.Errorf("%q, want the frame", first)
		}
		time.Sleep(keepAlive)
		if b := events.block(); b != ": keep-alive" {
			t.Errorf("%q, want a sign of life", b)
		}
		h.framed("truck", protocol.FrameAck, true, "ACK 1\n")
		second := events.block()
		if !strings.Contains(second, `"direction":"out"`) || !strings.Contains(second, `"code":"ok"`) {
			t.Errorf("%q, want the ack", second)
		}
		id, _, _ := strings.Cut(strings.TrimPrefix(first, "id: "), "\n")
		again := h.subscribe("/v1/clients/truck/timeline?follow=true", "Last-Event-ID", id)
		again.block()
		if b := again.block(); b != second {
			t.Errorf("behind the first one comes %q, want %q", b, second)
		}
		lines := h.subscribe("/v1/clients/truck/timeline?follow=true&limit=1", "Accept", ndjson)
		if b := lines.block(); !strings.HasPrefix(b, `{"id":"`) || !strings.Contains(b, `"frame":"ack"`) {
			t.Errorf("%q, want the newest entry as a line", b)
		}
		again.cancel()
		lines.cancel()
		if _, err := h.gateway.Forget(t.Context(), "truck"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		select {
		case <-events.ended:
		default:
			t.Error("the stream of a forgotten client goes on")
		}
	})
}

// A stream ends when the client leaves the group that the key is limited to.
func TestAFollowerLosesAClientThatLeavesItsGroup(t *testing.T) {
	w := newWorld(t)
	st := w.subscribe("/v1/clients/g-truck/timeline?follow=true", "Authorization", "Bearer "+w.secrets["g"])
	st.block()
	none := []string{}
	if _, err := w.gateway.UpdateClient(t.Context(), "g-truck", gateway.ClientChange{Groups: &none}); err != nil {
		t.Fatal(err)
	}
	w.framed("g-truck", protocol.FrameData, false, "DATA 1 of another\n")
	<-st.ended
	for b := range st.blocks {
		if strings.Contains(b, `"frame"`) {
			t.Errorf("the key was shown %q", b)
		}
	}
}

// The frames and bytes from before a client joined the group of a key are not for that key:
// they may be another tenant's.
func TestATimelineBeginsWhenTheClientJoinsTheGroup(t *testing.T) {
	w := newWorld(t)
	w.as("b", "POST", "/v1/clients/b-truck/trace", `{}`).want(200)
	w.framedAt(time.Now().Add(-time.Minute), "b-truck", protocol.FrameData, false, "DATA 1 of b\n")
	w.as("unlimited", "PATCH", "/v1/clients/b-truck", `{"groups":["gang"]}`).want(200)
	st := w.subscribe("/v1/clients/b-truck/timeline?follow=true", "Accept", ndjson, "Authorization", "Bearer "+w.secrets["g"])
	w.framedAt(time.Now().Add(time.Minute), "b-truck", protocol.FrameData, false, "DATA 2 of g\n")
	if first := st.block(); strings.Contains(first, "of b") {
		t.Errorf("a stream of g begins with %s", first)
	}
	again := w.subscribe("/v1/clients/b-truck/timeline?follow=true", "Accept", ndjson, "Last-Event-ID", "1", "Authorization", "Bearer "+w.secrets["g"])
	if first := again.block(); strings.Contains(first, "of b") {
		t.Errorf("a stream of g continues with %s", first)
	}
	for key, want := range map[string][]string{"b": {"of b", "of g"}, "g": {"of g"}, "unlimited": {"of b", "of g"}} {
		a := w.as(key, "GET", "/v1/clients/b-truck/timeline", "").want(200)
		var got []string
		for _, e := range decode[Timeline](a).Items {
			if e.Frame == "data" {
				got = append(got, strings.TrimSpace(e.Text[len("DATA 1 "):]))
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s sees the frames %q, want %q", key, got, want)
		}
	}
}

func TestAFollowerThatIsTooSlowIsToldSo(t *testing.T) {
	h := newHarness(t)
	h.known("truck")
	st := h.subscribe("/v1/clients/truck/timeline?follow=true", "Accept", ndjson)
	st.block()
	for i := range 20_000 { // more than fits into the pipe and the ring
		h.framed("truck", protocol.FrameData, false, fmt.Sprint("DATA ", i, "\n"))
	}
	last := ""
	for range 20_000 {
		b, ok := <-st.blocks
		if !ok || strings.Contains(b, `"overflow"`) {
			last = b
			break
		}
	}
	if !strings.Contains(last, `"what":"overflow"`) {
		t.Errorf("the last entry is %q, want an overflow", last)
	}
}

// A limited key sees that a client of its own is traced, and not by which key of others.
func TestATraceDoesNotNameTheKeysOfOthers(t *testing.T) {
	w := newWorld(t)
	w.as("b", "POST", "/v1/clients/b-truck/trace", `{}`).want(200)
	w.as("unlimited", "PATCH", "/v1/clients/b-truck", `{"groups":["gang"]}`).want(200)
	for key, name := range map[string]string{"b": "b", "g": "", "unlimited": "b"} {
		list := decode[TraceList](w.as(key, "GET", "/v1/traces", "").want(200))
		if len(list.Items) != 1 || list.Items[0].Name != name || (list.Items[0].Key == "") != (name == "") {
			t.Errorf("%s sees %+v, want the name %q", key, list.Items, name)
		}
	}
}

// A key that is limited to a group sees the traces of its members, so the list needs
// the store.
func TestTracesOfAGroupNeedTheStore(t *testing.T) {
	store := memstore.New(memstore.Options{})
	t.Cleanup(func() { store.Close() })
	h, keys := newHarness(t), apikey.NewKeyset()
	_, secret, err := keys.Create(apikey.Spec{Name: "g", Scopes: apikey.ClientsRead, Limit: tenants["g"]}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.timeline.StartTrace(timeline.Trace{Client: "a", For: time.Minute}); err != nil {
		t.Fatal(err)
	}
	h.handler = New(Config{Gateway: gatewaytest.New(t, failing{store}, gateway.Config{}), Timeline: h.timeline, Authorizer: keys})
	h.call("GET", "/v1/traces", "", "Authorization", "Bearer "+secret).wantProblem(503, ofStore)
}

// What the event log has of a client follows behind its entries in memory: payloads for
// keys that may read messages, and for a key with a limit what its limit allows.
func TestATimelineHasTheEventLog(t *testing.T) {
	w := newWorld(t)
	uplink := func(key, id string) *TimelineEntry {
		t.Helper()
		tl := decode[Timeline](w.as(key, "GET", "/v1/clients/"+id+"/timeline", "").want(200))
		for i := range tl.Items {
			if e := &tl.Items[i]; e.What == "uplink" {
				return e
			}
		}
		return nil
	}
	for _, key := range []string{"unlimited", "a"} {
		if e := uplink(key, "a-truck"); e == nil || e.Text != "from a" || e.Bytes != 6 || e.Number != "1" || e.Uplink == 0 || e.Source != "log" || e.Withheld {
			t.Errorf("%s sees %+v, want the uplink", key, e)
		}
	}
	if e := uplink("events:read", "a-truck"); e == nil || e.Text != "" || e.Hex != "" || !e.Withheld {
		t.Errorf("a key that may not read messages sees %+v, want the uplink without its payload", e)
	}
	w.as("unlimited", "PATCH", "/v1/clients/b-truck", `{"groups":["gang"]}`).want(200)
	if e := uplink("b", "b-truck"); e == nil {
		t.Error("b does not see the uplink of its client")
	}
	if e := uplink("g", "b-truck"); e != nil {
		t.Errorf("g sees %+v from before the client joined its group", e)
	}
	target := "/v1/clients/a-truck/timeline?"
	for _, query := range []string{"before=log-0", "before=log-x", "before=evt_1", "since=x", "until=12", "follow=true&since=1h", "follow=true&until=1h", "follow=true&before=log-1"} {
		w.as("a", "GET", target+query, "").wantProblem(400, problem.InvalidParameter)
	}
	if tl := decode[Timeline](w.as("a", "GET", target+"until=1h", "").want(200)); len(tl.Items) != 0 || tl.Before != "" {
		t.Errorf("of an hour ago: %+v", tl)
	}
	w.as("unlimited", "DELETE", "/v1/clients/a-truck?forget=true", "").want(204)
	w.device("a-truck", gatewaytest.Options{})
	if e := uplink("a", "a-truck"); e != nil {
		t.Errorf("the log shows %+v from before the client was forgotten", e)
	}
}

// slowLog is a store whose reads of events and messages take as long as the test wants.
type slowLog struct {
	*memstore.Store
	underWay atomic.Int32
	gate     chan struct{}
}

func (s *slowLog) read() {
	s.underWay.Add(1)
	defer s.underWay.Add(-1)
	<-s.gate
}

func (s *slowLog) ClientEvents(q gateway.ClientEventQuery) (gateway.Page[gateway.Event, uint64], error) {
	s.read()
	return s.Store.ClientEvents(q)
}

func (s *slowLog) Messages(q gateway.MessageQuery) (gateway.Page[gateway.Message, gateway.MessageID], error) {
	s.read()
	return s.Store.Messages(q)
}

// A read of the log or of the messages looks at those of all tenants. Tenants compute on
// half of the processors for it, so that pushes find another one, and the operator need not
// wait.
func TestTenantsReadForAllOnHalfOfTheProcessors(t *testing.T) {
	for _, path := range []string{"/v1/clients/a-1/timeline", "/v1/messages"} {
		tenantsRead(t, path)
	}
}

func tenantsRead(t *testing.T, path string) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t)
		store := &slowLog{Store: memstore.New(memstore.Options{}), gate: make(chan struct{})}
		h.gateway = gatewaytest.New(t, store, gateway.Config{Steps: h.timeline})
		h.known("a-1")
		keys := apikey.NewKeyset()
		_, tenant, err := keys.Create(apikey.Spec{Name: "tenant", Scopes: apikey.EventsRead | apikey.MessagesRead, Limit: apikey.Limit{Prefix: "a-"}}, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		_, operator, err := keys.Create(apikey.Spec{Name: "operator", Scopes: apikey.Admin}, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		h.handler = New(Config{Gateway: h.gateway, Authorizer: keys, Timeline: h.timeline})
		half := int32(max(1, runtime.GOMAXPROCS(0)/2))
		var calls sync.WaitGroup
		call := func(secret string) {
			calls.Go(func() {
				h.call("GET", path, "", "Authorization", "Bearer "+secret).want(200)
			})
		}
		for range half + 3 {
			call(tenant)
		}
		synctest.Wait()
		if got := store.underWay.Load(); got != half {
			t.Errorf("%s: a tenant has %d reads under way, want %d", path, got, half)
		}
		call(operator)
		synctest.Wait()
		if got := store.underWay.Load(); got != half+1 {
			t.Errorf("%s: with the operator's there are %d, want %d", path, got, half+1)
		}
		close(store.gate)
		calls.Wait()
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
}
