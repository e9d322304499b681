package device

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/longwire/longwire/protocol"
)

// play is a gateway and a device with a ledger. Next to the ledger are the one of
// the SPEC, and the truth: what became of each delivery. The gateway keeps the
// rules of SPEC §2.3: it asks for all up to ask_through before it sends others,
// and sends these in order.
type play struct {
	*book
	t    *rapid.T
	spec *specLedger

	window  int               // of the gateway
	cut     bool              // an answer was lost, and so are all that follow on the connection
	stuck   bool              // so was the answer to an ASK, and nothing newer leaves
	next    uint64            // sequence given out last
	alive   map[uint64]bool   // not final at the gateway
	toAsk   []uint64          // before anything else
	toSend  []uint64          // after that: sent in an earlier connection
	at      map[uint64]string // the state of each delivery at the device
	order   []uint64          // the decided ones, in this order
	verdict map[uint64]Verdict
	lost    map[uint64]bool // handled, and the process died before the save
	rough   bool            // a restart, or many verdicts: not_kept may come
}

const (
	never   = ""
	taken   = "under way"
	waits   = "waits"
	decided = "decided"
	saved   = "saved"
)

func newPlay(t *testing.T, rt *rapid.T, window, bound int) *play {
	p := &play{book: newBook(t), t: rt, window: window, spec: newSpecLedger(bound, specSaved{}),
		alive: map[uint64]bool{}, at: map[uint64]string{}, verdict: map[uint64]Verdict{}, lost: map[uint64]bool{}}
	p.reconnect()
	return p
}

func (p *play) reconnect() {
	log, through := p.Connect()
	if specLog, specThrough := p.spec.connect(); specThrough != through {
		p.t.Fatalf("registers with %d of %q, the SPEC's with %d of %q", through, log, specThrough, specLog)
	}
	r := protocol.Registered{Log: "log", Resumed: p.log == "log", Ask: true}
	p.Registered(r)
	p.spec.welcome(r)
	p.toAsk, p.toSend, p.cut, p.stuck = nil, nil, false, false
	for _, seq := range slices.Sorted(maps.Keys(p.alive)) {
		if seq <= through {
			p.toAsk = append(p.toAsk, seq)
		} else {
			p.toSend = append(p.toSend, seq)
		}
	}
}

// arrive is a payload at the device.
func (p *play) arrive(seq uint64) {
	ticket, v, known := p.Receive(seq, fmt.Append(nil, seq))
	said, specKnown := p.spec.data(seq)
	if known != specKnown {
		p.t.Fatalf("%d is known: %v, to the SPEC's: %v", seq, known, specKnown)
	}
	if known {
		p.compare(v, said)
		p.judge(seq, v)
		p.answer(v)
		return
	}
	switch p.at[seq] {
	case never, waits:
	default:
		p.t.Fatalf("%d is to be handled again; it is %s", seq, p.at[seq])
	}
	p.at[seq], p.held[seq] = taken, ticket
}

// ask is a question at the device.
func (p *play) ask(seq uint64) {
	v := p.Ask(seq)
	p.compare(v, p.spec.ask(seq))
	p.judge(seq, v)
	p.answer(v)
	switch {
	case p.cut:
		p.stuck = true
	case v.Code == protocol.AckSend:
		p.arrive(seq)
	}
}

// compare compares an answer with that of the SPEC's ledger, which keeps fewer bytes.
func (p *play) compare(got, want Verdict) {
	if said(got) != said(want) && said(got.bare()) != said(want) {
		p.t.Fatalf("%d is answered %.40q, by the SPEC %.40q", got.Seq, said(got), said(want))
	}
}

// judge compares an answer with the truth.
func (p *play) judge(seq uint64, got Verdict) {
	want := Verdict{Seq: seq, Code: protocol.AckSend}
	switch p.at[seq] {
	case taken, decided:
		want.Code = protocol.AckWorking
	case saved:
		want = p.verdict[seq]
	}
	less := got.Code == protocol.AckNotKept || said(got) == said(want.bare())
	if p.at[seq] == saved && p.rough && less || said(got) == said(want) {
		return
	}
	p.t.Fatalf("%d is answered %.40q, want %.40q; it is %q", seq, said(got), said(want), p.at[seq])
}

