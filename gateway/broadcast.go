package gateway

import (
	"sync"
	"time"
)

// broadcast wakes the live sessions of a message's recipients, a batch at a
// time. What it has not come to when the process ends is in the store, and
// found by the recipients' next sessions.
type broadcast struct {
	g    *Gateway
	rate int // wake-ups a second; 0 = as many as there are turns

	mu         sync.Mutex
	messages   []MessageID // for which it wakes
	over       bool        // has handed out the last
	recipients recipients  // an everyone stays one
	started    time.Time   // of the first turn
	woken      int

	begun bool // has had a turn; guarded by the run queue
}

// broadcastBatch is how many sessions one turn wakes: about half a millisecond
// of work.
const broadcastBatch = 32

// recipients is a walk over live sessions. next appends up to n of them; done
// is true with the last ones.
type recipients interface {
	next(g *Gateway, n int, buf []*Session) (batch []*Session, done bool)
}

// progress is what became of a turn.
type progress struct {
	done bool
	wait time.Duration // before the next turn, for the pace; 0 = none
}

// wakeSome is one turn. All of the batch take what is theirs before the first is
// written to: the code and the pages that each half needs are used again while
// the processor has them at hand, which saves some percent.
func (b *broadcast) wakeSome() progress {
	var room [broadcastBatch]*Session
	batch, p := b.take(room[:0])
	waiting := batch[:0]
	for _, s := range batch {
		if s.markFresh() && s.takeHere() {
			waiting = append(waiting, s)
		}
	}
	for _, s := range waiting {
		s.link.Flush()
	}
	return p
}

func (b *broadcast) take(buf []*Session) ([]*Session, progress) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n, wait := b.allowance(time.Now())
	if n == 0 {
		return nil, progress{wait: wait}
	}
	batch, done := b.recipients.next(b.g, n, buf)
	b.woken += len(batch)
	if done {
		b.over = true
		b.ended() // before the last are woken, for the last ack is to see it
	}
	return batch, progress{done: done}
}

// ended notes that nobody more is woken.
func (b *broadcast) ended() {
	for _, id := range b.messages {
		b.g.sent.walk(id, false)
	}
}

// allowance is how many sessions may be woken now, or when the next may be.
func (b *broadcast) allowance(now time.Time) (n int, wait time.Duration) {
	if b.rate == 0 {
		return broadcastBatch, 0
	}
	if b.started.IsZero() {
		b.started = now
	}
	// The first is due at once, the one after k woken ones k/rate later.
	due := 1 + int(float64(b.rate)*now.Sub(b.started).Seconds())
	if due <= b.woken {
		at := time.Duration(float64(b.woken) / float64(b.rate) * float64(time.Second))
		return 0, max(b.started.Add(at).Sub(now), paceStep)
	}
	return min(due-b.woken, broadcastBatch), 0
}

// paceStep bounds how often a paced broadcast is looked at.
const paceStep = 10 * time.Millisecond

// everyone walks over all live sessions, shard by shard. A client that connects
// meanwhile finds the message by itself.
type everyone struct {
	shard int
	seen  int        // shards of this round
	buf   []*Session // the shard before, and
	rest  []*Session // what is left of it
}

func (e *everyone) next(g *Gateway, n int, buf []*Session) ([]*Session, bool) {
	for n > 0 && e.more(g) {
		take := min(n, len(e.rest))
		buf = append(buf, e.rest[:take]...)
		e.rest = e.rest[take:]
		n -= take
	}
	return buf, !e.more(g)
}

// more goes on to the next shard where there is somebody, and reports whether
// there is one.
func (e *everyone) more(g *Gateway) bool {
	for len(e.rest) == 0 && e.seen < hubShards {
		e.buf = g.hub.inShard(e.shard, e.buf[:0])
		e.rest = e.buf
		e.shard = (e.shard + 1) % hubShards
		e.seen++
	}
	return len(e.rest) > 0
}

// listed walks over the live sessions of named clients.
type listed struct{ ids []ClientID }

func (l *listed) next(g *Gateway, n int, buf []*Session) ([]*Session, bool) {
	for len(buf) < n && len(l.ids) > 0 {
		if s := g.hub.session(l.ids[0]); s != nil {
			buf = append(buf, s)
		}
		l.ids = l.ids[1:]
	}
	return buf, len(l.ids) == 0
}

