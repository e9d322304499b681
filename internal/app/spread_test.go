package app

import (
	"context"
	"log/slog"
	"testing"
	"time"
)

// Who registers at once must not be asked for a sign of life at once.
func TestFirstHeartbeatsAreSpread(t *testing.T) {
	a, err := New(testConfig(t.TempDir()), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer a.Stop(context.Background())
	const n, parts = 4000, 4
	jitter := a.tcpConfig().Protocol.Jitter
	var in [parts]int
	for range n {
		d := jitter(parts * time.Second)
		if d < 0 || d >= parts*time.Second {
			t.Fatalf("jitter of %d s is %v", parts, d)
		}
		in[d/time.Second]++
	}
	for i, got := range in {
		if got < n/parts*8/10 || got > n/parts*12/10 { // seven standard deviations
			t.Errorf("%d of %d are in part %d of %d", got, n, i+1, parts)
		}
	}
}
