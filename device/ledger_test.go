package device

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"github.com/longwire/longwire/protocol"
)

// book is a ledger with its state, and speaks in sentences: "reject jammed".
type book struct {
	*Ledger
	t     *testing.T
	state MemoryState
	held  map[uint64]Ticket
}

func newBook(t *testing.T) *book {
	b := &book{t: t, held: map[uint64]Ticket{}}
	b.restart()
	return b
}

// restart ends the process and connects anew.
func (b *book) restart() {
	saved, _ := b.state.Load()
	b.Ledger = NewLedger(protocol.V2, saved)
	b.connect()
}

func (b *book) connect() {
	b.Connect()
	b.Registered(protocol.Registered{Log: "log", Resumed: b.log == "log", Ask: true})
}

func said(v Verdict) string {
	return string(bytes.TrimSpace(fmt.Appendf(nil, "%s %s", v.Code, v.Result)))
}

// take receives deliveries that are to be handled.
func (b *book) take(seqs ...uint64) {
	b.t.Helper()
	for _, seq := range seqs {
		t, v, known := b.Receive(seq, nil)
		if known {
			b.t.Fatalf("%d is answered %q, want it handled", seq, said(v))
		}
		b.held[seq] = t
	}
}

// decide decides and saves, and returns the answers that leave.
func (b *book) decide(seq uint64, code protocol.AckCode, result string) (answers []string) {
	if v, now := b.Decide(b.held[seq], code, []byte(result)); now {
		return []string{said(v)}
	}
	for _, v := range b.save() {
		answers = append(answers, said(v))
	}
	return answers
}

func (b *book) save() []Verdict {
	if c, ok := b.Unsaved(); ok {
		_ = b.state.Save(c)
	}
	return b.Release(true)
}

func (b *book) wantAsk(want string, seqs ...uint64) {
	b.t.Helper()
	for _, seq := range seqs {
		if got := said(b.Ask(seq)); got != want {
			b.t.Errorf("asked for %d: %q, want %q", seq, got, want)
		}
	}
}

func TestLedgerAnswers(t *testing.T) {
	b := newBook(t)
	b.take(3, 5, 7, 9, 11)
	b.decide(5, protocol.AckReject, "jammed")
	b.decide(7, protocol.AckOK, "21 °C")
	b.decide(9, protocol.AckOK, "")
	b.decide(11, protocol.AckRetry, "")
	for range 2 {
		b.wantAsk("reject jammed", 5)
		b.wantAsk("ok 21 °C", 7)
		b.wantAsk("ok", 1, 9) // 1 was handled in an earlier log, or never ours
		b.wantAsk("working", 3)
		b.wantAsk("send", 11, 12)
		if _, v, known := b.Receive(5, nil); !known || said(v) != "reject jammed" {
			t.Errorf("5 again: %q", said(v))
		}
		b.connect()
	}
	b.restart()
	b.wantAsk("send", 3, 11, 12)
	b.wantAsk("reject jammed", 5)
	b.wantAsk("ok 21 °C", 7)
	b.wantAsk("ok", 1, 9)
	if log, through := b.Connect(); log != "log" || through != 9 {
		t.Errorf("registers with %d of %q, want 9 of log", through, log)
	}
}

// An answer may leave when it is saved, and not before: a question in between is
// answered that the delivery is under way.
func TestAnswerLeavesAfterItWasSaved(t *testing.T) {
	b := newBook(t)
	b.take(1, 2)
	b.Decide(b.held[1], protocol.AckReject, nil)
	b.wantAsk("working", 1)
	c, ok := b.Unsaved()
	if !ok || c.AskThrough != 1 || len(c.Verdicts) != 1 {
		t.Fatalf("to be saved: %v %+v", ok, c)
	}
	b.wantAsk("working", 1)
	b.Decide(b.held[2], protocol.AckOK, nil) // is not part of this save
	if answers := b.Release(false); len(answers) != 1 || said(answers[0]) != "reject" {
		t.Errorf("after the save %v leave, want the rejection", answers)
	}
	b.wantAsk("reject", 1)
	b.wantAsk("working", 2)
	if c, _ = b.Unsaved(); c.AskThrough != 2 || len(c.Verdicts) != 1 {
		t.Errorf("after a save that failed the next one has %+v, want 1 again, and 2", c)
	}
	b.Release(true)
	if _, ok = b.Unsaved(); ok {
		t.Error("there is something left to save")
	}
	b.Release(true)
}

