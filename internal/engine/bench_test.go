package engine

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/longwire/longwire/gateway"
)

// BenchmarkFloor is what a disk gives at best: callers append a message's bytes
// to a file and wait for a group fdatasync.
func BenchmarkFloor(b *testing.B) {
	for _, callers := range []int{1, 16, 256} {
		b.Run(fmt.Sprint(callers), func(b *testing.B) {
			f, err := vfs.Default.Create(filepath.Join(b.TempDir(), "log"), vfs.WriteCategoryUnspecified)
			if err != nil {
				b.Fatal(err)
			}
			defer f.Close()
			type entry struct {
				data []byte
				done chan struct{}
			}
			in := make(chan entry, callers)
			go func() {
				var waiting []chan struct{}
				for e := range in {
					buf := append([]byte(nil), e.data...)
					waiting = append(waiting[:0], e.done)
					for n := len(in); n > 0; n-- {
						e := <-in
						buf, waiting = append(buf, e.data...), append(waiting, e.done)
					}
					if _, err := f.Write(buf); err != nil {
						panic(err)
					}
					if err := f.SyncData(); err != nil {
						panic(err)
					}
					for _, d := range waiting {
						close(d)
					}
				}
			}()
			run(b, callers, func(int) {
				e := entry{make([]byte, 256+60), make(chan struct{})}
				in <- e
				<-e.done
			})
			close(in)
		})
	}
}

// BenchmarkAccept is a durable accept of 256 bytes to one of 10,000 clients.
func BenchmarkAccept(b *testing.B) {
	for _, callers := range []int{1, 16, 256} {
		b.Run(fmt.Sprint(callers), func(b *testing.B) {
			e := openBench(b)
			names := register(b, e, 10_000)
			payload := make([]byte, 256)
			var n atomic.Uint64
			begun := e.stats.records.Load()
			run(b, callers, func(int) {
				i := n.Add(1)
				a := gateway.Acceptance{ID: loadID(i), To: gateway.Audience{Client: names[i%10_000]}, Payload: payload,
					CreatedAt: time.Now(), ExpiresAt: time.Now().Add(time.Hour)}
				if _, err := e.Accept(context.Background(), a); err != nil {
					b.Error(err)
				}
			})
			b.ReportMetric(float64(b.N)/float64(e.stats.records.Load()-begun), "msg/record")
		})
	}
}

func openBench(b *testing.B) *Engine {
	b.Helper()
	e, err := Open(Options{Dir: b.TempDir(), MaxQueued: 1 << 30, MaxQueuedBytes: 1 << 50})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = e.Close() })
	return e
}

func run(b *testing.B, callers int, call func(caller int)) {
	var left atomic.Int64
	left.Store(int64(b.N))
	cpu := cpuTime()
	b.ResetTimer()
	var wg sync.WaitGroup
	for c := range callers {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				call(c)
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
	b.ReportMetric(float64((cpuTime()-cpu).Nanoseconds())/1e3/float64(b.N), "cpu-µs/msg")
}

func register(b testing.TB, e *Engine, n int) []gateway.ClientID {
	b.Helper()
	names := make([]gateway.ClientID, n)
	var wg sync.WaitGroup
	for w := range 64 {
		wg.Go(func() {
			for i := w; i < n; i += 64 {
				names[i] = gateway.ClientID(fmt.Sprintf("device-%07d", i))
				r := gateway.Registration{Client: names[i], At: time.Now()}
				if _, _, err := e.Register(context.Background(), r); err != nil {
					b.Error(err)
				}
			}
		})
	}
	wg.Wait()
	return names
}

// BenchmarkBroadcast is a message to all clients: its acceptance, what it
// writes, and an ack from everybody. LONGWIRE_TORTURE makes it a million.
func BenchmarkBroadcast(b *testing.B) {
	clients := 100_000
	if os.Getenv("LONGWIRE_TORTURE") != "" {
		clients = 1_000_000
	}
	e := openBench(b)
	names := register(b, e, clients)
	refs := references(b, e, names)
	for i := range b.N {
		written := e.inst.DB.Metrics().WAL.BytesWritten
		begun := time.Now()
		r, err := e.Accept(context.Background(), gateway.Acceptance{ID: loadID(uint64(i + 1)), To: gateway.Audience{All: true},
			Payload: make([]byte, 256), CreatedAt: begun, ExpiresAt: begun.Add(time.Hour)})
		if err != nil || r.Message.Counts.Queued != clients {
			b.Fatalf("%+v, %v", r.Message.Counts, err)
		}
		b.ReportMetric(float64(time.Since(begun).Microseconds()), "accept-µs")
		b.ReportMetric(float64(e.inst.DB.Metrics().WAL.BytesWritten-written), "accept-bytes")
		begun, written = time.Now(), e.inst.DB.Metrics().WAL.BytesWritten
		for c := range names {
			// In an order that no bitmap likes.
			o := gateway.Outcome{Client: names[c*7919%clients], Ref: refs[c*7919%clients], Seq: r.Message.Seq, State: gateway.Acked, At: begun}
			if err := e.Settle(o, false); err != nil {
				b.Fatal(err)
			}
		}
		drain(e)
		b.ReportMetric(time.Since(begun).Seconds(), "acks-s")
		b.ReportMetric(float64(e.inst.DB.Metrics().WAL.BytesWritten-written)/1e6, "acks-MB")
		if m, err := e.Message(r.Message.ID); err != nil || m.Counts.Acked != clients {
			b.Fatalf("%+v, %v", m.Counts, err)
		}
	}
}
