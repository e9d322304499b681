package tenant

import (
	"math"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/longwire/longwire/gateway"
)

// scanLimit bounds the rows of others that one page passes over; a page that
// meets more ends early, with a cursor. A cursor may name such a row: it must
// not be readable by a limited caller.
const scanLimit = 2000

// filtered collects a page of what keep wants. read returns the store's next
// page of at most n rows; key is a row's key.
func filtered[T, K any](limit int, read func(n int) (gateway.Page[T, K], error), key func(*T) K, keep func(*T) (bool, error), goOn func(K)) (gateway.Page[T, K], error) {
	if limit <= 0 {
		limit = gateway.DefaultListSize
	}
	limit = min(limit, gateway.MaxListLimit)
	var out gateway.Page[T, K]
	ask := max(limit, 200)
	for scanned := 0; ; {
		page, err := read(ask)
		if err != nil {
			return gateway.Page[T, K]{}, err
		}
		for i := range page.Items {
			row := &page.Items[i]
			if ok, err := keep(row); err != nil {
				return gateway.Page[T, K]{}, err
			} else if !ok {
				continue
			}
			out.Items = append(out.Items, *row)
			if len(out.Items) == limit {
				out.Next, out.More = key(row), page.More || i+1 < len(page.Items)
				return out, nil
			}
		}
		out.Next = page.Next
		if !page.More {
			return out, nil
		}
		goOn(page.Next)
		// A short page has met a bound of its own.
		if scanned += len(page.Items); len(page.Items) < ask || scanned >= scanLimit {
			out.More = true
			return out, nil
		}
	}
}

// Clients lists clients. The limit goes into the store's own query, so that a
// tenant's page costs the same however many clients others have.
func (v *View) Clients(q gateway.ClientSelection) (gateway.Page[gateway.Client, gateway.ClientID], error) {
	l := &v.key.Limit
	switch {
	case l.Prefix != "" && strings.HasPrefix(l.Prefix, q.Prefix):
		q.Prefix = l.Prefix
	case l.Prefix != "" && !strings.HasPrefix(q.Prefix, l.Prefix):
		return gateway.Page[gateway.Client, gateway.ClientID]{}, nil
	case l.Group != "" && q.Group != "" && q.Group != l.Group:
		return v.bothGroups(q)
	case l.Group != "":
		q.Group = l.Group
	}
	return v.door.gateway.Clients(q)
}

// bothGroups asks the store for the limit's group and keeps who is in the other
// one, too.
func (v *View) bothGroups(q gateway.ClientSelection) (gateway.Page[gateway.Client, gateway.ClientID], error) {
	other := q.Group
	q.Group = v.key.Limit.Group
	return filtered(q.Limit, func(n int) (gateway.Page[gateway.Client, gateway.ClientID], error) {
		q.Limit = n
		return v.door.gateway.Clients(q)
	}, func(c *gateway.Client) gateway.ClientID { return c.ID },
		func(c *gateway.Client) (bool, error) { return slices.Contains(c.Groups, other), nil },
		func(next gateway.ClientID) { q.After = next })
}

// Messages lists messages, newest first.
func (v *View) Messages(q gateway.MessageQuery) (gateway.Page[gateway.Message, gateway.MessageID], error) {
	if !v.limited() {
		return v.door.gateway.Messages(q)
	}
	return filtered(q.Limit, func(n int) (gateway.Page[gateway.Message, gateway.MessageID], error) {
		q.Limit = n
		return v.door.gateway.Messages(q)
	}, func(m *gateway.Message) gateway.MessageID { return m.ID }, v.sees,
		func(next gateway.MessageID) { q.Before = next })
}

// Deliveries lists the deliveries of a message that the caller may see: those of
// its own pushes went to nobody beyond its limit.
func (v *View) Deliveries(q gateway.DeliveryQuery) (gateway.Page[gateway.Delivery, gateway.ClientID], error) {
	if v.limited() {
		if _, err := v.Message(q.Message); err != nil {
			return gateway.Page[gateway.Delivery, gateway.ClientID]{}, err
		}
	}
	page, err := v.door.gateway.Deliveries(q)
	return page, v.hide(err, "", q.Message)
}

// ClientDeliveries lists a client's deliveries, also of messages that others
// have pushed to many.
func (v *View) ClientDeliveries(q gateway.ClientDeliveryQuery) (gateway.Page[gateway.Delivery, gateway.Seq], error) {
	if in, err := v.inside(q.Client); err != nil || !in {
		return gateway.Page[gateway.Delivery, gateway.Seq]{}, err // as of a client that was never seen
	}
	return v.door.gateway.ClientDeliveries(q)
}

// UplinkQuery selects uplinks. Zero fields select all.
type UplinkQuery struct {
	Client       gateway.ClientID
	After        uint64 // above this sequence
	Limit        int
	Since, Until time.Time // received at Since or later, and before Until
}

func (q *UplinkQuery) includes(at time.Time) bool {
	return !at.Before(q.Since) && (q.Until.IsZero() || at.Before(q.Until))
}

// Uplinks lists the uplinks that q selects, oldest first.
func (v *View) Uplinks(q UplinkQuery) (gateway.Page[gateway.Uplink, uint64], error) {
	if q.Client != "" {
		if in, err := v.inside(q.Client); err != nil || !in {
			return gateway.Page[gateway.Uplink, uint64]{}, err
		}
	}
	foreign := q.Client == "" && v.limited()
	if !foreign && q.Since.IsZero() && q.Until.IsZero() {
		return v.door.gateway.Uplinks(q.Client, q.After, q.Limit)
	}
	known := make(map[gateway.ClientID]bool) // for one page, so that a talkative device is looked up once
	return filtered(q.Limit, func(n int) (gateway.Page[gateway.Uplink, uint64], error) {
		return v.door.gateway.Uplinks(q.Client, q.After, n)
	}, func(u *gateway.Uplink) uint64 { return u.Seq }, func(u *gateway.Uplink) (bool, error) {
		if !q.includes(u.At) || !foreign {
			return q.includes(u.At), nil
		}
		in, ok := known[u.Client]
		if ok {
			return in, nil
		}
		in, err := v.inside(u.Client)
		known[u.Client] = in
		return in, err
	}, func(next uint64) { q.After = next })
}

// Whole returns the uplink of an event with the payload that the event omits. ok is
// false if it is no longer kept.
func (v *View) Whole(u *gateway.Uplink) (whole gateway.Uplink, ok bool, err error) {
	page, err := v.door.gateway.Uplinks(u.Client, u.Seq-1, 1)
	if err != nil || len(page.Items) == 0 || page.Items[0].Seq != u.Seq {
		return *u, false, err
	}
	return page.Items[0], true, nil
}

// LastUplink returns the sequence of the newest uplink, 0 when there is none. It
// halves the range of sequences, because no uplink is above the newest one.
func (v *View) LastUplink() (uint64, error) {
	var failed error
	last := sort.Search(math.MaxInt, func(after int) bool {
		page, err := v.door.gateway.Uplinks("", uint64(after), 1)
		if err != nil {
			failed = err
		}
		return len(page.Items) == 0
	})
	return uint64(last), failed
}
