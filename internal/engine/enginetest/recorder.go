package enginetest

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/longwire/longwire/gateway"
)

// clock is a clock that stands still until it is moved.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock {
	return &clock{now: time.Date(2031, 2, 3, 4, 5, 6, 789e6, time.UTC)}
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// notification is one call of an observer: a settlement, or the end of all open
// deliveries of a message.
type notification struct {
	gateway.Settlement
	all   *gateway.Message
	state gateway.State
	n     int
}

// recorder is an observer that keeps its notifications and complains of forbidden
// ones.
type recorder struct {
	store  gateway.Store
	inside atomic.Int32
	seq    gateway.Seq // of the last accepted message; owned by the store's goroutine

	mu   sync.Mutex
	list []notification
	bad  []string
}

func newRecorder(s gateway.Store) *recorder { return &recorder{store: s} }

func (r *recorder) enter() (leave func()) {
	if r.inside.Add(1) != 1 {
		r.complain("the observer is called from two goroutines at a time")
	}
	return func() { r.inside.Add(-1) }
}

func (r *recorder) complain(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.bad = append(r.bad, fmt.Sprintf(format, args...))
}

func (r *recorder) complaints() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.bad
}

// Changed checks that the store shows each change: a reader must not get an event
// before that.
func (r *recorder) Changed(list []gateway.Change) {
	defer r.enter()()
	for _, c := range list {
		switch c := c.(type) {
		case *gateway.Accepted:
			r.accepted(c.Client, c.Transmission.Message, c.Transmission.Seq)
			if got, ok, err := r.store.Transmission(c.Client, c.Transmission.Seq); ok && err == nil && string(got.Payload) != string(c.Transmission.Payload) {
				r.complain("notified that %s has %q, but it reads %q", c.Transmission.Message, c.Transmission.Payload, got.Payload)
			}
		case *gateway.AcceptedMany:
			r.accepted("", c.Message, c.Seq)
		case *gateway.Settlement:
			r.settled(c)
			t := notification{Settlement: *c}
			if t.Completed != nil {
				t.Completed = new(*t.Completed)
			}
			r.add(t)
		case *gateway.SettledAll:
			r.whole(c)
			r.add(notification{all: &c.Message, state: c.State, n: c.N})
		}
	}
}

func (r *recorder) add(t notification) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list = append(r.list, t)
}

func (r *recorder) accepted(client gateway.ClientID, id gateway.MessageID, seq gateway.Seq) {
	if seq <= r.seq {
		r.complain("notified of %d after %d", seq, r.seq)
	}
	r.seq = seq
	m, err := r.store.Message(id)
	if err == nil && (m.Seq != seq || m.Client != client) {
		r.complain("notified that %s is %d to %q, but it reads %d to %q", id, seq, client, m.Seq, m.Client)
	}
}

func (r *recorder) settled(st *gateway.Settlement) {
	d := st.Delivery
	if !d.State.Final() {
		r.complain("notified of %s to %s, which is %v", d.Message, d.Client, d.State)
	}
	if st.Late == d.LateAckAt.IsZero() {
		r.complain("notified of %s to %s with Late %v and the late ack at %v", d.Message, d.Client, st.Late, d.LateAckAt)
	}
	got, err := r.store.Delivery(d.Message, d.Client)
	if err == nil && got.State != d.State && d.State != gateway.Unknown { // an unknown one may be answered since
		r.complain("notified that %s to %s is %v, but it reads %v", d.Message, d.Client, d.State, got.State)
	}
	if st.Completed != nil && !st.Completed.Completed() {
		r.complain("%s is said to be completed with %+v", d.Message, st.Completed.Counts)
	}
}

func (r *recorder) whole(a *gateway.SettledAll) {
	if !a.Message.Completed() {
		r.complain("%s is said to be completed with %+v", a.Message.ID, a.Message.Counts)
	}
	if a.State != gateway.Expired && a.State != gateway.Canceled {
		r.complain("%s became %v in one step", a.Message.ID, a.State)
	}
}

// all returns the notifications so far, in order.
func (r *recorder) all() []notification {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.list[:len(r.list):len(r.list)]
}

// settlement returns the first final state reported for a delivery.
func (r *recorder) settlement(id gateway.MessageID, client gateway.ClientID) (gateway.Settlement, bool) {
	for _, x := range r.all() {
		if x.all == nil && !x.Late && x.Delivery.Message == id && x.Delivery.Client == client {
			return x.Settlement, true
		}
	}
	return gateway.Settlement{}, false
}

// late returns the late ack reported for a delivery.
func (r *recorder) late(id gateway.MessageID, client gateway.ClientID) (gateway.Settlement, bool) {
	for _, x := range r.all() {
		if x.all == nil && x.Late && x.Delivery.Message == id && x.Delivery.Client == client {
			return x.Settlement, true
		}
	}
	return gateway.Settlement{}, false
}

// settledAll returns the notification of a message as a whole.
func (r *recorder) settledAll(id gateway.MessageID) (notification, bool) {
	for _, x := range r.all() {
		if x.all != nil && x.all.ID == id {
			return x, true
		}
	}
	return notification{}, false
}
