package state

import (
	"sync/atomic"

	"github.com/longwire/longwire/internal/engine/record"
)

// waitingSet has a bit for each ordinal whose client has queued rows, so that a client
// without is not looked for in the database. One goroutine changes
// it, any may ask. It never leaves out a client that has rows in a published
// view; it may name one whose rows are not published yet.
type waitingSet struct {
	chunks atomic.Pointer[[]*waitingChunk]
}

type waitingChunk [record.ChunkBits / 64]atomic.Uint64

// readWaiting reads the set from the counts of the queues.
func readWaiting(rows Reader) (*waitingSet, error) {
	s := &waitingSet{}
	s.chunks.Store(new([]*waitingChunk))
	return s, each(rows, []byte{kindCount}, []byte{kindCount + 1}, false, func(k, _ []byte) (bool, error) {
		s.set(record.Ordinal(tail32(k)), true)
		return true, nil
	})
}

func (s *waitingSet) has(o record.Ordinal) bool {
	chunks := *s.chunks.Load()
	n := int(record.ChunkOf(o))
	return n < len(chunks) && chunks[n][o%record.ChunkBits/64].Load()&(1<<(o%64)) != 0
}

func (s *waitingSet) set(o record.Ordinal, on bool) {
	chunks := *s.chunks.Load()
	if n := int(record.ChunkOf(o)); n >= len(chunks) {
		grown := make([]*waitingChunk, n+1)
		for i := copy(grown, chunks); i <= n; i++ {
			grown[i] = new(waitingChunk)
		}
		s.chunks.Store(&grown)
		chunks = grown
	}
	word, bit := &chunks[record.ChunkOf(o)][o%record.ChunkBits/64], uint64(1)<<(o%64)
	if on {
		word.Or(bit)
	} else {
		word.And(^bit)
	}
}

// waitingChange is the state of a client's queue behind a record.
type waitingChange struct {
	ord record.Ordinal
	on  bool
}

// Publish makes another view the one that is read: clients enter the set before swap
// and leave it after.
func (sh *Shared) Publish(changes []waitingChange, swap func()) {
	s := sh.waiting
	for _, c := range changes {
		if c.on {
			s.set(c.ord, true)
		}
	}
	swap()
	for _, c := range changes {
		if !c.on {
			s.set(c.ord, false)
		}
	}
}
