package device

import (
	"cmp"
	"hash/maphash"
	"slices"

	"github.com/longwire/longwire/protocol"
)

// Ledger has the deliveries that reached a device and their verdicts (SPEC §2.4).
// It is a value without I/O or a clock and is not safe for concurrent use. A
// Client has one; a program that drives a protocol.Session itself can use one
// directly:
//
//	connect     Connect for REGISTER, Registered for REGISTER_ACK
//	KindData    Receive returns a ticket to handle the delivery, or the answer
//	KindAsk     Ask answers
//	handled     Decide, Unsaved, save the Change; Release answers
//
// In v2 every delivery up to ask_through is plain ok, meaning ok without a
// result, unless it is listed: as a hole, which is not handled, or as a verdict.
// Verdicts are bounded and the oldest are dropped; up to CompleteFrom some may be
// missing. Holes are not dropped: see Crowded.
//
// Text names no log, so a sequence may mean another message after the gateway's
// store was restored. There a verdict counts only for the same payload, and an
// unlisted delivery is new.
type Ledger struct {
	named     bool // the dialect names the log (protocol.Dialect.Resumes)
	log       string
	through   uint64 // highest sequence that was handled, or answered with retry later
	complete  uint64 // highest sequence whose verdict was dropped
	highest   uint64 // highest sequence that was ever listed as a verdict
	listed    map[uint64]*entry
	verdicts  []*entry // the listed and decided ones, oldest decision first
	bytes     int      // of results in verdicts
	lastEntry uint64
	seed      maphash.Seed

	// Of the connection.
	conn    uint64 // rises with each connection
	offered uint64 // through as sent in REGISTER
	agreed  bool   // both ends use ASK
	pruned  bool   // a delivery above offered has come

	// Not yet given to State.
	decided []*entry // since the last Unsaved
	saving  []*entry // between Unsaved and Release
	unsaved int      // of verdicts, the last ones
	reset   bool     // everything saved before is void
	dirty   bool     // a save is necessary
	inSave  bool     // between Unsaved and Release, without a reset in between
}

// Verdict is the answer to a delivery.
type Verdict struct {
	Seq    uint64           `json:"seq"`
	Code   protocol.AckCode `json:"code"`
	Result []byte           `json:"result,omitempty"`
}

// Ticket identifies one delivery in progress. The zero Ticket is none.
type Ticket struct{ seq, id uint64 }

type entry struct {
	seq, id uint64
	hash    uint64 // of the payload; 0 if the log is named
	conn    uint64 // the connection in which it last came or was asked for
	state   entryState
	verdict Verdict // when decided
	decided bool    // it has a verdict, and waits for the save
	kept    bool    // in Ledger.verdicts, now or before
	note    []byte  // progress
	seen    bool    // by Working, since it is in progress
}

type entryState uint8

const (
	waiting  entryState = iota // came, but is not decided: it must come again
	underway                   // a worker has it, or its verdict is not saved yet
	handled
)

// Bounds of a Ledger.
const (
	maxVerdicts = 512     // SPEC §2.4 has the reason
	maxResults  = 1 << 20 // bytes of results in memory
	// maxHoles is twice the largest window (SPEC §4.3). That many deliveries can
	// be undecided and not yet final at the gateway.
	maxHoles = 512
)

// NewLedger returns a ledger that begins with s, or empty for a dialect that does
// not name its log.
func NewLedger(d protocol.Dialect, s Saved) *Ledger {
	l := &Ledger{named: d.Resumes(), listed: map[uint64]*entry{}, seed: maphash.MakeSeed()}
	if !l.named || s.Log == "" {
		return l
	}
	l.log, l.through, l.complete, l.highest = s.Log, s.AskThrough, s.CompleteFrom, s.CompleteFrom
	for _, seq := range s.Holes {
		l.add(seq)
	}
	for _, v := range s.Verdicts {
		e := l.add(v.Seq)
		e.state, e.verdict = handled, v
		l.list(e)
	}
	l.unsaved = 0
	return l
}

// Connect begins a connection and returns the log and the ask_through of its
// REGISTER.
func (l *Ledger) Connect() (log string, askThrough uint64) {
	l.conn++
	l.offered, l.agreed, l.pruned = l.through, false, false
	return l.log, l.through
}

