package app

import (
	"runtime/debug"
	"time"
)

// A wave of devices that connect or leave makes the heap much larger than it needs
// to be: handshakes, registrations, buffers. An idle process collects garbage only
// every two minutes and returns free pages slowly. So after a wave the process
// collects once and returns the free pages, which are about a third of the memory
// that idle devices would take otherwise.
const (
	tickEvery = time.Second      // between two looks at the number of connections
	trimPause = 30 * time.Second // least time between two trims
	leastWave = 500              // least number of connections that came or went
)

// heapTrimmer finds the ends of waves.
type heapTrimmer struct {
	trimmed time.Time // when the heap was last trimmed
	seen    uint64    // turnover at the last trim
	last    uint64    // turnover at the last look
}

// due reports whether a wave has ended and the heap should be trimmed: since the
// last trim a tenth of all connections, and at least leastWave, have come or gone,
// and hardly any since the last look.
func (t *heapTrimmer) due(now time.Time, turnover uint64, online int) bool {
	wave, moving := turnover-t.seen, turnover-t.last
	t.last = turnover
	if wave < max(leastWave, uint64(online)/10) || moving > wave/20 || now.Sub(t.trimmed) < trimPause {
		return false
	}
	t.seen, t.trimmed = turnover, now
	return true
}

// tick looks each second for the end of a wave and for a jump of the clock, and keeps
// the history. It ends when the drain begins.
func (a *App) tick() {
	var t heapTrimmer
	var looked time.Time // when the sources of findings were asked
	tick := time.NewTicker(tickEvery)
	defer tick.Stop()
	for {
		select {
		case now := <-tick.C:
			a.watchClock()
			a.look()
			if now.Sub(looked) >= lookEvery {
				looked = now
				a.findings.Refresh()
			}
			if t.due(now, a.gw.Turnover(), a.gw.OnlineClients()) {
				debug.FreeOSMemory() // collects garbage first, concurrently with other work
			}
		case <-a.draining:
			return
		}
	}
}
