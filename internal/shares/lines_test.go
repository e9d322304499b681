package shares

import (
	"fmt"
	"maps"
	"testing"
	"time"
)

// A source writes its first lines; the others are one line at the end of the
// minute, and another source's lines are not held for them.
func TestLinesOfOneSourceAreBounded(t *testing.T) {
	told := map[string]int{}
	l := NewLines(3, 100, func(source string, held int) { told[source] = held })
	now := time.Unix(1_800_000_000, 0)
	wrote := map[string]int{}
	for i := range 50 {
		for _, source := range []string{"loud", "quiet"} {
			if (source == "loud" || i < 2) && l.Take(source, now) {
				wrote[source]++
			}
		}
	}
	if want := map[string]int{"loud": 3, "quiet": 2}; !maps.Equal(wrote, want) || len(told) != 0 {
		t.Errorf("written %v, reported %v, want %v and nothing before the minute is over", wrote, told, want)
	}
	if !l.Take("loud", now.Add(time.Minute)) {
		t.Error("the next minute does not begin anew")
	}
	if want := map[string]int{"loud": 47}; !maps.Equal(told, want) || l.Held() != 47 {
		t.Errorf("reported %v, %d in all, want %v", told, l.Held(), want)
	}
}

// Whatever the number of sources is, a minute leaves a bounded number of lines.
func TestLinesOfManySourcesAreBounded(t *testing.T) {
	lines := 0
	l := NewLines(10, 600, func(string, int) { lines++ })
	now := time.Unix(1_800_000_000, 0)
	for i := range 100_000 {
		if l.Take(fmt.Sprint(i), now) {
			lines++
		}
	}
	l.Flush()
	if most := 600 + maxSources + 1; lines > most {
		t.Errorf("%d lines of one minute, want at most %d", lines, most)
	}
}
