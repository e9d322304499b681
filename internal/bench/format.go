package bench

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"
)

// brief writes a duration with three digits.
func brief(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return fmt.Sprintf("%.3g µs", float64(d)/1e3)
	case d < time.Second:
		return fmt.Sprintf("%.3g ms", float64(d)/1e6)
	}
	return fmt.Sprintf("%.3g s", d.Seconds())
}

// thousands writes a whole number with separators.
func thousands[T int | int64 | float64](v T) string {
	s := strconv.FormatFloat(math.Round(float64(v)), 'f', 0, 64)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// unit is the unit of a value; it decides the format.
type unit string

const (
	ratio        unit = "ratio"
	bytesEach    unit = "bytes"
	microseconds unit = "microseconds"
	milliseconds unit = "milliseconds"
	seconds      unit = "seconds"
	number       unit = "number"
	count        unit = "count"
	perSecond    unit = "per second"
	percent      unit = "percent"
	mebibytes    unit = "MiB"
)

// text writes a value of the unit for people.
func (u unit) text(f Figure) string {
	v := float64(f)
	if f.none() {
		return "-"
	}
	switch u {
	case ratio:
		return fmt.Sprintf("%.3f ×", v)
	case bytesEach:
		if math.Abs(v) >= 1000 {
			return fmt.Sprintf("%.2f KiB", v/1024)
		}
		return fmt.Sprintf("%.0f B", v)
	case microseconds:
		return fmt.Sprintf("%.1f µs", v)
	case milliseconds:
		return fmt.Sprintf("%.2f ms", v)
	case seconds:
		return fmt.Sprintf("%.2f s", v)
	case count:
		return thousands(v)
	case perSecond:
		return thousands(v) + "/s"
	case percent:
		return fmt.Sprintf("%.2f %%", v)
	case mebibytes:
		return fmt.Sprintf("%.1f MiB", v)
	}
	return fmt.Sprintf("%.2f", max(v, 0)) // a growth of nothing may read as a little less
}

// Figure is a value, or NaN for none, which is null in JSON.
type Figure float64

func (f Figure) none() bool { return math.IsNaN(float64(f)) || math.IsInf(float64(f), 0) }

// MarshalJSON writes null for none.
func (f Figure) MarshalJSON() ([]byte, error) {
	if f.none() {
		return []byte("null"), nil
	}
	return strconv.AppendFloat(nil, float64(f), 'g', 6, 64), nil
}

// UnmarshalJSON takes null for none.
func (f *Figure) UnmarshalJSON(b []byte) error {
	v, err := math.NaN(), error(nil)
	if string(b) != "null" {
		v, err = strconv.ParseFloat(string(b), 64)
	}
	*f = Figure(v)
	return err
}

// median of values; NaN for none.
func median(values []float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	s := slices.Sorted(slices.Values(values))
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}

func mib(b int64) float64 { return float64(b) / (1 << 20) }
