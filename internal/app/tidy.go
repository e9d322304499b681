package app

import (
	"runtime/debug"
	"time"
)

// A wave of devices that connect or leave lets the heap grow by much more than
// stays in use: handshakes, registrations, buffers. With nothing to do
// afterwards no collection comes for two minutes, and then the free pages go
// back slowly. So when a wave is over the process collects once and gives back
// what is free: about a third of what an idle device takes otherwise.
const (
	tickEvery = time.Second      // how often the number of connections is looked at
	tidyPause = 30 * time.Second // between two collections
	leastWave = 500              // connections that came or went
)

// tidier finds the ends of waves.
type tidier struct {
	tidied time.Time // the last time
	seen   uint64    // turnover then
	last   uint64    // turnover at the last look
}

// due reports whether a wave has ended: a tenth of all connections, and at
// least leastWave, have come or gone since the last time, and hardly any since
// the last look.
func (t *tidier) due(now time.Time, turnover uint64, online int) bool {
	wave, moving := turnover-t.seen, turnover-t.last
	t.last = turnover
	if wave < max(leastWave, uint64(online)/10) || moving > wave/20 || now.Sub(t.tidied) < tidyPause {
		return false
	}
	t.seen, t.tidied = turnover, now
	return true
}

// tick looks each second, until the drain begins, whether a wave is over and
// whether the clock has jumped.
func (a *App) tick() {
	var t tidier
	tick := time.NewTicker(tickEvery)
	defer tick.Stop()
	for {
		select {
		case now := <-tick.C:
			a.watchClock()
			if t.due(now, a.gw.Turnover(), a.gw.OnlineClients()) {
				debug.FreeOSMemory() // it collects first, beside the work that goes on
			}
		case <-a.draining:
			return
		}
	}
}
