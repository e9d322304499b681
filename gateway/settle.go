package gateway

// observer is the gateway as the store tells it of final states.
type observer Gateway

var finalEvents = [...]EventType{Acked: EventMessageAcked, Rejected: EventMessageRejected,
	Expired: EventMessageExpired, Canceled: EventMessageCanceled, Failed: EventMessageFailed}

// Settled tells everybody who asked: counters, the live session's window, the
// event stream and the waiting callers, in this order.
func (o *observer) Settled(batch []Settlement) {
	g := (*Gateway)(o)
	for i := range batch {
		t := &batch[i]
		d := &t.Delivery
		if t.Late {
			g.counts.lateAcks.Add(1)
			g.events.add(Event{Type: EventMessageLateAck, At: d.LateAckAt, Client: d.Client, Message: d.Message,
				State: d.State, Result: d.LateResult})
			continue
		}
		g.counts.settled[d.State].Add(1)
		if s := g.hub.settled(d.Client, d.Seq); s != nil {
			s.evict(d.Seq)
		}
		g.events.add(Event{Type: finalEvents[d.State], At: d.FinalAt, Client: d.Client, Message: d.Message,
			State: d.State, Reason: d.Reason, Attempts: d.Attempts, Result: d.Result})
		if t.Completed != nil {
			g.completed(t.Completed)
		}
	}
}

// SettledAll tells of the rest of a message to many in one step.
func (o *observer) SettledAll(m Message, st State, n int) {
	g := (*Gateway)(o)
	g.counts.settled[st].Add(uint64(n))
	for s := range g.hub.all {
		s.evictMessage(m.ID)
	}
	counts := m.Counts
	g.events.add(Event{Type: finalEvents[st], At: g.now(), Message: m.ID, State: st, Counts: &counts})
	if m.Completed() {
		g.completed(&m)
	}
}

func (g *Gateway) completed(m *Message) {
	if m.Client == "" {
		counts := m.Counts
		g.events.add(Event{Type: EventMessageCompleted, At: m.CompletedAt, Message: m.ID, Counts: &counts})
	}
	g.waiters.completed(m.ID)
}
