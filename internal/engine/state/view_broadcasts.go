package state

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine/record"
)

// A message to many is asked for by all its recipients, one after the other and
// within a short time. So a view decodes the queued bits of a chunk of clients
// once, and the engine reads a body once.

// maxKeptBits bounds the bitmaps that one view keeps decoded, 0.5 KB each. What
// is beyond is read from the database each time.
const maxKeptBits = 4096

// broadcasts holds the bitmaps that a view has decoded.
type broadcasts struct {
	mu     sync.Mutex
	chunks map[uint32]*queuedBits
	kept   int // bitmaps in chunks
}

// queuedBits has the messages in bitmap form that are queued for any client of a
// chunk, by rising sequence.
type queuedBits struct {
	seqs []gateway.Seq
	sets []*record.Bitset
}

// above returns the index of the first message with a sequence above after.
func (q *queuedBits) above(after gateway.Seq) int {
	at, _ := slices.BinarySearch(q.seqs, after+1)
	return at
}

// queuedBits returns a chunk's messages above after; there may be others below.
func (v *View) queuedBits(chunk uint32, after gateway.Seq) (*queuedBits, error) {
	b := &v.broadcasts
	b.mu.Lock()
	defer b.mu.Unlock()
	if q := b.chunks[chunk]; q != nil {
		return q, nil
	}
	if b.kept >= maxKeptBits {
		return v.readQueuedBits(chunk, after)
	}
	q, err := v.readQueuedBits(chunk, 0)
	if err != nil {
		return nil, err
	}
	if b.chunks == nil {
		b.chunks = map[uint32]*queuedBits{}
	}
	b.chunks[chunk] = q
	b.kept += max(1, len(q.seqs))
	return q, nil
}

func (v *View) readQueuedBits(chunk uint32, after gateway.Seq) (*queuedBits, error) {
	q := &queuedBits{}
	from := key32x64(kindBits, chunk, uint64(after)+1)
	err := v.each(from, afterPrefix(key32(kindBits, chunk)), false, func(k, val []byte) (bool, error) {
		set := new(record.Bitset)
		if err := decodeChunk(set, k, val); err != nil {
			return false, err
		}
		q.seqs, q.sets = append(q.seqs, gateway.Seq(tail64(k))), append(q.sets, set)
		return true, nil
	})
	return q, err
}

// bodySlots is how many bodies of messages to many are kept, at most
// gateway.MaxPayload bytes each.
const bodySlots = 8

// bodies keeps the transmissions of messages to many that were asked for last. The
// message of a durable sequence never changes, so they outlive their view.
type bodies [bodySlots]atomic.Pointer[gateway.Transmission]

func (b *bodies) get(seq gateway.Seq) (gateway.Transmission, bool) {
	if p := b[seq%bodySlots].Load(); p != nil && p.Seq == seq {
		return *p, true
	}
	return gateway.Transmission{}, false
}

func (b *bodies) put(p gateway.Transmission) { b[p.Seq%bodySlots].Store(&p) }

// broadcastTransmission returns a message in bitmap form, ready to be sent.
func (v *View) broadcastTransmission(seq gateway.Seq) (gateway.Transmission, error) {
	if p, ok := v.Shared.bodies.get(seq); ok {
		return p, nil
	}
	h, err := v.knownHead(seq)
	if err != nil {
		return gateway.Transmission{}, err
	}
	p, err := v.transmission(h.id, seq)
	if err == nil {
		v.Shared.bodies.put(p)
	}
	return p, err
}
