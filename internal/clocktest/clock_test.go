package clocktest

import (
	"testing"
	"time"
)

func TestAStepMovesTheWallReadingAlone(t *testing.T) {
	const day = 24 * time.Hour
	for _, by := range []time.Duration{0, 1, -1, time.Second, -time.Second, 999_999_999, -999_999_999, -day, 3*365*day + 1, -20 * 365 * day} {
		before := time.Now()
		after := stepped(before, by)
		if d := after.Sub(before); d != 0 {
			t.Errorf("by %v: the monotonic reading moved by %v", by, d)
		}
		if d := after.Round(0).Sub(before.Round(0)); d != by {
			t.Errorf("by %v: the wall reading moved by %v", by, d)
		}
	}
}

func TestStepsAddUp(t *testing.T) {
	var c Clock
	first := c.Now()
	c.Step(time.Hour)
	c.Step(-time.Minute)
	second := c.Now()
	if d := second.Round(0).Sub(first.Round(0)) - second.Sub(first); d.Round(time.Second) != 59*time.Minute {
		t.Errorf("the wall reading moved by %v more than the monotonic one, want 59m", d)
	}
}
