package gateway

import (
	"slices"
	"sync"
)

// evictor removes final messages to many from the windows of all sessions, and their
// attempts from the memory of offline clients. It walks them in the background, one walk for all messages that came
// during the walk before. So the feed, which every delivery waits for, does not
// walk a million sessions. A session that reads the store in between no longer
// finds the message.
type evictor struct {
	gateway *Gateway
	start   func(walk func()) // runs walk on a new goroutine

	mu      sync.Mutex
	next    []Seq // final messages for the next walk
	walking bool
}

// add evicts the deliveries of a message.
func (e *evictor) add(seq Seq) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.next = append(e.next, seq)
	if !e.walking {
		e.walking = true
		e.start(e.walk)
	}
}

// take returns the messages for the next walk; nil ends the walking.
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
				if s.evict(seq, false) {
					woken.add(s)
				}
			}
			if woken.n >= broadcastBatch {
				g.runs.pushAll(&woken)
				woken = runList{}
			}
		}
		g.runs.pushAll(&woken)
		slices.Sort(seqs)
		g.hub.settledMany(seqs, g.keepEnd)
	}
}
