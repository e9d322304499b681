package api

import (
	"strings"
	"testing"

	"github.com/longwire/longwire/internal/gatewaytest"
)

// Many HTTP clients resolve the path segments "." and ".." before they send, so
// a push to such a client would reach another resource (SPEC §2.1).
func TestDotsAreNoClientID(t *testing.T) {
	h := newHarness(t)
	for _, id := range []string{".", ".."} {
		escaped := strings.ReplaceAll(id, ".", "%2e")
		h.call("GET", "/v1/clients/"+escaped, "").want(400)
		h.call("DELETE", "/v1/clients/"+escaped, "").want(400)
		h.call("POST", "/v1/clients/"+escaped+"/messages?on_unknown=queue", `{"text":"x"}`).want(400)
		h.call("GET", "/v1/clients?status=all&id="+id, "").want(400)
		h.call("GET", "/v1/messages?client="+id, "").want(400)
		h.call("GET", "/v1/uplinks?client="+id, "").want(400)
		for _, to := range []string{`{"client":"` + id + `"}`, `{"clients":["a","` + id + `"]}`, `{"group":"` + id + `"}`} {
			h.call("POST", "/v1/messages", `{"to":`+to+`,"text":"x","on_unknown":"queue"}`).want(422)
			a := h.call("POST", "/v1/messages/bulk", `{"to":`+to+`,"text":"x","on_unknown":"queue"}`+"\n", "Content-Type", "application/x-ndjson").want(200)
			if line, _, _ := strings.Cut(string(a.body), "\n"); !strings.Contains(line, `"status":422`) {
				t.Errorf("bulk line to %s: %s, want 422", to, line)
			}
		}
	}
	h.known("...")
	h.call("POST", "/v1/clients/.../messages", `{"text":"x"}`).want(202)
}

// A REGISTER cannot have a label "." or ".." (SPEC §4.3), nor can it enter such a group.
func TestDotsAreNoLabelAndNoGroup(t *testing.T) {
	h := newHarness(t)
	h.known("a")
	for _, dots := range []string{".", ".."} {
		labels, groups := `{"labels":{"`+dots+`":"x"}}`, `{"groups":["`+dots+`"]}`
		for _, body := range []string{labels, groups} {
			h.call("PATCH", "/v1/clients/a", body).want(422)
			h.call("POST", "/v1/clients", `{"id":"b",`+body[1:]).want(422)
		}
		h.call("POST", "/v1/messages", `{"text":"x","to":`+labels+`}`).want(422)
		h.call("PUT", "/v1/consumers/c", labels).want(422)
		h.call("GET", "/v1/clients?label="+dots+"=x", "").want(400)
		h.call("GET", "/v1/events?follow=false&label."+dots+"=x", "").want(400)
	}
	h.call("PATCH", "/v1/clients/a", `{"labels":{"...":"x"},"groups":["..."]}`).want(200)
}

// A client's presence says how well it is known.
func TestConfirmedIsThereWhileAClientIsOnline(t *testing.T) {
	h := newHarness(t)
	h.known("away")
	h.device("here", gatewaytest.Options{})
	if c := decode[Client](h.call("GET", "/v1/clients/here", "").want(200)); c.Confirmed == nil || !*c.Confirmed {
		t.Errorf("confirmed = %v, want true", c.Confirmed)
	}
	if c := decode[Client](h.call("GET", "/v1/clients/away", "").want(200)); c.Confirmed != nil {
		t.Errorf("confirmed of an offline client = %v, want none", *c.Confirmed)
	}
	if p := decode[ClientPage](h.call("GET", "/v1/clients?fields=confirmed", "").want(200)); p.Items[0].Confirmed == nil {
		t.Error("fields=confirmed leaves it out")
	}
}
