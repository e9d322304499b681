package config

import (
	"math"
	"testing"
)

func TestParseSize(t *testing.T) {
	for text, want := range map[string]Size{
		"0": 0, "1": 1, "4096": 4096, "1B": 1, "64MiB": 64 << 20, "64 MiB": 64 << 20, "1kB": 1000, "1KB": 1000, "2GB": 2e9, "1TiB": 1 << 40,
		"9223372036854775807": math.MaxInt64,
	} {
		if got, err := ParseSize(text); err != nil || got != want {
			t.Errorf("ParseSize(%q) = %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "MiB", "1.5MiB", "-1", "-1MiB", "1Mib", "64M", "x", "9223372036854775807KiB", "1e3"} {
		if got, err := ParseSize(text); err == nil {
			t.Errorf("ParseSize(%q) = %d, want an error", text, got)
		}
	}
}

func TestParseDuration(t *testing.T) {
	for text, want := range map[string]Duration{
		"0": 0, "0s": 0, "30ms": 30 * ms, "10s": 10 * second, "1m30s": 90 * second, "24h": day, "7d": 7 * day,
		"1d12h": 36 * 60 * minute, "106751d": 106751 * day,
	} {
		if got, err := ParseDuration(text); err != nil || got != want {
			t.Errorf("ParseDuration(%q) = %v, %v; want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "10", "d", "1.5d", "-1d", "+1d", "1d-1h", "1d1", "1w", "200000d", "106751d23h59m", "1 d"} {
		if got, err := ParseDuration(text); err == nil {
			t.Errorf("ParseDuration(%q) = %v, want an error", text, got)
		}
	}
}

// What is shown can be typed in.
func TestFormatAndParse(t *testing.T) {
	for want, d := range map[string]Duration{
		"0s": 0, "30ms": 30 * ms, "10s": 10 * second, "1m": minute, "1m30s": 90 * second, "1h": 60 * minute,
		"1h30m": 90 * minute, "24h": day, "7d": 7 * day, "36h": 36 * 60 * minute, "10m": 10 * minute, "20h": 1200 * minute,
	} {
		got := d.String()
		if back, err := ParseDuration(got); got != want || back != d || err != nil {
			t.Errorf("Duration(%v) = %q, want %q; parsed %v, %v", d, got, want, back, err)
		}
	}
	for want, s := range map[string]Size{"0": 0, "1": 1, "1000": 1000, "1KiB": KiB, "1536KiB": 1536 * KiB, "64MiB": 64 * MiB, "3TiB": 3 * TiB} {
		got := s.String()
		if back, err := ParseSize(got); got != want || back != s || err != nil {
			t.Errorf("Size(%d) is %q, want %q; parsed %d, %v", int64(s), got, want, back, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"7d", "1d12h", "64MiB", "0", "-1", "106751d"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if d, err := ParseDuration(s); err == nil {
			if back, err := ParseDuration(d.String()); err != nil || back != d {
				t.Errorf("%q is %v, which is written %q and read %v, %v", s, d, d.String(), back, err)
			}
		}
		if n, err := ParseSize(s); err == nil {
			if back, err := ParseSize(n.String()); err != nil || back != n || n < 0 {
				t.Errorf("%q is %d, which is written %q and read %d, %v", s, int64(n), n, int64(back), err)
			}
		}
	})
}
