package client

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestRefusedRegistrationsFollowCursors(t *testing.T) {
	var asked []string
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.RequestURI())
		if r.URL.Query().Get("cursor") == "" {
			answer(w, 200, `{"items":[{"client":"m-1","count":3,"first_at":"2026-11-22T08:00:00.000Z","last_at":"2026-11-22T08:01:00.000Z",`+
				`"remote_addr":"192.0.2.7:4711","dialect":"v2","reason":"wrong_token"}],"next_cursor":"x"}`)
			return
		}
		answer(w, 200, `{"items":[{"client":"m-2","count":1,"first_at":"2026-11-22T08:00:00.000Z","last_at":"2026-11-22T08:00:00.000Z","reason":"denied"}]}`)
	})
	var got []RefusedRegistration
	for k, err := range c.Refused(t.Context(), RefusedQuery{Prefix: "m-"}) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, k)
	}
	at := time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)
	want := []RefusedRegistration{
		{Client: "m-1", Count: 3, FirstAt: at, LastAt: at.Add(time.Minute), RemoteAddr: "192.0.2.7:4711", Dialect: "v2", Reason: "wrong_token"},
		{Client: "m-2", Count: 1, FirstAt: at, LastAt: at, Reason: "denied"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"/v1/refused?limit=500&prefix=m-", "/v1/refused?cursor=x&limit=500&prefix=m-"}, asked); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}
}

func TestARefusedDeviceIsDismissed(t *testing.T) {
	var asked []string
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Method+" "+r.URL.RequestURI())
		if len(asked) == 1 {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		answer(w, 404, `{"type":"/docs/problems/refused-not-found","status":404,"title":"No such refused device"}`)
	})
	if err := c.DismissRefused(t.Context(), "m-1"); err != nil {
		t.Error(err)
	}
	var p *Problem
	if err := c.DismissRefused(t.Context(), "m@2"); !errors.As(err, &p) || p.Code() != CodeRefusedNotFound {
		t.Errorf("got %v, want %s", err, CodeRefusedNotFound)
	}
	if diff := cmp.Diff([]string{"DELETE /v1/refused/m-1", "DELETE /v1/refused/m@2"}, asked); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}
}

func TestUnnamedRegistrationsAreRead(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		answer(w, 200, `{"items":[],"unnamed":[{"remote_addr":"192.0.2.7:1","count":2,"first_at":"2026-11-22T08:00:00Z","last_at":"2026-11-22T08:01:00Z","dialect":"v1","reason":"bad_client_id","sample":"a?"}]}`)
	})
	list, err := c.RefusedUnnamed(t.Context())
	if err != nil || len(list) != 1 || list[0].RemoteAddr != "192.0.2.7:1" || list[0].Count != 2 || list[0].Sample != "a?" || list[0].LastAt.IsZero() {
		t.Errorf("got %+v, %v", list, err)
	}
}
