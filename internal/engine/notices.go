package engine

import (
	"sync"

	"github.com/longwire/longwire/gateway"
)

// notices is what the observer is to be told of a record, in log order, once
// the record is durable.
type notices struct {
	settled []gateway.Settlement
	whole   []wholeNotice
}

// wholeNotice is that all of a message that was not final became so.
type wholeNotice struct {
	before  int // how many of notices.settled are told first
	message *gateway.Message
	state   gateway.State
	n       int
}

// noticePool holds notices between records: a settlement has 300 bytes, and a
// record up to maxRecordAcks of them.
var noticePool = sync.Pool{New: func() any { return new(notices) }}

func takeNotices() *notices { return noticePool.Get().(*notices) }

// add returns the settlement of d, which may be completed until the next call.
func (n *notices) add(d gateway.Delivery) *gateway.Settlement {
	n.settled = append(n.settled, gateway.Settlement{Delivery: d})
	return &n.settled[len(n.settled)-1]
}

func (n *notices) addWhole(m *gateway.Message, st gateway.State, count int) {
	n.whole = append(n.whole, wholeNotice{len(n.settled), m, st, count})
}

// tell passes the notices on, to nobody when o is nil. They are gone then.
func (n *notices) tell(o gateway.Observer) {
	if o != nil {
		told := 0
		for _, w := range n.whole {
			tellSettled(o, n.settled[told:w.before])
			told = w.before
			o.SettledAll(*w.message, w.state, w.n)
		}
		tellSettled(o, n.settled[told:])
	}
	clear(n.settled)
	clear(n.whole)
	n.settled, n.whole = n.settled[:0], n.whole[:0]
	noticePool.Put(n)
}

func tellSettled(o gateway.Observer, batch []gateway.Settlement) {
	if len(batch) > 0 {
		o.Settled(batch)
	}
}
