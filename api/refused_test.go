package api

import (
	"net/netip"
	"testing"
	"time"

	"github.com/longwire/longwire/api/internal/problem"
	"github.com/longwire/longwire/gateway"
)

// refused are three devices that were, in the order of their ids.
func refused() []gateway.RefusedRegistration {
	at := time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)
	return []gateway.RefusedRegistration{
		{Client: "a-1", Count: 3, FirstAt: at, LastAt: at.Add(time.Minute), Remote: netip.MustParseAddrPort("192.0.2.7:4711"), Dialect: "v2", Reason: "wrong_token"},
		{Client: "a-2", Count: 1, FirstAt: at, LastAt: at, Reason: "unknown_device"},
		{Client: "b-1", Count: 1, FirstAt: at, LastAt: at, Dialect: "v1", Reason: "no_credentials"},
	}
}

func TestRefusedDevicesAreListed(t *testing.T) {
	h := newHarness(t, func(c *Config) { c.Refused = refused })
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
