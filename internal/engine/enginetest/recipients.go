package enginetest

import (
	"slices"

	"pgregory.net/rapid"

	"github.com/longwire/longwire/gateway"
)

// recipients asks both stores for the audience of a.
func (m *model) recipients(rt *rapid.T, a gateway.Acceptance) {
	m.both(rt, "recipients", func(s *side) (any, error) {
		r, err := s.store.Recipients(a)
		slices.Sort(r.Sample)
		return r, err
	})
}
