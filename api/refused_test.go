package api

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/longwire/longwire/api/internal/problem"
	"github.com/longwire/longwire/gateway"
)

// refused are three devices that were, in the order of their ids.
func refused() *fakeRefusals {
	at := time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)
	return &fakeRefusals{
		{Client: "a-1", Count: 3, FirstAt: at, LastAt: at.Add(time.Minute), Remote: netip.MustParseAddrPort("192.0.2.7:4711"), Dialect: "v2", Reason: "wrong_token"},
		{Client: "a-2", Count: 1, FirstAt: at, LastAt: at, Reason: "unknown_device"},
		{Client: "b-1", Count: 1, FirstAt: at, LastAt: at, Dialect: "v1", Reason: "no_credentials"},
	}
}

// fakeRefusals is a list of refused devices, in the order of their ids.
type fakeRefusals []gateway.RefusedRegistration

func (f *fakeRefusals) Refused() []gateway.RefusedRegistration { return slices.Clone(*f) }

func (f *fakeRefusals) Refusal(id gateway.ClientID) (r gateway.RefusedRegistration, ok bool) {
	i := slices.IndexFunc(*f, func(r gateway.RefusedRegistration) bool { return r.Client == id })
	if i < 0 {
		return r, false
	}
	return (*f)[i], true
}

func (f *fakeRefusals) Dismiss(id gateway.ClientID) bool {
	before := len(*f)
	*f = slices.DeleteFunc(*f, func(r gateway.RefusedRegistration) bool { return r.Client == id })
	return len(*f) < before
}

func TestRefusedDevicesAreListed(t *testing.T) {
	h := newHarness(t, func(c *Config) { c.Refusals = refused() })
	page := decode[RefusedRegistrationPage](h.call("GET", "/v1/refused?limit=2", "").want(200))
	want := RefusedRegistration{Client: "a-1", Count: 3, FirstAt: "2026-11-22T08:00:00.000Z", LastAt: "2026-11-22T08:01:00.000Z",
		RemoteAddr: "192.0.2.7:4711", Dialect: "v2", Reason: "wrong_token"}
	if len(page.Items) != 2 || page.Items[0] != want || page.Items[1].RemoteAddr != "" || page.NextCursor == "" {
		t.Fatalf("first page: %+v", page)
	}
	rest := decode[RefusedRegistrationPage](h.call("GET", "/v1/refused?limit=2&cursor="+page.NextCursor, "").want(200))
	if len(rest.Items) != 1 || rest.Items[0].Client != "b-1" || rest.NextCursor != "" {
		t.Errorf("second page: %+v", rest)
	}
	some := decode[RefusedRegistrationPage](h.call("GET", "/v1/refused?prefix=a-&limit=2", "").want(200))
	if len(some.Items) != 2 || some.NextCursor != "" {
		t.Errorf("by prefix: %+v", some)
	}
	h.call("GET", "/v1/refused?reason=x", "").wantProblem(400, problem.InvalidParameter)
	h.call("GET", "/v1/refused?cursor=x", "").wantProblem(400, problem.InvalidCursor)
	none := decode[RefusedRegistrationPage](newHarness(t).call("GET", "/v1/refused", "").want(200))
	if none.Items == nil || len(none.Items) != 0 {
		t.Errorf("without anybody who remembers: %+v", none)
	}
}

// A dismissed device leaves the list and the answers to why, and no other device does.
func TestARefusedDeviceIsDismissed(t *testing.T) {
	h := newHarness(t, func(c *Config) { c.Refusals = refused() })
	listed := func() (all []string) {
		for _, r := range decode[RefusedRegistrationPage](h.call("GET", "/v1/refused", "").want(200)).Items {
			all = append(all, r.Client)
		}
		return all
	}
	h.call("GET", "/v1/clients/a-2/why", "").want(200)
	if a := h.call("DELETE", "/v1/refused/a-2", "").want(204); len(a.body) != 0 {
		t.Errorf("the answer has the body %s", a.body)
	}
	if got := listed(); !slices.Equal(got, []string{"a-1", "b-1"}) {
		t.Errorf("after a-2 was dismissed: %v", got)
	}
	h.call("GET", "/v1/clients/a-2/why", "").wantProblem(404, ofClient)
	for _, id := range []string{"a-2", "a-", "none"} {
		h.call("DELETE", "/v1/refused/"+id, "").wantProblem(404, problem.RefusedNotFound)
	}
	h.call("DELETE", "/v1/refused/a-1?prefix=a", "").wantProblem(400, problem.InvalidParameter)
	h.call("DELETE", "/v1/refused/"+strings.Repeat("a", 129), "").wantProblem(400, problem.InvalidParameter)
	if got := listed(); len(got) != 2 {
		t.Errorf("calls that failed have dismissed one: %v", got)
	}
	newHarness(t).call("DELETE", "/v1/refused/a-1", "").wantProblem(404, problem.RefusedNotFound)
}

