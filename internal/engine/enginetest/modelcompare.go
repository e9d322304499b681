package enginetest

import (
	"fmt"
	"slices"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/longwire/longwire/gateway"
)

// answer is the result of an operation, comparable between the stores.
type answer struct {
	Value any
	Code  gateway.Code
}

// both runs an operation on both stores and compares the answers.
func (m *model) both(rt *rapid.T, what string, op func(s *side) (any, error)) {
	rt.Helper()
	var got [2]answer
	for i, s := range m.sides() {
		v, err := op(s)
		got[i] = answer{v, gateway.CodeOf(err)}
		if err != nil {
			got[i].Value = nil
			if got[i].Code == "" || got[i].Code == gateway.CodeUnavailable {
				rt.Fatalf("%s: %v", what, err)
			}
		}
	}
	if diff := difference(got[0], got[1]); diff != "" {
		rt.Fatalf("%s (-A +B):\n%s", what, diff)
	}
}

func difference(a, b any) string {
	// Each store has its own Ref for a client.
	return cmp.Diff(a, b, cmpopts.EquateEmpty(), cmpopts.IgnoreFields(gateway.ClientRecord{}, "Ref"), cmpopts.IgnoreFields(gateway.Joining{}, "Event"))
}

// record makes a client record comparable.
func record(c gateway.ClientRecord, err error) (any, error) {
	c.LastClose = ""
	return c, err
}

func comparableMessage(m gateway.Message) gateway.Message {
	return state{Messages: []gateway.Message{m}}.comparable().Messages[0]
}

// await waits until both stores read the same: each applies outcomes and expiries
// in its own time.
func (m *model) await(rt *rapid.T, what string, read func(s *side) any) {
	rt.Helper()
	diff := ""
	if !waitFor(func() bool {
		diff = difference(read(&m.a), read(&m.b))
		return diff == ""
	}) {
		rt.Fatalf("%s (-A +B):\n%s", what, diff)
	}
}

// compare reads everything of both.
func (m *model) compare(rt *rapid.T) {
	rt.Helper()
	m.await(rt, "all that can be read", func(s *side) any { return dump(rt, s.store).comparable() })
	m.compareEvents(rt)
}

// compareEvents compares the events of each client, and of the messages to many.
func (m *model) compareEvents(rt *rapid.T) {
	rt.Helper()
	m.await(rt, "the events", func(s *side) any {
		by, all := map[string][]string{}, map[gateway.ClientID][]string{}
		for after := uint64(0); ; {
			events, through, err := s.store.Events(after, 100, nil)
			if err != nil {
				rt.Fatalf("events: %v", err)
			}
			for _, e := range events {
				if e.Seq <= after || e.Seq > through {
					rt.Fatalf("event %d is read between %d and %d", e.Seq, after, through)
				}
				all[e.Client] = append(all[e.Client], eventLine(&e))
				_, err := s.store.Message(e.Message)
				// A store may drop the payload of a removed message, and one of the two
				// removes by age.
				if (e.Message == "" || err == nil) && !e.Gone && m.clock.Now().Sub(e.At) < 7*24*time.Hour {
					by[string(e.Client)] = append(by[string(e.Client)], eventLine(&e))
				}
			}
			if through == after || len(events) == 0 {
				break
			}
			after = through
		}
		for client, forward := range all {
			if _, err := s.store.Client(client); err != nil || m.forgot[client] {
				continue // events about several clients are by a number that it no longer has
			}
			if diff := cmp.Diff(forward, backward(rt, s.store, client)); diff != "" {
				by["read backwards, "+string(client)] = []string{diff}
			}
		}
		return by
	})
}

// backward reads the events of one client from the end of the log in small pages, and
// returns them in their order.
func backward(rt *rapid.T, store gateway.Store, client gateway.ClientID) (lines []string) {
	for q := (gateway.ClientEventQuery{Client: client, Limit: 3, Scan: 7}); ; {
		p, err := store.ClientEvents(q)
		if err != nil || len(p.Items) > q.Limit || p.More && (p.Next == 0 || q.Before != 0 && p.Next >= q.Before) {
			rt.Fatalf("events of %s below %d: %+v, %v", client, q.Before, p, err)
		}
		for i := range p.Items {
			lines = append(lines, eventLine(&p.Items[i]))
		}
		if q.Before = p.Next; !p.More {
			slices.Reverse(lines)
			return lines
		}
	}
}

// eventLine returns what two stores must agree about.
func eventLine(e *gateway.Event) string {
	if e.Reason == gateway.ReasonServerStopped {
		e.Epoch = 0 // a process that ends leaves no epochs
	}
	s := fmt.Sprintf("%s of %s: %v %s %q %v, epoch %d", e.Type, e.Message, e.State, e.Reason, e.Result, e.Groups, e.Epoch)
	if e.Uplink != nil {
		s += fmt.Sprintf(", uplink %q", e.Uplink.Payload)
	}
	return s
}

// compareNotifications compares the notifications of the observers. Deliveries that
// expired at one time may come in any order.
func (m *model) compareNotifications(rt *rapid.T) {
	rt.Helper()
	m.await(rt, "the notifications of the observers", func(s *side) any {
		n := map[string]int{}
		for _, rec := range s.recs {
			for _, x := range rec.all() {
				n[x.String()]++
				if x.Completed != nil { // it comes with any delivery of the step
					n[fmt.Sprintf("%s: completed %+v", x.Completed.ID, x.Completed.Counts)]++
				}
			}
		}
		return n
	})
	for _, s := range m.sides() {
		for _, rec := range s.recs {
			for _, complaint := range rec.complaints() {
				rt.Error(complaint)
			}
		}
	}
}

func (x notification) String() string {
	if x.all != nil {
		return fmt.Sprintf("%s: the last %d %v, %+v", x.all.ID, x.n, x.state, x.all.Counts)
	}
	d := x.Delivery
	s := fmt.Sprintf("%s to %s: %v %s %q", d.Message, d.Client, d.State, d.Reason, d.Result)
	if x.Late {
		s += fmt.Sprintf(", late ack %q", d.LateResult)
	}
	return s
}
