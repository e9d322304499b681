package bench

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"
)

// brief writes a duration with two or three digits.
func brief(d time.Duration) string {
	switch {
	case d <= 0:
		return "0"
	case d < time.Millisecond:
		return fmt.Sprintf("%.3g µs", float64(d)/1e3)
	case d < time.Second:
		return fmt.Sprintf("%.3g ms", float64(d)/1e6)
	}
	return fmt.Sprintf("%.3g s", d.Seconds())
}

// thousands writes a whole number with separators.
func thousands(v float64) string {
	s := strconv.FormatFloat(math.Round(v), 'f', 0, 64)
	first := 0
	if s[0] == '-' {
		first = 1
	}
	for i := len(s) - 3; i > first; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// unit says what a value counts, and so how it is written.
type unit uint8

const (
	ratio unit = iota
	bytesEach
	microseconds
	milliseconds
	seconds
	number
	count
	perSecond
	percent
	mebibytes
)

var unitNames = [...]string{ratio: "ratio", bytesEach: "bytes", microseconds: "microseconds", milliseconds: "milliseconds",
	seconds: "seconds", number: "number", count: "count", perSecond: "per second", percent: "percent", mebibytes: "MiB"}

func (u unit) String() string { return unitNames[u] }

// MarshalText names the unit in JSON.
func (u unit) MarshalText() ([]byte, error) { return []byte(u.String()), nil }

func (u *unit) UnmarshalText(b []byte) error {
	i := slices.Index(unitNames[:], string(b))
	if i < 0 {
		return fmt.Errorf("there is no unit %q", b)
	}
	*u = unit(i)
	return nil
}

// text writes a value of the unit for people.
func (u unit) text(v float64) string {
	switch u {
	case ratio:
		return fmt.Sprintf("%.3f ×", v)
	case bytesEach:
		if v >= 1000 {
			return fmt.Sprintf("%.1f KiB", v/1024)
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
	return fmt.Sprintf("%.2f", max(v, 0)) // a growth that is nothing may read as a little less
}

// goal writes a budget's bound: short, and with its direction.
func (u unit) goal(v float64, atLeast bool) string {
	switch {
	case v == 0:
		return ""
	case atLeast:
		return "≥ " + u.text(v)
	}
	return "≤ " + u.text(v)
}
