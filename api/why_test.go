package api

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/longwire/longwire/api/internal/problem"
	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/gatewaytest"
)

// refusing is a gateway that has refused the device a-lost.
func refusing(c *Config) {
	at := time.Now()
	c.Refusals = &fakeRefusals{{Client: "a-lost", Count: 2, FirstAt: at, LastAt: at, Reason: "wrong_token"}}
}

// An id that is not known, and was refused or forgotten, is shown to those who may see
// unknown ids. For all others it is any unknown id.
func TestWhyOfUnknownIDsIsForThoseWhoMaySeeThem(t *testing.T) {
	w := newWorld(t, refusing)
	w.as("unlimited", "DELETE", "/v1/clients/a-truck?forget=true", "").want(204)
	for id, code := range map[string]string{"a-lost": "refused", "a-truck": "forgotten"} {
		for _, key := range []string{"unlimited", "a"} {
			if got := decode[ClientWhy](w.as(key, "GET", "/v1/clients/"+id+"/why", "").want(200)); got.Code != code {
				t.Errorf("%s hears of %s %+v, want %s", key, id, got, code)
			}
		}
		for _, key := range []string{"b", "g"} {
			w.as(key, "GET", "/v1/clients/"+id+"/why", "").wantProblem(404, "client-not-found")
		}
	}
	w.as("unlimited", "GET", "/v1/clients/never/why", "").wantProblem(404, "client-not-found")
	w.as("messages:read", "GET", "/v1/clients/a-truck/why", "").wantProblem(403, problem.InsufficientScope)
}

// A tenant that has lost a client keeps the status of its messages, and hears nothing more
// of the client by them.
func TestWhyAfterTheClientHasLeftTheTenant(t *testing.T) {
	w := newWorld(t)
	m := decode[Message](w.as("g", "POST", "/v1/clients/g-truck/messages", "x").want(202))
	if got := decode[MessageWhy](w.as("g", "GET", "/v1/messages/"+m.ID+"/why", "").want(200)); got.Client != "g-truck" {
		t.Errorf("%+v", got)
	}
	w.as("unlimited", "PATCH", "/v1/clients/g-truck", `{"groups":[]}`).want(200)
	w.as("g", "GET", "/v1/messages/"+m.ID, "").want(200)
	w.as("g", "GET", "/v1/messages/"+m.ID+"/why", "").wantProblem(404, "message-not-found")
	w.as("g", "GET", "/v1/messages/"+m.ID+"/deliveries/g-truck", "").wantProblem(404, "message-not-found")
	w.as("g", "DELETE", "/v1/clients/g-truck/messages", "").wantProblem(404, "client-not-found")
	w.as("unlimited", "DELETE", "/v1/messages/"+m.ID, "").want(200)
	if got := decode[MessageWhy](w.as("g", "GET", "/v1/messages/"+m.ID+"/why", "").want(200)); got.Code != "canceled" || got.Facts.OfflineSince != "" {
		t.Errorf("after the end: %+v", got)
	}
}

// An empty through would cancel everything by mistake.
func TestCancelQueueRefusesAnEmptyThrough(t *testing.T) {
	w := newWorld(t)
	for _, through := range []string{"through=", "through=7", "through=msg_1&through=msg_2", "trough=msg_1"} {
		w.as("unlimited", "DELETE", "/v1/clients/a-truck/messages?"+through, "").wantProblem(400, problem.InvalidParameter)
	}
	w.as("unlimited", "DELETE", "/v1/clients/a-truck/messages?through=msg_none", "").wantProblem(404, "message-not-found")
	w.as("unlimited", "DELETE", "/v1/clients/a-truck/messages?through="+w.messages["b"], "").wantProblem(404, "message-not-found")
	if c := decode[Client](w.as("unlimited", "GET", "/v1/clients/a-truck", "")); c.Queued == 0 {
		t.Error("the queue was canceled")
	}
	w.as("a", "POST", "/v1/clients/a-truck/messages", "later").want(202)
	before := decode[Client](w.as("a", "GET", "/v1/clients/a-truck", "")).Queued
	done := decode[QueueCanceled](w.as("a", "DELETE", "/v1/clients/a-truck/messages?through="+w.messages["a"], "").want(200))
	if c := decode[Client](w.as("a", "GET", "/v1/clients/a-truck", "")); done.Canceled != before-1 || c.Queued != 1 {
		t.Errorf("%+v of %d, and %d are queued; want the later one alone", done, before, c.Queued)
	}
}