// A tenant dismisses its own refused devices. Another tenant's are not found, and both
// are in the audit log.
func TestTenantsDismissTheirOwnRefusedDevices(t *testing.T) {
	w, entries := audited(t)
	w.as("a", "DELETE", "/v1/refused/b-truck", "").wantProblem(404, problem.RefusedNotFound)
	w.as("g", "DELETE", "/v1/refused/a-truck", "").wantProblem(404, problem.RefusedNotFound)
	w.as("clients:write", "DELETE", "/v1/refused/a-truck", "").wantProblem(403, problem.InsufficientScope)
	w.as("a", "DELETE", "/v1/refused/a-truck", "").want(204)
	w.as("g", "DELETE", "/v1/refused/g-truck", "").want(204)
	page := decode[RefusedRegistrationPage](w.as("unlimited", "GET", "/v1/refused", "").want(200))
	if len(page.Items) != 1 || page.Items[0].Client != "b-truck" {
		t.Errorf("left are %+v, want b-truck", page.Items)
	}
	var got []string
	for _, e := range entries() {
		if e["msg"] == "refused.dismiss" {
			got = append(got, fmt.Sprint(e["name"], " ", e["target"], " ", e["result"]))
		}
	}
	if want := []string{"a b-truck refused-not-found", "g a-truck refused-not-found", "a a-truck ok", "g g-truck ok"}; !slices.Equal(got, want) {
		t.Errorf("audited are %q, want %q", got, want)
	}
}

// Registrations without a valid id belong to no tenant: only keys without a limit see them,
// on the first page.
func TestUnnamedRegistrationsAreForTheUnlimited(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Refusals = refused() })
	for i := range 3 {
		h := gateway.Hello{Remote: netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, byte(i), 1}), 4711), Dialect: "text"}
		w.gateway.NoteUnnamed(h, gateway.ReasonBadClientID, []byte("a-\x1b"))
		w.gateway.NoteUnnamed(h, gateway.ReasonBadClientID, []byte("a-?"))
	}
	page := decode[RefusedRegistrationPage](w.as("unlimited", "GET", "/v1/refused?limit=2", "").want(200))
	if len(page.Unnamed) != 2 {
		t.Fatalf("the first page: %+v, want two without a name", page)
	}
	if u := page.Unnamed[0]; u.RemoteAddr != "192.0.2.1:4711" || u.Count != 2 || u.Reason != "bad_client_id" || u.Sample != "a-?" || u.Dialect != "text" || u.FirstAt == "" || u.LastAt == "" {
		t.Errorf("the latest: %+v", u)
	}
	for _, path := range []string{"/v1/refused?cursor=" + page.NextCursor, "/v1/refused?prefix=a-"} {
		if page := decode[RefusedRegistrationPage](w.as("unlimited", "GET", path, "").want(200)); page.Unnamed != nil {
			t.Errorf("%s shows %+v", path, page.Unnamed)
		}
	}
	for _, key := range []string{"a", "b", "g"} {
		if page := decode[RefusedRegistrationPage](w.as(key, "GET", "/v1/refused", "").want(200)); page.Unnamed != nil {
			t.Errorf("the tenant %s sees %+v", key, page.Unnamed)
		}
	}
}

// TestTheTimelineOfAStrangerObeysItsFilters: an id that is not known and was refused has one
// entry, which a filter may leave out.
func TestTheTimelineOfAStrangerObeysItsFilters(t *testing.T) {
	h := newHarness(t, func(c *Config) { c.Refusals = refused() })
	const message = "msg_0193f2a0-7c1e-7d3a-9b1f-2f6d1c0a9e11"
	for query, want := range map[string]int{
		"": 1, "?since=2026-11-22T08:00:30Z": 1, "?until=2026-11-22T09:00:00Z": 1,
		"?since=2026-11-22T09:00:00Z": 0, "?until=2026-11-22T07:00:00Z": 0, "?message=" + message: 0, "?before=1": 0, "?before=log-1": 0,
	} {
		tl := decode[Timeline](h.call("GET", "/v1/clients/a-1/timeline"+query, "").want(200))
		if len(tl.Items) != want {
			t.Errorf("%q: %d entries, want %d", query, len(tl.Items), want)
		}
	}
}
