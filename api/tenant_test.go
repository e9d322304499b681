package api

import (
	"context"
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/longwire/longwire/api/internal/problem"
	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/apikey"
	"github.com/longwire/longwire/internal/engine/memstore"
	"github.com/longwire/longwire/internal/gatewaytest"
	"github.com/longwire/longwire/protocol"
)

// foreign are all the names that a tenant must never read.
func (w *world) foreign(tenant string) []string {
	var names []string
	for other, id := range w.messages {
		if other != tenant {
			names = append(names, id)
		}
	}
	for other := range tenants {
		if other != tenant {
			names = append(names, string(client(other)), "from "+other, "of "+other)
		}
	}
	return append(names, "for all")
}

// TestListsShowWhatIsTheTenantsOnly pages through every list with the smallest
// pages, so that each cursor is used.
func TestListsShowWhatIsTheTenantsOnly(t *testing.T) {
	w := newWorld(t)
	for tenant := range tenants {
		w.message2(tenant)
		for _, list := range []struct {
			target string
			want   string // is in it
		}{
			{"/v1/clients?status=all", string(client(tenant))},
			{"/v1/clients?status=offline", string(client(tenant))},
			{"/v1/clients?status=all&prefix=" + tenant, string(client(tenant))},
			{"/v1/messages?", w.messages[tenant]},
			{"/v1/messages?status=pending", w.messages[tenant]},
			{"/v1/messages/" + w.messages[tenant] + "/deliveries?", string(client(tenant))},
			{"/v1/clients?status=all&order=desc&from=zzz", string(client(tenant))},
			{"/v1/messages?order=asc", w.messages[tenant]},
			{"/v1/messages?fields=status,preview", "of " + tenant},
			{"/v1/uplinks?", "from " + tenant},
			{"/v1/uplinks?order=desc", "from " + tenant},
			{"/v1/uplinks?fields=client,preview", "from " + tenant},
			{"/v1/refused?", string(client(tenant))},
		} {
			text := w.pages(tenant, list.target)
			if !strings.Contains(text, list.want) {
				t.Errorf("%s: %s shows %s, want %s", tenant, list.target, text, list.want)
			}
			for _, name := range w.foreign(tenant) {
				if strings.Contains(text, name) {
					t.Errorf("%s: %s shows %q, which is foreign:\n%s", tenant, list.target, name, text)
				}
			}
		}
	}
	if got := decode[ClientPage](w.as("a", "GET", "/v1/clients?status=all&prefix=b-", "")); len(got.Items) != 0 {
		t.Errorf("a asked for the prefix of b and got %+v", got.Items)
	}
	if got := decode[ClientPage](w.as("g", "GET", "/v1/clients?status=all&group=other", "")); len(got.Items) != 0 {
		t.Errorf("g asked for another group and got %+v", got.Items)
	}
	w.as("unlimited", "PATCH", "/v1/clients/a-truck", `{"groups":["shared"]}`).want(200)
	w.as("unlimited", "PATCH", "/v1/clients/b-truck", `{"groups":["shared","gang"]}`).want(200)
	if got := decode[ClientPage](w.as("g", "GET", "/v1/clients?status=all&group=shared", "")); len(got.Items) != 1 || got.Items[0].ID != "b-truck" {
		t.Errorf("g asked for a group that is another's, too, and got %+v, want who is in both", got.Items)
	}
}

// message2 pushes once more for each tenant, so that lists have several pages.
func (w *world) message2(tenant string) {
	w.t.Helper()
	w.push(tenant, `{"to":{"client":"`+string(client(tenant))+`"},"text":"second"}`)
}

// pages reads a list to its end, a row at a time.
func (w *world) pages(key, target string) string {
	w.t.Helper()
	var all strings.Builder
	cursor := ""
	for range 100 {
		a := w.as(key, "GET", target+"&limit=1"+cursor, "").want(200)
		all.Write(a.body)
		fmt.Fprintln(&all, a.header)
		next := decode[struct {
			Items      []any  `json:"items"`
			NextCursor string `json:"next_cursor"`
			NextAfter  uint64 `json:"next_after"`
			NextBefore uint64 `json:"next_before"`
			PrevCursor string `json:"prev_cursor"`
			Now        string `json:"now"`
			More       bool   `json:"more"`
		}](a)
		switch {
		case next.NextCursor != "":
			cursor = "&cursor=" + next.NextCursor
		case next.NextBefore != 0:
			cursor = fmt.Sprint("&before=", next.NextBefore)
		case next.More:
			cursor = fmt.Sprint("&after=", next.NextAfter)
		default:
			return all.String()
		}
	}
	w.t.Fatalf("%s has no end", target)
	return ""
}

