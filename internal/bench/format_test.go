package bench

import (
	"testing"
	"time"
)

func TestFormatting(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{thousands(0), "0"},
		{thousands(999.6), "1,000"},
		{thousands(1234567), "1,234,567"},
		{thousands(-12345), "-12,345"},
		{thousands(-123), "-123"},
		{brief(0), "0"},
		{brief(1536 * time.Nanosecond), "1.54 µs"},
		{brief(14680064 * time.Nanosecond), "14.7 ms"},
		{brief(83 * time.Second), "83 s"},
		{ratio.text(0.4461), "0.446 ×"},
		{bytesEach.text(4.5 * 1024), "4.5 KiB"},
		{bytesEach.text(853), "853 B"},
		{bytesEach.text(-2048), "-2048 B"},
		{microseconds.text(17.84), "17.8 µs"},
		{milliseconds.text(0.321), "0.32 ms"},
		{seconds.text(2.5), "2.50 s"},
		{number.text(1), "1.00"},
		{number.text(-0.0002), "0.00"},
		{count.text(5000), "5,000"},
		{perSecond.text(1234.4), "1,234/s"},
		{percent.text(1.234), "1.23 %"},
		{mebibytes.text(60.55), "60.5 MiB"},
		{ratio.goal(0.4, true), "≥ 0.400 ×"},
		{microseconds.goal(20, false), "≤ 20.0 µs"},
		{seconds.goal(0, false), ""},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
}
