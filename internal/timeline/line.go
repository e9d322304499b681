package timeline

import (
	"math/bits"
	"time"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/protocol"
)

// clockSkew is by how much an entry may be older than the one before it because their
// sources read the clock at other places.
const clockSkew = time.Second

// line has the last entries of one client, in a ring. Its shard's mutex guards it.
type line struct {
	client string
	ring   []entry
	shard  *shard
	extras map[uint64]*extra // by the number of the entry; nil while no entry has one
	first  int               // of ring
	n      int               // entries in ring
	begun  uint64            // number of its first entry
	next   uint64            // number of the next entry
	most   int               // entries that it may have
	kept   int               // bytes of its extras
	newest int64             // Unix nanoseconds of the last entry

	trace    *trace // nil without one
	watchers int    // readers that follow it
	wake     chan struct{}
	waiting  bool // a reader waits for wake
	gone     bool // the client was forgotten

	before, after *line // in the list of its class; nil while it is pinned
	used          int64 // Unix nanoseconds of the last entry but heartbeats
	listed        int64 // Unix nanoseconds; when it came to the front of its list
}

// lineSize is the memory of a line and its place in the map without entries.
const lineSize, entrySize = 384, 56

func (l *line) size() int { return lineSize + entrySize*len(l.ring) + l.kept }

// pinned reports whether the line must stay.
func (l *line) pinned() bool { return l.trace != nil || l.watchers > 0 }

// at returns an entry, or the place behind the newest one.
func (l *line) at(i int) *entry {
	if i += l.first; i >= len(l.ring) {
		i -= len(l.ring)
	}
	return &l.ring[i]
}

// oldest returns the number of the oldest entry.
func (l *line) oldest() uint64 { return l.next - uint64(l.n) }

// last returns the newest entry, nil if there is none.
func (l *line) last() *entry {
	if l.n == 0 {
		return nil
	}
	return l.at(l.n - 1)
}

// push appends an entry and its extra, or nil. Without room the oldest one goes.
func (l *line) push(e entry, x *extra) {
	switch {
	case l.n < len(l.ring):
	case l.grows(e.at):
	default:
		l.drop()
	}
	if l.newest-e.at < int64(clockSkew) {
		e.at = max(e.at, l.newest)
	} // else the clock was set back
	l.newest = e.at
	if x != nil {
		e.flags |= flagExtra
		l.setExtra(l.next, x)
	}
	*l.at(l.n) = e
	l.n++
	l.next++
	for l.kept > MaxTraceBytes && l.n > 1 {
		l.drop()
	}
}

// setExtra replaces the extra of an entry; nil removes it.
func (l *line) setExtra(number uint64, x *extra) {
	l.kept += x.size() - l.extras[number].size()
	switch {
	case x == nil:
		if delete(l.extras, number); len(l.extras) == 0 {
			l.extras = nil
		}
	case l.extras == nil:
		l.extras = map[uint64]*extra{number: x}
	default:
		l.extras[number] = x
	}
}

// queuedFirst moves the newest entry, that a delivery was queued, before its first
// transmission: a session that reads the store may transmit before the feed reports
// the acceptance. A reader that follows has the entries as they came.
func (l *line) queuedFirst(now int64) {
	if l.watchers > 0 {
		return
	}
	seq := l.last().seq
	for i := l.n - 1; i > 0 && i > l.n-5; i-- {
		queued, before := l.at(i), l.at(i-1)
		sent := before.kind == Stepped && before.step == gateway.StepSent && before.seq == seq
		frame := before.kind == Framed && (before.frame == protocol.FrameData || before.frame == protocol.FrameAck)
		if !sent && !frame || before.flags&flagExtra != 0 {
			return
		}
		queued.at = now
		if i > 1 {
			queued.at = max(now, l.at(i-2).at)
		}
		queued.at = min(queued.at, before.at)
		*queued, *before = *before, *queued
	}
}

// drop removes the oldest entry.
func (l *line) drop() {
	if l.extras != nil && l.at(0).flags&flagExtra != 0 { // without extras the entry is not read: it is in no cache
		l.setExtra(l.oldest(), nil)
	}
	if l.first++; l.first == len(l.ring) {
		l.first = 0
	}
	l.n--
}

// grows doubles the ring if there is room for it.
func (l *line) grows(now int64) bool {
	n := min(max(smallest, 2*len(l.ring)), l.most)
	if n <= len(l.ring) || !l.pinned() && !l.shard.roomFor(l, n, now) {
		return false
	}
	l.resize(n)
	return true
}

