package guard

import (
	"fmt"
	"testing"
	"time"
)

func TestFailuresAreBounded(t *testing.T) {
	f := newFailures(1)
	for i := range 2 * maxSources {
		f.note(fmt.Sprintf("10.%d.%d.%d:1", i>>16, i>>8&255, i&255), time.Now())
	}
	if len(f.sources) > maxSources {
		t.Errorf("%d addresses are remembered, want at most %d", len(f.sources), maxSources)
	}
}