// TestCursorsAreTheKeysOwn: a tenant's cursors tell nothing, and neither another
// key nor a made one is taken.
func TestCursorsAreTheKeysOwn(t *testing.T) {
	w := newWorld(t)
	w.message2("a")
	page := decode[MessagePage](w.as("a", "GET", "/v1/messages?limit=1", "").want(200))
	if page.NextCursor == "" {
		t.Fatal("one message only")
	}
	w.as("a", "GET", "/v1/messages?cursor="+page.NextCursor, "").want(200)
	for _, key := range []string{"b", "g", "unlimited", "messages:read"} {
		w.as(key, "GET", "/v1/messages?cursor="+page.NextCursor, "").wantProblem(400, problem.InvalidCursor)
	}
	made := cursors{}.encode(cursorMessages, w.messages["b"])
	w.as("a", "GET", "/v1/messages?cursor="+made, "").wantProblem(400, problem.InvalidCursor)
	w.as("messages:read", "GET", "/v1/messages?cursor="+made, "").want(200)
	changed := []byte(page.NextCursor)
	changed[len(changed)/2] ^= 1
	w.as("a", "GET", "/v1/messages?cursor="+string(changed), "").wantProblem(400, problem.InvalidCursor)
	w.as("a", "GET", "/v1/clients?cursor="+page.NextCursor, "").wantProblem(400, problem.InvalidCursor)
}

// TestCursorsAreTheListsOwn: a cursor of another list, or one of the right kind
// with a key that cannot be, is none.
func TestCursorsAreTheListsOwn(t *testing.T) {
	w := newWorld(t)
	good := map[byte]string{cursorClients: "a-truck", cursorMessages: w.messages["a"], cursorDeliveries: "a-truck", cursorHistory: "7",
		cursorKeys: w.ids["a"], cursorRefused: "a-truck"}
	bad := map[byte]string{cursorClients: "a b", cursorMessages: "a-truck", cursorDeliveries: "a b", cursorHistory: "x", cursorKeys: "a-truck", cursorRefused: "a b"}
	sealed := cursors{seal: sealOf(w.held("a"))}
	for kind, target := range map[byte]string{
		cursorClients: "/v1/clients", cursorMessages: "/v1/messages", cursorDeliveries: "/v1/messages/" + w.messages["a"] + "/deliveries",
		cursorHistory: "/v1/clients/a-truck/messages", cursorKeys: "/v1/keys", cursorRefused: "/v1/refused",
	} {
		for given, key := range good {
			a := w.as("unlimited", "GET", target+"?cursor="+cursors{}.encode(given, key), "")
			if given == kind {
				a.want(200)
				continue
			}
			a.wantProblem(400, problem.InvalidCursor)
		}
		w.as("unlimited", "GET", target+"?cursor="+cursors{}.encode(kind, bad[kind]), "").wantProblem(400, problem.InvalidCursor)
		if kind != cursorKeys {
			w.as("a", "GET", target+"?cursor="+sealed.encode(kind, good[kind]), "").want(200)
			w.as("a", "GET", target+"?cursor="+sealed.encode(kind, bad[kind]), "").wantProblem(400, problem.InvalidCursor)
		}
	}
}

// held returns the key itself.
func (w *world) held(name string) *apikey.Key {
	w.t.Helper()
	k, err := w.keys.Get(w.ids[name])
	if err != nil {
		w.t.Fatal(err)
	}
	return k
}

// recipients are the clients of a message's deliveries.
func (w *world) recipients(id string) []string {
	w.t.Helper()
	var names []string
	for _, d := range decode[DeliveryPage](w.as("unlimited", "GET", "/v1/messages/"+id+"/deliveries", "").want(200)).Items {
		names = append(names, d.Client+" "+d.Status)
	}
	slices.Sort(names)
	return names
}