// The first verdict counts: a program that answers twice must not change what was answered.
func TestASecondVerdictDoesNothing(t *testing.T) {
	b := newBook(t)
	b.take(1)
	b.Decide(b.held[1], protocol.AckReject, nil)
	b.Decide(b.held[1], protocol.AckOK, []byte("too late"))
	if c, ok := b.Unsaved(); !ok || len(c.Verdicts) != 1 {
		t.Errorf("to be saved: %v %+v", ok, c)
	}
	if answers := b.Release(true); len(answers) != 1 || said(answers[0]) != "reject" {
		t.Errorf("%v leave, want the rejection", answers)
	}
	for _, code := range []protocol.AckCode{protocol.AckOK, protocol.AckRetry} {
		b.Decide(b.held[1], code, nil)
		if c, ok := b.Unsaved(); ok {
			t.Errorf("after the answer %+v is to be saved", c)
		}
		b.Release(true)
		b.wantAsk("reject", 1)
	}
}

func TestRetryIsAnsweredAtOnce(t *testing.T) {
	b := newBook(t)
	b.take(1)
	if got := b.decide(1, protocol.AckRetry, ""); !slices.Equal(got, []string{"retry"}) {
		t.Errorf("answers %q", got)
	}
	b.take(1)
	b.connect() // it has not come in this connection
	if got := b.decide(1, protocol.AckOK, "x"); got != nil {
		t.Errorf("answers %q, want none", got)
	}
}

func TestWaitingDeliveryIsNotPushedOut(t *testing.T) {
	for _, later := range []uint64{512, 10_000} {
		b := newBook(t)
		b.take(1, 2)
		b.decide(1, protocol.AckRetry, "")
		for seq := uint64(3); seq < 3+later; seq++ {
			b.take(seq)
			b.decide(seq, protocol.AckReject, "no")
		}
		b.wantAsk("send", 1)
		b.wantAsk("working", 2)
		b.wantAsk("reject no", 2+later)
		if got := b.decide(2, protocol.AckReject, "slow"); !slices.Equal(got, []string{"reject slow"}) {
			t.Errorf("answers %q", got)
		}
		b.restart()
		b.wantAsk("reject slow", 2) // the latest verdict, though of the lowest sequence
		b.wantAsk("send", 1)
		b.take(1)
		b.decide(1, protocol.AckOK, "")
		b.restart()
		b.wantAsk("ok", 1) // plain, but CompleteFrom is above it
	}
}

// A delivery above ask_through waits when the connection is lost, and a worker
// ends a later one before the first comes again.
func TestWaitingDeliveryIsNotPassedOver(t *testing.T) {
	b := newBook(t)
	b.take(1, 2)
	b.decide(1, protocol.AckRetry, "")
	b.connect()
	b.decide(2, protocol.AckOK, "")
	b.wantAsk("send", 1)
	b.connect()
	b.restart()
	b.wantAsk("send", 1)
	b.take(1)
}

