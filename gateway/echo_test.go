package gateway

import (
	"context"
	"encoding/binary"
	"runtime"
	"testing"
	"time"
)

// echoLink is a device that has acked before Flush returns, so that the counts
// are those of the gateway alone.
type echoLink struct {
	session *Session
	got     []Transmission
}

func (l *echoLink) Deliver(p Transmission) error {
	l.got = append(l.got, p)
	return nil
}

func (l *echoLink) Flush() {
	for _, p := range l.got {
		l.session.Sent(p.Seq, p.Ephemeral, time.Now())
		l.session.Acked(p.Seq, p.Ephemeral, AckOK, nil, time.Now())
	}
	l.got = l.got[:0]
}

func (l *echoLink) Forget(Seq, bool) bool { return false }
func (l *echoLink) Close(Close)           {}
func (l *echoLink) Stats() LinkStats      { return LinkStats{Dialect: "v2"} }
func (l *echoLink) MaxPayload() int       { return MaxPayload }
func (l *echoLink) Window() int           { return 16 }
func (l *echoLink) Probe() bool           { return false }

// oneStore is a store that always has the next transmission for its client and keeps
// nothing.
type oneStore struct {
	Store
	observer Observer
	last     Seq
	payload  []byte
	accepted Accepted
	settled  Settlement
	changes  [1]Change
}

// tell reports the settlement.
func (s *oneStore) tell() {
	s.changes[0] = &s.settled
	s.observer.Changed(s.changes[:])
}

func (s *oneStore) Observe(o Observer) { s.observer = o }
func (s *oneStore) Log() LogID         { return "log" }

func (s *oneStore) EventSpan() (forgotten, last uint64, err error) { return 0, 0, nil }

func (s *oneStore) Register(_ context.Context, r Registration) (ClientRecord, Seq, error) {
	return ClientRecord{ID: r.Client}, s.last, nil
}

func (s *oneStore) Undurable(ClientID) (n, bytes int) { return 0, 0 }

func (s *oneStore) Accept(context.Context, Acceptance) (Receipt, error) {
	s.last++
	s.accepted = Accepted{Client: "a", Transmission: s.transmission()}
	s.changes[0] = &s.accepted
	s.observer.Changed(s.changes[:])
	return Receipt{}, nil
}

func (s *oneStore) Next(q TransmissionQuery, buf []Transmission) ([]Transmission, Seq, error) {
	if q.After < s.last {
		buf = append(buf, s.transmission())
	}
	return buf, s.last, nil
}

func (s *oneStore) transmission() Transmission {
	return Transmission{Message: "msg_01890a5d-ac96-774b-bcce-b302099a8057", Seq: s.last,
		ExpiresAt: time.Now().Add(time.Hour), Payload: s.payload}
}

func (s *oneStore) Settle(o Outcome, _ bool) error {
	s.settled = Settlement{Delivery: Delivery{Message: o.Message, Client: o.Client,
		Seq: o.Seq, State: o.State, FinalAt: o.At, Attempts: o.Attempts}}
	return nil
}

func (s *oneStore) TrySettle(o Outcome, urgent bool) bool { return s.Settle(o, urgent) == nil }

// echoing returns a gateway with one connected device. Ids cost nothing.
func echoing(t testing.TB) (*Gateway, *oneStore) {
	t.Helper()
	store := &oneStore{payload: []byte("hello")}
	var n uint64
	g := New(Config{Store: store, NewID: func() (id [16]byte) {
		n++
		binary.BigEndian.PutUint64(id[8:], n)
		return id
	}})
	l := &echoLink{}
	s, _, err := g.Connect(context.Background(), Hello{Client: "a", Dialect: "v2"}, l)
	if err != nil {
		t.Fatal(err)
	}
	l.session = s
	g.Start()
	t.Cleanup(g.Stop)
	s.Start()
	s.awaitIdle()
	return g, store
}

// awaitIdle waits until no worker is about to pump the session.
func (s *Session) awaitIdle() {
	for s.run.Load() != idle {
		runtime.Gosched()
	}
}
