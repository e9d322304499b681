package bench

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Figure is a value, or NaN for none, which is null in JSON.
type Figure float64

// unknown is no figure.
var unknown = Figure(math.NaN())

func (f Figure) none() bool { return math.IsNaN(float64(f)) || math.IsInf(float64(f), 0) }

// MarshalJSON writes null for none.
func (f Figure) MarshalJSON() ([]byte, error) {
	if f.none() {
		return []byte("null"), nil
	}
	return strconv.AppendFloat(nil, float64(f), 'g', 6, 64), nil
}

// spread is of the figures that are known.
func spread(all []Figure) (median, least, most Figure) {
	known := slices.DeleteFunc(slices.Sorted(slices.Values(all)), Figure.none)
	n := len(known)
	if n == 0 {
		return unknown, unknown, unknown
	}
	return (known[(n-1)/2] + known[n/2]) / 2, known[0], known[n-1]
}

func median(all []Figure) Figure {
	m, _, _ := spread(all)
	return m
}

// thousands writes a whole number with separators.
func thousands[T int | int64 | Figure](v T) string {
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

// formats are those of the units that text does not treat itself.
var formats = map[unit]string{ratio: "%.3f ×", microseconds: "%.1f µs", milliseconds: "%.2f ms", seconds: "%.2f s", percent: "%.2f %%", mebibytes: "%.1f MiB"}

// text writes a value of the unit for people.
func (u unit) text(f Figure) string {
	switch {
	case f.none():
		return "-"
	case u == bytesEach && math.Abs(float64(f)) >= 1000:
		return fmt.Sprintf("%.2f KiB", f/1024)
	case u == bytesEach:
		return fmt.Sprintf("%.0f B", f)
	case u == count:
		return thousands(f)
	case u == perSecond:
		return thousands(f) + "/s"
	case u == number:
		return fmt.Sprintf("%.2f", max(f, 0)) // a growth of nothing may read as a little less
	}
	return fmt.Sprintf(formats[u], f)
}

func mib(b int64) Figure { return Figure(b) / (1 << 20) }

// longest is the longest latency that a recorder distinguishes; a longer one counts
// as longest.
const longest = 128 * time.Second

// recorder counts latencies, in nanoseconds with two significant digits. Its zero
// value is empty. One goroutine at a time uses it.
type recorder struct{ h *hdrhistogram.Histogram }

func (r *recorder) histogram() *hdrhistogram.Histogram {
	if r.h == nil {
		r.h = hdrhistogram.New(1, int64(longest), 2)
	}
	return r.h
}

func (r *recorder) observe(d time.Duration) { r.observeMany(d, 1) }

func (r *recorder) observeMany(d time.Duration, n int64) {
	_ = r.histogram().RecordValues(int64(min(max(d, 0), longest)), n) // within the bounds
}

func (r *recorder) add(o *recorder) {
	if o.h != nil {
		r.histogram().Merge(o.h)
	}
}

func (r *recorder) total() int64 { return r.histogram().TotalCount() }

// quantile returns the latency that a share q of the observations did not exceed; 0
// without any observation.
func (r *recorder) quantile(q float64) time.Duration {
	return time.Duration(r.histogram().ValueAtQuantile(100 * q))
}

// ms is a quantile in milliseconds.
func (r *recorder) ms(q float64) Figure {
	if r.total() == 0 {
		return unknown
	}
	return Figure(r.quantile(q)) / 1e6
}