// answer is an answer on its way to the gateway.
func (p *play) answer(v Verdict) {
	p.cut = p.cut || rapid.IntRange(0, 3).Draw(p.t, "cut") == 0
	if p.cut {
		return
	}
	if v.Code == protocol.AckOK || v.Code == protocol.AckReject || v.Code == protocol.AckNotKept {
		delete(p.alive, v.Seq)
	}
}

func (p *play) pick(of map[uint64]string, state ...string) (seq uint64, ok bool) {
	var all []uint64
	for seq, at := range of {
		if slices.Contains(state, at) {
			all = append(all, seq)
		}
	}
	if len(all) == 0 {
		return 0, false
	}
	slices.Sort(all)
	return rapid.SampledFrom(all).Draw(p.t, "seq"), true
}

// settle saves the decisions, on a disk that may be full, and with a power cut
// that may follow.
func (p *play) settle() {
	c, ok := p.Unsaved()
	var err error
	if ok {
		if rapid.IntRange(0, 9).Draw(p.t, "disk") == 0 {
			err = fmt.Errorf("full")
		} else if err = p.state.Save(c); rapid.IntRange(0, 9).Draw(p.t, "power") == 0 {
			for seq, at := range p.at { // it died before the answers left
				if at == decided {
					p.at[seq] = saved
				}
			}
			clear(p.lost)
			p.finish(err == nil)
			p.restart()
			return
		}
	}
	for seq, at := range p.at {
		if at == decided {
			if p.at[seq] = saved; err != nil {
				p.lost[seq] = true // until the next save
			}
		}
	}
	if err == nil {
		clear(p.lost)
	}
	told := p.finish(err == nil)
	for _, v := range p.Release(err == nil) {
		p.judge(v.Seq, v)
		if !slices.Contains(told, v.Seq) {
			p.t.Fatalf("%d is answered, and the SPEC's does not", v.Seq)
		}
		p.answer(v)
	}
}

// finish makes the SPEC's ledger take the decisions of the other one. It returns
// the sequences that may be answered.
func (p *play) finish(saves bool) (told []uint64) {
	for i, seq := range p.order {
		// The other ledger saves once for all of these.
		if p.spec.finished(p.verdict[seq], saves && i == len(p.order)-1) {
			told = append(told, seq)
		}
	}
	p.order = nil
	return told
}

// restart forgets unsaved decisions.
func (p *play) restart() {
	p.book.restart()
	p.rough = true
	s, _ := p.state.Load()
	for seq, at := range p.at {
		switch {
		case at == saved && !p.lost[seq]:
		case slices.Contains(s.Holes, seq):
			p.at[seq] = waits
		default: // perhaps handled, and not saved: it may be handled again
			p.at[seq] = never
		}
	}
	clear(p.lost)
	p.spec, p.order = newSpecLedger(p.spec.bound, p.spec.saved), nil
	p.reconnect()
}

// wantSameSaved compares the saved states of the two ledgers.
func (p *play) wantSameSaved() {
	s, _ := p.state.Load()
	w := p.spec.saved
	same := s.AskThrough == w.askThrough && s.CompleteFrom == w.completeFrom && slices.Equal(s.Holes, w.holes) &&
		slices.EqualFunc(s.Verdicts, w.verdicts, func(a, b Verdict) bool { return a.Seq == b.Seq && (a.Code == b.Code || a.bare().Code == b.Code) })
	if !same {
		p.t.Fatalf("saved: %d %d %v and %d verdicts, the SPEC's %d %d %v and %d", s.AskThrough, s.CompleteFrom, s.Holes, len(s.Verdicts),
			w.askThrough, w.completeFrom, w.holes, len(w.verdicts))
	}
}

func TestLedgerIsTheSpecs(t *testing.T) { playLedger(t, 256, maxVerdicts) }

// With 2W-1 verdicts the SPEC's ledger knows all that a gateway asks for that does
// not crash, and withdraws nothing that a worker has (SPEC §2.4).
func TestSmallLedger(t *testing.T) {
	for window := range 4 {
		playLedger(t, window+1, 2*window+1)
	}
}

