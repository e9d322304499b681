// Package enginetest is the conformance suite of gateway.Store: one subtest for
// each sentence of its contract, run by every engine, and a comparison of two
// engines under random operations.
//
//	func TestStore(t *testing.T) {
//		enginetest.Run(t, func(t *testing.T, o enginetest.Options) gateway.Store { … })
//	}
//
// A store may have more methods for the suite:
//
//   - Expire(now time.Time), with or without an error: do everything due at now and
//     return when it is applied. Without it the suite waits for the store's own
//     driver, which must then notice that the clock has jumped.
//   - Reopen() (gateway.Store, error): close the store and open the same data again.
//     Every subtest then ends with a check that all readable data survives.
package enginetest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/longwire/longwire/gateway"
)

// Options are the options for opening a store. Zero means the engine's default.
type Options struct {
	Now             func() time.Time // never nil
	StatusRetention time.Duration
	ForgetAfter     time.Duration
	QueueLen        int
	QueueBytes      int64
	MaxClients      int64
}

// Open opens an empty store. The suite closes it.
type Open func(t *testing.T, o Options) gateway.Store

// Reopener is a store that can be closed and opened again with its data.
type Reopener interface {
	Reopen() (gateway.Store, error)
}

// Run runs the suite.
func Run(t *testing.T, open func(t *testing.T, o Options) gateway.Store) {
	for _, group := range []struct {
		name  string
		tests []test
	}{
		{"Accept", acceptTests},
		{"Audience", audienceTests},
		{"Next", nextTests},
		{"Settle", settleTests},
		{"Observer", observerTests},
		{"Cancel", cancelTests},
		{"Expiry", expiryTests},
		{"Clients", slices.Concat(clientTests, forgetTests)},
		{"Reads", readTests},
		{"Uplinks", uplinkTests},
		{"Life", lifeTests},
		{"Concurrent", concurrentTests},
	} {
		t.Run(group.name, func(t *testing.T) {
			for _, c := range group.tests {
				t.Run(c.name, func(t *testing.T) {
					h := newHarness(t, open, c.opt)
					c.run(h)
					h.finish()
				})
			}
		})
	}
}

// test is one sentence of the contract.
type test struct {
	name string
	opt  Options
	run  func(h *harness)
}

var ctx = context.Background()

// patience bounds how long the suite waits for a store.
var patience = 20 * time.Second

// harness is a store under test with its clock and its observer.
type harness struct {
	*testing.T
	store gateway.Store
	clock *clock
	rec   *recorder
	ids   int
}

func newHarness(t *testing.T, open Open, o Options) *harness {
	t.Helper()
	h := &harness{T: t, clock: newClock()}
	o.Now = h.clock.Now
	h.attach(open(t, o))
	t.Cleanup(func() { h.store.Close() })
	return h
}

// attach makes s the store under test, with a new recorder.
func (h *harness) attach(s gateway.Store) {
	h.store = s
	h.rec = newRecorder(s)
	s.Observe(h.rec)
}

// finish checks the conditions that hold at the end of every test.
func (h *harness) finish() {
	h.Helper()
	if h.Failed() {
		return
	}
	for _, e := range h.rec.complaints() {
		h.Error(e)
	}
	h.reopen()
}

// reopen closes and opens the store, if it can, and checks that everything reads
// as before. It returns false if the store cannot.
func (h *harness) reopen() bool {
	h.Helper()
	r, ok := h.store.(Reopener)
	if !ok {
		return false
	}
	log, before := h.store.Log(), dump(h, h.store)
	s, err := r.Reopen()
	if err != nil {
		h.Fatalf("reopen: %v", err)
	}
	h.attach(s)
	if got := s.Log(); got != log {
		h.Errorf("log is %q after a reopen, want %q", got, log)
	}
	h.same("after a reopen", dump(h, s), before)
	return true
}

