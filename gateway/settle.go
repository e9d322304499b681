package gateway

var finalEvents = [...]EventType{Acked: EventMessageAcked, Rejected: EventMessageRejected,
	Expired: EventMessageExpired, Canceled: EventMessageCanceled, Failed: EventMessageFailed}

// settled passes a settlement on: to the counters, the window of the live session,
// the event stream and the waiting callers, in this order.
func (g *Gateway) settled(t *Settlement, woken *wakes) {
	d := &t.Delivery
	if t.Late {
		g.counts.lateAcks.Add(1)
		g.events.add(Event{Type: EventMessageLateAck, At: d.LateAckAt, Client: d.Client, Message: d.Message,
			State: d.State, Result: d.LateResult})
		return
	}
	g.counts.settled[d.State].Add(1)
	if s := g.hub.settled(d.Client, d.Seq); s != nil && s.evict(d.Seq) {
		woken.add(s)
	}
	g.events.add(Event{Type: finalEvents[d.State], At: d.FinalAt, Client: d.Client, Message: d.Message,
		State: d.State, Reason: d.Reason, Attempts: d.Attempts, Result: d.Result})
	if t.Completed != nil {
		g.completed(t.Completed, d, woken)
	}
}

// settledAll is settled for the rest of a message to many.
func (g *Gateway) settledAll(a *SettledAll, woken *wakes) {
	m := &a.Message
	g.counts.settled[a.State].Add(uint64(a.N))
	for s := range g.hub.all {
		if s.evictMessage(m.ID) {
			woken.add(s)
		}
	}
	counts := m.Counts
	g.events.add(Event{Type: finalEvents[a.State], At: g.now(), Message: m.ID, State: a.State, Counts: &counts})
	if m.Completed() {
		g.completed(m, nil, woken)
	}
}

// completed passes on a message whose last delivery, d, is final.
func (g *Gateway) completed(m *Message, d *Delivery, woken *wakes) {
	if m.Client == "" {
		counts := m.Counts
		g.events.add(Event{Type: EventMessageCompleted, At: m.CompletedAt, Message: m.ID, Counts: &counts})
	}
	woken.calls = g.waiters.completed(m, d, woken.calls)
}