// TestPushesReachTheTenantsOnly: an audience is narrowed to the limit.
func TestPushesReachTheTenantsOnly(t *testing.T) {
	w := newWorld(t)
	for tenant := range tenants {
		w.as("unlimited", "PATCH", "/v1/clients/"+string(client(tenant)), `{"labels":{"site":"north"}}`).want(200)
	}
	w.as("unlimited", "PATCH", "/v1/clients/b-truck", `{"groups":["shared","gang"]}`).want(200)
	w.as("unlimited", "PATCH", "/v1/clients/a-truck", `{"groups":["shared"]}`).want(200)
	for _, push := range []struct {
		key, to string
		want    []string
	}{
		{"a", `{"all":true}`, []string{"a-truck queued"}},
		{"a", `{"labels":{"site":"north"}}`, []string{"a-truck queued"}},
		{"a", `{"group":"shared"}`, []string{"a-truck queued"}},
		{"a", `{"group":"gang"}`, nil},
		{"b", `{"group":"gang"}`, []string{"b-truck queued"}},
		{"g", `{"all":true}`, []string{"b-truck queued", "g-truck queued"}},
		{"g", `{"group":"gang"}`, []string{"b-truck queued", "g-truck queued"}},
		{"g", `{"group":"shared"}`, []string{"b-truck queued"}},
		{"g", `{"labels":{"site":"north"}}`, []string{"b-truck queued", "g-truck queued"}},
		{"unlimited", `{"group":"gang"}`, []string{"b-truck queued", "g-truck queued"}},
	} {
		id := w.push(push.key, `{"to":`+push.to+`,"text":"x"}`)
		if got := w.recipients(id); !slices.Equal(got, push.want) {
			t.Errorf("%s to %s reached %v, want %v", push.key, push.to, got, push.want)
		}
	}
	on := w.device("b-2", gatewaytest.Options{React: gatewaytest.FlushOnly})
	defer on.Disconnect(gateway.ReasonClientClosed)
	if got := w.recipients(w.push("a", `{"to":{"all":true},"online_only":true,"text":"x"}`)); got != nil {
		t.Errorf("a to all online reached %v, want nobody", got)
	}
}

// TestForeignNamesInAListAreUnknown: those within the limit get the message, the
// others are named, and nothing is stored for them.
func TestForeignNamesInAListAreUnknown(t *testing.T) {
	w := newWorld(t)
	for _, queue := range []string{"", `,"on_unknown":"queue"`} {
		m := decode[Message](w.as("a", "POST", "/v1/messages", `{"to":{"clients":["a-truck","b-truck","z-truck","b-truck"]},"text":"x"`+queue+`}`).want(202))
		if !slices.Equal(m.Unknown, []gateway.ClientID{"b-truck", "z-truck"}) || m.Counts.Total != 1 {
			t.Errorf("unknown %v of %d, want b-truck and z-truck beside one recipient", m.Unknown, m.Counts.Total)
		}
		if got := w.recipients(m.ID); !slices.Equal(got, []string{"a-truck queued"}) {
			t.Errorf("reached %v, want a-truck", got)
		}
		w.as("a", "POST", "/v1/messages", `{"to":{"clients":["b-truck","z-truck"]},"text":"x"`+queue+`}`).wantProblem(404, problem.Kind(gateway.CodeClientNotFound))
	}
	w.as("a", "POST", "/v1/clients/b-9/messages?on_unknown=queue", "x").wantProblem(404, problem.Kind(gateway.CodeClientNotFound))
	w.as("g", "POST", "/v1/clients/g-9/messages?on_unknown=queue", "x").wantProblem(404, problem.Kind(gateway.CodeClientNotFound))
	w.as("a", "POST", "/v1/clients/a-9/messages?on_unknown=queue", "x").want(202)
	for _, id := range []string{"b-9", "z-truck", "g-9"} {
		w.as("unlimited", "GET", "/v1/clients/"+id, "").wantProblem(404, problem.Kind(gateway.CodeClientNotFound))
	}
	lines := `{"to":{"client":"b-truck"},"text":"x"}` + "\n" + `{"to":{"client":"a-truck"},"text":"x"}` + "\n" + `{"to":{"clients":["a-truck","b-truck"]},"text":"x"}`
	answer := string(w.as("a", "POST", "/v1/messages/bulk", lines, "Content-Type", ndjson).want(200).body)
	for i, want := range []string{`"status":404`, `"status":202`, `"unknown":["b-truck"]`} {
		if line := strings.Split(answer, "\n")[i]; !strings.Contains(line, want) {
			t.Errorf("bulk line %d: %s, want %s", i+1, line, want)
		}
	}
	online := w.device("b-3", gatewaytest.Options{})
	defer online.Disconnect(gateway.ReasonClientClosed)
	foreign := w.as("a", "POST", "/v1/clients/b-3/messages?mode=online", "x")
	unknown := w.as("a", "POST", "/v1/clients/z-3/messages?mode=online", "x")
	if foreign.status != 404 || strings.ReplaceAll(same(foreign), "b-3", "z-3") != same(unknown) {
		t.Errorf("online to a foreign client: %s, want %s", same(foreign), same(unknown))
	}
	bulk := string(w.as("a", "POST", "/v1/messages/bulk", `{"to":{"client":"b-3"},"text":"x","mode":"online"}`, "Content-Type", ndjson).want(200).body)
	if !strings.Contains(bulk, `"status":404`) || len(online.Transmissions()) != 0 {
		t.Errorf("online in a bulk request to a foreign client: %s; it got %v", bulk, online.Transmissions())
	}
}