func TestVerdictsAreBounded(t *testing.T) {
	t.Run("in number", func(t *testing.T) {
		b := newBook(t)
		for seq := uint64(1); seq <= 2*maxVerdicts; seq++ {
			b.take(seq)
			b.decide(seq, protocol.AckReject, "")
		}
		for range 2 {
			b.wantAsk("not_kept", 1, maxVerdicts)
			b.wantAsk("reject", maxVerdicts+1, 2*maxVerdicts)
			if n := len(b.listed); n != maxVerdicts || len(b.verdicts) != n {
				t.Errorf("%d listed, %d verdicts, want %d", n, len(b.verdicts), maxVerdicts)
			}
			b.restart()
		}
	})
	t.Run("in bytes", func(t *testing.T) {
		b := newBook(t)
		long := string(make([]byte, keptResult))
		const count = 2 * maxResults / keptResult
		for seq := uint64(1); seq <= count; seq++ {
			b.take(seq)
			b.decide(seq, protocol.AckOK, long)
		}
		kept := func(bytes uint64) { // of the last results
			t.Helper()
			b.wantAsk("not_kept", 1, count-bytes/keptResult)
			b.wantAsk(said(Verdict{Result: []byte(long)}), count-bytes/keptResult+1, count)
		}
		kept(maxResults)
		b.restart()
		kept(keptResults)
	})
	t.Run("in bytes of reasons", func(t *testing.T) {
		b := newBook(t)
		const count = 2 * maxResults / keptResult
		for seq := uint64(1); seq <= count; seq++ {
			b.take(seq)
			b.decide(seq, protocol.AckReject, string(make([]byte, keptResult)))
		}
		b.take(count + 1)
		b.decide(count+1, protocol.AckReject, string(make([]byte, keptResult+1)))
		b.wantAsk("reject", 2, maxResults/keptResult) // the reason is dropped, the reject stays
		b.restart()
		b.wantAsk("reject", 2, count-keptResults/keptResult)
		b.wantAsk("reject", count+1)
	})
	t.Run("in bytes of one", func(t *testing.T) {
		b := newBook(t)
		b.take(1, 2)
		long := string(make([]byte, keptResult+1))
		b.decide(1, protocol.AckOK, long)
		b.wantAsk(said(Verdict{Result: []byte(long)}), 1)
		b.restart()
		b.wantAsk("not_kept", 1)
		huge := string(make([]byte, maxResults+1))
		b.take(2)
		if got := b.decide(2, protocol.AckOK, huge); len(got) != 1 || got[0] != said(Verdict{Result: []byte(huge)}) {
			t.Error("a result that is too long to be kept does not leave the first time")
		}
		b.wantAsk("not_kept", 2)
	})
	t.Run("a reject without its reason is one", func(t *testing.T) {
		b := newBook(t)
		b.take(1, 2)
		long := string(make([]byte, keptResult))
		b.decide(1, protocol.AckReject, long+"!")
		b.decide(2, protocol.AckReject, long)
		b.restart()
		b.wantAsk("reject", 1)
		const last = 2 + maxResults/keptResult
		for seq := uint64(3); seq <= last; seq++ {
			b.take(seq)
			b.decide(seq, protocol.AckReject, long)
		}
		b.wantAsk("reject", 1, 2)
		b.wantAsk(said(Verdict{Code: protocol.AckReject, Result: []byte(long)}), 3, last)
		b.restart()
		b.wantAsk("reject", 1, 2, last-keptResults/keptResult)
		b.wantAsk(said(Verdict{Code: protocol.AckReject, Result: []byte(long)}), last)
	})
}

func TestForgetting(t *testing.T) {
	for name, r := range map[string]protocol.Registered{
		"another log": {Log: "other", Resumed: true, Ask: true},
		"the same":    {Log: "log", Ask: true},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBook(t)
			b.take(1, 2, 3)
			b.decide(1, protocol.AckReject, "")
			b.decide(2, protocol.AckOK, "")
			b.Connect()
			if !b.Registered(r) {
				t.Error("nothing forgotten")
			}
			b.decide(3, protocol.AckReject, "of the old log") // also saves the forgetting
			for range 2 {
				b.wantAsk("send", 1, 2, 3)
				if log, through := b.Connect(); log != r.Log || through != 0 {
					t.Errorf("registers with %d of %q, want 0 of %q", through, log, r.Log)
				}
				b.restart()
				if r.Log != "log" {
					break // restart knows only "log"
				}
			}
			if s, _ := b.state.Load(); s.Log != r.Log || s.AskThrough != 0 || len(s.Verdicts)+len(s.Holes) > 0 {
				t.Errorf("saved: %+v", s)
			}
		})
	}
	t.Run("between Unsaved and Release", func(t *testing.T) {
		b := newBook(t)
		b.take(1)
		b.Decide(b.held[1], protocol.AckReject, nil)
		c, _ := b.Unsaved()
		b.Connect()
		b.Registered(protocol.Registered{Log: "other", Ask: true})
		_ = b.state.Save(c)
		if answers := b.Release(true); len(answers) > 0 {
			t.Errorf("%v leave", answers)
		}
		if c, ok := b.Unsaved(); !ok || !c.Reset {
			t.Errorf("to be saved: %v %+v, want the reset", ok, c)
		}
	})
	t.Run("while a worker has it", func(t *testing.T) {
		b := newBook(t)
		b.take(1)
		old := b.held[1]
		b.Connect()
		b.Registered(protocol.Registered{Log: "other", Ask: true})
		b.take(1)
		b.Decide(old, protocol.AckReject, nil)
		if answers := b.save(); len(answers) > 0 {
			t.Errorf("%v leave: verdicts on another delivery 1", answers)
		}
		b.wantAsk("working", 1)
	})
	t.Run("nothing", func(t *testing.T) {
		l := NewLedger(protocol.V2, Saved{})
		l.Connect()
		if l.Registered(protocol.Registered{Log: "log"}) {
			t.Error("the first log voids something")
		}
	})
}

