package device

import (
	"slices"

	"github.com/longwire/longwire/protocol"
)

// pseudo is the ledger of SPEC §2.4, line by line, with its names.
type pseudo struct {
	askThrough, completeFrom uint64
	verdicts                 []Verdict // in the order in which they were given
	open, working, asked     map[uint64]bool
	highest                  uint64
	registeredThrough        uint64
}

// newPseudo starts a client with what it has saved.
func newPseudo(s Saved) *pseudo {
	p := &pseudo{askThrough: s.AskThrough, completeFrom: s.CompleteFrom, verdicts: slices.Clone(s.Verdicts),
		open: map[uint64]bool{}, working: map[uint64]bool{}, highest: s.CompleteFrom}
	for _, seq := range s.Holes {
		p.open[seq] = true
	}
	for _, v := range s.Verdicts {
		p.highest = max(p.highest, v.Seq)
	}
	return p
}

func (p *pseudo) know(seq uint64) Verdict {
	at := slices.IndexFunc(p.verdicts, func(v Verdict) bool { return v.Seq == seq })
	switch {
	case p.working[seq]:
		return Verdict{Seq: seq, Code: protocol.AckWorking}
	case p.open[seq] || seq > p.askThrough:
		return Verdict{Seq: seq, Code: protocol.AckSend}
	case at >= 0:
		return p.verdicts[at]
	case seq <= p.completeFrom:
		return Verdict{Seq: seq, Code: protocol.AckNotKept}
	}
	return Verdict{Seq: seq, Code: protocol.AckOK}
}

func (p *pseudo) connect() {
	p.asked = map[uint64]bool{}
	p.registeredThrough = p.askThrough
}

func (p *pseudo) ask(seq uint64) Verdict {
	if p.open[seq] {
		p.asked[seq] = true
	}
	return p.know(seq)
}

// data returns AckSend when the payload goes to a worker.
func (p *pseudo) data(seq uint64) Verdict {
	if seq > p.registeredThrough {
		for hole := range p.open {
			if hole <= p.registeredThrough && !p.asked[hole] && !p.working[hole] {
				delete(p.open, hole)
			}
		}
	}
	v := p.know(seq)
	if p.open[seq] {
		p.asked[seq] = true
	}
	if v.Code == protocol.AckSend {
		p.open[seq], p.asked[seq], p.working[seq] = true, true, true
	}
	return v
}

func (p *pseudo) finished(v Verdict) {
	delete(p.working, v.Seq)
	p.askThrough = max(p.askThrough, v.Seq)
	if v.Code == protocol.AckRetry {
		return
	}
	delete(p.open, v.Seq)
	if v.Code == protocol.AckOK && len(v.Result) == 0 && v.Seq > p.highest {
		return
	}
	p.verdicts = append(p.verdicts, v)
	p.highest = max(p.highest, v.Seq)
	bytes := 0
	for _, v := range p.verdicts {
		bytes += len(v.Result)
	}
	for i := 0; bytes > maxResults; i++ {
		bytes -= len(p.verdicts[i].Result)
		p.verdicts[i] = p.verdicts[i].bare()
	}
	for len(p.verdicts) > maxVerdicts {
		p.completeFrom = max(p.completeFrom, p.verdicts[0].Seq)
		p.verdicts = p.verdicts[1:]
	}
}
