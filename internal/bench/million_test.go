package bench

import (
	"encoding/json"
	"math"
	"runtime"
	"testing"
	"time"
)

// Clients of a roster come back while they are online, and ack what they get.
func TestRosterGoesOn(t *testing.T) {
	const clients = 50
	r, err := startHere(t.Context(), process{role: rosterServer, dir: t.TempDir(), clients: clients, returns: 2000})
	if err != nil {
		t.Fatal(err)
	}
	defer r.stop()
	var stats struct{ Online, Takeovers int }
	err = waitFor(t.Context(), time.Minute, "clients to come back", func() bool {
		body, err := r.want(t.Context(), 200, "GET", "/v1/stats", "", nil)
		return err == nil && json.Unmarshal(body, &stats) == nil && stats.Takeovers >= 2*clients
	})
	if err != nil || stats.Online != clients {
		t.Errorf("stats are %+v, want %d online: %v", stats, clients, err)
	}
	if err := r.broadcast(t.Context(), clients); err != nil {
		t.Error(err)
	}
}

func TestResidentsOfARoster(t *testing.T) {
	r, err := startHere(t.Context(), process{role: rosterServer, dir: t.TempDir(), clients: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer r.stop()
	before, err := r.residents(t.Context())
	if err != nil || before.Heap == 0 || before.Base == nil || before.Base.Heap == 0 {
		t.Fatalf("residents are %+v with base %+v: %v", before, before.Base, err)
	}
	if err := r.collect(t.Context()); err != nil {
		t.Fatal(err)
	}
	after, err := r.residents(t.Context())
	if d := after.since(&before.collector); err != nil || d.Cycles == 0 || d.Pauses.total() == 0 || d.Allocated == 0 {
		t.Errorf("a collection adds %d cycles, %d pauses and %d bytes, want some of each: %v", d.Cycles, d.Pauses.total(), d.Allocated, err)
	}
}

// The runtime's histogram has a first bucket from minus and a last one to plus
// infinity.
func TestPausesKeepTheirLength(t *testing.T) {
	for _, c := range []struct {
		from, to float64
		want     time.Duration
	}{
		{math.Inf(-1), 0, 0}, {0, 64e-9, 64}, {1e-3, 2e-3, 2 * time.Millisecond}, {2, math.Inf(1), 2 * time.Second}, {100, 1000, longest},
	} {
		if got := pauseEnd(c.from, c.to); got != c.want {
			t.Errorf("pauses from %v to %v count as %v, want %v", c.from, c.to, got, c.want)
		}
	}
	before := readCollector()
	runtime.GC()
	after := readCollector()
	if d := after.since(&before); d.Pauses.quantile(0.5) <= 0 || d.Pauses.quantile(1) > time.Minute {
		t.Errorf("the median pause is %v and the longest %v", d.Pauses.quantile(0.5), d.Pauses.quantile(1))
	}
}

func TestFiguresOfStanding(t *testing.T) {
	quiet := standing{cpu: 2 * time.Second, took: 4 * time.Second, garbage: collector{Allocated: 40 << 20}, end: residents{Heap: 100 << 20}}
	if got := quiet.core(); got != 0.5 {
		t.Errorf("it has used %v of a core, want a half", got)
	}
	if got := quiet.apart(); math.Abs(got-10) > 1e-9 { // 100 MiB at 10 MiB/s
		t.Errorf("collections are %v s apart, want 10", got)
	}
	unknown := standing{took: time.Second}
	if got := unknown.core(); !math.IsNaN(got) {
		t.Errorf("%v of a core where CPU time is not known, want NaN", got)
	}
	if got := unknown.apart(); !math.IsNaN(got) {
		t.Errorf("collections are %v s apart when nothing is allocated, want NaN", got)
	}
	grown := residents{Heap: 1100, RSS: 0, Base: &residents{Heap: 100, RSS: 0}}
	heap := grown.each(10, func(r *residents) int64 { return r.Heap })
	rss := grown.each(10, func(r *residents) int64 { return r.RSS })
	if heap != 100 || !math.IsNaN(rss) {
		t.Errorf("each takes %v of heap and %v of RSS, want 100 and not known", heap, rss)
	}
}
