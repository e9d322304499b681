package feed

import (
	"fmt"
	"math"
	"sync/atomic"
	"testing"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/apikey"
	"github.com/longwire/longwire/internal/engine/memstore"
	"github.com/longwire/longwire/internal/gatewaytest"
)

// countingStore counts the messages that are read.
type countingStore struct {
	*memstore.Store
	read atomic.Int32
}

func (s *countingStore) Message(id gateway.MessageID) (gateway.Message, error) {
	s.read.Add(1)
	return s.Store.Message(id)
}

// A message is read with its payload. One to many has an event for each recipient, and the
// reader of a group reads it once.
func TestAMessageToManyIsReadOnceForAGroup(t *testing.T) {
	store := &countingStore{Store: memstore.New(memstore.Options{})}
	t.Cleanup(func() { store.Close() })
	g := gatewaytest.New(t, store, gateway.Config{})
	const members = 50
	for i := range members {
		id := gateway.ClientID(fmt.Sprint("m", i))
		gatewaytest.Connect(t, g, id, gatewaytest.Options{React: gatewaytest.AckAll})
		if _, err := store.UpdateClient(t.Context(), id, gateway.ClientChange{Groups: &[]string{"gang"}}); err != nil {
			t.Fatal(err)
		}
	}
	filter, err := Compile(Filter{Types: []string{"message.acked"}}, apikey.Limit{Group: "gang"}, NewLookup(g))
	if err != nil {
		t.Fatal(err)
	}
	sub := g.SubscribeNow()
	if _, err := g.Push(t.Context(), gateway.PushRequest{To: gateway.Audience{Group: "gang"}, Payload: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	var acked []gateway.Event
	for len(acked) < members {
		events, err := sub.Next(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			if e.Type == gateway.EventMessageAcked {
				acked = append(acked, e)
			}
		}
	}
	before := store.read.Load()
	for i := range acked {
		if wanted, err := filter.Wants(&acked[i]); err != nil || !wanted {
			t.Errorf("the answer of %s is wanted: %t, %v", acked[i].Client, wanted, err)
		}
	}
	if n := store.read.Load() - before; n != 1 {
		t.Errorf("the message is read %d times for %d events, want once", n, members)
	}
}

// A late answer outlives its message in the log. Whose message it was is not known then.
func TestALateAnswerToAForgottenMessage(t *testing.T) {
	store := memstore.New(memstore.Options{})
	t.Cleanup(func() { store.Close() })
	g := gatewaytest.New(t, store, gateway.Config{})
	gatewaytest.Connect(t, g, "a", gatewaytest.Options{})
	if _, err := store.UpdateClient(t.Context(), "a", gateway.ClientChange{Groups: &[]string{"gang"}}); err != nil {
		t.Fatal(err)
	}
	for limit, late := range map[apikey.Limit]bool{{Group: "gang"}: false, {Prefix: "a"}: true, {}: true} {
		filter, err := Compile(Filter{}, limit, NewLookup(g))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range []gateway.Event{{Type: gateway.EventMessageLateAck}, {Type: gateway.EventMessageAcked}} {
			e.Seq, e.Client, e.Message = math.MaxUint64, "a", gateway.MessageID("msg_"+gatewaytest.NewUUID())
			want := late || e.Type == gateway.EventMessageAcked
			if wanted, err := filter.Wants(&e); err != nil || wanted != want {
				t.Errorf("%+v sees %s of a forgotten message: %t, %v, want %t", limit, e.Type, wanted, err, want)
			}
		}
	}
}
