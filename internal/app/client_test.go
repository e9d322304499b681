package app

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/longwire/longwire/client"
	"github.com/longwire/longwire/device"
	"github.com/longwire/longwire/protocol"
)

// The Go client and the real API must agree about every call.
func TestClientAgainstTheRealAPI(t *testing.T) {
	t.Parallel()
	a := start(t, testConfig(t.TempDir()))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c := backend(t, a)

	var seen eventTypes
	go seen.read(c.Events(ctx, client.EventQuery{Types: []string{"client.*", "message.*"}}))
	waitFor(t, func() bool { // the stream is there when an event comes through
		c.PushTo(ctx, client.Audience{Client: "probe"}, client.Push{Payload: client.Text("x"), QueueUnknown: true, TTL: time.Second})
		return seen.count("message.expired") > 0
	})

	up := make(chan struct{}, 1)
	d, err := device.New(device.Config{Addr: a.TCPAddr().String(), ID: "truck-17",
		Labels: map[string]string{"model": "x2"}, Groups: []string{"fleet"},
		Handler: func(_ context.Context, m device.Message) ([]byte, error) {
			if string(m.Payload) == "no" {
				return nil, errors.New("door open")
			}
			return append([]byte("re: "), m.Payload...), nil
		},
		OnConnect: func(protocol.Registered) { up <- struct{}{} },
	})
	if err != nil {
		t.Fatal(err)
	}
	running, stop := context.WithCancel(ctx)
	defer stop()
	go d.Run(running)
	<-up
	if err := d.Send(ctx, []byte("position 1")); err != nil {
		t.Fatal(err)
	}

	t.Run("push and answer", func(t *testing.T) {
		m, err := c.Push(ctx, "truck-17", client.Push{Payload: client.JSON(map[string]string{"cmd": "lock"}),
			Wait: 10 * time.Second, Metadata: map[string]string{"order": "4711"}})
		if err != nil || m.Status != client.Acked || string(m.Answer()) != `re: {"cmd":"lock"}` || m.Attempts != 1 {
			t.Fatalf("%+v, %v", m, err)
		}
		got, err := c.Message(ctx, m.ID, 0)
		if err != nil || got.Metadata["order"] != "4711" || string(got.Bytes()) != `{"cmd":"lock"}` || got.SentAt.IsZero() || got.FinalAt.IsZero() {
			t.Errorf("%+v, %v", got, err)
		}
		m, err = c.Push(ctx, "truck-17", client.Push{Payload: client.Text("no"), Wait: 10 * time.Second})
		if err != nil || m.Status != client.Rejected || string(m.Answer()) != "door open" {
			t.Errorf("%+v, %v", m, err)
		}
		m, err = c.Push(ctx, "truck-17", client.Push{Payload: client.Bytes([]byte{0, 1}), Mode: client.Online, Wait: 5 * time.Second})
		if err != nil || m.Status != client.Acked || string(m.Answer()) != "re: \x00\x01" {
			t.Errorf("online: %+v, %v", m, err)
		}
	})
	t.Run("idempotency", func(t *testing.T) {
		p := client.Push{Payload: client.Text("once"), IdempotencyKey: "k1"}
		first, err := c.Push(ctx, "truck-17", p)
		if err != nil {
			t.Fatal(err)
		}
		again, err := c.Push(ctx, "truck-17", p)
		if err != nil || again.ID != first.ID || !again.Replayed {
			t.Errorf("%+v, %v", again, err)
		}
		p.Payload = client.Text("other")
		wantProblem(t, second(c.Push(ctx, "truck-17", p)), http.StatusUnprocessableEntity, "idempotency-mismatch")
	})
	t.Run("many and deliveries", func(t *testing.T) {
		m, err := c.PushMany(ctx, []string{"truck-17", "probe", "stranger"}, client.Push{Payload: client.Text("all")})
		if err != nil || m.Counts == nil || m.Counts.Total != 3 || m.Counts.Failed != 1 {
			t.Fatalf("%+v, %v", m, err)
		}
		status := map[string]client.Status{}
		waitFor(t, func() bool {
			for d, err := range c.Deliveries(ctx, m.ID, client.DeliveryQuery{}) {
				if err != nil {
					t.Fatal(err)
				}
				status[d.Client] = d.Status
			}
			return status["truck-17"] == client.Acked
		})
		if status["probe"] != client.Queued || status["stranger"] != client.Failed {
			t.Errorf("%v", status)
		}
		if m, err := c.Cancel(ctx, m.ID); err != nil || m.Counts.Canceled != 1 || m.Status != client.Completed {
			t.Errorf("cancel: %+v, %v", m, err)
		}
		wantProblem(t, second(c.Cancel(ctx, m.ID)), http.StatusConflict, "already-final")
	})
	t.Run("bulk", func(t *testing.T) {
		items := func(yield func(client.BulkItem) bool) {
			for i := range 1000 {
				to := client.Audience{Client: "truck-17"}
				if i%100 == 99 {
					to.Client = "stranger"
				}
				if !yield(client.BulkItem{To: to, Push: client.Push{Payload: client.Text(fmt.Sprint(i))}}) {
					return
				}
			}
		}
		ok, refused := 0, 0
		for r, err := range c.Bulk(ctx, items) {
			switch {
			case err != nil:
				t.Fatal(err)
			case r.Problem != nil:
				refused++
			default:
				ok++
			}
		}
		if ok != 990 || refused != 10 {
			t.Errorf("%d accepted, %d refused", ok, refused)
		}
	})
	t.Run("clients", func(t *testing.T) {
		info, err := c.Client(ctx, "truck-17")
		if err != nil || !info.Online || info.Dialect != "v2" || info.Reported["model"] != "x2" || len(info.Labels) > 0 || info.Session == "" {
			t.Errorf("%+v, %v", info, err)
		}
		color := "red"
		info, err = c.UpdateClient(ctx, "truck-17", client.ClientChange{Labels: map[string]*string{"color": &color, "model": nil}, Groups: &[]string{"depot"}})
		if err != nil || info.Labels["color"] != "red" || info.Labels["model"] != "" || !slices.Equal(info.Groups, []string{"depot"}) {
			t.Errorf("%+v, %v", info, err)
		}
		var ids []string
		for info, err := range c.Clients(ctx, client.ClientQuery{Presence: client.PresenceAll}) {
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, info.ID)
		}
		if !slices.Equal(ids, []string{"probe", "truck-17"}) {
			t.Errorf("all clients: %v", ids)
		}
		wantProblem(t, second(c.Client(ctx, "stranger")), http.StatusNotFound, "client-not-found")
	})
	t.Run("uplinks", func(t *testing.T) {
		var got []string
		for u, err := range c.Uplinks(ctx, client.UplinkQuery{Client: "truck-17"}) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, string(u.Bytes()))
		}
		if !slices.Equal(got, []string{"position 1"}) {
			t.Errorf("%q", got)
		}
	})
	t.Run("disconnect", func(t *testing.T) {
		if err := c.Disconnect(ctx, "truck-17", client.DisconnectOptions{Block: time.Minute, Purge: true}); err != nil {
			t.Fatal(err)
		}
		waitFor(t, func() bool { info, err := c.Client(ctx, "truck-17"); return err == nil && !info.Online })
	})
	t.Run("system", func(t *testing.T) {
		if v, err := c.Version(ctx); err != nil || v.Version == "" {
			t.Errorf("%+v, %v", v, err)
		}
		if err := c.Ready(ctx); err != nil {
			t.Error(err)
		}
	})

	for _, typ := range []client.EventType{"client.connected", "client.disconnected", "message.received", "message.acked",
		"message.rejected", "message.canceled", "message.completed", "message.failed"} {
		waitFor(t, func() bool { return seen.count(typ) > 0 })
	}
}

