package api

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/apikey"
)

func TestADryRunShowsTheAudienceAndStoresNothing(t *testing.T) {
	h := newHarness(t)
	for i := range 25 {
		h.known(gateway.ClientID(fmt.Sprintf("c-%02d", i)))
	}
	dry := func(to, more string) DryRun {
		t.Helper()
		return decode[DryRun](h.call("POST", "/v1/messages", `{"to":`+to+`,"text":"x","dry_run":true`+more+`}`, "Idempotency-Key", "k").want(200))
	}
	if d := dry(`{"all":true}`, ""); !d.DryRun || d.Recipients != 25 || d.Failed != 0 || len(d.Sample) != gateway.RecipientSample || d.Now == "" {
		t.Errorf("to all: %+v", d)
	}
	if d := dry(`{"clients":["c-01","c-01","c-02","stranger"]}`, ""); d.Recipients != 3 || d.Failed != 1 || !slices.Equal(d.Sample, []gateway.ClientID{"c-01", "c-02"}) {
		t.Errorf("to three: %+v", d)
	}
	if d := dry(`{"all":true}`, `,"online_only":true`); d.Recipients != 0 {
		t.Errorf("to the clients online: %+v", d)
	}
	if got := decode[MessagePage](h.call("GET", "/v1/messages", "").want(200)); len(got.Items) != 0 {
		t.Errorf("%d messages are stored", len(got.Items))
	}
	h.call("POST", "/v1/messages", `{"to":{"client":"stranger"},"text":"x","dry_run":true}`).wantProblem(404, "client-not-found")
	h.call("POST", "/v1/messages", `{"to":{"all":true},"text":"x","dry_run":true,"max_recipients":24}`).wantProblem(412, "too-many-recipients")
	h.call("POST", "/v1/messages", `{"to":{"client":"c-01"},"text":"x","dry_run":true,"mode":"online"}`).wantProblem(422, "validation-failed")
	// The key is not used up: another push may have it.
	h.call("POST", "/v1/messages", `{"to":{"client":"c-01"},"text":"y"}`, "Idempotency-Key", "k").want(202)
	lines := h.call("POST", "/v1/messages/bulk", `{"to":{"all":true},"text":"x","dry_run":true}`+"\n", "Content-Type", ndjson).want(200)
	if !strings.Contains(string(lines.body), `/dry_run`) || !strings.Contains(string(lines.body), `"accepted":0`) {
		t.Errorf("a dry run in a bulk request is answered %s", lines.body)
	}
}

func TestMaxRecipientsIsJudgedAtAcceptance(t *testing.T) {
	h := newHarness(t)
	h.known("a")
	h.known("b")
	push := func(most string) answer {
		return h.call("POST", "/v1/messages", `{"to":{"all":true},"text":"x","max_recipients":`+most+`}`, "Idempotency-Key", "k")
	}
	p := push("1").wantProblem(412, "too-many-recipients")
	if p.Limit != 1 || !strings.Contains(p.Detail, "2 clients") {
		t.Errorf("problem %+v, want the bound and the audience", p)
	}
	first := decode[Message](push("2").want(202))
	h.known("c")
	again := push("2").want(202)
	if m := decode[Message](again); m.ID != first.ID || again.header.Get("Idempotency-Replayed") != "true" || m.Counts.Total != 2 {
		t.Errorf("a repeat is answered %+v, want the first message", m)
	}
	push("3").wantProblem(422, "idempotency-mismatch")
	push("0").wantProblem(422, "validation-failed")
	push("-1").wantProblem(422, "validation-failed")
	lines := h.call("POST", "/v1/messages/bulk", `{"to":{"all":true},"text":"x","max_recipients":2}`+"\n", "Content-Type", ndjson).want(200)
	if !strings.Contains(string(lines.body), "too-many-recipients") {
		t.Errorf("a bulk line beyond its bound is answered %s", lines.body)
	}
}

func TestADryRunStaysWithinTheTenant(t *testing.T) {
	w := newWorld(t)
	w.key("writer", apikey.Spec{Scopes: apikey.MessagesWrite})
	for key, want := range map[string]string{"a": "a-truck", "b": "b-truck", "g": "g-truck"} {
		d := decode[DryRun](w.as(key, "POST", "/v1/messages", `{"to":{"all":true},"text":"x","dry_run":true}`).want(200))
		if d.Recipients != 1 || !slices.Equal(d.Sample, []gateway.ClientID{gateway.ClientID(want)}) {
			t.Errorf("%s: %+v, want its own client alone", key, d)
		}
	}
	d := decode[DryRun](w.as("a", "POST", "/v1/messages", `{"to":{"clients":["a-truck","b-truck","z-none"]},"text":"x","dry_run":true}`).want(200))
	if d.Recipients != 1 || !slices.Equal(d.Unknown, []gateway.ClientID{"b-truck", "z-none"}) {
		t.Errorf("named: %+v, want a foreign and an unknown client alike", d)
	}
	foreign := w.as("a", "POST", "/v1/messages", `{"to":{"client":"b-truck"},"text":"x","dry_run":true}`).wantProblem(404, "client-not-found")
	if unknown := w.as("a", "POST", "/v1/messages", `{"to":{"client":"b-other"},"text":"x","dry_run":true}`).wantProblem(404, "client-not-found"); strings.ReplaceAll(unknown.Detail, "other", "truck") != foreign.Detail {
		t.Errorf("%q and %q, want the same", foreign.Detail, unknown.Detail)
	}
	if d := decode[DryRun](w.as("writer", "POST", "/v1/messages", `{"to":{"all":true},"text":"x","dry_run":true}`).want(200)); d.Recipients != 3 || d.Sample != nil {
		t.Errorf("a key that may not read clients: %+v, want no sample", d)
	}
}
