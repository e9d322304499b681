package gateway

import (
	"slices"
	"sync"
	"time"
)

// broadcast wakes the live sessions of a message's recipients in batches. If the
// process ends before the last batch, the store still has the message, and the
// other recipients get it in their next sessions.
type broadcast struct {
	g    *Gateway
	rate int // wake-ups a second; 0 = no limit

	mu         sync.Mutex
	messages   []MessageID // the messages it wakes recipients for
	over       bool        // the last batch has been handed out
	recipients recipients  // never replaced if it is an everyone
	started    time.Time   // time of the first turn
	woken      int

	begun bool // has had a turn; guarded by the run queue
}

// broadcastBatch is how many sessions one turn wakes: about half a millisecond of
// work.
const broadcastBatch = 32

// recipients iterates over live sessions. next appends up to n of them; done is
// true with the last ones.
type recipients interface {
	next(g *Gateway, n int, buf []*Session) (batch []*Session, done bool)
}

// progress is the result of a turn.
type progress struct {
	done bool
	wait time.Duration // until the next turn may start, for the pace; 0 = none
}

// wakeSome runs one turn. All sessions of the batch take their transmissions before the
// first socket is written: each half then finds its code and pages in the
// processor's cache, which saves a few percent.
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
		b.ended() // before the last sessions are woken: their acks must see it
	}
	return batch, progress{done: done}
}

// ended notes that the broadcast wakes no more sessions.
func (b *broadcast) ended() {
	for _, id := range b.messages {
		b.g.sent.walk(id, false)
	}
}

// allowance returns how many sessions may be woken now, or how long to wait for
// the next.
func (b *broadcast) allowance(now time.Time) (n int, wait time.Duration) {
	if b.rate == 0 {
		return broadcastBatch, 0
	}
	if b.started.IsZero() {
		b.started = now
	}
	// The first wake-up is due at once; after k wake-ups the next is due k/rate
	// later.
	due := 1 + int(float64(b.rate)*now.Sub(b.started).Seconds())
	if due <= b.woken {
		at := time.Duration(float64(b.woken) / float64(b.rate) * float64(time.Second))
		return 0, max(b.started.Add(at).Sub(now), paceStep)
	}
	return min(due-b.woken, broadcastBatch), 0
}

// paceStep is the shortest wait of a paced broadcast.
const paceStep = 10 * time.Millisecond

// everyone iterates over all live sessions, shard by shard. A client that
// connects during the walk finds the message in the store.
type everyone struct {
	shard int
	seen  int        // shards of this round
	buf   []*Session // the current shard's sessions
	rest  []*Session // the part of buf that is still to be woken
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

// more loads the next shard that has sessions. It returns false if there is none.
func (e *everyone) more(g *Gateway) bool {
	for len(e.rest) == 0 && e.seen < hubShards {
		e.buf = g.hub.inShard(e.shard, e.buf[:0])
		e.rest = e.buf
		e.shard = (e.shard + 1) % hubShards
		e.seen++
	}
	return len(e.rest) > 0
}

// listed iterates over the live sessions of named clients.
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

// members iterates over the online recipients of a stored message.
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
			// The store is failing. The other recipients get the message with
			// their next one, or when they connect.
			return buf, true
		}
		for i := range page.Items {
			m.ids = append(m.ids, page.Items[i].Client)
		}
		m.after, m.last = page.Next, !page.More
	}
}

// recipientsOf chooses the cheapest walk. A small group or label audience is
// looked up. For a large one every session is woken, at the price of one read of
// the store each.
func (g *Gateway) recipientsOf(m *AcceptedMany) recipients {
	switch {
	case len(m.To.Clients) > 0:
		return &listed{m.To.Clients}
	case !m.To.All && m.Total < g.hub.online.len()/4:
		return &members{message: m.Message}
	}
	return &everyone{}
}

// broadcast starts to wake the recipients of a message to many, m.Rate of them a
// second.
func (g *Gateway) broadcast(m *AcceptedMany) {
	g.sent.walk(m.Message, true)
	g.runs.start(&broadcast{g: g, messages: []MessageID{m.Message}, rate: m.Rate, recipients: g.recipientsOf(m)})
}

// start queues a broadcast. If one to everyone has not begun, it also wakes for
// b's messages. Above maxBroadcasts, b becomes a broadcast to everyone, and one
// that has begun makes another round for it.
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
	q.signalLocked(1)
}

// join makes b, a broadcast to everyone, wake for the messages of o too. It
// returns false if b is over, or has begun and again is not set.
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

// popBroadcastLocked takes the next broadcast and moves it behind the others.
func (q *runQueue) popBroadcastLocked() *broadcast {
	b := q.broadcasts[0]
	b.begun = true
	copy(q.broadcasts, q.broadcasts[1:])
	q.broadcasts[len(q.broadcasts)-1] = b
	return b
}

// endTurn removes b when it is done or has to wait. It does not signal a worker:
// the calling worker takes the next item and signals others if there are more.
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

// takeOut removes b. It returns false if another worker already has.
func (q *runQueue) takeOut(b *broadcast) bool {
	i := slices.Index(q.broadcasts, b)
	if i < 0 {
		return false
	}
	q.broadcasts = slices.Delete(q.broadcasts, i, i+1)
	return true
}

// resume queues a broadcast whose wait is over.
func (q *runQueue) resume(b *broadcast) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.closed {
		q.broadcasts = append(q.broadcasts, b)
		q.signalLocked(1)
	}
}
