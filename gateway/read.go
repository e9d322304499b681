package gateway

import (
	"context"
	"slices"
	"time"
)

// Message returns a message with its counts. Errors: CodeMessageNotFound,
// CodeUnavailable.
func (g *Gateway) Message(id MessageID) (Message, error) {
	mark := g.mark()
	m, err := g.store.Message(id)
	if err == nil {
		list := []Message{m}
		g.show(list, mark)
		return list[0], nil
	} else if late, ok := g.late.message(id, g.now()); ok {
		return late, nil
	}
	return m, err
}

// Messages lists messages, newest first or oldest first.
func (g *Gateway) Messages(q MessageQuery) (Page[Message, MessageID], error) {
	q.Limit = clampLimit(q.Limit)
	if !q.CreatedBefore.IsZero() {
		end := firstMessageAt(q.CreatedBefore.Add(time.Duration(g.idsAhead.Load()) + time.Millisecond))
		if q.Before == "" || end < q.Before {
			q.Before = end
		}
	}
	mark := g.mark()
	page, err := g.store.Messages(q)
	g.show(page.Items, mark)
	return page, err
}

// mark is the moment before a read of the store. Comparing it with a later moment shows
// whether deliveries have ended during the read.
type mark struct{ sent, once uint64 }

func (g *Gateway) mark() mark { return mark{g.sent.mark(), g.once.mark()} }

// maxReads bounds the reads of a message while its deliveries end.
const maxReads = 4

// show is showSent for messages that were read after mark. The sessions must know the same
// ends of deliveries as the messages. So show waits for the feed, and reads a message again
// if a delivery has ended since.
func (g *Gateway) show(list []Message, mark mark) {
	if slices.ContainsFunc(list, func(m Message) bool { return m.Client == "" && m.Counts.Queued > 0 && g.sent.any(m.ID) }) {
		g.events.catchUp()
	}
	for i := range list {
		m, mark := &list[i], mark
		for reads := 1; g.showSent(m, mark) && reads < maxReads; reads++ {
			mark = g.mark()
			now, err := g.store.Message(m.ID)
			if err != nil {
				break
			}
			*m = now
			g.events.catchUp()
		}
	}
}

// showSent moves deliveries that live sessions have flushed from queued to sent. stale is
// true if a delivery may have ended since m was read, which was after mark.
func (g *Gateway) showSent(m *Message, mark mark) (stale bool) {
	if m.Online {
		g.showOnceMessage(m)
		return m.Counts.Unknown > 0 && g.once.endedSince(mark.once)
	}
	if m.Counts.Queued == 0 {
		return false
	}
	var n int
	if m.Client == "" {
		n, stale = g.sent.get(m.ID, mark.sent)
	} else {
		d := Delivery{Seq: m.Seq, State: Queued}
		if s := g.hub.session(m.Client); s != nil {
			s.overlay(&d)
		}
		if d.State == Sent {
			n = 1
		} else {
			stale = g.hub.hasPassed(m.Client, m.Seq)
		}
	}
	n = min(n, m.Counts.Queued)
	m.Counts.Sent += n
	m.Counts.Queued -= n
	return stale
}

// Delivery returns one message's delivery to one client. Errors:
// CodeMessageNotFound, CodeClientNotFound (not a recipient), CodeUnavailable.
func (g *Gateway) Delivery(id MessageID, client ClientID) (Delivery, error) {
	mark := g.mark()
	d, err := g.store.Delivery(id, client)
	if err == nil {
		g.overlay(&d, mark)
	}
	return d, err
}

// Deliveries lists a message's deliveries. Queued and Sent both select deliveries
// that are not final; only the live sessions can separate them.
func (g *Gateway) Deliveries(q DeliveryQuery) (Page[Delivery, ClientID], error) {
	q.Limit = clampLimit(q.Limit)
	want := q.State
	if want == Sent {
		q.State = Queued
	}
	mark := g.mark()
	page, err := g.store.Deliveries(q)
	page.Items = g.overlayAll(page.Items, want, mark)
	return page, err
}

