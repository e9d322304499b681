package gateway_test

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine/memstore"
	"github.com/longwire/longwire/internal/gatewaytest"
)

// readStore counts reads.
type readStore struct {
	*memstore.Store
	transmissions, messages atomic.Int32
}

func (s *readStore) Next(q gateway.TransmissionQuery, buf []gateway.Transmission) ([]gateway.Transmission, gateway.Seq, error) {
	s.transmissions.Add(1)
	return s.Store.Next(q, buf)
}

func (s *readStore) Message(id gateway.MessageID) (gateway.Message, error) {
	s.messages.Add(1)
	return s.Store.Message(id)
}

// A message to a connected client is sent from the feed, and a waiting caller gets
// the settlement: neither reads the store.
func TestAPushToAConnectedClientReadsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &readStore{Store: memstore.New(memstore.Options{})}
		t.Cleanup(func() { store.Close() })
		g := gatewaytest.New(t, store, gateway.Config{})
		l := gatewaytest.Connect(t, g, "a", gatewaytest.Options{React: func(l *gatewaytest.Link, p gateway.Transmission) {
			l.Sent(p)
			l.Ack(p, gateway.AckOK, []byte("done"))
		}})
		synctest.Wait() // it has read its queue
		before := store.transmissions.Load()
		var want []string
		for i := range 40 {
			want = append(want, fmt.Sprint(i))
			rec, err := g.PushAndAwait(context.Background(), gateway.PushRequest{To: gateway.Audience{Client: "a"},
				Payload: []byte(want[i]), Encoding: gateway.EncodingText, Metadata: map[string]string{"k": "v"}}, time.Minute)
			m := rec.Message
			if err != nil || !m.Completed() || m.Delivery == nil || string(m.Delivery.Result) != "done" {
				t.Fatalf("got %+v with %+v, %v", m, m.Delivery, err)
			}
			got, err := store.Store.Message(m.ID)
			if m.Delivery, got.Payload = nil, nil; err != nil || fmt.Sprint(m) != fmt.Sprint(got) {
				t.Errorf("the caller got %+v, and it reads %+v, %v", m, got, err)
			}
		}
		synctest.Wait()
		wantTexts(t, l, want...)
		if p, m := store.transmissions.Load()-before, store.messages.Load(); p != 0 || m != 0 {
			t.Errorf("%d reads of transmissions and %d of messages, want none", p, m)
		}
	})
}

// The message to many has sequence 10 and a pace, the message to one has 11. The
// client that the pace holds up gets 10, then 11, and then 12 without a read.
func TestAPacedMessageIsNotPassed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &readStore{Store: memstore.New(memstore.Options{})}
		t.Cleanup(func() { store.Close() })
		g := gatewaytest.New(t, store, gateway.Config{})
		links := connectMany(t, g, 5, "fleet")
		for range 9 {
			push(t, g, "fleet-000", "before")
		}
		synctest.Wait()
		before := reached(links)
		if m := broadcast(t, g, gateway.PushRequest{To: gateway.Audience{All: true}, Rate: 1}); m.Seq != 10 {
			t.Fatalf("the message to many has sequence %d", m.Seq)
		}
		synctest.Wait()
		if got := reached(links) - before; got != 1 {
			t.Fatalf("the pace lets %d go at once", got)
		}
		held := slices.IndexFunc(links, func(l *gatewaytest.Link) bool {
			return !slices.Contains(sequences(l), 10)
		})
		client := gateway.ClientID(fmt.Sprintf("fleet-%03d", held))
		had := len(links[held].Transmissions())
		push(t, g, client, "eleven")
		synctest.Wait()
		reads := store.transmissions.Load()
		push(t, g, client, "twelve")
		synctest.Wait()
		if got := sequences(links[held])[had:]; !slices.Equal(got, []gateway.Seq{10, 11, 12}) {
			t.Errorf("got %v, want 10, 11, 12", got)
		}
		if store.transmissions.Load() != reads {
			t.Error("12 was read from the store")
		}
		time.Sleep(time.Minute) // the walk comes to all
		synctest.Wait()
		for i, l := range links {
			if n := len(sequences(l)); n != len(slices.Compact(sequences(l))) || !slices.IsSorted(sequences(l)) || !slices.Contains(sequences(l), 10) {
				t.Errorf("client %d got %v", i, sequences(l))
			}
		}
	})
}

func sequences(l *gatewaytest.Link) (seqs []gateway.Seq) {
	for _, p := range l.Transmissions() {
		seqs = append(seqs, p.Seq)
	}
	return seqs
}

// forsaken is a store whose callers leave before the answer.
type forsaken struct{ *memstore.Store }

func (s forsaken) Accept(ctx context.Context, a gateway.Acceptance) (gateway.Receipt, error) {
	if _, err := s.Store.Accept(ctx, a); err != nil {
		return gateway.Receipt{}, err
	}
	return gateway.Receipt{}, gateway.ErrUnavailable
}

// An accepted message is sent even if its caller has not waited for the answer.
func TestAMessageNeedsNoCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := forsaken{memstore.New(memstore.Options{})}
		t.Cleanup(func() { store.Close() })
		g := gatewaytest.New(t, store, gateway.Config{})
		l := gatewaytest.Connect(t, g, "a", gatewaytest.Options{})
		synctest.Wait()
		for _, to := range []gateway.Audience{{Client: "a"}, {All: true}, {Clients: []gateway.ClientID{"a"}}} {
			if _, err := g.Push(context.Background(), gateway.PushRequest{To: to, Payload: []byte("x")}); err == nil {
				t.Fatal("the caller has waited")
			}
		}
		synctest.Wait()
		wantTexts(t, l, "x", "x", "x")
	})
}
