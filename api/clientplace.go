package api

import (
	"net/netip"
	"slices"
	"time"

	"github.com/longwire/longwire/gateway"
)

// connection takes the filters of connected clients and of queues.
func (q *query) connection(sel *gateway.ClientSelection, now time.Time) {
	if v := q.one("ip"); v != "" {
		p, err := netip.ParsePrefix(v)
		if addr, addrErr := netip.ParseAddr(v); addrErr == nil {
			p, err = addr.Unmap().WithZone("").Prefix(addr.Unmap().BitLen())
		}
		if err != nil {
			q.fail("ip", "must be an address or a network, such as 203.0.113.7 or 203.0.113.0/24")
		}
		sel.Addr = p
	}
	sel.Dialect = q.oneOf("dialect", "", "v1", "v2", "text")
	sel.Since = q.since("since", now)
	if d, given := q.duration("queued_older_than", 0, gateway.MaxTTL); given {
		sel.QueuedBefore = now.Add(-d)
	}
}

// clientPlace is the beginning of a page in the list of clients, which has the clients behind
// it or, with back, those before it. The zero value is the beginning of the list.
type clientPlace struct {
	id   gateway.ClientID // "" = the beginning
	at   bool             // the page has id itself
	back bool
	desc bool // order of the list
}

// kind returns the letter of the place's cursor.
func (p *clientPlace) kind() byte {
	switch {
	case p.back && p.at:
		return cursorClientsTo
	case p.back:
		return cursorClientsUp
	case p.at:
		return cursorClientsAt
	}
	return cursorClients
}

// encode returns the cursor of a place, "" for none.
func (p *clientPlace) encode(c cursors) string {
	if p == nil {
		return ""
	}
	return c.encode(p.kind(), string(p.id))
}

// clientPlace takes order, from and cursor.
func (q *query) clientPlace(c cursors) clientPlace {
	p := clientPlace{desc: q.oneOf("order", "asc", "asc", "desc") == "desc"}
	p.id = q.clientID("from")
	p.at = p.id != ""
	v := q.values.Get("cursor")
	if v == "" {
		q.text("cursor")
		return p
	}
	for _, other := range []clientPlace{{at: true}, {back: true}, {back: true, at: true}} {
		if _, ok := c.decode(other.kind(), v); ok {
			other.id, other.desc = gateway.ClientID(q.cursor(c, other.kind(), validClient)), p.desc
			return other
		}
	}
	return clientPlace{desc: p.desc, id: gateway.ClientID(q.cursor(c, cursorClients, validClient))}
}

// apply makes sel begin at the place. A page that goes back is read in the other order.
func (p *clientPlace) apply(sel *gateway.ClientSelection) {
	sel.Descending = p.desc != p.back
	if p.at {
		sel.From = p.id
	} else {
		sel.After = p.id
	}
}

// neighbours puts the items of the page that was read from p in the order of the list. It
// returns the places of the page before and of the one behind; nil = there is none.
func (p *clientPlace) neighbours(page *gateway.Page[gateway.Client, gateway.ClientID]) (before, after *clientPlace) {
	// The end of the page that is towards p: rows up to the first item are in no
	// other page.
	var near, far *clientPlace
	if p.id != "" {
		near = &clientPlace{id: p.id, at: !p.at, back: !p.back}
		if len(page.Items) > 0 {
			near = &clientPlace{id: page.Items[0].ID, back: !p.back}
		}
	}
	if page.More {
		far = &clientPlace{id: page.Next, back: p.back}
	}
	if !p.back {
		return near, far
	}
	slices.Reverse(page.Items)
	return far, near
}