// TestMessagesOfOthersToATenantsClient: what is for its own client alone a
// tenant may see and not cancel; of what is for many it sees its own delivery.
func TestMessagesOfOthersToATenantsClient(t *testing.T) {
	w := newWorld(t)
	single := w.push("unlimited", `{"to":{"client":"a-truck"},"text":"for you"}`)
	if m := decode[Message](w.as("a", "GET", "/v1/messages/"+single, "").want(200)); text(m.Text) != "for you" {
		t.Errorf("got %+v, want the message to its client", m)
	}
	w.as("a", "DELETE", "/v1/messages/"+single, "").wantProblem(403, problem.Kind(gateway.CodeUnauthorized))
	w.as("b", "GET", "/v1/messages/"+single, "").wantProblem(404, problem.Kind(gateway.CodeMessageNotFound))
	w.as("b", "DELETE", "/v1/messages/"+single, "").wantProblem(404, problem.Kind(gateway.CodeMessageNotFound))
	if m := decode[Message](w.as("unlimited", "GET", "/v1/messages/"+single, "").want(200)); m.Status != "queued" {
		t.Errorf("after the refused cancels it is %s", m.Status)
	}
	history := w.as("a", "GET", "/v1/clients/a-truck/messages", "").want(200)
	if !strings.Contains(string(history.body), w.messages["all"]) || strings.Contains(string(history.body), "counts") {
		t.Errorf("history %s, want the message to all without its counts", history.body)
	}
	for _, target := range []string{"", "/deliveries", "?wait=1s"} {
		w.as("a", "GET", "/v1/messages/"+w.messages["all"]+target, "").wantProblem(404, problem.Kind(gateway.CodeMessageNotFound))
	}
	w.as("a", "DELETE", "/v1/messages/"+w.messages["a"], "").want(200)
}

// TestAWiderPrefixSeesTheNarrower: a limit within a limit.
func TestAWiderPrefixSeesTheNarrower(t *testing.T) {
	w := newWorld(t)
	w.key("a-truck", apikey.Spec{Scopes: limitable, Limit: apikey.Limit{Prefix: "a-truck"}})
	narrow := w.push("a-truck", `{"to":{"all":true},"text":"x"}`)
	w.as("a", "GET", "/v1/messages/"+narrow, "").want(200)
	w.as("a-truck", "GET", "/v1/messages/"+w.messages["a"], "").wantProblem(404, problem.Kind(gateway.CodeMessageNotFound))
	w.as("a", "DELETE", "/v1/messages/"+narrow, "").want(200)
}

