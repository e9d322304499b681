package wheel

import (
	"math/bits"
	"sync"
)

// A level has one slot for each value of six bits of the tick, so that one word
// shows which slots are occupied. With seven levels the wheel turns once in 2^42
// ticks: 697 years of 5 ms.
const (
	slotBits  = 6
	slotCount = 1 << slotBits
	slotMask  = slotCount - 1
	levels    = 7
	maxTick   = 1<<(slotBits*levels) - 1 // later deadlines are due at this tick
)

// shard is one wheel. A timer is at the level of the highest digit, to the base
// 64, in which its tick differs from the clock, in the slot of that digit. Hence
// a lower level is always due before a higher one, the occupied slots of a level
// are never behind the clock, and the next slot to process is the lowest bit of
// the first level that has any.
type shard struct {
	mu       sync.Mutex
	now      int64 // clock in ticks: all earlier timers have fired
	armed    int
	occupied [levels]uint64 // bit i: slot i of the level has timers
	slots    [levels * slotCount]*Timer

	_ [64]byte // keeps the next shard's mutex off this one's cache line
}

// insertLocked arms t by its tick, which is not before the clock.
func (s *shard) insertLocked(t *Timer) {
	level := 0
	if diff := uint64(t.tick ^ s.now); diff != 0 {
		level = (bits.Len64(diff) - 1) / slotBits
	}
	digit := int(t.tick>>(level*slotBits)) & slotMask
	t.slot = uint16(level*slotCount + digit)
	if head := s.slots[t.slot]; head == nil {
		t.next, t.prev = t, t
		s.slots[t.slot] = t
		s.occupied[level] |= 1 << digit
	} else { // at the end: timers of one tick fire in the order in which they were armed
		t.prev, t.next = head.prev, head
		head.prev.next = t
		head.prev = t
	}
	s.armed++
}

// removeLocked disarms t, which is armed.
func (s *shard) removeLocked(t *Timer) {
	switch head := s.slots[t.slot]; {
	case t.next == t:
		s.slots[t.slot] = nil
		s.occupied[t.slot/slotCount] &^= 1 << (t.slot % slotCount)
	case head == t:
		s.slots[t.slot] = t.next
		fallthrough
	default:
		t.prev.next = t.next
		t.next.prev = t.prev
	}
	t.next, t.prev = nil, nil
	s.armed--
}

// firstLocked returns the next occupied slot and the tick at which it begins; ok
// is false if there is none.
func (s *shard) firstLocked() (slot int, tick int64, ok bool) {
	for level, set := range s.occupied {
		if set == 0 {
			continue
		}
		digit := bits.TrailingZeros64(set)
		shift := level * slotBits
		// The digits above the level are the clock's, those below it zero.
		above := s.now >> (shift + slotBits) << (shift + slotBits)
		return level*slotCount + digit, above | int64(digit)<<shift, true
	}
	return 0, 0, false
}

// next returns the tick at which a timer must fire or move down a level,
// asleepForever if none is armed.
func (s *shard) next() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, tick, ok := s.firstLocked(); ok {
		return tick
	}
	return asleepForever
}

// popDue disarms and returns one timer that is due at tick, nil if there is none.
// It advances the clock and moves timers down. It returns one at a time, so that
// a Cancel between two of them is still effective.
func (s *shard) popDue(tick int64) *Timer {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		slot, begins, ok := s.firstLocked()
		if !ok || begins > tick {
			s.now = max(s.now, tick)
			return nil
		}
		s.now = max(s.now, begins)
		if slot < slotCount { // level 0: a slot is a tick
			t := s.slots[slot]
			s.removeLocked(t)
			return t
		}
		s.cascadeLocked(slot)
	}
}

// cascadeLocked moves the timers of a slot that the clock has just reached to the
// levels below.
func (s *shard) cascadeLocked(slot int) {
	for s.slots[slot] != nil {
		t := s.slots[slot]
		s.removeLocked(t)
		s.insertLocked(t)
	}
}
