package app

import (
	"testing"
	"time"
)

func TestTrimAfterAWave(t *testing.T) {
	var h heapTrimmer
	now := time.Unix(1000, 0)
	look := func(turnover uint64, online int, want bool) {
		t.Helper()
		now = now.Add(tickEvery)
		if got := h.due(now, turnover, online); got != want {
			t.Errorf("at a turnover of %d with %d online: %v, want %v", turnover, online, got, want)
		}
	}
	look(0, 0, false)
	look(400, 400, false)
	look(400, 400, false) // too few to matter
	look(3000, 3000, false)
	look(6000, 6000, false) // still coming
	look(6100, 6100, true)
	look(6100, 6100, false) // once
	look(9100, 3100, false)
	look(9100, 3100, false) // so soon after the last
	now = now.Add(trimPause)
	look(9100, 3100, true)
	now = now.Add(trimPause)
	look(18_100, 100_000, false)
	look(18_100, 100_000, false) // a tenth of the clients have not moved
	look(19_200, 100_000, false)
	look(19_200, 100_000, true)
}
