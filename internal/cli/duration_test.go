package cli

import (
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
)

// A flag takes a duration as the settings do, and says what it wants.
func TestDurationFlag(t *testing.T) {
	var d time.Duration
	fl := pflag.NewFlagSet("", pflag.ContinueOnError)
	durationVar(fl, &d, "ttl", 0, "time to live")
	for text, want := range map[string]time.Duration{"1d": 24 * time.Hour, "1d12h": 36 * time.Hour, "90s": 90 * time.Second, "0": 0} {
		if err := fl.Set("ttl", text); err != nil || d != want {
			t.Errorf("%q: %v, %v, want %v", text, d, err, want)
		}
	}
	if err := fl.Set("ttl", "-1h"); err == nil || !strings.Contains(err.Error(), "want a duration from 0 on") {
		t.Errorf("-1h: error %v", err)
	}
	for _, text := range []string{"2", "1w", "", "d"} {
		if err := fl.Set("ttl", text); err == nil || !strings.Contains(err.Error(), "want a number and a unit, as in 300ms, 10s, 5m, 24h or 7d") {
			t.Errorf("%q: error %v", text, err)
		}
	}
}
