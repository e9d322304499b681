package tenant

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/apikey"
	"github.com/longwire/longwire/internal/audit"
	"github.com/longwire/longwire/internal/engine/memstore"
	"github.com/longwire/longwire/internal/gatewaytest"
)

// TestAResultIsACodeAndNoText: what an error says may be about the disk, or a
// caller's own words.
func TestAResultIsACodeAndNoText(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{nil, "result=ok"},
		{errors.New("write /data: top secret"), "result=error"},
		{&gateway.Error{Code: gateway.CodeUnavailable, Message: "top secret", MessageID: "msg_1"}, "result=store-unavailable message_id=msg_1"},
	} {
		var own bytes.Buffer
		record, err := audit.Open(audit.ToLog, slog.New(slog.NewTextHandler(&own, nil)))
		if err != nil {
			t.Fatal(err)
		}
		v := NewViews(nil, nil, record, time.Now).View(apikey.Anyone, Request{From: "192.0.2.1:1", ID: "r-1"})
		v.Record(audit.Disconnect, "a-1", c.err)
		if err := record.Close(); err != nil {
			t.Fatal(err)
		}
		if got := own.String(); !strings.Contains(got, c.want+"\n") || strings.Contains(got, "secret") {
			t.Errorf("%v: %s, want %s", c.err, got, c.want)
		}
	}
}

// TestAReaderWhoHasLeftHearsNoMore, also while events go on that are not its
// own: the search for one that is must end.
func TestAReaderWhoHasLeftHearsNoMore(t *testing.T) {
	store := memstore.New(memstore.Options{})
	t.Cleanup(func() { store.Close() })
	g := gatewaytest.New(t, store, gateway.Config{})
	k, _, err := apikey.NewKeyset().Create(apikey.Spec{Name: "x", Scopes: apikey.EventsRead, Limit: apikey.Limit{Prefix: "a-"}}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	v := NewViews(g, apikey.NewKeyset(), nil, time.Now).View(k, Request{})
	sub := v.SubscribeNow()
	gatewaytest.Connect(t, g, "b-1", gatewaytest.Options{})
	gatewaytest.Connect(t, g, "a-1", gatewaytest.Options{})
	ctx, leave := context.WithCancel(t.Context())
	leave()
	if got, err := sub.Next(ctx, nil); err == nil {
		t.Errorf("it heard %+v", got)
	}
	if got, err := sub.Next(t.Context(), nil); err != nil || len(got) != 1 || got[0].Client != "a-1" {
		t.Errorf("one that stays hears %+v, %v, want what is of a-1", got, err)
	}
}
