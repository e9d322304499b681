package tcpserver

import (
	"fmt"
	"math"
	"os"
	"runtime"
	"runtime/metrics"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine"
)

// crowdInterval is the heartbeat of the tests in virtual time.
const crowdInterval = 10 * time.Second

// Those who register in one moment must not be asked in one moment ever after:
// the first two times come early (SPEC §6).
func TestHeartbeatsOfACrowdAreSpread(t *testing.T) {
	n, most := 50_000, 1.25
	if raceEnabled {
		n, most = 5000, 1.8 // chance weighs more where fewer are in a slot
	}
	synctest.Test(t, func(t *testing.T) {
		k := newCrowdKernel(n)
		srv := gatherCrowd(t, k, (&counting{}).connect, crowdInterval)
		synctest.Wait()
		wantCrowd(t, srv, k)
		time.Sleep(2 * crowdInterval)
		p := newPulse(crowdInterval)
		k.pulse.Store(p)
		before := k.beats.Load()
		time.Sleep(crowdInterval)
		k.pulse.Store(nil)
		wantCrowd(t, srv, k)
		if got := k.beats.Load() - before; got < int64(n*99/100) || got > int64(n*101/100) {
			t.Errorf("%d heartbeats in an interval, want %d", got, n)
		}
		got := p.unevenness()
		t.Logf("the fullest %v has %.2f times the mean", pulseSlot, got)
		if got > most {
			t.Errorf("the fullest %v has %.2f times the mean, want %v at most", pulseSlot, got, most)
		}
	})
}

// A minute of heartbeats leaves next to nothing to collect.
func TestHeartbeatsLeaveNoGarbage(t *testing.T) {
	const n, most = 2000, 16 // bytes for a heartbeat
	synctest.Test(t, func(t *testing.T) {
		k := newCrowdKernel(n)
		srv := gatherCrowd(t, k, (&counting{}).connect, crowdInterval)
		time.Sleep(crowdInterval) // the pools have what they need
		before, beats := allocated(), k.beats.Load()
		time.Sleep(time.Minute)
		beats = k.beats.Load() - beats
		got := float64(allocated()-before) / float64(beats)
		wantCrowd(t, srv, k)
		t.Logf("%d heartbeats, %.1f bytes each", beats, got)
		if beats < 5*n || got > most && !raceEnabled {
			t.Errorf("%d heartbeats of %.1f bytes, want %d at least, of %d bytes at most", beats, got, 5*n, most)
		}
	})
}

// allocated is how many bytes of heap were ever asked for.
func allocated() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}

// crowdSize is how many connections BenchmarkMillionConnections makes: a
// million, or what LONGWIRE_BENCH_CONNECTIONS says.
func crowdSize(b *testing.B) int {
	set := os.Getenv("LONGWIRE_BENCH_CONNECTIONS")
	if set == "" {
		return 1_000_000
	}
	n, err := strconv.Atoi(set)
	if err != nil || n < 1 {
		b.Fatalf("LONGWIRE_BENCH_CONNECTIONS is %q, want a number", set)
	}
	return n
}

