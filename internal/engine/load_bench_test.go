package engine

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/longwire/longwire/gateway"
)

// BenchmarkRestart opens a store with many queued messages after a kill, and
// asks for the next message of random clients. LONGWIRE_TORTURE makes it a
// million messages for 100,000 clients.
func BenchmarkRestart(b *testing.B) {
	messages, clients := 100_000, 10_000
	if os.Getenv("LONGWIRE_TORTURE") != "" {
		messages, clients = 1_000_000, 100_000
	}
	o := Options{Dir: b.TempDir()}
	e, err := Open(o)
	if err != nil {
		b.Fatal(err)
	}
	names := register(b, e, clients)
	var wg sync.WaitGroup
	for w := range 256 {
		wg.Go(func() {
			for i := w; i < messages; i += 256 {
				a := gateway.Acceptance{ID: loadID(uint64(i)), To: gateway.Audience{Client: names[i*7919%clients]}, Payload: make([]byte, 256),
					CreatedAt: time.Now(), ExpiresAt: time.Now().Add(time.Hour)}
				if _, err := e.Accept(context.Background(), a); err != nil {
					b.Error(err)
				}
			}
		})
	}
	wg.Wait()
	disk, loaded := e.Stats().DiskBytes, memoryNow()
	killed := b.TempDir()
	if err := e.Backup(context.Background(), filepath.Join(killed, "copy"), nil); err != nil { // a log that was not flushed, as a kill leaves it
		b.Fatal(err)
	}
	if err := e.Close(); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		o.Dir = filepath.Join(killed, "copy")
		begun := time.Now()
		e, err := Open(o)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(time.Since(begun).Seconds(), "ready-s")
		ready := memoryNow()
		took := make([]time.Duration, 2000)
		for i := range took {
			t := time.Now()
			if ps, _, err := e.Next(gateway.TransmissionQuery{Client: names[i*104729%clients], Max: 1, MaxBytes: 1 << 20}, nil); err != nil || len(ps) != 1 {
				b.Fatal(len(ps), err)
			}
			took[i] = time.Since(t)
		}
		b.ReportMetric(float64(disk)/1e6, "disk-MB")
		loaded.report(b, "loaded")
		ready.report(b, "ready")
		reportLatency(b, "next", took)
		if err := e.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkAcceptBesideCompaction compares accepts by 16 callers into a store
// that merges its tables all the time with accepts into the same store when it
// is left alone.
func BenchmarkAcceptBesideCompaction(b *testing.B) {
	e := openBench(b)
	names := register(b, e, 10_000)
	accepts := func(n int) []time.Duration {
		took := make([]time.Duration, n)
		var next atomic.Int64
		var wg sync.WaitGroup
		for range 16 {
			wg.Go(func() {
				for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
					a := gateway.Acceptance{ID: nextLoadID(), To: gateway.Audience{Client: names[i*7919%10_000]}, Payload: make([]byte, 256),
						CreatedAt: time.Now(), ExpiresAt: time.Now().Add(time.Hour)}
					begun := time.Now()
					if _, err := e.Accept(context.Background(), a); err != nil {
						b.Error(err)
					}
					took[i] = time.Since(begun)
				}
			})
		}
		wg.Wait()
		return took
	}
	accepts(100_000) // something to merge
	n := max(b.N, 20_000)
	if err := e.inst.DB.Compact(context.Background(), []byte{0}, []byte{0xff}, false); err != nil {
		b.Fatal(err)
	}
	reportLatency(b, "alone", accepts(n))
	ctx, cancel := context.WithCancel(context.Background())
	var merging sync.WaitGroup
	merges := 0
	merging.Go(func() {
		for ctx.Err() == nil {
			if err := e.inst.DB.Compact(ctx, []byte{0}, []byte{0xff}, false); err != nil && ctx.Err() == nil {
				b.Error(err)
			}
			merges++
		}
	})
	reportLatency(b, "merging", accepts(n))
	cancel()
	merging.Wait()
	b.ReportMetric(float64(merges), "merges")
}

// reportLatency reports the middle and the 99th percentile.
func reportLatency(b *testing.B, name string, took []time.Duration) {
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Nanoseconds())/1e3, name+"-p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Nanoseconds())/1e3, name+"-p99-µs")
}

// memory is the heap and what the process has resident, bytes: the memtables
// and the block cache may be outside of the heap.
type memory struct{ heap, resident int64 }

func memoryNow() memory {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return memory{int64(m.HeapAlloc), residentBytes()}
}

func (m memory) report(b *testing.B, when string) {
	b.ReportMetric(float64(m.heap)/1e6, when+"-heap-MB")
	if m.resident > 0 {
		b.ReportMetric(float64(m.resident)/1e6, when+"-rss-MB")
	}
}

// residentBytes is the process's resident memory, 0 where it cannot be told.
func residentBytes() int64 {
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(b))
	if len(fields) < 2 {
		return 0
	}
	pages, _ := strconv.ParseInt(fields[1], 10, 64)
	return pages * int64(os.Getpagesize())
}
