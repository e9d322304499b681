package webhook

import "github.com/longwire/longwire/gateway"

// item is an event that waits for its request.
type item struct {
	event      gateway.Event
	prev, next *item
	ordered    bool // it is in the order
}

// order has the items that an endpoint has taken and that are not done, by rising
// numbers. An item leaves it when it is done, also if an earlier item takes long.
type order struct {
	first, last *item
	n           int
}

// add puts an item at the end.
func (o *order) add(it *item) {
	it.ordered, it.prev = true, o.last
	if o.last == nil {
		o.first = it
	} else {
		o.last.next = it
	}
	o.last = it
	o.n++
}

// remove reports whether the item was in the order.
func (o *order) remove(it *item) bool {
	if !it.ordered {
		return false
	}
	if it.prev == nil {
		o.first = it.next
	} else {
		it.prev.next = it.next
	}
	if it.next == nil {
		o.last = it.prev
	} else {
		it.next.prev = it.prev
	}
	it.prev, it.next, it.ordered = nil, nil, false
	o.n--
	return true
}
