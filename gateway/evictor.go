package gateway

import "sync"

// evictor takes messages to many that are final out of the windows of all sessions. It
// walks the sessions in the background, once for all messages that came during the walk
// before: the feed, which every delivery waits for, does not walk a million sessions. A
// session that reads the store in between does not find the message any more.
type evictor struct {
	gateway *Gateway
	start   func(walk func()) // on a goroutine of its own

	mu      sync.Mutex
	next    []Seq // final, and not looked for yet
	walking bool
}

// add has a message's deliveries evicted.
func (e *evictor) add(seq Seq) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.next = append(e.next, seq)
	if !e.walking {
		e.walking = true
		e.start(e.walk)
	}
}

// take returns what the next walk looks for; nil ends the walking.
func (e *evictor) take() []Seq {
	e.mu.Lock()
	defer e.mu.Unlock()
	seqs := e.next
	e.next = nil
	e.walking = seqs != nil
	return seqs
}

func (e *evictor) walk() {
	g := e.gateway
	for seqs := e.take(); seqs != nil; seqs = e.take() {
		var woken runList
		for s := range g.hub.all {
			for _, seq := range seqs {
				if s.evict(seq) {
					woken.add(s)
				}
			}
			if woken.n >= broadcastBatch {
				g.runs.pushAll(&woken)
				woken = runList{}
			}
		}
		g.runs.pushAll(&woken)
	}
}
