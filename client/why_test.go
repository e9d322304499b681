package client

import (
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// members returns the JSON members of a struct, embedded ones too.
func members(t reflect.Type) (names []string) {
	for _, f := range reflect.VisibleFields(t) {
		if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "" {
			names = append(names, name)
		}
	}
	return slices.Sorted(slices.Values(names))
}

// The types of this package have the members of the API's description.
func TestWhyHasEveryMember(t *testing.T) {
	described := schemas(t)
	for schema, typ := range map[string]reflect.Type{
		"MessageWhy": reflect.TypeFor[MessageWhy](), "WhySample": reflect.TypeFor[WhySample](),
		"MessageFacts": reflect.TypeFor[MessageFacts](), "WhyRefused": reflect.TypeFor[Refusals](),
		"ClientWhy": reflect.TypeFor[ClientWhy](), "ClientFacts": reflect.TypeFor[ClientFacts](),
		"DeliveryDetail": reflect.TypeFor[DeliveryDetail](), "HistoryLine": reflect.TypeFor[HistoryLine](),
		"QueueCanceled": reflect.TypeFor[CanceledQueue](),
	} {
		var want []string
		for name := range described[schema].Properties {
			want = append(want, name)
		}
		slices.Sort(want)
		if got := members(typ); !slices.Equal(got, want) {
			t.Errorf("%v has %v, want %v of %s", typ, got, want, schema)
		}
	}
}

func TestWhyCallsAreTheAPIs(t *testing.T) {
	var asked []string
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Method+" "+r.URL.RequestURI())
		switch {
		case strings.HasSuffix(r.URL.Path, "/deliveries/a:b"):
			answer(w, 200, `{"message":"msg_1","client":"a:b","status":"sent","attempts":2,"history":[{"at":"2026-11-22T08:00:00.000Z","code":"sent","what":"sent to the device"}]}`)
		case r.Method == "DELETE":
			answer(w, 200, `{"canceled":3,"under_way":1}`)
		case strings.HasPrefix(r.URL.Path, "/v1/clients"):
			answer(w, 200, `{"client":"a:b","code":"closed_by_network","sentence":"It is gone.","facts":{"last_close":{"reason":"connection_lost","by":"network"}}}`)
		default:
			answer(w, 200, `{"message":"msg_1","client":"a:b","code":"window_full","sentence":"It waits.","facts":{"behind":"msg_0","expires_in":0}}`)
		}
	})
	m, err := c.WhyMessage(t.Context(), "msg_1", "a:b")
	if err != nil || m.Code != WhyWindowFull || m.Facts.Behind != "msg_0" || m.Facts.ExpiresIn == nil || *m.Facts.ExpiresIn != 0 {
		t.Errorf("%+v, %v", m, err)
	}
	if _, err := c.WhyMessage(t.Context(), "msg_1", ""); err != nil {
		t.Error(err)
	}
	w, err := c.WhyClient(t.Context(), "a:b")
	if err != nil || w.Code != ClientWhyClosedByNetwork || w.Facts.LastClose.By != ClosedByNetwork {
		t.Errorf("%+v, %v", w, err)
	}
	d, err := c.Delivery(t.Context(), "msg_1", "a:b")
	if err != nil || d.Attempts != 2 || d.Status != Sent || len(d.History) != 1 || d.History[0].At.IsZero() {
		t.Errorf("%+v, %v", d, err)
	}
	for _, through := range []string{"", "msg_1"} {
		if done, err := c.CancelQueue(t.Context(), "a:b", through); err != nil || *done != (CanceledQueue{Canceled: 3, UnderWay: 1}) {
			t.Errorf("%+v, %v", done, err)
		}
	}
	want := []string{"GET /v1/messages/msg_1/why?client=a%3Ab", "GET /v1/messages/msg_1/why", "GET /v1/clients/a:b/why",
		"GET /v1/messages/msg_1/deliveries/a:b", "DELETE /v1/clients/a:b/messages", "DELETE /v1/clients/a:b/messages?through=msg_1"}
	if !slices.Equal(asked, want) {
		t.Errorf("asked %q\nwant %q", asked, want)
	}
}