// resize gives the ring room for n entries; the oldest ones go that have none.
func (l *line) resize(n int) {
	for l.n > n {
		l.drop()
	}
	ring := l.shard.rings.take(n)
	head := copy(ring, l.ring[l.first:min(l.first+l.n, len(l.ring))])
	copy(ring[head:l.n], l.ring)
	l.shard.rings.give(l.ring)
	l.ring, l.first = ring, 0
}

// rings are rings that no line has any more, one of each size: lines of a fleet grow and
// shrink at the same time.
type rings [8][]entry

// place returns the list that keeps rings of n entries.
func (r *rings) place(n int) *[]entry { return &r[min(bits.Len(uint(n/smallest)), len(r)-1)] }

// take returns a ring of n entries, whose contents have no meaning.
func (r *rings) take(n int) []entry {
	if kept := r.place(n); len(*kept) == n {
		ring := *kept
		*kept = nil
		return ring
	}
	return make([]entry, n)
}

// give keeps a ring of a size that lines usually have.
func (r *rings) give(ring []entry) {
	if len(ring) > 0 && len(ring) <= MaxEntries {
		*r.place(len(ring)) = ring
	}
}

// smallest is the room of a new line, in entries.
const smallest = 4

// heartbeat counts a heartbeat that came in time.
func (l *line) heartbeat(now, conn int64) (added bool) {
	if e := l.last(); e != nil && e.kind == Heartbeats && e.conn == conn {
		e.count++
		l.extras[l.next-1].until = now
		return false
	}
	l.push(entry{at: now, conn: conn, kind: Heartbeats, count: 1}, &extra{until: now})
	return true
}

// forgetBytes removes the bytes of traced frames.
func (l *line) forgetBytes() {
	for i := range l.n {
		number := l.oldest() + uint64(i)
		if x := l.extras[number]; x != nil && x.bytes != nil {
			plain := *x
			plain.bytes = nil
			l.setExtra(number, &plain)
			l.at(i).flags &^= flagCut
		}
	}
}

// notify wakes the readers that follow the line.
func (l *line) notify() {
	if l.waiting {
		close(l.wake)
		l.wake, l.waiting = nil, false
	}
}

// entries appends the entries from a number on, with the messages of frames.
func (l *line) entries(from uint64, buf []Entry) []Entry {
	messages := l.messages()
	for i := range l.n {
		number := l.oldest() + uint64(i)
		if number < from {
			continue
		}
		v := l.at(i).entry(number, l.extras[number])
		if m, ok := messages[i]; ok {
			v.Message = gateway.MessageIDOf(m)
		}
		buf = append(buf, v)
	}
	return buf
}

// delivery names a delivery in a line.
type delivery struct {
	seq       uint64
	ephemeral bool
}

type messageID = [16]byte

// messages returns the messages of frames by their index. A step names the message of
// a sequence. The number of an online delivery is its connection's, so its step names
// the transmission before it. An ack without a number answers the transmission before
// it.
func (l *line) messages() map[int]messageID {
	named, out := map[uint64]messageID{}, map[int]messageID{}
	for i := range l.n {
		e := l.at(i)
		if e.kind != Stepped {
			continue
		}
		if e.flags&flagEphemeral == 0 {
			named[e.seq] = e.message
			continue
		}
		for j := i - 1; j >= 0; j-- {
			if t := l.at(j); t.sends(delivery{e.seq, true}) {
				out[j] = e.message
				break
			}
		}
	}
	sent := map[delivery]messageID{}
	last := map[int64]messageID{} // by connection
	for i := range l.n {
		e := l.at(i)
		if e.kind != Framed {
			continue
		}
		d := delivery{e.seq, e.flags&flagEphemeral != 0}
		switch {
		case e.sends(d):
			m, ok := out[i]
			if !d.ephemeral {
				m, ok = named[e.seq]
			}
			delete(sent, d)
			delete(last, e.conn)
			if ok {
				out[i], sent[d], last[e.conn] = m, m, m
			}
		case e.frame == protocol.FrameAck && e.flags&flagOut == 0:
			m, ok := sent[d]
			if e.seq == 0 {
				m, ok = last[e.conn]
			} else if !ok && !d.ephemeral {
				m, ok = named[e.seq]
			}
			if ok {
				out[i] = m
			}
		}
	}
	return out
}

// sends reports whether e is a transmission of d to the device.
func (e *entry) sends(d delivery) bool {
	return e.kind == Framed && e.flags&flagOut != 0 && (e.frame == protocol.FrameData || e.frame == protocol.FrameAsk) &&
		e.seq == d.seq && (e.flags&flagEphemeral != 0) == d.ephemeral
}
