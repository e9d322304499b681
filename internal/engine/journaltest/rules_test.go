package journaltest

import (
	"github.com/longwire/longwire/internal/engine/record"
	"github.com/longwire/longwire/internal/engine/state"
)

// Rules are the rules of the protocol that a schedule leaves out. The zero value is the
// protocol; with any field set some schedule has to fail.
type Rules struct {
	// AnyHigher applies a record whose number is above the last one, behind a hole too.
	AnyHigher bool
	// OpenAlways takes an opening whatever boot it follows.
	OpenAlways bool
	// NoFence judges the records of all boots by their numbers alone.
	NoFence bool
	// AnswerStored answers for a record that is read back, whatever the verdict.
	AnswerStored bool
	// AnswerAppended answers for a record that was handed to the journal.
	AnswerAppended bool
	// NeverAgain appends no record twice.
	NeverAgain bool
	// HolesOnly appends records again after a hole, and not after a time.
	HolesOnly bool
	// FreshBytes adds the events that wait to a record that is appended again.
	FreshBytes bool
	// AnyBytes answers for a record that is read back with other bytes.
	AnyBytes bool
	// ApplyFirst applies a record before the journal has ordered it, answers for it, and
	// drops it when it is read back. With AnyHigher and without fences it is the way of
	// the engine before there were boots.
	ApplyFirst bool
}

// judge is the state's verdict, less the rules that are left out.
func (r *Rules) judge(m *state.Machine, c *record.Commit) state.Verdict {
	v := m.Judge(c)
	_, opening := c.Opening()
	_, last := m.Boot(c.Writer)
	switch {
	case r.OpenAlways && v == state.Fenced && opening:
		return state.Next
	case r.NoFence && v == state.Fenced && !opening:
		v = state.Next
		if c.N <= last {
			v = state.Repeat
		} else if c.N > last+1 {
			v = state.Hole
		}
	}
	if r.AnyHigher && v == state.Hole {
		return state.Next
	}
	return v
}