// Registered processes the gateway's REGISTER_ACK. Unless that resumes this log,
// the ledger forgets everything: its sequences now mean other deliveries or none.
// forgot reports whether there was anything to forget; save the Change that says
// so before the next delivery is handled.
func (l *Ledger) Registered(r protocol.Registered) (forgot bool) {
	if !l.named {
		return false
	}
	l.agreed = r.Ask
	if r.Resumed && r.Log == l.log {
		return false
	}
	forgot = l.through > 0 || len(l.listed) > 0
	*l = Ledger{named: true, log: r.Log, listed: map[uint64]*entry{}, lastEntry: l.lastEntry, seed: l.seed,
		conn: l.conn, agreed: l.agreed, reset: l.reset || forgot, dirty: l.dirty || forgot}
	return forgot
}

// Receive processes a payload. If the delivery is known, v is its answer.
// Otherwise the caller must handle it and pass t to Decide.
func (l *Ledger) Receive(seq uint64, payload []byte) (t Ticket, v Verdict, known bool) {
	if seq > l.offered {
		l.prune()
	}
	e, hash := l.listed[seq], l.hash(payload)
	if e != nil && e.hash != hash {
		e = nil
	}
	switch {
	case e == nil && l.named && seq <= l.through:
		return t, l.unlisted(seq), true
	case e == nil:
		e = l.add(seq)
		e.hash = hash
	case e.state != waiting:
		e.conn = l.conn
		return t, e.answer(), true
	}
	e.state, e.conn, e.seen = underway, l.conn, false
	return Ticket{seq, e.id}, v, false
}

// Ask answers an ASK.
func (l *Ledger) Ask(seq uint64) Verdict {
	e := l.listed[seq]
	if e == nil {
		return l.unlisted(seq)
	}
	e.conn = l.conn
	return e.answer()
}

func (e *entry) answer() Verdict {
	switch e.state {
	case waiting:
		return Verdict{Seq: e.seq, Code: protocol.AckSend}
	case underway:
		return e.working()
	}
	return e.verdict
}

func (e *entry) working() Verdict {
	return Verdict{Seq: e.seq, Code: protocol.AckWorking, Result: e.note}
}

func (l *Ledger) unlisted(seq uint64) Verdict {
	switch {
	case seq > l.through:
		return Verdict{Seq: seq, Code: protocol.AckSend}
	case seq <= l.complete:
		return Verdict{Seq: seq, Code: protocol.AckNotKept}
	}
	return Verdict{Seq: seq, Code: protocol.AckOK}
}

// Decide ends a delivery that Receive began. AckRetry makes it a waiting one, and
// v must be sent at once if now is set. For any other code Release returns the
// answer after the verdict was saved; until then the delivery is in progress. A
// ticket of a forgotten log does nothing, and neither does a second verdict.
func (l *Ledger) Decide(t Ticket, code protocol.AckCode, result []byte) (v Verdict, now bool) {
	e := l.listed[t.seq]
	if e == nil || e.id != t.id || e.state != underway || e.decided {
		return v, false
	}
	e.note = nil
	v = Verdict{Seq: t.seq, Code: code, Result: result}
	if code != protocol.AckRetry {
		e.verdict, e.decided = v, true
		l.decided = append(l.decided, e)
		return v, false
	}
	e.state = waiting
	if l.named {
		l.through = max(l.through, t.seq) // a hole now, so the gateway asks for it
	} else {
		delete(l.listed, t.seq) // unlisted deliveries are new
	}
	return v, e.conn == l.conn
}

// Note keeps a handler's progress note. The next AckWorking carries it.
func (l *Ledger) Note(t Ticket, note []byte) {
	if e := l.listed[t.seq]; e != nil && e.id == t.id {
		e.note = note
	}
}

// Working returns an AckWorking for each delivery of this connection that is in
// progress and has a note, or was in progress in the call before. Without an
// agreement on ASK it returns nil.
func (l *Ledger) Working() (all []Verdict) {
	if !l.agreed {
		return nil
	}
	for _, e := range l.listed {
		if e.state != underway || e.conn != l.conn {
			continue
		}
		if e.seen || e.note != nil {
			all = append(all, e.working())
		}
		e.seen = true
	}
	slices.SortFunc(all, func(a, b Verdict) int { return cmp.Compare(a.Seq, b.Seq) })
	return all
}

