package state

import (
	"sync"

	"github.com/longwire/longwire/gateway"
)

// Feed is a record's part of the feed: its changes in log order. The observer gets
// them when the record is durable.
type Feed struct {
	list []gateway.Change
	// What list points to. An array that has become too small stays valid.
	settled   []gateway.Settlement
	accepted  []gateway.Accepted
	completed []gateway.Message
	logged    gateway.EventsLogged
}

// noticePool holds feeds between records: a settlement has 300 bytes, and a
// record up to 16,384 of them.
var noticePool = sync.Pool{New: func() any { return new(Feed) }}

func takeNotices() *Feed { return noticePool.Get().(*Feed) }

func (n *Feed) add(c gateway.Change) { n.list = append(n.list, c) }

// addSettled returns the settlement of d, which may be completed until the next
// call.
func (n *Feed) addSettled(d gateway.Delivery) *gateway.Settlement {
	n.settled = append(n.settled, gateway.Settlement{Delivery: d})
	s := &n.settled[len(n.settled)-1]
	n.add(s)
	return s
}

func (n *Feed) addAccepted(a gateway.Accepted) {
	n.accepted = append(n.accepted, a)
	n.add(&n.accepted[len(n.accepted)-1])
}

// addCompleted returns a message for the settlement that completes it.
func (n *Feed) addCompleted(m gateway.Message) *gateway.Message {
	n.completed = append(n.completed, m)
	return &n.completed[len(n.completed)-1]
}

// Tell passes the changes to o, unless it is nil, and frees them.
func (n *Feed) Tell(o gateway.Observer) {
	if o != nil && len(n.list) > 0 {
		o.Changed(n.list)
	}
	clear(n.list)
	clear(n.settled)
	clear(n.accepted)
	clear(n.completed)
	n.list, n.settled, n.accepted, n.completed = n.list[:0], n.settled[:0], n.accepted[:0], n.completed[:0]
	noticePool.Put(n)
}
