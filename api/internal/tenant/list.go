package tenant

import (
	"context"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/longwire/longwire/gateway"
)

// scanLimit bounds the rows beyond the limit that one page skips. A page that skips
// more ends early, with a cursor. The cursor may name a row beyond the limit, so a
// limited caller must not be able to read it.
const scanLimit = 2000

// filtered collects a page of the rows for which keep reports true. read returns the
// store's next page of at most n rows, key a row's key. advance makes read begin after
// a key.
func filtered[T, K any](limit int, read func(n int) (gateway.Page[T, K], error), key func(*T) K, keep func(*T) (bool, error), advance func(K)) (gateway.Page[T, K], error) {
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
		advance(page.Next)
		// The store has a bound for the rows of a page, too; a short page has met it.
		if scanned += len(page.Items); len(page.Items) < ask || scanned >= scanLimit {
			out.More = true
			return out, nil
		}
	}
}

// Clients lists clients. The limit is part of the store's query, so that the cost of a
// tenant's page does not grow with the clients of other tenants.
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
	return v.shared.gateway.Clients(q)
}

// bothGroups reads the clients in the limit's group and keeps the members of q.Group.
func (v *View) bothGroups(q gateway.ClientSelection) (gateway.Page[gateway.Client, gateway.ClientID], error) {
	other := q.Group
	q.Group = v.key.Limit.Group
	return filtered(q.Limit, func(n int) (gateway.Page[gateway.Client, gateway.ClientID], error) {
		q.Limit = n
		return v.shared.gateway.Clients(q)
	}, func(c *gateway.Client) gateway.ClientID { return c.ID },
		func(c *gateway.Client) (bool, error) { return slices.Contains(c.Groups, other), nil },
		func(next gateway.ClientID) { q.After = next })
}

// Messages lists messages, newest first or oldest first.
func (v *View) Messages(ctx context.Context, q gateway.MessageQuery) (gateway.Page[gateway.Message, gateway.MessageID], error) {
	if !v.limited() {
		return v.shared.gateway.Messages(q)
	}
	return filtered(q.Limit, func(n int) (gateway.Page[gateway.Message, gateway.MessageID], error) {
		release, err := v.scan(ctx)
		if err != nil {
			return gateway.Page[gateway.Message, gateway.MessageID]{}, err
		}
		defer release()
		q.Limit = n
		return v.shared.gateway.Messages(q)
	}, func(m *gateway.Message) gateway.MessageID { return m.ID }, v.sees,
		func(next gateway.MessageID) {
			if q.Ascending {
				q.After = next
			} else {
				q.Before = next
			}
		})
}

// Deliveries lists the deliveries of a message that the caller may see. All of them are
// within the limit, because Push narrows the audience.
func (v *View) Deliveries(q gateway.DeliveryQuery) (gateway.Page[gateway.Delivery, gateway.ClientID], error) {
	if v.limited() {
		if _, err := v.Message(q.Message); err != nil {
			return gateway.Page[gateway.Delivery, gateway.ClientID]{}, err
		}
	}
	page, err := v.shared.gateway.Deliveries(q)
	return page, v.hide(err, "", q.Message)
}

// ClientDeliveries lists a client's deliveries. They include those of messages to many
// that were pushed under another limit.
func (v *View) ClientDeliveries(q gateway.ClientDeliveryQuery) (page gateway.Page[gateway.Delivery, gateway.Seq], err error) {
	j, in, err := v.since(q.Client)
	if err != nil || !in {
		return page, err // an empty page, as for an unknown client
	}
	if page, err = v.shared.gateway.ClientDeliveries(q); err != nil {
		return page, err
	}
	newestFirst(&page, func(d *gateway.Delivery) bool { return d.Seq > j.Seq })
	return page, nil
}

