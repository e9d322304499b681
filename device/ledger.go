package device

import (
	"cmp"
	"hash/maphash"
	"slices"

	"github.com/longwire/longwire/protocol"
)

// ledger knows which deliveries were handled, so that a repeat is recognised.
//
// In v2 a log names the sequence space: everything up to last is handled, and
// above it entries say so one by one. last moves over an unbroken run of
// handled entries only, because a delivery that waits (answered "retry later",
// or interrupted) must not count as handled.
//
// Text names no log, so a sequence may mean another message after the gateway's
// store was restored: there an entry counts only if the payload is the same,
// and last stays 0.
type ledger struct {
	named   bool // the dialect names the log (protocol.Dialect.Resumes)
	log     string
	last    uint64
	entries []*entry // rising by seq; bounded by maxEntries
	seed    maphash.Seed
}

type entry struct {
	seq     uint64
	state   entryState
	hash    uint64
	session uint64           // in which it came last, and waits for the answer
	code    protocol.AckCode // when handled
	result  []byte
}

type entryState uint8

const (
	fresh    entryState = iota // not seen before: handle it now
	underway                   // a worker has it
	waiting                    // came, but is not decided: it must come again
	handled
)

// Entries and bytes of remembered results. Handled entries up to last are kept
// for their answers; the oldest go first. A waiting entry that is pushed out
// has not come back while this many others have: the gateway has withdrawn it.
const (
	maxEntries = 512
	keepResult = 4 << 10 // bytes; a longer result is not given a second time
)

func newLedger(named bool, p Position) ledger {
	l := ledger{named: named, seed: maphash.MakeSeed()}
	if named {
		l.log, l.last = p.Log, p.LastSeq
	}
	return l
}

func (l *ledger) position() Position { return Position{l.log, l.last} }

// follow makes log the ledger's; another one than before voids all it knows.
func (l *ledger) follow(log string) (reset bool) {
	if !l.named || log == l.log {
		return false
	}
	reset = l.log != ""
	l.log, l.last, l.entries = log, 0, nil
	return reset
}

// receive tells what is known of a delivery that came in a session. A fresh
// one is underway from now on; its entry is to be given to done or abandon.
func (l *ledger) receive(seq uint64, payload []byte, session uint64) (*entry, entryState) {
	hash := maphash.Bytes(l.seed, payload)
	i, found := slices.BinarySearchFunc(l.entries, seq, func(e *entry, seq uint64) int { return cmp.Compare(e.seq, seq) })
	if found && (l.named || l.entries[i].hash == hash) {
		e := l.entries[i]
		e.session = session
		if e.state == waiting {
			e.state = underway
			return e, fresh
		}
		return e, e.state
	}
	if !found && seq <= l.last {
		return &entry{seq: seq, state: handled}, handled
	}
	e := &entry{seq: seq, state: underway, hash: hash, session: session}
	if found {
		l.entries[i] = e
		return e, fresh
	}
	l.entries = slices.Insert(l.entries, i, e)
	l.trim()
	return e, fresh
}

// done tells that a delivery was handled, with this verdict.
func (l *ledger) done(e *entry, code protocol.AckCode, result []byte) {
	if e == nil {
		return
	}
	e.state, e.code = handled, code
	if len(result) <= keepResult {
		e.result = result
	}
	l.advance()
}

// abandon tells that a delivery was not decided and must come again.
func (l *ledger) abandon(e *entry) {
	if e != nil {
		e.state = waiting
	}
}

// advance moves last over the handled entries that follow it.
func (l *ledger) advance() {
	if !l.named {
		return
	}
	for _, e := range l.entries {
		if e.state != handled {
			return
		}
		l.last = max(l.last, e.seq)
	}
}

// trim forgets the oldest entries that no worker has.
func (l *ledger) trim() {
	for i := 0; len(l.entries) > maxEntries && i < len(l.entries); {
		if l.entries[i].state == underway {
			i++
			continue
		}
		l.entries = slices.Delete(l.entries, i, i+1)
		l.advance()
	}
}