// TestIdempotencyKeysAreTheKeysOwn: the same key of two callers is two requests.
func TestIdempotencyKeysAreTheKeysOwn(t *testing.T) {
	w := newWorld(t)
	w.key("a2", apikey.Spec{Scopes: limitable, Limit: tenants["a"]})
	body := `{"to":{"client":"a-truck"},"text":"x"}`
	first := decode[Message](w.as("a", "POST", "/v1/messages", body, "Idempotency-Key", "k").want(202))
	again := w.as("a", "POST", "/v1/messages", body, "Idempotency-Key", "k").want(202)
	if decode[Message](again).ID != first.ID || again.header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("the repeat is %s, want %s replayed", again.body, first.ID)
	}
	if other := decode[Message](w.as("a2", "POST", "/v1/messages", body, "Idempotency-Key", "k").want(202)); other.ID == first.ID {
		t.Error("another key's Idempotency-Key was replayed")
	}
	line := func(key string) string {
		a := w.as(key, "POST", "/v1/messages/bulk", `{"to":{"client":"a-truck"},"text":"x","key":"k"}`, "Content-Type", ndjson).want(200)
		return string(a.body)
	}
	if got := line("a"); !strings.Contains(got, first.ID) || !strings.Contains(got, `"replayed":true`) {
		t.Errorf("in a bulk line the key is another one: %s", got)
	}
	if got := line("unlimited"); strings.Contains(got, first.ID) || !strings.Contains(got, `"status":202`) {
		t.Errorf("another key's was replayed in a bulk line: %s", got)
	}
}

// TestGroupsAreNotATenantsToEnter: a group that a key is limited to is a right.
func TestGroupsAreNotATenantsToEnter(t *testing.T) {
	w := newWorld(t)
	refused := func(key, id, body string) {
		t.Helper()
		w.as(key, "PATCH", "/v1/clients/"+id, body).wantProblem(403, problem.Kind(gateway.CodeUnauthorized))
	}
	refused("a", "a-truck", `{"groups":["gang"]}`)
	refused("g", "g-truck", `{"groups":[]}`)
	refused("g", "g-truck", `{"groups":null}`)
	refused("g", "g-truck", `{"groups":["gang","more"]}`)
	w.as("g", "PATCH", "/v1/clients/g-truck", `{"groups":["gang"],"labels":{"ok":"yes"}}`).want(200)
	w.as("a", "PATCH", "/v1/clients/a-truck", `{"groups":["mine"]}`).want(200)
	w.as("unlimited", "PATCH", "/v1/clients/a-truck", `{"groups":["mine","gang"]}`).want(200)
	w.as("a", "PATCH", "/v1/clients/a-truck", `{"groups":["gang"]}`).want(200) // it is in already
	w.as("g", "GET", "/v1/clients/a-truck", "").want(200)
}

// TestAGroupIsGuardedBetweenTwoKeys: a tenant's only key is revoked before the next one is
// made, and no other tenant moves a client into its group.
func TestAGroupIsGuardedBetweenTwoKeys(t *testing.T) {
	w := newWorld(t)
	w.as("unlimited", "DELETE", "/v1/keys/"+w.ids["g"], "").want(204)
	w.as("a", "PATCH", "/v1/clients/a-truck", `{"groups":["gang"]}`).wantProblem(403, problem.Kind(gateway.CodeUnauthorized))
	w.key("g", apikey.Spec{Scopes: limitable, Limit: apikey.Limit{Group: "gang"}})
	w.as("g", "GET", "/v1/clients/a-truck", "").wantProblem(404, "client-not-found")
}

// TestAKeyMakesNoMoreClientsKnownThanAreFree, and the operator and others find room.
func TestAKeyMakesNoMoreClientsKnownThanAreFree(t *testing.T) {
	store := memstore.New(memstore.Options{MaxClients: 20})
	t.Cleanup(func() { store.Close() })
	w := &world{harness: &harness{t: t, store: store, gateway: gatewaytest.New(t, store, gateway.Config{})},
		keys: apikey.NewKeyset(), secrets: map[string]string{}, ids: map[string]string{}}
	w.handler = New(Config{Gateway: w.gateway, Authorizer: w.keys})
	w.key("messages:write", apikey.Spec{Scopes: apikey.MessagesWrite})
	w.key("a", apikey.Spec{Scopes: limitable, Limit: tenants["a"]})
	w.key("b", apikey.Spec{Scopes: limitable, Limit: tenants["b"]})
	body := func(id string) string { return `{"to":{"client":"` + id + `"},"text":"x","on_unknown":"queue"}` }
	for i := range 10 {
		w.as("a", "POST", "/v1/messages", body(fmt.Sprint("a-", i))).want(202)
	}
	for range 2 {
		p := w.as("a", "POST", "/v1/messages", body("a-more")).wantProblem(409, problem.Kind(gateway.CodeTooManyClients))
		if p.Limit != 20 {
			t.Errorf("limit %d, want 20", p.Limit)
		}
	}
	w.as("messages:write", "POST", "/v1/messages", body("x-1")).want(202)
	w.as("b", "POST", "/v1/messages", body("b-1")).want(202)
	w.device("c-1", gatewaytest.Options{Hello: gateway.Hello{Client: "c-1"}})
	w.as("a", "DELETE", "/v1/clients?forget=true&prefix=a-&confirm=10", "").want(200)
	w.as("a", "POST", "/v1/messages", body("a-more")).want(202)
}