// realGateway is a gateway on a real store that does not wait for the disk.
func realGateway(t testing.TB) *gateway.Gateway {
	t.Helper()
	store, err := engine.Open(engine.Options{Dir: t.TempDir(), NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	g := gateway.New(gateway.Config{Store: store, NewID: func() [16]byte { return uuid.Must(uuid.NewV7()) }})
	g.Start()
	t.Cleanup(func() {
		g.Stop()
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return g
}

// BenchmarkMillionConnections has a million devices register at the real server
// and the real gateway, then looks at memory, at one interval of heartbeats, and
// at garbage collections. It takes a minute at most, and 2 GB.
func BenchmarkMillionConnections(b *testing.B) {
	n := crowdSize(b)
	for b.Loop() {
		g, k := realGateway(b), newCrowdKernel(n)
		_, before := memory() // k included, but for its queues
		began, cpu := time.Now(), cpuTime()
		srv := gatherCrowd(b, k, connectTo(g), crowdInterval)
		waitForCrowd(b, k)
		b.ReportMetric(float64(n)/time.Since(began).Seconds(), "registrations/s")
		b.ReportMetric(float64((cpuTime()-cpu).Microseconds())/float64(n), "cpu-µs/registration")

		stack, heap := memory()
		b.ReportMetric(float64(stack)/float64(n), "stack-B/conn")
		b.ReportMetric(float64(heap-before-k.queued())/float64(n), "heap-B/conn")
		b.ReportMetric(float64(k.bytes())/float64(n), "kernel-B/conn")
		each := reportHeartbeats(b, k)
		reportCollections(b, k, each)
		wantCrowd(b, srv, k)
	}
}

// waitForCrowd waits until all devices of k have registered.
func waitForCrowd(b testing.TB, k *crowdKernel) {
	b.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(2 * time.Minute); k.registered.Load() < int64(len(k.sockets)); <-tick.C {
		if time.Now().After(deadline) {
			b.Fatalf("%d of %d have registered", k.registered.Load(), len(k.sockets))
		}
	}
}

// reportHeartbeats watches an interval, and returns the microseconds of CPU that
// a heartbeat takes, asked and answered, without system calls. From it follows
// what a million devices take of a core at the usual intervals.
func reportHeartbeats(b *testing.B, k *crowdKernel) (each float64) {
	p := newPulse(crowdInterval)
	garbage, cpu, beats := allocated(), cpuTime(), k.beats.Load()
	k.pulse.Store(p)
	time.Sleep(crowdInterval)
	k.pulse.Store(nil)
	cpu, beats = cpuTime()-cpu, k.beats.Load()-beats
	each = float64(cpu.Nanoseconds()) / 1e3 / float64(beats)
	b.ReportMetric(float64(allocated()-garbage)/float64(beats), "garbage-B/beat")
	b.ReportMetric(each, "cpu-µs/beat")
	b.ReportMetric(p.unevenness(), "fullest-slot/mean")
	for _, seconds := range []float64{10, 30, 60} {
		b.ReportMetric(100*each/seconds, fmt.Sprintf("core-%%/1M@%gs", seconds))
	}
	return each
}

// collections is how many are measured, one after the other.
const collections = 5

// reportCollections measures collections while heartbeats go on, which take so
// many microseconds each. CPU time is the process's: the runtime counts its
// collector's by the clock, as if its threads always had a core.
func reportCollections(b *testing.B, k *crowdKernel, beat float64) {
	before, cpu, beats := readPauses(), cpuTime(), k.beats.Load()
	for range collections {
		runtime.GC()
	}
	cpu, beats = cpuTime()-cpu, k.beats.Load()-beats
	b.ReportMetric((float64(cpu.Microseconds())-beat*float64(beats))/1e3/collections, "gc-cpu-ms/cycle")
	after := readPauses()
	for _, q := range []struct {
		name  string
		share float64
	}{{"p50", 0.5}, {"p99", 0.99}, {"max", 1}} {
		b.ReportMetric(pauseSince(after, before, q.share)*1e6, "gc-pause-µs-"+q.name)
	}
}

// readPauses is how long collections have stopped the process so far, seconds.
func readPauses() *metrics.Float64Histogram {
	s := []metrics.Sample{{Name: "/sched/pauses/total/gc:seconds"}}
	metrics.Read(s)
	return s[0].Value.Float64Histogram()
}

// pauseSince is a quantile of the pauses in after that are not in before, never
// too low.
func pauseSince(after, before *metrics.Float64Histogram, q float64) float64 {
	counts, total := make([]uint64, len(after.Counts)), uint64(0)
	for i, n := range after.Counts {
		counts[i] = n - before.Counts[i]
		total += counts[i]
	}
	rank, seen := uint64(math.Ceil(q*float64(total))), uint64(0)
	for i, n := range counts {
		if seen += n; n > 0 && seen >= rank {
			return after.Buckets[i+1]
		}
	}
	return 0
}

// broadcasts sends n messages of 64 bytes to everybody, one after the other, and
// waits until each has been acked by all and that is stored.
func broadcasts(t testing.TB, g *gateway.Gateway, k *crowdKernel, n int) {
	t.Helper()
	to := gateway.PushRequest{To: gateway.Audience{All: true}, Payload: make([]byte, 64)}
	for range n {
		r, err := g.PushAndAwait(t.Context(), to, time.Minute)
		if err != nil || r.Message.Counts.Acked != len(k.sockets) {
			t.Fatalf("%d of %d acked: %v", r.Message.Counts.Acked, len(k.sockets), err)
		}
	}
}

// garbageOf is what f leaves to be collected.
func garbageOf(f func()) (bytes, objects float64) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return float64(after.TotalAlloc - before.TotalAlloc), float64(after.Mallocs - before.Mallocs)
}

// BenchmarkBroadcastDelivery is one delivery of a message to 5,000 devices, from
// the store through gateway and server to the ack in the store; only the disk
// and the network are left out. The store's work in the background counts.
func BenchmarkBroadcastDelivery(b *testing.B) {
	const n = 5000
	g, k := realGateway(b), newCrowdKernel(n)
	gatherCrowd(b, k, connectTo(g), time.Hour)
	waitForCrowd(b, k)
	broadcasts(b, g, k, 3)
	rounds := (b.N + n - 1) / n
	cpu := cpuTime()
	b.ResetTimer()
	bytes, objects := garbageOf(func() { broadcasts(b, g, k, rounds) })
	b.StopTimer()
	done := float64(rounds * n)
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/done, "ns/op")
	b.ReportMetric(float64((cpuTime()-cpu).Nanoseconds())/done, "cpu-ns/op")
	b.ReportMetric(bytes/done, "garbage-B/op")
	b.ReportMetric(objects/done, "garbage-objects/op")
}

// A delivery to one of many leaves next to nothing: its ack in the log is
// written into memory that was used before.
func TestBroadcastLeavesLittleGarbage(t *testing.T) {
	const rounds, mostBytes, mostObjects = 5, 500, 1
	n := 2000
	if raceEnabled {
		n = 200 // which is run, not measured
	}
	g, k := realGateway(t), newCrowdKernel(n)
	srv := gatherCrowd(t, k, connectTo(g), time.Hour)
	waitForCrowd(t, k)
	broadcasts(t, g, k, 3) // the pools have what they need
	leastBytes, leastObjects := math.Inf(1), math.Inf(1)
	for range 3 { // a collection on a busy machine empties the pools in between
		bytes, objects := garbageOf(func() { broadcasts(t, g, k, rounds) })
		leastBytes, leastObjects = min(leastBytes, bytes/float64(n*rounds)), min(leastObjects, objects/float64(n*rounds))
	}
	wantCrowd(t, srv, k)
	t.Logf("%.0f bytes in %.2f objects for a delivery", leastBytes, leastObjects)
	if (leastBytes > mostBytes || leastObjects > mostObjects) && !raceEnabled {
		t.Errorf("%.0f bytes in %.2f objects for a delivery, want at most %d in %d", leastBytes, leastObjects, mostBytes, mostObjects)
	}
}
