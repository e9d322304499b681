package bench

import (
	"math"
	"testing"
	"time"
)

func TestFormatting(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{thousands(0), "0"}, {thousands(Figure(999.6)), "1,000"}, {thousands(1234567), "1,234,567"}, {thousands(-12345), "-12,345"}, {thousands(-123), "-123"},
		{ratio.text(0.4461), "0.446 ×"}, {bytesEach.text(4.5 * 1024), "4.50 KiB"}, {bytesEach.text(853), "853 B"}, {bytesEach.text(-2048), "-2.00 KiB"},
		{microseconds.text(17.84), "17.8 µs"}, {milliseconds.text(0.321), "0.32 ms"}, {seconds.text(2.5), "2.50 s"}, {number.text(1), "1.00"},
		{number.text(-0.0002), "0.00"}, {count.text(5000), "5,000"}, {perSecond.text(1234.4), "1,234/s"}, {percent.text(1.234), "1.23 %"},
		{mebibytes.text(60.55), "60.5 MiB"}, {ratio.text(unknown), "-"},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
}

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		values []Figure
		want   Figure
	}{{[]Figure{7}, 7}, {[]Figure{9, 1, 5}, 5}, {[]Figure{4, 1, 3, 2}, 2.5}} {
		if got := median(c.values); got != c.want {
			t.Errorf("median(%v) = %v, want %v", c.values, got, c.want)
		}
	}
	if !median(nil).none() {
		t.Error("no values have a median")
	}
}

func TestTwoDigits(t *testing.T) {
	for n, want := range map[Figure]Figure{0: 0, 99: 99, 100: 100, 96_468: 96_000, 1_999_999: 1_900_000, -1e6: -1e6} {
		if got := twoDigits(n); got != want {
			t.Errorf("twoDigits(%v) = %v, want %v", n, got, want)
		}
	}
}

func TestRecorder(t *testing.T) {
	var r recorder
	if r.total() != 0 || r.quantile(0.5) != 0 || !r.ms(0.5).none() {
		t.Error("an empty recorder has values")
	}
	for i := range 1000 {
		r.observe(time.Duration(i+1) * time.Millisecond)
	}
	r.observe(-time.Second)
	r.observe(time.Hour)
	for q, want := range map[float64]time.Duration{0.5: 500 * time.Millisecond, 0.99: 990 * time.Millisecond, 1: longest} {
		if got := r.quantile(q); math.Abs(float64(got-want)) > 0.01*float64(want) {
			t.Errorf("quantile %v is %v, want %v", q, got, want)
		}
	}
	var sum recorder
	sum.add(&recorder{})
	sum.add(&r)
	sum.add(&r)
	if sum.total() != 2004 {
		t.Errorf("the sum has %d observations, want 2004", sum.total())
	}
}