// members walks over the recipients of a stored message that are online.
type members struct {
	listed
	message MessageID
	after   ClientID
	last    bool
}

func (m *members) next(g *Gateway, n int, buf []*Session) ([]*Session, bool) {
	for {
		var done bool
		if buf, done = m.listed.next(g, n, buf); !done || m.last {
			return buf, done
		}
		page, err := g.store.Deliveries(DeliveryQuery{Message: m.message, State: Queued, After: m.after, Limit: MaxListLimit})
		if err != nil {
			// The store is failing. Those who are not woken now get it with what
			// comes next, or when they connect.
			return buf, true
		}
		for i := range page.Items {
			m.ids = append(m.ids, page.Items[i].Client)
		}
		m.after, m.last = page.Next, !page.More
	}
}

// recipientsOf chooses the cheapest walk. Those of a group or of labels are
// looked up when they are few; else everybody is woken, which costs a look
// into the store each.
func (g *Gateway) recipientsOf(m *AcceptedMany) recipients {
	switch {
	case len(m.To.Clients) > 0:
		return &listed{m.To.Clients}
	case !m.To.All && m.Total < g.hub.online.len()/4:
		return &members{message: m.Message}
	}
	return &everyone{}
}

// broadcast wakes the recipients of a message to many soon, m.Rate of them a
// second.
func (g *Gateway) broadcast(m *AcceptedMany) {
	g.sent.walk(m.Message, true)
	g.runs.start(&broadcast{g: g, messages: []MessageID{m.Message}, rate: m.Rate, recipients: g.recipientsOf(m)})
}

// start gives a broadcast its turns. One to everyone that has not begun wakes for
// b too. When there are too many, b is one to everyone, and one that has begun
// goes round again for it.
func (q *runQueue) start(b *broadcast) {
	q.mu.Lock()
	defer q.mu.Unlock()
	full := q.kept >= maxBroadcasts
	if full {
		b.recipients, b.rate = &everyone{}, 0
	}
	if b.toAllAtOnce() {
		for _, e := range q.broadcasts {
			if e.toAllAtOnce() && e.join(b, full) {
				return
			}
		}
	}
	q.kept++
	q.broadcasts = append(q.broadcasts, b)
	q.signal(1)
}

// join makes b, which is to everyone, wake for the messages of o too, and reports
// whether it does. One that has begun does only if again is set.
func (b *broadcast) join(o *broadcast, again bool) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.over || b.begun && !again {
		return false
	}
	b.messages = append(b.messages, o.messages...)
	b.recipients.(*everyone).seen = 0
	return true
}

func (b *broadcast) toAllAtOnce() bool {
	_, all := b.recipients.(*everyone)
	return all && b.rate == 0
}

// popBroadcast takes the next turn; the others come before that broadcast's
// turn after. q.mu is held.
func (q *runQueue) popBroadcast() *broadcast {
	b := q.broadcasts[0]
	b.begun = true
	copy(q.broadcasts, q.broadcasts[1:])
	q.broadcasts[len(q.broadcasts)-1] = b
	return b
}

// endTurn takes b out when it is done or has to wait. It wakes nobody: who ends
// a turn takes what comes next, and wakes others when there is more.
func (q *runQueue) endTurn(b *broadcast, p progress) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.turns--
	switch {
	case p.done:
		if q.takeOut(b) {
			q.kept--
		}
	case p.wait > 0:
		if q.takeOut(b) {
			b.g.cfg.After(p.wait, func() { q.resume(b) })
		}
	}
}

// takeOut reports whether b was there: another worker may have been at it too.
func (q *runQueue) takeOut(b *broadcast) bool {
	for i, e := range q.broadcasts {
		if e == b {
			q.broadcasts = append(q.broadcasts[:i], q.broadcasts[i+1:]...)
			return true
		}
	}
	return false
}

// resume gives a broadcast that has waited its next turn.
func (q *runQueue) resume(b *broadcast) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.closed {
		q.broadcasts = append(q.broadcasts, b)
		q.signal(1)
	}
}