// TestATenantOfAGroupMakesNoMoreClientsKnownThanAreFree, whether its key creates them or
// its devices come, and the operator's members count for it.
func TestATenantOfAGroupMakesNoMoreClientsKnownThanAreFree(t *testing.T) {
	keys := apikey.NewKeyset()
	store := memstore.New(memstore.Options{MaxClients: 20})
	t.Cleanup(func() { store.Close() })
	cfg := gateway.Config{DeviceGroups: []string{"gang"}, GuardedGroups: keys.GuardedGroups,
		AccountOf: func(id gateway.ClientID, groups []string) string { return keys.AccountOf(string(id), groups) }}
	w := &world{harness: &harness{t: t, store: store, gateway: gatewaytest.New(t, store, cfg)},
		keys: keys, secrets: map[string]string{}, ids: map[string]string{}}
	w.handler = New(Config{Gateway: w.gateway, Authorizer: w.keys})
	w.key("unlimited", apikey.Spec{Scopes: apikey.Admin})
	w.key("g", apikey.Spec{Scopes: limitable, Limit: tenants["g"]})
	w.key("b", apikey.Spec{Scopes: limitable, Limit: tenants["b"]})
	create := func(key, id, more string) answer {
		return w.as(key, "POST", "/v1/clients", `{"id":"`+id+`"`+more+`}`)
	}
	for i := range 4 {
		create("g", fmt.Sprint("g-", i), "").want(201)
	}
	create("unlimited", "op-1", `,"groups":["gang"]`).want(201)
	create("unlimited", "op-2", "").want(201)
	w.as("unlimited", "PATCH", "/v1/clients/op-2", `{"groups":["gang"]}`).want(200)
	for i := range 4 {
		id := gateway.ClientID(fmt.Sprint("d-", i))
		w.device(id, gatewaytest.Options{Hello: gateway.Hello{Client: id, Groups: []string{"gang"}}})
	}
	create("g", "g-more", "").wantProblem(409, problem.Kind(gateway.CodeTooManyClients))
	create("b", "b-1", "").want(201)
	w.as("unlimited", "PATCH", "/v1/clients/op-2", `{"groups":[]}`).want(200)
	w.as("unlimited", "PATCH", "/v1/clients/d-3", `{"groups":["other"]}`).want(200)
	create("g", "g-more", "").want(201)
}

// TestPurgeTakesTheRightToCancel beside the one to disconnect.
func TestPurgeTakesTheRightToCancel(t *testing.T) {
	w := newWorld(t)
	w.as("clients:write", "DELETE", "/v1/clients/a-truck?purge=true", "").wantProblem(403, problem.InsufficientScope)
	if c := decode[Client](w.as("unlimited", "GET", "/v1/clients/a-truck", "")); c.Queued == 0 {
		t.Error("the queue was purged")
	}
	w.as("a", "DELETE", "/v1/clients/a-truck?purge=true", "").want(204)
}

