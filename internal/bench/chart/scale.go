package chart

import (
	"math"
	"slices"
	"strconv"
)

// scale puts values of an axis on pixels.
type scale struct {
	log      bool
	min, max float64 // values, or their logarithms
	from, to float64 // pixels
	ticks    []Tick
}

// newScale spans values: a linear axis from 0 to a round number, a logarithmic
// one from and to numbers that begin with 1, 2 or 5.
func newScale(a Axis, values []float64, from, to float64) scale {
	s := scale{log: a.Log, from: from, to: to}
	least, most := 0.0, 1.0
	if len(values) > 0 {
		least, most = slices.Min(values), slices.Max(values)
	} else if a.Log {
		least = 0.1
	}
	switch {
	case len(a.Ticks) > 0:
		s.ticks = a.Ticks
		s.min, s.max = s.of(min(least, a.Ticks[0].Value)), s.of(max(most, a.Ticks[len(a.Ticks)-1].Value))
	case a.Log:
		s.spanLog(least, most)
	default:
		s.spanLinear(min(least, 0), most)
	}
	if s.max == s.min {
		s.max = s.min + 1
	}
	return s
}

// of is a value as the axis counts it.
func (s *scale) of(v float64) float64 {
	if s.log {
		return math.Log10(v)
	}
	return v
}

func (s *scale) at(v float64) float64 {
	return s.from + (s.of(v)-s.min)/(s.max-s.min)*(s.to-s.from)
}

// spanLinear ends at the first tick that is not below most.
func (s *scale) spanLinear(least, most float64) {
	step := roundStep((most - least) / mostLinearTick)
	first, last := math.Floor(least/step), math.Ceil(most/step-1e-9)
	s.min, s.max = first*step, last*step
	for i := first; i <= last; i++ {
		s.ticks = append(s.ticks, Tick{Value: i * step, Text: number(i * step)})
	}
}

// roundStep is the least of 1, 2, 5, 10, … that is not below v.
func roundStep(v float64) float64 {
	if v <= 0 {
		return 1
	}
	unit := math.Pow(10, math.Floor(math.Log10(v)))
	for _, m := range []float64{1, 2, 5} {
		if m*unit >= v*(1-1e-9) {
			return m * unit
		}
	}
	return 10 * unit
}

// spanLog has ticks at 1, 2 and 5 of each decade, or at 1 alone when there are
// many of them.
func (s *scale) spanLog(least, most float64) {
	steps := logSteps(least, most, []float64{1, 2, 5})
	s.min, s.max = math.Log10(steps[0]), math.Log10(steps[len(steps)-1])
	if len(steps) > mostLogTicks {
		steps = logSteps(least, most, []float64{1})
	}
	for _, v := range steps {
		if lg := math.Log10(v); lg >= s.min-1e-9 && lg <= s.max+1e-9 {
			s.ticks = append(s.ticks, Tick{Value: v, Text: number(v)})
		}
	}
}

// logSteps are the numbers that begin with one of firsts, from the last that is
// not above least to the first that is not below most.
func logSteps(least, most float64, firsts []float64) []float64 {
	var steps []float64
	for e := math.Floor(math.Log10(least)); ; e++ {
		for _, m := range firsts {
			v := m * math.Pow(10, e)
			if v <= least*(1+1e-9) {
				steps = steps[:0] // a later one is nearer
			}
			steps = append(steps, v)
			if v >= most*(1-1e-9) && len(steps) > 1 {
				return steps
			}
		}
	}
}

// number writes a tick's value: whole thousands with separators, fractions with as
// many digits as they have.
func number(v float64) string {
	s := strconv.FormatFloat(v, 'f', -1, 64)
	if r := math.Round(v*1e6) / 1e6; r != v {
		s = strconv.FormatFloat(r, 'f', -1, 64)
	}
	if math.Abs(v) < 1000 || v != math.Trunc(v) {
		return s
	}
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