// newestFirst ends a page of rows, the newest first, before the first that does not
// belong to the caller: neither do those behind it.
func newestFirst[T, K any](page *gateway.Page[T, K], own func(*T) bool) {
	for i := range page.Items {
		if !own(&page.Items[i]) {
			page.Items, page.More = page.Items[:i], false
			return
		}
	}
}

// UplinkQuery selects uplinks. Zero fields select all.
type UplinkQuery struct {
	Client       gateway.ClientID
	After        uint64 // above this sequence
	Newest       bool   // newest first, from below Before and without After
	Before       uint64 // 0 = from the newest
	Limit        int
	Since, Until time.Time // received at Since or later, and before Until
}

func (q *UplinkQuery) includes(at time.Time) bool {
	return !at.Before(q.Since) && (q.Until.IsZero() || at.Before(q.Until))
}

// read returns the store's next page of at most n uplinks.
func (q *UplinkQuery) read(g *gateway.Gateway, n int) (gateway.Page[gateway.Uplink, uint64], error) {
	if q.Newest {
		return g.UplinksBefore(q.Client, q.Before, n)
	}
	return g.Uplinks(q.Client, q.After, n)
}

// Uplinks lists the uplinks that q selects, oldest first or newest first.
func (v *View) Uplinks(q UplinkQuery) (gateway.Page[gateway.Uplink, uint64], error) {
	if q.Client != "" {
		j, in, err := v.since(q.Client)
		if err != nil || !in {
			return gateway.Page[gateway.Uplink, uint64]{}, err
		}
		q.After = max(q.After, j.Uplink)
	}
	foreign := v.limited() && (q.Client == "" || q.Newest)
	if !foreign && q.Since.IsZero() && q.Until.IsZero() {
		return q.read(v.shared.gateway, q.Limit)
	}
	first := make(map[gateway.ClientID]uint64) // of each client, so that a page looks each up once
	return filtered(q.Limit, func(n int) (gateway.Page[gateway.Uplink, uint64], error) {
		return q.read(v.shared.gateway, n)
	}, func(u *gateway.Uplink) uint64 { return u.Seq }, func(u *gateway.Uplink) (bool, error) {
		if !q.includes(u.At) || !foreign {
			return q.includes(u.At), nil
		}
		from, ok := first[u.Client]
		if !ok {
			j, in, err := v.since(u.Client)
			if err != nil {
				return false, err
			}
			if from = j.Uplink + 1; !in {
				from = math.MaxUint64
			}
			first[u.Client] = from
		}
		return u.Seq >= from, nil
	}, func(next uint64) { q.After, q.Before = next, next })
}

// Uplink returns one uplink; ok is false if none is kept with the sequence, or it is beyond
// the limit.
func (v *View) Uplink(seq uint64) (u gateway.Uplink, ok bool, err error) {
	if seq == 0 || seq == math.MaxUint64 {
		return u, false, nil
	}
	page, err := v.shared.gateway.UplinksBefore("", seq+1, 1)
	if err != nil || len(page.Items) == 0 || page.Items[0].Seq != seq {
		return u, false, err
	}
	u = page.Items[0]
	j, in, err := v.since(u.Client)
	return u, in && u.Seq > j.Uplink, err
}

// Whole returns the uplink of an event with the payload that the event omits. ok is
// false if the store no longer has it.
func (v *View) Whole(u *gateway.Uplink) (whole gateway.Uplink, ok bool, err error) {
	return Whole(v.shared.gateway, u)
}

// Whole is View.Whole for the gateway itself.
func Whole(g *gateway.Gateway, u *gateway.Uplink) (whole gateway.Uplink, ok bool, err error) {
	page, err := g.Uplinks(u.Client, u.Seq-1, 1)
	if err != nil || len(page.Items) == 0 || page.Items[0].Seq != u.Seq {
		return *u, false, err
	}
	return page.Items[0], true, nil
}

// LastUplink returns the last sequence that an uplink was given, whether it is kept or not; 0
// for none.
func (v *View) LastUplink() (uint64, error) { return v.shared.gateway.LastUplink() }
