package gateway

import (
	"math"
	"testing"
	"unsafe"

	"pgregory.net/rapid"
)

// numbersModel is the set as its comment describes it, number by number.
type numbersModel struct {
	highest uint64
	recent  map[uint64]bool
	outlier uint64
}

func (m *numbersModel) add(v uint64) {
	if m.recent == nil {
		m.highest, m.recent = v, map[uint64]bool{}
	}
	if int64(v-m.highest) > 0 {
		m.highest = v
		for e := range m.recent {
			if v-e >= 256 {
				delete(m.recent, e)
			}
		}
	}
	if m.highest-v < 256 {
		m.recent[v] = true
	} else {
		m.outlier = v
	}
}

func (m *numbersModel) has(v uint64) bool {
	return v != 0 && (m.recent[v] || m.highest-v >= 256 && v == m.outlier)
}

func TestNumbersAreABoundedSet(t *testing.T) {
	if got := unsafe.Sizeof(numbers{}); got > 48 {
		t.Errorf("the numbers of a connection's uplinks take %d bytes, want at most 48", got)
	}
	if (*numbers)(nil).has(1) {
		t.Error("the empty set has a number")
	}
	near := rapid.Custom(func(rt *rapid.T) uint64 {
		base := rapid.SampledFrom([]uint64{400, 1000, 1 << 63, math.MaxUint64 - 100, math.MaxUint64 / 2}).Draw(rt, "base")
		return max(1, base+uint64(rapid.IntRange(-400, 400).Draw(rt, "near")))
	})
	rapid.Check(t, func(rt *rapid.T) {
		var set numbers
		var model numbersModel
		added := map[uint64]bool{}
		for _, v := range rapid.SliceOfN(near, 1, 400).Draw(rt, "numbers") {
			set.add(v)
			model.add(v)
			added[v] = true
			if !set.has(v) {
				rt.Fatalf("%d is forgotten at once", v)
			}
		}
		for v := range added {
			for probe := v - 65; probe != v+65; probe++ {
				got := set.has(probe)
				if got != model.has(probe) {
					rt.Fatalf("has %d = %v, and the highest is %d", probe, got, set.highest)
				}
				if got && !added[probe] {
					rt.Fatalf("%d was never added", probe)
				}
			}
		}
	})
}
