package history

import "slices"

// verdict is a device's answer to a delivery.
type verdict struct {
	code   byte
	result []byte
}

func (v verdict) plain() bool { return v.code == codeOK && len(v.result) == 0 }

// Bounds of a small ledger: it forgets often, so that verdict_not_kept is common.
const (
	keptVerdicts = 3
	keptResults  = 128 << 10 // bytes
)

// ledger is what a device remembers of its deliveries over connections and over
// restarts of its program. Everything at or below through that is not listed was
// handled and is plain ok; at or below complete it was handled, and its verdict
// may be gone.
type ledger struct {
	bounded  bool
	log      string
	through  uint64 // ask_through
	complete uint64
	open     map[uint64]bool // received and not handled
	verdicts []listed        // by seq; everything that is not plain ok
}

type listed struct {
	seq uint64
	verdict
}

func (l *ledger) forget(log string) {
	*l = ledger{bounded: l.bounded, log: log, open: map[uint64]bool{}}
}

// receive notes that the payload of seq is here and not handled.
func (l *ledger) receive(seq uint64) { l.open[seq] = true }

// settle notes that seq is handled.
func (l *ledger) settle(seq uint64, v verdict) {
	delete(l.open, seq)
	l.through = max(l.through, seq)
	if v.plain() {
		return
	}
	at, _ := slices.BinarySearchFunc(l.verdicts, seq, func(e listed, seq uint64) int {
		switch {
		case e.seq < seq:
			return -1
		case e.seq > seq:
			return 1
		}
		return 0
	})
	l.verdicts = slices.Insert(l.verdicts, at, listed{seq, v})
	for l.bounded && (len(l.verdicts) > keptVerdicts || l.results() > keptResults) {
		l.complete = max(l.complete, l.verdicts[0].seq)
		l.verdicts = l.verdicts[1:]
	}
}

func (l *ledger) results() (n int) {
	for _, e := range l.verdicts {
		n += len(e.result)
	}
	return n
}

// answer returns the verdict on seq; codeSend says that it is not handled.
func (l *ledger) answer(seq uint64) verdict {
	if l.open[seq] {
		return verdict{code: codeSend}
	}
	for _, e := range l.verdicts {
		if e.seq == seq {
			return e.verdict
		}
	}
	switch {
	case seq <= l.complete:
		return verdict{code: codeNotKept}
	case seq <= l.through:
		return verdict{code: codeOK}
	}
	return verdict{code: codeSend}
}

// lastSeq is the position of a device without a ledger: nothing up to it is
// unhandled.
func (l *ledger) lastSeq() uint64 {
	last := l.through
	for seq := range l.open {
		last = min(last, seq-1)
	}
	return last
}
