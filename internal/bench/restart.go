package bench

import (
	"fmt"
	"time"
)

// valueReady is the time from the start of the process to a green /readyz.
const valueReady = "ready"

// measureRestart times starts of a gateway on a store with queued messages. The first
// one finds the store as fillStore left it, the later ones find it compacted.
func measureRestart(r *run, out *Scenario) {
	dir, began := r.newDir("restart"), time.Now()
	check(fillStore(r.ctx, dir, r.Queued))
	out.Notes = append(out.Notes, fmt.Sprintf("The store was filled in %s and closed in good order.", seconds.text(Figure(time.Since(began).Seconds()))))
	t := out.table(fmt.Sprintf("%s messages queued for %s clients, start", thousands(r.Queued), thousands(recipients(r.Queued))), []Column{{"ready after", seconds}})
	for i := range r.Rounds {
		start := time.Now()
		gateway := r.startServer(spec{role: gatewayServer}, dir)
		check(waitFor(r.ctx, callTimeout, "a green /readyz", func() bool {
			_, err := gateway.want(r.ctx, 200, "GET", "/readyz", "", nil)
			return err == nil
		}))
		took := Figure(time.Since(start).Seconds())
		check(gateway.stop())
		out.value(valueReady, took)
		t.add(fmt.Sprint(i+1), took)
	}
}