// TestATenantForgetsItsOwnClientsOnly: no client beyond the limit, and none that is also
// in another tenant's group.
func TestATenantForgetsItsOwnClientsOnly(t *testing.T) {
	w := newWorld(t)
	w.as("clients:write", "DELETE", "/v1/clients/a-truck?forget=true", "").wantProblem(403, problem.InsufficientScope)
	w.as("clients:write", "DELETE", "/v1/clients?forget=true&prefix=a-&confirm=1", "").wantProblem(403, problem.InsufficientScope)
	w.as("b", "DELETE", "/v1/clients/a-truck?forget=true", "").wantProblem(404, "client-not-found")
	w.as("b", "DELETE", "/v1/clients?forget=true&prefix=a-&confirm=1", "").wantProblem(400, problem.InvalidParameter)
	w.key("h", apikey.Spec{Scopes: limitable, Limit: apikey.Limit{Group: "band"}})
	w.as("unlimited", "PATCH", "/v1/clients/g-truck", `{"groups":["gang","band"]}`).want(200)
	w.as("g", "DELETE", "/v1/clients/g-truck?forget=true", "").wantProblem(403, problem.Kind(gateway.CodeUnauthorized))
	w.as("g", "DELETE", "/v1/clients?forget=true&status=all&confirm=1", "").wantProblem(403, problem.Kind(gateway.CodeUnauthorized))
	w.as("unlimited", "PATCH", "/v1/clients/g-truck", `{"groups":["gang"]}`).want(200)
	w.as("g", "DELETE", "/v1/clients?forget=true&status=all&confirm=1", "").want(200)
	w.as("a", "DELETE", "/v1/clients/a-truck?forget=true", "").want(204)
	for _, id := range []string{"a-truck", "g-truck"} {
		w.as("unlimited", "GET", "/v1/clients/"+id, "").wantProblem(404, "client-not-found")
	}
	w.as("unlimited", "GET", "/v1/clients/b-truck", "").want(200)
}

// TestStreamsShowWhatIsTheTenantsOnly: live, and from a position that another
// key has seen.
func TestStreamsShowWhatIsTheTenantsOnly(t *testing.T) {
	w := newWorld(t)
	live := w.subscribe("/v1/events", "Authorization", "Bearer "+w.secrets["a"])
	group := w.subscribe("/v1/events", "Authorization", "Bearer "+w.secrets["g"])
	all := w.subscribe("/v1/events", "Authorization", "Bearer "+w.secrets["events:read"])
	for _, r := range []*reader{live, group, all} {
		r.block() // retry
	}
	for _, tenant := range []string{"b", "g", "a"} {
		w.as("unlimited", "DELETE", "/v1/messages/"+w.messages[tenant], "").want(200)
		l := w.device(client(tenant), gatewaytest.Options{React: gatewaytest.FlushOnly, Hello: gateway.Hello{Client: client(tenant)}})
		l.Disconnect(gateway.ReasonClientClosed)
	}
	first := all.event()
	for _, stream := range []struct {
		r      *reader
		tenant string
	}{{live, "a"}, {group, "g"}} {
		seen := map[string]bool{}
		for !seen["client.disconnected"] || !seen["message.completed"] {
			e := stream.r.event()
			seen[e.Type] = true
			if e.Data.Client != string(client(stream.tenant)) && e.Data.MessageID != w.messages[stream.tenant] {
				t.Errorf("%s hears %+v, which is foreign", stream.tenant, e)
			}
		}
	}
	resumed := w.subscribe("/v1/events?after="+first.Sequence, "Authorization", "Bearer "+w.secrets["a"])
	resumed.block()
	if e := resumed.event(); e.Data.Client != "a-truck" && e.Data.MessageID != w.messages["a"] {
		t.Errorf("resumed behind the first event of all: %+v, want its own next one", e)
	}
}

// TestEventsShowPayloadsToReadersOfMessages: what a device sent and answered takes
// messages:read, in the event stream as in /v1/uplinks.
func TestEventsShowPayloadsToReadersOfMessages(t *testing.T) {
	w := newWorld(t)
	readers := map[string]*reader{}
	for _, key := range []string{"events:read", "a"} {
		readers[key] = w.subscribe("/v1/events?client=a-truck&types=message.received,message.acked", "Authorization", "Bearer "+w.secrets[key])
		readers[key].block() // retry
	}
	o := answering(gateway.AckOK, "secret answer")
	o.Hello.Client = "a-truck"
	l := w.device("a-truck", o)
	if err := l.Session.Received(t.Context(), 2, []byte("secret data")); err != nil {
		t.Fatal(err)
	}
	w.as("a", "POST", "/v1/clients/a-truck/messages?wait=5s", `{"text":"x"}`).want(200)
	for key, r := range readers {
		shown := map[string]string{}
		for shown["message.received"] == "" || shown["message.acked"] == "" {
			e := r.event()
			if u := e.Data.Uplink; u != nil {
				shown[e.Type] = "text " + text(u.Text)
			} else {
				shown[e.Type] = "result " + text(e.Data.Result)
			}
		}
		want := map[string]string{"message.received": "text secret data", "message.acked": "result secret answer"}
		if key == "events:read" {
			want = map[string]string{"message.received": "text <none>", "message.acked": "result <none>"}
		}
		if diff := cmp.Diff(want, shown); diff != "" {
			t.Errorf("with the scopes of %s (-want +got):\n%s", key, diff)
		}
	}
}