// Deliveries that wait here and have ended at the gateway are dropped when the
// gateway has asked for the others.
func TestEndedDeliveriesAreDropped(t *testing.T) {
	b := newBook(t)
	seq := uint64(0)
	for ; !b.Crowded(); seq++ {
		if seq > 2*maxHoles {
			t.Fatal("never crowded")
		}
		b.take(seq + 1)
		b.decide(seq+1, protocol.AckRetry, "")
	}
	if seq != maxHoles+1 {
		t.Errorf("crowded after %d, want %d", seq, maxHoles+1)
	}
	b.take(1000)
	b.decide(1000, protocol.AckOK, "")
	b.connect()
	b.wantAsk("send", 7, 300) // the gateway asks for these
	if _, _, known := b.Receive(7, nil); known {
		t.Error("7 is known")
	}
	if len(b.listed) != maxHoles+1 || b.Crowded() {
		t.Errorf("%d listed before anything new has come, crowded %v: the next connection would be no better", len(b.listed), b.Crowded())
	}
	b.take(1001)
	b.wantAsk("working", 7)
	b.wantAsk("send", 300)
	if len(b.listed) != 3 || b.Crowded() {
		t.Errorf("%d listed, want 7, 300 and 1001", len(b.listed))
	}
}

// A gateway that does not ask sends all deliveries that are not final again, in
// order. So a new connection shows there, too, which ones have ended.
func TestHolesAreBoundedWithoutAgreement(t *testing.T) {
	b := newBook(t)
	connect := func() {
		b.Connect()
		b.Registered(protocol.Registered{Log: "log", Resumed: b.log == "log"})
	}
	connect()
	for seq := uint64(1); seq <= maxHoles+1; seq++ {
		if b.Crowded() {
			t.Fatalf("crowded by %d", seq-1)
		}
		b.take(seq)
		b.decide(seq, protocol.AckRetry, "")
	}
	if !b.Crowded() || b.Working() != nil {
		t.Errorf("crowded %v, working %v", b.Crowded(), b.Working())
	}
	connect()
	b.take(1)
	b.decide(1, protocol.AckRetry, "")
	b.take(1000)
	if n := len(b.listed); n != 2 || b.Crowded() {
		t.Errorf("%d listed, want 1, which came again, and 1000", n)
	}
	b.take(1)
}

func TestTextLedger(t *testing.T) {
	l := NewLedger(protocol.Text, Saved{Log: "log", AskThrough: 9})
	l.Connect()
	if l.Registered(protocol.Registered{}) {
		t.Error("text forgets with each connection")
	}
	handle := func(seq uint64, payload string, code protocol.AckCode) {
		t.Helper()
		ticket, v, known := l.Receive(seq, []byte(payload))
		if known {
			t.Fatalf("%d %q is answered %q", seq, payload, said(v))
		}
		l.Decide(ticket, code, nil)
		if _, ok := l.Unsaved(); ok {
			t.Error("there is something to save")
		}
		l.Release(true)
	}
	handle(5, "a", protocol.AckOK)
	if _, v, known := l.Receive(5, []byte("a")); !known || said(v) != "ok" {
		t.Errorf("5 again: %v %q", known, said(v))
	}
	handle(5, "b", protocol.AckReject)
	handle(4, "c", protocol.AckRetry)
	handle(4, "c", protocol.AckOK)
	for seq := uint64(10); seq < 10+maxVerdicts-2; seq++ { // pushes the first 5 out
		handle(seq, "d", protocol.AckOK)
	}
	if _, v, known := l.Receive(5, []byte("b")); !known || said(v) != "reject" {
		t.Errorf("5 again: %v %q", known, said(v))
	}
	for seq := uint64(1000); seq < 1000+2*maxVerdicts; seq++ {
		handle(seq, "d", protocol.AckOK)
	}
	if len(l.listed) > maxVerdicts || len(l.verdicts) > maxVerdicts {
		t.Errorf("%d listed, %d verdicts", len(l.listed), len(l.verdicts))
	}
	handle(5, "b", protocol.AckOK) // dropped, so new
}

func TestProgressIsPartOfWorking(t *testing.T) {
	b := newBook(t)
	b.take(1, 2)
	b.Note(b.held[2], []byte("half"))
	b.wantAsk("working half", 2)
	if w := b.Working(); len(w) != 1 || said(w[0]) != "working half" {
		t.Errorf("working at first: %v", w)
	}
	if w := b.Working(); len(w) != 2 || said(w[0]) != "working" || said(w[1]) != "working half" {
		t.Errorf("working: %v", w)
	}
	b.connect()
	if w := b.Working(); w != nil {
		t.Errorf("in a connection that knows of none: %v", w)
	}
	b.Note(Ticket{2, 99}, []byte("no such"))
	b.decide(2, protocol.AckRetry, "")
	b.take(2)
	b.wantAsk("working", 2)
}
