package config

import (
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Size is a number of bytes, written as in "64MiB", "1GB" or "4096".
type Size int64

// Units of Size.
const (
	KiB Size = 1 << (10 * (iota + 1))
	MiB
	GiB
	TiB
)

// units are the endings of a size, the longer before the shorter.
var units = []struct {
	suffix string
	bytes  Size
}{
	{"KiB", KiB}, {"MiB", MiB}, {"GiB", GiB}, {"TiB", TiB},
	{"kB", 1e3}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12},
	{"B", 1},
}

// ParseSize reads a size.
func ParseSize(s string) (Size, error) {
	number, unit := s, Size(1)
	for _, u := range units {
		if n, ok := strings.CutSuffix(s, u.suffix); ok {
			number, unit = strings.TrimSpace(n), u.bytes
			break
		}
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%q is not a size: want a whole number of bytes, KiB, MiB, GiB, kB, MB or GB, as in 64MiB", s)
	}
	if n > math.MaxInt64/int64(unit) {
		return 0, fmt.Errorf("%q is too large a size", s)
	}
	return Size(n) * unit, nil
}

// String returns the size in the largest binary unit that loses nothing.
func (s Size) String() string {
	for _, u := range slices.Backward(units[:4]) { // the binary ones
		if s != 0 && s%u.bytes == 0 {
			return strconv.FormatInt(int64(s/u.bytes), 10) + u.suffix
		}
	}
	return strconv.FormatInt(int64(s), 10)
}

// Duration is a time.Duration that users may also write in days.
type Duration time.Duration

// Std returns d as a time.Duration.
func (d Duration) Std() time.Duration { return time.Duration(d) }

// ParseDuration reads a duration as time.ParseDuration does, with days too:
// "7d", "1d12h".
func ParseDuration(s string) (Duration, error) {
	bad := fmt.Errorf("%q is not a duration: want a number and a unit, as in 300ms, 10s, 5m, 24h or 7d", s)
	var days Duration
	rest := s
	if n, after, ok := strings.Cut(s, "d"); ok {
		f, err := strconv.ParseUint(n, 10, 32)
		if err != nil {
			return 0, bad
		}
		if f > uint64(math.MaxInt64/day) {
			return 0, fmt.Errorf("%q is too long a duration", s)
		}
		if days, rest = Duration(f)*day, after; rest == "" {
			return days, nil
		}
		if rest[0] == '-' || rest[0] == '+' {
			return 0, bad
		}
	}
	d, err := time.ParseDuration(rest)
	if err != nil {
		return 0, bad
	}
	if Duration(d) > math.MaxInt64-days {
		return 0, fmt.Errorf("%q is too long a duration", s)
	}
	return days + Duration(d), nil
}

// String writes the duration as a person would: "7d", "24h", "1m30s".
func (d Duration) String() string {
	if d >= 2*day && d%day == 0 {
		return strconv.FormatInt(int64(d/day), 10) + "d"
	}
	s := d.Std().String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// Secret is text that fmt, slog and Show mask.
type Secret string

// Reveal returns the unmasked text, for comparisons.
func (s Secret) Reveal() string { return string(s) }

// String masks the text.
func (s Secret) String() string {
	switch {
	case s == "":
		return ""
	case strings.HasPrefix(string(s), apiKeyPrefix):
		return apiKeyPrefix + "********"
	}
	return "********"
}

// GoString masks the text for %#v.
func (s Secret) GoString() string { return strconv.Quote(s.String()) }

// LogValue masks the text in logs.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText masks the text in JSON and the like.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

const apiKeyPrefix = "lwk_"