// ClientDeliveries lists a client's deliveries, newest first.
func (g *Gateway) ClientDeliveries(q ClientDeliveryQuery) (Page[Delivery, Seq], error) {
	q.Limit = clampLimit(q.Limit)
	want := q.State
	if want == Sent || q.Pending { // the store has no state Sent
		q.State = Queued
	}
	if q.Pending {
		want = 0
	}
	mark := g.mark()
	page, err := g.store.ClientDeliveries(q)
	page.Items = g.overlayAll(page.Items, want, mark)
	return page, err
}

// overlayAll adds the live sessions' state to items, which were read after mark, and keeps
// those in state want.
func (g *Gateway) overlayAll(items []Delivery, want State, mark mark) []Delivery {
	kept := items[:0]
	for i := range items {
		d := items[i]
		g.overlay(&d, mark)
		if want == 0 || d.State == want {
			kept = append(kept, d)
		}
	}
	return kept
}

// InFlight returns the queued delivery of a message to one client with the knowledge of
// the client's sessions, without a read of the store. ok is false if no session has
// transmitted it.
func (g *Gateway) InFlight(m *Message) (d Delivery, ok bool) {
	if m.Online {
		return d, false
	}
	d = Delivery{Message: m.ID, Client: m.Client, Seq: m.Seq, State: Queued, CreatedAt: m.CreatedAt, ExpiresAt: m.ExpiresAt}
	ok = g.overlayQueued(&d)
	return d, ok || d.Attempts > 0
}

// overlay adds the knowledge of the client's sessions to a delivery that was read after
// mark. A delivery that may have ended since is read again.
func (g *Gateway) overlay(d *Delivery, mark mark) {
	again := false
	if d.Online {
		g.showOnce(d)
		again = d.Restarted() && g.once.endedSince(mark.once)
	} else if d.State == Queued {
		again = !g.overlayQueued(d) && g.hub.hasPassed(d.Client, d.Seq)
	}
	if again {
		if now, err := g.store.Delivery(d.Message, d.Client); err == nil {
			*d = now
		}
	}
	g.showSends(d)
}

// overlayQueued adds the knowledge of the client's sessions to a queued delivery. It reports
// whether the delivery is in the window of the live one.
func (g *Gateway) overlayQueued(d *Delivery) (inWindow bool) {
	s, before := g.hub.triedBefore(d.Client, d.Seq, func(s *Session) { inWindow = s.overlay(d) })
	if s == nil {
		before.show(d)
	}
	return inWindow
}

// Cancel withdraws a message: every delivery that is not final becomes canceled,
// durably. A delivery that the device already has may still be acked late.
// Errors: CodeMessageNotFound, CodeAlreadyFinal (also for an online message under way, of
// which nothing is queued), CodeUnavailable.
func (g *Gateway) Cancel(ctx context.Context, id MessageID) (Message, error) {
	m, err := g.store.Cancel(ctx, id, g.now())
	if CodeOf(err) != CodeAlreadyFinal {
		return m, err
	}
	if now, e := g.Message(id); e == nil && now.Online && !now.Completed() {
		err = &Error{Code: CodeAlreadyFinal, MessageID: id, Message: "a message with mode=online is sent at once and cannot be canceled; its wait ends it"}
	}
	return m, err
}

// Uplinks lists stored uplinks above after, oldest first; client "" = all.
func (g *Gateway) Uplinks(client ClientID, after uint64, limit int) (Page[Uplink, uint64], error) {
	return g.store.Uplinks(client, after, clampLimit(limit))
}

// LastUplink returns the last sequence that an uplink was given, whether it is kept or not; 0
// for none.
func (g *Gateway) LastUplink() (uint64, error) { return g.store.LastUplink() }

// UplinksBefore lists stored uplinks below before (0 = all), newest first; client "" = all.
func (g *Gateway) UplinksBefore(client ClientID, before uint64, limit int) (Page[Uplink, uint64], error) {
	return g.store.UplinksBefore(client, before, clampLimit(limit))
}

func clampLimit(n int) int {
	if n <= 0 {
		return DefaultListSize
	}
	return min(n, MaxListLimit)
}