// A queue can have messages from before the client came into the group: another tenant's.
func TestAGroupCancelsWhatCameSinceTheClientJoined(t *testing.T) {
	for _, call := range []string{"/v1/clients/b-truck/messages", "/v1/clients/b-truck?purge=true"} {
		w := newWorld(t)
		old := decode[Message](w.as("b", "POST", "/v1/clients/b-truck/messages", "of b").want(202))
		w.as("unlimited", "PATCH", "/v1/clients/b-truck", `{"groups":["gang"]}`).want(200)
		before := decode[Client](w.as("unlimited", "GET", "/v1/clients/b-truck", "").want(200)).Queued
		w.as("g", "DELETE", "/v1/clients/b-truck/messages?through="+old.ID, "").wantProblem(404, "message-not-found")
		one := decode[Message](w.as("g", "POST", "/v1/clients/b-truck/messages", "of g").want(202))
		two := decode[Message](w.as("b", "POST", "/v1/clients/b-truck/messages", "of b, later").want(202))
		if a := w.as("g", "DELETE", call, ""); a.status == 200 {
			if done := decode[QueueCanceled](a); done.Canceled != 2 {
				t.Errorf("%s: %+v, want the two messages since then", call, done)
			}
		}
		for id, want := range map[string]string{old.ID: "queued", one.ID: "canceled", two.ID: "canceled"} {
			if got := decode[Message](w.as("unlimited", "GET", "/v1/messages/"+id, "").want(200)).Status; got != want {
				t.Errorf("%s: %s is %s, want %s", call, id, got, want)
			}
		}
		if now := decode[Client](w.as("unlimited", "GET", "/v1/clients/b-truck", "").want(200)).Queued; now != before {
			t.Errorf("%s: %d deliveries are queued, want the %d from before", call, now, before)
		}
	}
}

// The addresses of two devices with one id are for those who may see the client.
func TestClaimsAreForThoseWhoMaySeeTheClient(t *testing.T) {
	w := newWorld(t)
	for _, addr := range []string{"192.0.2.7:1", "198.51.100.9:2", "192.0.2.7:3"} {
		remote := netip.MustParseAddrPort(addr)
		w.device("a-truck", gatewaytest.Options{Remote: remote, Hello: gateway.Hello{Remote: remote, Dialect: "text"}})
	}
	for _, key := range []string{"unlimited", "clients:read", "a"} {
		got := decode[ClientWhy](w.as(key, "GET", "/v1/clients/a-truck/why", "").want(200))
		if c := got.Facts.Claims; got.Code != "online_flapping" || len(c) != 2 || c[0].RemoteAddr != "192.0.2.7:3" || c[0].Count != 2 || c[1].RemoteAddr != "198.51.100.9:2" {
			t.Errorf("%s hears %+v, want both addresses", key, got)
		}
	}
	for _, key := range []string{"b", "g"} {
		w.as(key, "GET", "/v1/clients/a-truck/why", "").wantProblem(404, ofClient)
	}
	a := w.as("messages:read", "GET", "/v1/messages/"+w.messages["a"]+"/why?client=a-truck", "").want(200)
	if strings.Contains(string(a.body), "192.0.2.7") {
		t.Errorf("a key without clients:read hears the address: %s", a.body)
	}
}