// same compares two values; nil equals an empty list of any type.
func (h *harness) same(what string, got, want any) {
	h.Helper()
	if want == nil {
		want = reflect.Zero(reflect.TypeOf(got)).Interface()
	}
	if diff := difference(want, got); diff != "" {
		h.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// must fails the test at once when err is not nil.
func (h *harness) must(err error) {
	h.Helper()
	if err != nil {
		h.Fatal(err)
	}
}

// wantCode checks the code of a domain error.
func (h *harness) wantCode(err error, want gateway.Code) {
	h.Helper()
	if got := gateway.CodeOf(err); got != want {
		h.Errorf("error %v has the code %q, want %q", err, got, want)
	}
}

// wantUnavailable checks for an error that wraps gateway.ErrUnavailable.
func (h *harness) wantUnavailable(err error) {
	h.Helper()
	if !errors.Is(err, gateway.ErrUnavailable) {
		h.Errorf("error is %v, want one that wraps ErrUnavailable", err)
	}
}

// eventually waits until cond holds.
func (h *harness) eventually(what string, cond func() bool) {
	h.Helper()
	if !waitFor(cond) {
		h.Fatalf("waited %v in vain: %s", patience, what)
	}
}

func waitFor(cond func() bool) bool {
	timeout := time.After(patience)
	for pause := time.Millisecond; !cond(); pause = min(2*pause, 50*time.Millisecond) {
		select {
		case <-timeout:
			return false
		case <-time.After(pause):
		}
	}
	return true
}

// advance moves the clock and runs everything that is then due in the store.
func (h *harness) advance(d time.Duration) {
	h.Helper()
	h.clock.advance(d)
	h.must(expire(h.store, h.clock.Now()))
}

func expire(s gateway.Store, now time.Time) error {
	switch s := s.(type) {
	case interface{ Expire(time.Time) error }:
		return s.Expire(now)
	case interface{ Expire(time.Time) }:
		s.Expire(now)
	}
	return nil
}

// id returns a new message id; later ones sort after earlier ones.
func (h *harness) id() gateway.MessageID {
	h.ids++
	return messageID(h.clock.Now(), h.ids)
}

// messageID returns "msg_" and a UUIDv7 made of a time and a number.
func messageID(at time.Time, n int) gateway.MessageID {
	ms := at.UnixMilli()
	return gateway.MessageID(fmt.Sprintf("msg_%08x-%04x-7000-8000-%012x", ms>>16, ms&0xffff, n))
}

// to returns an acceptance with an hour to live for an audience.
func (h *harness) to(a gateway.Audience, payload string) gateway.Acceptance {
	now := h.clock.Now()
	return gateway.Acceptance{ID: h.id(), To: a, Payload: []byte(payload), Encoding: gateway.EncodingText,
		CreatedAt: now, ExpiresAt: now.Add(time.Hour)}
}

// accept accepts a, which must succeed and be new.
func (h *harness) accept(a gateway.Acceptance) gateway.Message {
	h.Helper()
	r, err := h.store.Accept(ctx, a)
	h.must(err)
	if r.Replayed {
		h.Fatalf("%s is said to be a repetition", a.ID)
	}
	return r.Message
}

// push accepts a message to one client.
func (h *harness) push(client gateway.ClientID, payload string) gateway.Message {
	h.Helper()
	return h.accept(h.to(gateway.Audience{Client: client}, payload))
}

// register registers clients.
func (h *harness) register(ids ...gateway.ClientID) {
	h.Helper()
	for _, id := range ids {
		_, _, err := h.store.Register(ctx, gateway.Registration{Client: id, At: h.clock.Now()})
		h.must(err)
	}
}

// forget removes a client, which must be known.
func (h *harness) forget(id gateway.ClientID) {
	h.Helper()
	_, err := h.store.ForgetClient(ctx, id, h.clock.Now())
	h.must(err)
}

// disconnect ends the last session of a client.
func (h *harness) disconnect(id gateway.ClientID, reason string) {
	h.Helper()
	h.store.Disconnected(gateway.Disconnection{Client: id, Epoch: h.client(id).Epoch, At: h.clock.Now(), Reason: reason})
}

// outcome returns a proposal for a delivery.
func (h *harness) outcome(m gateway.Message, client gateway.ClientID, state gateway.State) gateway.Outcome {
	now := h.clock.Now()
	return gateway.Outcome{Message: m.ID, Client: client, Seq: m.Seq, State: state, Attempts: 1, SentAt: now, At: now}
}

// settle proposes an outcome and waits until the observer was notified of it.
func (h *harness) settle(o gateway.Outcome) {
	h.Helper()
	h.must(h.store.Settle(o, true))
	h.awaitNotified(o.Message, o.Client)
}

// awaitNotified waits until the observer was notified that a delivery is final.
func (h *harness) awaitNotified(id gateway.MessageID, client gateway.ClientID) gateway.Settlement {
	h.Helper()
	var st gateway.Settlement
	h.eventually(fmt.Sprintf("the observer is notified of %s to %s", id, client), func() (ok bool) {
		st, ok = h.rec.settlement(id, client)
		return ok
	})
	return st
}

// delivery reads a delivery, which must exist.
func (h *harness) delivery(id gateway.MessageID, client gateway.ClientID) gateway.Delivery {
	h.Helper()
	d, err := h.store.Delivery(id, client)
	h.must(err)
	return d
}

// message reads a message, which must exist.
func (h *harness) message(id gateway.MessageID) gateway.Message {
	h.Helper()
	m, err := h.store.Message(id)
	h.must(err)
	return m
}

// client reads a client record, which must exist.
func (h *harness) client(id gateway.ClientID) gateway.ClientRecord {
	h.Helper()
	c, err := h.store.Client(id)
	h.must(err)
	return c
}

// queue returns the queued payloads of a client, in order.
func (h *harness) queue(client gateway.ClientID) []string {
	h.Helper()
	return payloads(h.transmissions(client))
}

func payloads(transmissions []gateway.Transmission) []string {
	var p []string
	for _, x := range transmissions {
		p = append(p, string(x.Payload))
	}
	return p
}

// wantState checks the state of a delivery.
func (h *harness) wantState(id gateway.MessageID, client gateway.ClientID, want gateway.State) {
	h.Helper()
	if got := h.delivery(id, client).State; got != want {
		h.Errorf("delivery to %s is %v, want %v", client, got, want)
	}
}