func playLedger(t *testing.T, window, bound int) {
	rapid.Check(t, func(rt *rapid.T) {
		p := newPlay(t, rt, window, bound)
		rt.Repeat(map[string]func(*rapid.T){
			"the gateway goes on": func(t *rapid.T) {
				p.t = t
				switch {
				case p.stuck:
				case len(p.toAsk) > 0:
					seq := p.toAsk[0]
					if p.toAsk = p.toAsk[1:]; p.alive[seq] {
						p.ask(seq)
					}
				case len(p.toSend) > 0:
					seq := p.toSend[0]
					if p.toSend = p.toSend[1:]; p.alive[seq] {
						p.arrive(seq)
					}
				case len(p.alive) < p.window:
					p.next += rapid.Uint64Range(1, 3).Draw(t, "gap")
					p.alive[p.next] = true
					p.arrive(p.next)
				}
			},
			"the gateway repeats": func(t *rapid.T) {
				p.t = t
				seq, ok := p.pick(p.at, taken, waits, decided, saved)
				if ok && p.alive[seq] && !slices.Contains(p.toSend, seq) && !slices.Contains(p.toAsk, seq) {
					p.arrive(seq)
				}
			},
			"a delivery expires": func(t *rapid.T) {
				if len(p.alive) == 0 {
					return
				}
				seq := rapid.SampledFrom(slices.Sorted(maps.Keys(p.alive))).Draw(t, "seq")
				if p.spec.bound == maxVerdicts || p.at[seq] == waits {
					delete(p.alive, seq)
				}
			},
			"a worker ends": func(t *rapid.T) {
				p.t = t
				seq, ok := p.pick(p.at, taken)
				if !ok {
					return
				}
				code := rapid.SampledFrom([]protocol.AckCode{protocol.AckOK, protocol.AckOK, protocol.AckReject, protocol.AckRetry}).Draw(t, "code")
				if code == protocol.AckRetry {
					_, now := p.Decide(p.held[seq], code, nil)
					if p.spec.finished(Verdict{Seq: seq, Code: code}, false) != now {
						t.Fatalf("%d is answered retry later: %v", seq, now)
					}
					p.at[seq] = waits
					return
				}
				result := make([]byte, rapid.SampledFrom([]int{0, 0, 0, 5, keptResult, keptResult + 1, maxResults / 3}).Draw(t, "length"))
				p.rough = p.rough || len(result) >= keptResult
				p.order = append(p.order, seq)
				p.at[seq], p.verdict[seq] = decided, Verdict{Seq: seq, Code: code, Result: result}
				p.Decide(p.held[seq], code, result)
				if rapid.Bool().Draw(t, "save") {
					p.settle()
				}
			},
			"the connection is lost": func(*rapid.T) { p.reconnect() },
			"the process ends":       func(t *rapid.T) { p.t = t; p.restart() },
			"many are rejected": func(t *rapid.T) {
				p.t = t
				if len(p.toAsk)+len(p.toSend) > 0 || p.window < 256 {
					return
				}
				p.rough = true
				for seq, at := range p.at {
					if at == decided {
						p.at[seq] = saved
					}
				}
				p.save()
				p.finish(true)
				for range rapid.SampledFrom([]int{10, maxVerdicts + 1}).Draw(t, "many") {
					p.next++
					p.arrive(p.next)
					p.at[p.next], p.verdict[p.next] = saved, Verdict{Seq: p.next, Code: protocol.AckReject}
					p.Decide(p.held[p.next], protocol.AckReject, nil)
					p.save()
					p.spec.finished(p.verdict[p.next], true)
				}
				clear(p.lost)
			},
			"": func(t *rapid.T) {
				p.t = t
				if n := len(p.verdicts); n > maxVerdicts || p.bytes > maxResults || p.unsaved > n {
					t.Fatalf("%d verdicts with %d bytes, %d of them unsaved", n, p.bytes, p.unsaved)
				}
				for seq := range p.alive { // the gateway must find every delivery that it may ask for
					if at := p.at[seq]; at == waits && p.listed[seq] == nil {
						t.Fatalf("%d waits, and the ledger has no entry", seq)
					}
				}
				if p.Crowded() != p.spec.crowded() {
					t.Fatalf("crowded: %v, by the SPEC %v", p.Crowded(), p.spec.crowded())
				}
				if p.spec.bound == maxVerdicts {
					p.wantSameSaved()
				}
			},
		})
	})
}