// Unsaved returns the Change that must be saved before the answers to the decided
// deliveries may leave; ok is false if there is none. Call Release before the
// next Unsaved.
func (l *Ledger) Unsaved() (c Change, ok bool) {
	for _, e := range l.decided {
		l.dirty = true
		if l.named {
			l.through = max(l.through, e.seq)
		}
		if !l.plain(e) {
			l.list(e)
		}
	}
	l.saving, l.decided, l.inSave = l.decided, nil, true
	if !l.named || l.log == "" || !l.dirty {
		return c, false
	}
	c = Change{Reset: l.reset, Saved: Saved{Log: l.log, AskThrough: l.through, CompleteFrom: l.complete, Holes: l.holes()}}
	for _, e := range l.verdicts[len(l.verdicts)-l.unsaved:] {
		c.Verdicts = append(c.Verdicts, e.verdict.short())
	}
	return c, true
}

// Release ends a save and returns the answers that may leave now. After a failed
// save, the next Change has everything that this one had.
func (l *Ledger) Release(saved bool) (answers []Verdict) {
	for _, e := range l.saving {
		if e.state = handled; !e.kept {
			delete(l.listed, e.seq)
		}
		if e.conn == l.conn {
			answers = append(answers, e.verdict)
		}
	}
	for i := 0; l.bytes > maxResults; i++ {
		v := &l.verdicts[i].verdict
		l.bytes -= len(v.Result)
		*v = v.bare()
	}
	if saved && l.inSave {
		l.reset, l.dirty, l.unsaved = false, false, 0
	}
	l.saving, l.inSave = nil, false
	return answers
}

// Crowded reports whether more deliveries wait than a window can hold, and did so
// when the last new one came. Some have become final at the gateway, by their
// time to live for example, and the next connection shows which: see prune. So
// the device should reconnect.
func (l *Ledger) Crowded() bool { return l.pruned && l.open() > maxHoles }

// open is the number of undecided deliveries.
func (l *Ledger) open() int { return len(l.listed) - len(l.verdicts) }

func (l *Ledger) hash(payload []byte) uint64 {
	if l.named {
		return 0
	}
	return maphash.Bytes(l.seed, payload)
}

func (l *Ledger) add(seq uint64) *entry {
	l.lastEntry++
	e := &entry{seq: seq, id: l.lastEntry}
	l.listed[seq] = e
	return e
}

// plain reports whether e, which is decided, need not be listed. It must be
// listed below a listed verdict: CompleteFrom rises above it when that verdict is
// dropped.
func (l *Ledger) plain(e *entry) bool {
	return l.named && e.verdict.Code == protocol.AckOK && len(e.verdict.Result) == 0 && e.seq > l.highest
}

// list makes e a listed verdict and drops the oldest above the bound. Release
// drops the oldest results above their bound; their verdicts stay.
func (l *Ledger) list(e *entry) {
	e.kept = true
	l.verdicts = append(l.verdicts, e)
	l.highest = max(l.highest, e.seq)
	l.bytes += len(e.verdict.Result)
	l.unsaved++
	for len(l.verdicts) > maxVerdicts {
		old := l.verdicts[0]
		l.verdicts[0] = nil
		l.verdicts = l.verdicts[1:]
		l.bytes -= len(old.verdict.Result)
		l.complete = max(l.complete, old.seq)
		if l.listed[old.seq] == old {
			delete(l.listed, old.seq)
		}
	}
	l.unsaved = min(l.unsaved, len(l.verdicts))
}

// holes returns the undecided deliveries up to through.
func (l *Ledger) holes() (seqs []uint64) {
	for seq, e := range l.listed {
		if seq <= l.through && e.state != handled && e.verdict.Seq == 0 {
			seqs = append(seqs, seq)
		}
	}
	slices.Sort(seqs)
	return seqs
}

// prune drops the waiting deliveries that the gateway has neither asked for nor
// sent again. The gateway does one of the two with all that are not final, before
// a delivery above the offered sequence leaves (SPEC §2.3); so these are final.
func (l *Ledger) prune() {
	if l.pruned {
		return
	}
	l.pruned = true
	for seq, e := range l.listed {
		if e.state == waiting && seq <= l.offered && e.conn != l.conn {
			delete(l.listed, seq)
		}
	}
}
