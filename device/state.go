package device

import (
	"cmp"
	"slices"
	"sync"

	"github.com/longwire/longwire/protocol"
)

// Saved is a device's memory of the deliveries of one log (SPEC §2.4). A delivery
// up to AskThrough that is neither in Holes nor in Verdicts was handled and is
// plain ok; up to CompleteFrom its verdict is unknown.
type Saved struct {
	ID           string    `json:"id,omitempty"` // the client's; "" in states of earlier versions
	Log          string    `json:"log"`
	AskThrough   uint64    `json:"ask_through"`
	CompleteFrom uint64    `json:"complete_from,omitempty"`
	Holes        []uint64  `json:"holes,omitempty"`    // not handled; rising, at most 513
	Verdicts     []Verdict `json:"verdicts,omitempty"` // oldest decision first
}

// Change adds to a Saved the decisions since the last Change: Verdicts has only
// the new ones, and the other fields replace those of the Saved.
type Change struct {
	Reset bool `json:"reset,omitempty"` // everything saved before is void
	Saved
}

// State keeps a Ledger across restarts. It belongs to one client: the deliveries of
// another one, as in a copied image, are not known by it. New calls Load once, and
// refuses the Saved of another client; an empty State returns the zero Saved. Save returns nil when the change would survive the kind
// of crash that the device must survive. The ACKs of the deliveries in the change
// leave after Save has returned. They also leave after an error, which is logged;
// then the next Change has everything that this one had. Calls do not overlap.
type State interface {
	Load() (Saved, error)
	Save(Change) error
}

// Bounds of Saved, in bytes of results.
const (
	keptResult  = 4 << 10   // of one verdict
	keptResults = 256 << 10 // of all
)

// Apply adds c; applying it twice does no harm. It keeps the newest 512 verdicts.
// It keeps the newest 256 KiB of results; verdicts stay without them. Slices are
// shared with c.
func (s *Saved) Apply(c Change) {
	id := cmp.Or(c.ID, s.ID)
	if c.Reset || c.Log != s.Log {
		*s = Saved{}
	}
	s.ID = id
	s.Log, s.AskThrough, s.Holes = c.Log, c.AskThrough, c.Holes
	s.CompleteFrom = max(s.CompleteFrom, c.CompleteFrom)
	if len(c.Verdicts) == 0 {
		return
	}
	all := make([]Verdict, 0, len(s.Verdicts)+len(c.Verdicts))
	for _, v := range s.Verdicts {
		if !slices.ContainsFunc(c.Verdicts, func(w Verdict) bool { return w.Seq == v.Seq }) {
			all = append(all, v)
		}
	}
	s.Verdicts = append(all, c.Verdicts...)
	s.trim()
}

func (s *Saved) trim() {
	drop := max(0, len(s.Verdicts)-maxVerdicts)
	for _, old := range s.Verdicts[:drop] {
		s.CompleteFrom = max(s.CompleteFrom, old.Seq)
	}
	s.Verdicts = s.Verdicts[drop:]
	size := 0
	for _, v := range s.Verdicts {
		size += len(v.Result)
	}
	for i := 0; size > keptResults; i++ {
		size -= len(s.Verdicts[i].Result)
		s.Verdicts[i] = s.Verdicts[i].bare()
	}
}

// short returns v in its saved form: without a result that is too long.
func (v Verdict) short() Verdict {
	if len(v.Result) > keptResult {
		return v.bare()
	}
	return v
}

// bare returns v without its result. A reject stays one, and an ok that had a
// result is not kept (SPEC §2.4).
func (v Verdict) bare() Verdict {
	if v.Code == protocol.AckOK && len(v.Result) > 0 {
		v.Code = protocol.AckNotKept
	}
	v.Result = nil
	return v
}

// MemoryState keeps the state in memory only. The zero value is ready.
type MemoryState struct {
	mu sync.Mutex
	s  Saved
}

// Load returns the sum of the saved changes.
func (m *MemoryState) Load() (Saved, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.s, nil
}

// Save applies c.
func (m *MemoryState) Save(c Change) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.s.Apply(c)
	return nil
}
