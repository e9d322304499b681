package gateway

import "time"

// Observer receives the feed: the changes of the log. It passes them on without a
// system call, and takes no lock that another goroutine holds during one.
type Observer interface {
	// Changed reports durable, readable changes in log order, from one goroutine
	// at a time. Cancel and Purge return after it. It must not call the store's
	// writing methods and must not block. The store reuses the list and the
	// changes when Changed returns; payloads and results may be kept and must not
	// be changed.
	Changed([]Change)
}

// Change is one change of the log: a pointer to one of the types below.
type Change interface{ change() }

func (*Accepted) change()     {}
func (*AcceptedMany) change() {}
func (*Settlement) change()   {}
func (*SettledAll) change()   {}
func (*Uplinked) change()     {}
func (*Reopened) change()     {}

func (*DisconnectedAll) change() {}
func (*EventsLogged) change()    {}
func (*ClientForgotten) change() {}

// Accepted reports an accepted message to one client.
type Accepted struct {
	Client       ClientID
	Transmission Transmission
}

// AcceptedMany reports an accepted message to many that has at least one queued
// delivery.
type AcceptedMany struct {
	Message MessageID
	Seq     Seq
	Total   int // deliveries
	To      Audience
	Rate    int // Acceptance.Rate
}

// Settlement reports a delivery that became final. With Late set it reports an
// ack that came after the final state (Delivery.LateAckAt).
type Settlement struct {
	Delivery Delivery
	Late     bool
	// Completed is the message if this was its last delivery, else nil. It has
	// ids, times and counts, but neither payload nor metadata.
	Completed *Message
}

// SettledAll reports that the remaining N deliveries of a message to many became
// final in one step: expired or canceled. Message is as in Settlement.Completed.
type SettledAll struct {
	Message Message
	State   State
	N       int
}

// Uplinked reports a stored uplink.
type Uplinked struct{ Uplink Uplink }

// DisconnectedAll reports that the process of the N clients that were online there
// has ended: another process has taken its place in the log.
type DisconnectedAll struct {
	Reason string
	N      int
}

// EventsLogged reports that events up to a number can be read. It is the last change of
// its record.
type EventsLogged struct{ Last uint64 }

// ClientForgotten reports that a client was removed. Its sessions up to the one of Epoch
// are over, and its queue was canceled in changes before.
type ClientForgotten struct {
	Client ClientID
	Epoch  uint64
}

// Reopened reports that the store failed and is open again. Sessions trust no
// mailbox until they have read the store.
type Reopened struct{}

// observer is the Gateway's implementation of Observer.
type observer Gateway

// wakes collects the sessions and calls that one record wakes. The sessions go to
// the run queue as one list; one goroutine finishes the calls.
type wakes struct {
	runList
	calls     []*PushCall
	forgotten []*Session // of clients that the store has removed
}

// closeAll ends the connections of forgotten clients.
func closeAll(sessions []*Session) {
	for _, s := range sessions {
		s.link.Close(Close{Code: CloseKicked, Reason: ReasonKicked, RetryAfter: time.Second, Text: "the client was forgotten"})
	}
}

// Changed wakes the sessions and callers that the changes concern.
func (o *observer) Changed(list []Change) {
	g := (*Gateway)(o)
	var woken wakes
	for _, c := range list {
		switch c := c.(type) {
		case *Accepted:
			if set := g.tallies.Load(); set != nil {
				for t := range set.of(c.Client) {
					t.accepted.Add(1)
				}
			}
			g.queuedStep(c)
			if s := g.hub.session(c.Client); s != nil && s.offer(&c.Transmission, g.lastMany) {
				woken.add(s)
			}
		case *AcceptedMany:
			g.lastMany = c.Seq
			g.broadcast(c)
		case *Settlement:
			g.settled(c, &woken)
		case *SettledAll:
			g.settledAll(c, &woken)
		case *Uplinked:
			g.counts.uplinks.Add(1)
			if set := g.tallies.Load(); set != nil {
				for t := range set.of(c.Uplink.Client) {
					t.uplinks.Add(1)
				}
			}
		case *EventsLogged:
			g.events.logged(c.Last)
		case *ClientForgotten:
			g.forgotten.add(c.Client, g.now())
			g.closes.forget(c.Client)
			g.conflicts.forget(c.Client)
			g.forgottenStep(c.Client)
			if s := g.hub.session(c.Client); s != nil && s.epoch <= c.Epoch {
				woken.forgotten = append(woken.forgotten, s)
			}
		case *Reopened:
			g.events.reopened()
			for s := range g.hub.all {
				if s.reopened() {
					woken.add(s)
				}
			}
		}
	}
	g.runs.pushAll(&woken.runList)
	if woken.calls != nil {
		go endAll(woken.calls)
	}
	if woken.forgotten != nil {
		go closeAll(woken.forgotten)
	}
}

// settled passes a settlement to the counters, the window of the live session, the observer
// of steps and the waiting callers, in this order.
func (g *Gateway) settled(t *Settlement, woken *wakes) {
	d := &t.Delivery
	if t.Late {
		g.finalStep(t)
		g.counts.lateAcks.Add(1)
		return
	}
	if d.Online { // it is in no window
		woken.calls = g.waiters.completed(t.Completed, d, woken.calls)
		return
	}
	g.counts.settled[d.State].Add(1)
	if d.State == Acked && !d.SentAt.IsZero() {
		g.acks.add(d.FinalAt.Sub(d.SentAt))
	}
	if set := g.tallies.Load(); set != nil {
		set.settled(d)
	}
	_, answered := d.Verdict()
	if s := g.hub.settled(d.Client, d.Seq, answered, g.keepEnd); s != nil {
		woken.add(s)
	}
	if d.State == Expired || d.State == Canceled { // the store does not know that it was sent
		shown := *t
		d = &shown.Delivery
		if g.showSends(d); d.SentAt.After(t.Delivery.SentAt) {
			g.keepSends(d)
		}
		t = &shown
	}
	g.finalStep(t)
	if t.Completed != nil {
		woken.calls = g.waiters.completed(t.Completed, d, woken.calls)
	}
}

// settledAll is settled for the remaining deliveries of a message to many.
func (g *Gateway) settledAll(a *SettledAll, woken *wakes) {
	m := &a.Message
	g.counts.settled[a.State].Add(uint64(a.N))
	g.evictor.add(m.Seq)
	if m.Completed() {
		woken.calls = g.waiters.completed(m, nil, woken.calls)
	}
}
