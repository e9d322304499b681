package device

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/longwire/longwire/protocol"
)

// play is a gateway and a device with a ledger, and next to the ledger the one of
// SPEC §2.4, which must give the same answers, and a naive one that keeps
// everything. The gateway keeps the rules of SPEC §2.3: it asks
// for all up to ask_through before it sends others, and sends these in order.
type play struct {
	*book
	t *rapid.T

	next    uint64            // sequence given out last
	alive   map[uint64]bool   // not final at the gateway
	toAsk   []uint64          // before anything else
	toSend  []uint64          // after that: sent in an earlier connection
	at      map[uint64]string // naive: what each delivery is at the device
	verdict map[uint64]Verdict
	lost    map[uint64]bool // handled, and the process died before the save
	rough   bool            // a restart, or many verdicts: not_kept may come

	spec  *pseudo
	order []Verdict // decided, and not settled yet
}

const (
	never   = ""
	taken   = "under way"
	waits   = "waits"
	decided = "decided"
	saved   = "saved"
)

func newPlay(t *testing.T, rt *rapid.T) *play {
	return &play{book: newBook(t), spec: newPseudo(Saved{}), t: rt, alive: map[uint64]bool{}, at: map[uint64]string{}, verdict: map[uint64]Verdict{}, lost: map[uint64]bool{}}
}

func (p *play) reconnect() {
	_, through := p.Connect()
	p.Registered(protocol.Registered{Log: "log", Resumed: p.log == "log", Ask: true})
	p.spec.connect()
	p.toAsk, p.toSend = nil, nil
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
	if want := p.spec.data(seq); known != (want.Code != protocol.AckSend) || known && said(v) != said(want) {
		p.t.Fatalf("%d is answered %.40q (known: %v), by SPEC §2.4 %.40q", seq, said(v), known, said(want))
	}
	if known {
		p.judge(seq, v)
		return
	}
	switch p.at[seq] {
	case never, waits:
	default:
		p.t.Fatalf("%d is to be handled again; it is %s", seq, p.at[seq])
	}
	p.at[seq], p.held[seq] = taken, ticket
}

// judge compares an answer with what the naive ledger has.
func (p *play) judge(seq uint64, got Verdict) {
	want := Verdict{Seq: seq, Code: protocol.AckSend}
	switch p.at[seq] {
	case taken, decided:
		want.Code = protocol.AckWorking
	case saved:
		want = p.verdict[seq]
	}
	dropped := got.Code == protocol.AckNotKept && seq <= p.complete || said(got) == said(want.bare())
	if p.at[seq] == saved && p.rough && dropped || said(got) == said(want) {
		return
	}
	p.t.Fatalf("%d is answered %.40q, want %.40q; it is %q", seq, said(got), said(want), p.at[seq])
}

// answered is the gateway's reaction.
func (p *play) answered(v Verdict) {
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

// settled tells SPEC's ledger of what is saved now, or lost on a full disk.
func (p *play) settled() {
	for _, v := range p.order {
		p.spec.finished(v)
	}
	p.order = nil
}

// settle saves what was decided, on a disk that may be full and with a power
// that may be cut after that.
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
	p.settled()
	for _, v := range p.Release(err == nil) {
		p.judge(v.Seq, v)
		if rapid.Bool().Draw(p.t, "arrives") {
			p.answered(v)
		}
	}
}

// restart forgets what was not saved.
func (p *play) restart() {
	p.book.restart()
	p.rough = true
	s, _ := p.state.Load()
	p.spec, p.order = newPseudo(s), nil
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
	p.reconnect()
}

func TestLedgerAgainstANaiveOne(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		p := newPlay(t, rt)
		p.reconnect()
		rt.Repeat(map[string]func(*rapid.T){
			"the gateway goes on": func(t *rapid.T) {
				p.t = t
				switch {
				case len(p.toAsk) > 0:
					seq := p.toAsk[0]
					p.toAsk = p.toAsk[1:]
					if !p.alive[seq] {
						return
					}
					v := p.Ask(seq)
					if want := p.spec.ask(seq); said(v) != said(want) {
						t.Fatalf("asked for %d it answers %.40q, by SPEC §2.4 %.40q", seq, said(v), said(want))
					}
					if p.judge(seq, v); v.Code == protocol.AckSend {
						p.arrive(seq)
					}
					p.answered(v)
				case len(p.toSend) > 0:
					seq := p.toSend[0]
					p.toSend = p.toSend[1:]
					p.arrive(seq)
				case len(p.alive) < 256:
					p.next += rapid.Uint64Range(1, 3).Draw(t, "gap")
					p.alive[p.next] = true
					p.arrive(p.next)
				}
			},
			"the gateway repeats": func(t *rapid.T) {
				p.t = t
				seq, ok := p.pick(p.at, taken, waits, decided, saved)
				if ok && p.alive[seq] && !slices.Contains(p.toAsk, seq) {
					p.arrive(seq)
				}
			},
			"a delivery expires": func(t *rapid.T) {
				if len(p.alive) > 0 {
					delete(p.alive, rapid.SampledFrom(slices.Sorted(maps.Keys(p.alive))).Draw(t, "seq"))
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
					p.Decide(p.held[seq], code, nil)
					p.spec.finished(Verdict{Seq: seq, Code: code})
					p.at[seq] = waits
					return
				}
				result := make([]byte, rapid.SampledFrom([]int{0, 0, 0, 5, keptResult + 1, maxResults / 3}).Draw(t, "length"))
				p.rough = p.rough || len(result) > keptResult
				p.at[seq], p.verdict[seq] = decided, Verdict{Seq: seq, Code: code, Result: result}
				p.Decide(p.held[seq], code, result)
				p.order = append(p.order, p.verdict[seq])
				if rapid.Bool().Draw(t, "save") {
					p.settle()
				}
			},
			"the connection is lost": func(*rapid.T) { p.reconnect() },
			"the process ends":       func(t *rapid.T) { p.t = t; p.restart() },
			"many are rejected": func(t *rapid.T) {
				p.t = t
				if len(p.toAsk)+len(p.toSend) > 0 {
					return
				}
				p.rough = true
				for seq, at := range p.at {
					if at == decided {
						p.at[seq] = saved
					}
				}
				for range rapid.SampledFrom([]int{10, maxVerdicts - 5, maxVerdicts + 1}).Draw(t, "many") {
					p.next++
					p.arrive(p.next)
					p.at[p.next], p.verdict[p.next] = saved, Verdict{Seq: p.next, Code: protocol.AckReject}
					p.Decide(p.held[p.next], protocol.AckReject, nil)
					p.order = append(p.order, p.verdict[p.next])
					p.save()
					p.settled()
				}
				clear(p.lost)
			},
			"": func(t *rapid.T) {
				p.t = t
				if n := len(p.verdicts); n > maxVerdicts || p.bytes > maxResults || p.unsaved > n {
					t.Fatalf("%d verdicts with %d bytes, %d of them unsaved", n, p.bytes, p.unsaved)
				}
				for seq := range p.alive { // the gateway must find what it may ask for
					if at := p.at[seq]; at == waits && p.listed[seq] == nil {
						t.Fatalf("%d waits, and the ledger has no entry", seq)
					}
				}
			},
		})
	})
}
