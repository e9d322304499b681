package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// wrkScript makes wrk push to random clients and print its counts in one line.
const wrkScript = `local rest, clients, seed = %q, %d, %d
function setup(thread) seed = seed + 1; thread:set("seed", seed) end
function init() math.randomseed(seed) end
function request() return %q .. string.format("c-%%06d", math.random(clients) - 1) .. rest end
function done(s, latency)
  local e = s.errors
  io.write(string.format("RESULT %%d %%d %%d %%d %%d\n", s.requests, s.duration, e.connect + e.read + e.write + e.status + e.timeout,
    latency:percentile(50), latency:percentile(99)))
end
`

// wrkThreads send the requests.
const wrkThreads = "2"

// wrkSide plays the pushes of a side with wrk instead of this process. wrk measures
// whole seconds.
func (r *run) wrkSide(wrk string, s side, c *callers) play {
	p := newPushRequest(c.target, s.load, max(1, s.connected))
	script := r.newDir("wrk") + ".lua"
	check(os.WriteFile(script, fmt.Appendf(nil, wrkScript, p.rest, p.clients, r.Seed, requestStart), 0o600))
	callers := strconv.Itoa(s.load.callers)
	return func(ctx context.Context, d time.Duration) (sample, error) {
		return c.counted(ctx, func() (sample, error) {
			whole := strconv.Itoa(max(1, int(d.Round(time.Second).Seconds()))) + "s"
			out, err := exec.CommandContext(ctx, wrk, "-t", wrkThreads, "-c", callers, "-d", whole, "-s", script, "http://"+p.addr).CombinedOutput()
			if err != nil {
				return sample{}, fmt.Errorf("run wrk: %w: %.300s", err, out)
			}
			return readWrk(string(out))
		})
	}
}

// readWrk reads the line that wrkScript prints.
func readWrk(out string) (s sample, err error) {
	_, line, ok := strings.Cut(out, "RESULT ")
	var took, failed, p50, p99 int64
	if _, err := fmt.Sscan(line, &s.done, &took, &failed, &p50, &p99); !ok || err != nil {
		return s, fmt.Errorf("wrk printed %.300q", out)
	}
	if failed > 0 {
		return s, fmt.Errorf("wrk counts %d failed requests of %d", failed, s.done)
	}
	s.elapsed = time.Duration(took) * time.Microsecond
	s.latency.observeMany(time.Duration(p50)*time.Microsecond, 98) // the two quantiles that wrk gives
	s.latency.observeMany(time.Duration(p99)*time.Microsecond, 2)
	if s.done == 0 {
		err = errors.New("wrk sent nothing")
	}
	return s, err
}