// TestAStreamEndsWithItsKey within the keep-alive interval, or at the next event.
func TestAStreamEndsWithItsKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		synctest.Wait() // the gateway has passed on the events of the world
		stream := w.subscribe("/v1/events", "Authorization", "Bearer "+w.secrets["a"])
		stream.block()
		if err := w.keys.Revoke(w.ids["a"]); err != nil {
			t.Fatal(err)
		}
		w.device("a-truck", gatewaytest.Options{})
		select {
		case <-stream.ended:
		case <-time.After(time.Minute):
			t.Fatal("the stream of a revoked key goes on")
		}
		for b := range stream.blocks {
			t.Errorf("it still heard %q", b)
		}
	})
}

// TestASilentStreamEndsWithItsKey: where nothing happens, with the keep-alive.
func TestASilentStreamEndsWithItsKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		stream := w.subscribe("/v1/events", "Authorization", "Bearer "+w.secrets["unlimited"])
		stream.block()
		if err := w.keys.Revoke(w.ids["unlimited"]); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		<-stream.ended
		if took := time.Since(began); took > keepAlive {
			t.Errorf("it ended after %v, want at most %v", took, keepAlive)
		}
	})
}

// deadlineWriter keeps the deadline of the last write.
type deadlineWriter struct {
	*httptest.ResponseRecorder
	deadline time.Time
}

func (w *deadlineWriter) SetWriteDeadline(t time.Time) error { w.deadline = t; return nil }

// The last chunk is written after the handler. If the deadline of the last send has passed,
// the connection is closed without it, and the reader sees a broken answer.
func TestAStreamHasTimeForItsLastChunk(t *testing.T) {
	for _, target := range []string{"/v1/events", "/v1/events?types=client.forgotten", "/v1/clients/a-truck/timeline?follow=true"} {
		for _, silent := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s silent=%t", strings.ReplaceAll(target, "/", "|"), silent), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t)
					synctest.Wait() // the gateway has passed on the events of the world
					ctx, leave := context.WithCancel(t.Context())
					defer leave()
					r := newRequest(ctx, "GET", target, "")
					r.Header.Set("Authorization", "Bearer "+w.secrets["a"])
					out, ended := &deadlineWriter{ResponseRecorder: httptest.NewRecorder()}, make(chan struct{})
					go func() {
						defer close(ended)
						w.handler.ServeHTTP(out, r)
					}()
					synctest.Wait()
					if err := w.keys.Revoke(w.ids["a"]); err != nil {
						t.Fatal(err)
					}
					if !silent {
						time.Sleep(streamTimeout + time.Second)
						w.device("a-truck", gatewaytest.Options{})
						w.framed("a-truck", protocol.FrameData, false, "DATA 1 x\n")
					}
					<-ended
					if left := time.Until(out.deadline); out.Code != 200 || left <= 0 {
						t.Errorf("the answer %d ends %v after the deadline", out.Code, -left)
					}
				})
			})
		}
	}
}

// TestTotalsAreNotATenants: a limited key cannot have the scopes for them. With a limit to
// a prefix it may read the numbers of its own clients.
func TestTotalsAreNotATenants(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		scopes, limit string
		status        int
	}{
		{`["admin"]`, `"prefix":"a-"`, 422}, {`["admin"]`, `"group":"gang"`, 422},
		{`["clients:read","admin"]`, `"prefix":"a-"`, 422}, {`["clients:read","admin"]`, `"group":"gang"`, 422},
		{`["metrics:read"]`, `"group":"gang"`, 422}, {`["metrics:read"]`, `"prefix":"a-"`, 201},
	} {
		a := w.as("unlimited", "POST", "/v1/keys", `{"name":"x","scopes":`+c.scopes+`,`+c.limit+`}`)
		if a.want(c.status); c.status == 422 {
			a.wantProblem(422, problem.ValidationFailed)
		}
	}
}
