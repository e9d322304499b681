package enginetest

import (
	"cmp"
	"slices"
	"time"

	"github.com/longwire/longwire/gateway"
)

// state is all readable data of a store, comparable between engines and across a
// reopen: without the parts that the contract leaves open.
type state struct {
	Clients    []gateway.ClientRecord
	Messages   []gateway.Message
	Deliveries map[gateway.MessageID][]gateway.Delivery
	ByClient   map[gateway.ClientID][]gateway.Delivery
	Queues     map[gateway.ClientID][]gateway.Transmission
	Uplinks    map[gateway.ClientID][]gateway.Uplink
	Kept       int
	Queued     int
	OldestAt   time.Time
}

// dump reads everything.
func dump(t tb, s gateway.Store) state {
	t.Helper()
	d := state{
		Deliveries: map[gateway.MessageID][]gateway.Delivery{},
		ByClient:   map[gateway.ClientID][]gateway.Delivery{},
		Queues:     map[gateway.ClientID][]gateway.Transmission{},
		Uplinks:    map[gateway.ClientID][]gateway.Uplink{},
	}
	d.Clients = allClients(t, s, gateway.ClientQuery{QueuedGT: -1, Limit: 1000})
	for i := range d.Clients {
		c := &d.Clients[i]
		c.LastClose = "" // a connected client may be stored as lost
		d.ByClient[c.ID] = allClientDeliveries(t, s, gateway.ClientDeliveryQuery{Client: c.ID, Limit: 1000})
		d.Uplinks[c.ID] = allUplinks(t, s, c.ID, 1000)
		q, _, err := s.Next(gateway.TransmissionQuery{Client: c.ID, Max: 1 << 20, MaxBytes: 1 << 30}, nil)
		if err != nil {
			t.Fatal(err)
		}
		d.Queues[c.ID] = q
	}
	for _, m := range allMessages(t, s, gateway.MessageQuery{Limit: 1000}) {
		full, err := s.Message(m.ID)
		if err != nil {
			t.Fatal(err)
		}
		d.Messages = append(d.Messages, full)
		list := allDeliveries(t, s, gateway.DeliveryQuery{Message: m.ID, Limit: 1000})
		slices.SortFunc(list, func(a, b gateway.Delivery) int { return cmp.Compare(a.Client, b.Client) })
		d.Deliveries[m.ID] = list
	}
	st := s.Stats()
	d.Kept, d.Queued, d.OldestAt = st.Messages, st.Queued, st.OldestAt
	return d
}

// comparable removes differences that two engines may have: the numbers of their
// logs, the exact time of an expiry, and the parts of a plain final state that
// need not be kept within a message to many.
func (d state) comparable() state {
	many := map[gateway.MessageID]bool{}
	for i := range d.Messages {
		m := &d.Messages[i]
		m.Seq = 0
		many[m.ID] = m.Client == ""
		if m.Counts.Expired > 0 && !m.CompletedAt.IsZero() {
			m.CompletedAt = m.ExpiresAt
		}
	}
	for _, list := range d.Deliveries {
		for i := range list {
			comparableDelivery(&list[i], many[list[i].Message])
		}
	}
	for _, list := range d.ByClient {
		for i := range list {
			comparableDelivery(&list[i], many[list[i].Message])
		}
	}
	for _, list := range d.Queues {
		for i := range list {
			list[i].Seq = 0
		}
	}
	for _, list := range d.Uplinks {
		for i := range list {
			list[i].Seq = 0
		}
	}
	return d
}

func comparableDelivery(d *gateway.Delivery, many bool) {
	d.Seq = 0
	if d.State == gateway.Expired {
		d.FinalAt = time.Time{}
	}
	if many && d.Reason == "" && len(d.Result) == 0 {
		d.SentAt, d.FinalAt, d.Attempts = time.Time{}, time.Time{}, 0
	}
}
