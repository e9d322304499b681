package api

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/longwire/longwire/api/internal/problem"
	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/gatewaytest"
)

// page reads a page of clients and returns their ids.
func (w *world) clientPage(key, query string) (string, ClientPage) {
	w.t.Helper()
	page := decode[ClientPage](w.as(key, "GET", "/v1/clients?"+query, "").want(200))
	var ids []string
	for _, c := range page.Items {
		ids = append(ids, strings.TrimPrefix(c.ID, "a-"))
	}
	return strings.Join(ids, " "), page
}

// TestClientsAreReadBothWays: from any id, a reader goes down and up again over the same
// pages, in both orders, as the operator and as a tenant.
func TestClientsAreReadBothWays(t *testing.T) {
	w := newWorld(t)
	for i := range 9 {
		w.known(gateway.ClientID(fmt.Sprintf("a-%d", i)))
	}
	for _, key := range []string{"unlimited", "a"} {
		for order, want := range map[string][]string{"asc": {"3 4 5", "6 7 8", "truck"}, "desc": {"3 2 1", "0"}} {
			base := "status=all&prefix=a-&limit=3&order=" + order
			ids, page := w.clientPage(key, base+"&from=a-3")
			if page.Now == "" {
				t.Error("the page does not say when it was made")
			}
			got := []string{ids}
			for page.NextCursor != "" {
				ids, page = w.clientPage(key, base+"&from=a-3&cursor="+page.NextCursor)
				got = append(got, ids)
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s, %s: %q, want %q", key, order, got, want)
			}
			var up []string
			for page.PrevCursor != "" {
				ids, page = w.clientPage(key, base+"&from=a-3&cursor="+page.PrevCursor)
				up = append(up, ids)
			}
			wantUp := map[string][]string{"asc": {"6 7 8", "3 4 5", "0 1 2"}, "desc": {"3 2 1", "6 5 4", "truck 8 7"}}[order]
			if !slices.Equal(up, wantUp) {
				t.Errorf("%s, %s: back over %q, want %q", key, order, up, wantUp)
			}
			ids, _ = w.clientPage(key, base+"&cursor="+page.NextCursor)
			if ids != wantUp[1] {
				t.Errorf("%s, %s: on again %q, want %q", key, order, ids, wantUp[1])
			}
		}
	}
	ids, page := w.clientPage("a", "status=all&from=zzz")
	if ids != "" || page.PrevCursor == "" {
		t.Fatalf("behind the end: %q, back by %q", ids, page.PrevCursor)
	}
	if ids, _ = w.clientPage("a", "status=all&limit=2&cursor="+page.PrevCursor); ids != "8 truck" {
		t.Errorf("back from behind the end: %q", ids)
	}
	link := w.as("a", "GET", "/v1/clients?status=all&limit=2&from=a-3", "").header.Get("Link")
	if strings.Count(link, "rel=") != 2 || !strings.Contains(link, `rel="next", <`) || !strings.Contains(link, `rel="prev"`) {
		t.Errorf("Link %s", link)
	}
	_, first := w.clientPage("a", "status=all&limit=2")
	if first.PrevCursor != "" {
		t.Error("the first page has one before it")
	}
	w.as("b", "GET", "/v1/clients?cursor="+page.PrevCursor, "").wantProblem(400, problem.InvalidCursor)
	w.as("a", "GET", "/v1/clients?cursor=Y2E", "").wantProblem(400, problem.InvalidCursor)
	w.as("a", "GET", "/v1/clients?from=%2F", "").wantProblem(400, problem.InvalidParameter)
	w.as("a", "GET", "/v1/clients?order=up", "").wantProblem(400, problem.InvalidParameter)
	w.as("a", "GET", "/v1/clients?id=a-1&from=a-1", "").wantProblem(400, problem.InvalidParameter)
}

func TestClientsAreFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		time.Sleep(time.Hour)
		near := w.device("a-near", gatewaytest.Options{Remote: netip.MustParseAddrPort("203.0.113.7:1")})
		defer near.Disconnect(gateway.ReasonClientClosed)
		far := w.device("b-far", gatewaytest.Options{Remote: netip.MustParseAddrPort("[2001:db8::7]:1")})
		defer far.Disconnect(gateway.ReasonClientClosed)
		w.known("a-gone")
		w.as("unlimited", "POST", "/v1/clients/a-gone/messages", `{"text":"x"}`).want(202)
		w.as("unlimited", "DELETE", "/v1/clients/a-truck?block=10m", "").want(204)
		time.Sleep(time.Minute)
		for query, want := range map[string]string{
			"ip=203.0.113.7": "near", "ip=203.0.113.0/24": "near", "ip=2001:db8::/32": "b-far", "ip=::ffff:203.0.113.7": "near", "ip=192.0.2.1": "",
			"ip=203.0.113.7&status=offline": "", "ip=203.0.113.7&status=all": "near",
			"dialect=v2": "near b-far", "dialect=text": "",
			"status=offline&since=5m": "gone", "status=all&since=5m": "gone near b-far", "since=10s": "",
			"status=all&queued_older_than=30m": "truck b-truck g-truck", "status=all&queued_older_than=30s": "gone truck b-truck g-truck",
			"queued_older_than=30s": "", "status=blocked": "truck", "status=all&group=gang&queued_older_than=1s": "g-truck",
		} {
			if got, _ := w.clientPage("unlimited", query); got != want {
				t.Errorf("%s: %q, want %q", query, got, want)
			}
		}
		for query, want := range map[string]string{"ip=2001:db8::/32": "", "status=all&since=5m": "gone near", "status=all&queued_older_than=30m": "truck"} {
			if got, _ := w.clientPage("a", query); got != want {
				t.Errorf("a, %s: %q, want %q", query, got, want)
			}
		}
		for _, query := range []string{"ip=nonsense", "ip=1.2.3.4/99", "dialect=mqtt", "since=yesterday", "queued_older_than=old", "queued_older_than=-1s"} {
			w.as("a", "GET", "/v1/clients?"+query, "").wantProblem(400, problem.InvalidParameter)
		}
	})
}