// eventTypes counts the events of a stream.
type eventTypes struct {
	mu sync.Mutex
	n  map[client.EventType]int
}

func (t *eventTypes) read(events iter.Seq2[client.Event, error]) {
	for e, err := range events {
		if err != nil {
			return
		}
		t.mu.Lock()
		if t.n == nil {
			t.n = make(map[client.EventType]int)
		}
		t.n[e.Type]++
		t.mu.Unlock()
	}
}

func (t *eventTypes) count(typ client.EventType) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.n[typ]
}

func second[T any](_ T, err error) error { return err }

func wantProblem(t *testing.T, err error, status int, code client.Code) {
	t.Helper()
	p, ok := errors.AsType[*client.Problem](err)
	if !ok || p.Status != status || p.Code() != code {
		t.Errorf("got %v, want %d %s", err, status, code)
	}
}

// A log without an event begins again with each start; its earlier positions stay good, and
// those of an earlier data directory do not become so.
func TestACursorOfALogWithoutEvents(t *testing.T) {
	dir := t.TempDir()
	ctx := t.Context()
	first := start(t, testConfig(dir))
	consumer, err := backend(t, first).CreateConsumer(ctx, "orders", client.ConsumerSpec{})
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	cursor, err := strconv.ParseUint(consumer.Cursor, 10, 64)
	if err != nil {
		t.Fatal(err)
	}

	a := start(t, testConfig(dir))
	api := backend(t, a)
	if _, err := api.CreateClient(ctx, client.NewClient{ID: "a"}); err != nil {
		t.Fatal(err)
	}
	if _, err := api.Push(ctx, "a", client.Push{Payload: client.Text("x")}); err != nil {
		t.Fatal(err)
	}
	for after, want := range map[uint64]bool{cursor: false, cursor - 1: true, 12345: true} {
		text := get(t, fmt.Sprintf("%s/v1/events?follow=false&after=%d", a.url(), after), "")
		if gap := strings.Contains(text, `"type":"gap"`); gap != want || !strings.Contains(text, "message.queued_for_absent") {
			t.Errorf("behind the cursor of the empty log %+d: gap %t, want %t\n%s", int64(after-cursor), gap, want, text)
		}
	}
}
