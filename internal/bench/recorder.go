package bench

import (
	"math"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// longest is the longest latency that a recorder distinguishes; a longer one counts
// as longest.
const longest = 128 * time.Second

// recorder counts latencies, in nanoseconds with two significant digits. Its zero
// value is empty. One goroutine at a time uses it.
type recorder struct{ h *hdrhistogram.Histogram }

func (r *recorder) observe(d time.Duration) { r.observeMany(d, 1) }

func (r *recorder) observeMany(d time.Duration, n int64) {
	if r.h == nil {
		r.h = hdrhistogram.New(1, int64(longest), 2)
	}
	_ = r.h.RecordValues(int64(min(max(d, 0), longest)), n) // within the bounds
}

func (r *recorder) add(o *recorder) {
	if o.h == nil {
		return
	}
	if r.h == nil {
		r.h = hdrhistogram.New(1, int64(longest), 2)
	}
	r.h.Merge(o.h)
}

func (r *recorder) total() int64 {
	if r.h == nil {
		return 0
	}
	return r.h.TotalCount()
}

// quantile returns the latency that a share q of the observations did not exceed; 0
// without any observation.
func (r *recorder) quantile(q float64) time.Duration {
	if r.h == nil {
		return 0
	}
	return time.Duration(r.h.ValueAtQuantile(100 * q))
}

// ms is a quantile in milliseconds; NaN without any observation.
func (r *recorder) ms(q float64) float64 {
	if r.total() == 0 {
		return math.NaN()
	}
	return float64(r.quantile(q)) / 1e6
}

// MarshalText writes the histogram in HdrHistogram's own encoding.
func (r recorder) MarshalText() ([]byte, error) {
	if r.h == nil {
		return nil, nil
	}
	return r.h.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
}

// UnmarshalText reads MarshalText's output.
func (r *recorder) UnmarshalText(b []byte) (err error) {
	r.h = nil
	if len(b) > 0 {
		r.h, err = hdrhistogram.Decode(b)
	}
	return err
}
