package api

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/longwire/longwire/api/internal/problem"
	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/apikey"
)

// fakeTokens keeps tokens in memory.
type fakeTokens struct {
	mu   sync.Mutex
	n    int
	list []StoredToken
	err  error // of each call
}

func (f *fakeTokens) Tokens(id gateway.ClientID) (own []StoredToken, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, t := range f.list {
		if t.Client == id {
			own = append(own, t)
		}
	}
	return own, f.err
}

func (f *fakeTokens) IssueToken(t StoredToken, replaces string) (StoredToken, string, error) {
	if replaces != "" {
		if err := f.RevokeToken(t.Client, replaces); err != nil {
			return t, "", err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.n++
	t.ID = fmt.Sprint("dtk_", f.n)
	f.list = append(f.list, t)
	return t, fmt.Sprint("lwd_secret", f.n), f.err
}

func (f *fakeTokens) RevokeToken(client gateway.ClientID, id string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	before := len(f.list)
	f.list = slices.DeleteFunc(f.list, func(t StoredToken) bool { return t.Client == client && t.ID == id })
	if f.err == nil && len(f.list) == before {
		return ErrNoToken
	}
	return f.err
}

// issue makes a token of a client and returns its id.
func (f *fakeTokens) issue(id gateway.ClientID) string {
	t, _, _ := f.IssueToken(StoredToken{Client: id}, "")
	return t.ID
}

func TestDeviceTokens(t *testing.T) {
	h := newHarness(t)
	const target = "/v1/clients/meter-7/tokens"
	first := decode[DeviceToken](h.call("POST", target, `{"expires_in":"90d","groups":["fleet"],"note":"rack 3"}`).want(201))
	if first.ID == "" || first.Client != "meter-7" || first.Status != "active" || !strings.HasPrefix(first.Token, "lwd_") || first.Note != "rack 3" ||
		fmt.Sprint(first.Groups) != "[fleet]" || first.CreatedAt == "" || first.ExpiresAt == "" {
		t.Errorf("created %+v", first)
	}
	second := decode[DeviceToken](h.call("POST", target, `{}`).want(201))
	list := decode[DeviceTokenList](h.call("GET", target, "").want(200)).Items
	if len(list) != 2 || list[0].ID != first.ID || list[0].Token != "" || list[1].ID != second.ID || list[1].ExpiresAt != "" {
		t.Errorf("listed %+v, want both without their secrets", list)
	}
	third := decode[DeviceToken](h.call("POST", target, `{"replaces":"`+first.ID+`"}`).want(201))
	h.call("DELETE", target+"/"+second.ID, "").want(204)
	h.call("DELETE", target+"/"+second.ID, "").wantProblem(404, problem.TokenNotFound)
	h.call("DELETE", "/v1/clients/meter-8/tokens/"+third.ID, "").wantProblem(404, problem.TokenNotFound)
	h.call("POST", target, `{"replaces":"`+first.ID+`"}`).wantProblem(404, problem.TokenNotFound)
	if list := decode[DeviceTokenList](h.call("GET", target, "").want(200)).Items; len(list) != 1 || list[0].ID != third.ID {
		t.Errorf("left %+v, want the third", list)
	}
	h.call("POST", target, `{"expires_in":"0s"}`).wantProblem(422, problem.ValidationFailed)
	h.call("POST", target, `{"groups":["not a group"]}`).wantProblem(422, problem.ValidationFailed)
	h.call("POST", target, `{"client":"meter-7"}`).wantProblem(400, problem.UnknownField)
	h.call("POST", "/v1/clients/not%20ok/tokens", `{}`).wantProblem(400, problem.InvalidParameter)
}

func TestDeviceTokensCannotBeChanged(t *testing.T) {
	const target = "/v1/clients/meter-7/tokens"
	for _, e := range []struct {
		err    error
		status int
		kind   problem.Kind
	}{
		{ErrTooManyTokens, 409, problem.TooManyTokens},
		{fmt.Errorf("disk full"), 503, ofStore},
		{fmt.Errorf("%w: an input/output error", ErrTokenUnconfirmed), 503, ofStore},
	} {
		tokens := &fakeTokens{err: e.err}
		h := newHarness(t, func(c *Config) { c.Tokens = tokens })
		h.call("POST", target, `{}`).wantProblem(e.status, e.kind)
		if e.kind == ofStore {
			h.call("GET", target, "").wantProblem(e.status, e.kind)
			h.call("DELETE", target+"/dtk_1", "").wantProblem(e.status, e.kind)
		}
	}
	h := newHarness(t, func(c *Config) { c.Tokens = nil })
	h.call("GET", target, "").wantProblem(409, problem.NoTokenFile)
	h.call("POST", target, `{}`).wantProblem(409, problem.NoTokenFile)
	h.call("DELETE", target+"/dtk_1", "").wantProblem(409, problem.NoTokenFile)
}

// A limited key manages the tokens of its own clients, and gives no device a way into
// another tenant's group.
func TestTenantsManageTheirOwnTokens(t *testing.T) {
	w := newWorld(t)
	create := func(key, id, body string) answer { return w.as(key, "POST", "/v1/clients/"+id+"/tokens", body) }
	create("a", "a-new", `{"groups":["yard"]}`).want(201)
	create("a", "b-truck", `{}`).wantProblem(404, ofClient)
	create("a", "a-new", `{"groups":["gang"]}`).wantProblem(403, ofLimits)
	create("g", "g-truck", `{"groups":["gang"]}`).want(201)
	create("g", "g-new", `{}`).wantProblem(404, ofClient)
	foreign := w.tokens.issue("b-truck")
	w.as("a", "DELETE", "/v1/clients/b-truck/tokens/"+foreign, "").wantProblem(404, ofClient)
	w.as("a", "DELETE", "/v1/clients/a-new/tokens/"+foreign, "").wantProblem(404, problem.TokenNotFound)
	w.as("a", "GET", "/v1/clients/b-truck/tokens", "").wantProblem(404, ofClient)
	w.as("clients:write", "GET", "/v1/clients/a-new/tokens", "").wantProblem(403, problem.InsufficientScope)
	if own, _ := w.tokens.Tokens("b-truck"); len(own) != 1 {
		t.Errorf("b-truck has %d tokens, want the one", len(own))
	}
}

// The audit log names the token and never its secret.
func TestDeviceTokensAreRecorded(t *testing.T) {
	w, entries := audited(t)
	w.key("tokens", apikey.Spec{Scopes: apikey.DevicesWrite, ExpiresAt: time.Now().Add(time.Hour)})
	w.as("tokens", "POST", "/v1/clients/a-truck/tokens", `{}`).want(201)
	w.as("tokens", "POST", "/v1/clients/a-truck/tokens", `{"replaces":"dtk_1"}`).want(201)
	w.as("tokens", "POST", "/v1/clients/a-truck/tokens", `{"replaces":"dtk_9"}`).want(404)
	w.as("tokens", "DELETE", "/v1/clients/a-truck/tokens/dtk_2", "").want(204)
	w.as("a", "DELETE", "/v1/clients/b-truck/tokens/dtk_2", "").want(404)
	w.tokens.err = ErrTokenUnconfirmed
	w.as("tokens", "POST", "/v1/clients/a-truck/tokens", `{"replaces":"dtk_3"}`).want(503)
	want := []string{"token.create tokens a-truck dtk_1 ok", "token.revoke tokens a-truck dtk_1 ok", "token.create tokens a-truck dtk_2 ok",
		"token.create tokens a-truck token-not-found", "token.revoke tokens a-truck dtk_2 ok", "token.revoke a b-truck dtk_2 client-not-found",
		"token.revoke tokens a-truck dtk_3 store-unavailable", "token.create tokens a-truck store-unavailable"}
	got := entries()
	got = got[len(got)-len(want):]
	for i, e := range got {
		if line := fmt.Sprint(e["msg"], " ", e["name"], " ", e["target"], " ", e["result"]); line != want[i] || strings.Contains(fmt.Sprint(e), "secret") {
			t.Errorf("entry %d: %s, want %s", i, line, want[i])
		}
	}
}
