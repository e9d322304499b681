package engine

import (
	"context"
	"runtime"
	"testing"
	"time"

	"github.com/longwire/longwire/gateway"
)

// BenchmarkPushAll is a message to 5,000 clients: each takes it from the store
// and acks it. The figures are of one delivery.
func BenchmarkPushAll(b *testing.B) {
	const clients = 5_000
	e := openBench(b)
	names := register(b, e, clients)
	refs := references(b, e, names)
	var next, ack phase
	buf := make([]gateway.Transmission, 0, 16)
	for i := range b.N {
		a := gateway.Acceptance{ID: loadID(uint64(i + 1)), To: gateway.Audience{All: true}, Payload: make([]byte, 256),
			CreatedAt: time.Now(), ExpiresAt: time.Now().Add(time.Hour)}
		r, err := e.Accept(context.Background(), a)
		if err != nil {
			b.Fatal(err)
		}
		next.run(func() {
			for c := range names {
				q := gateway.TransmissionQuery{Client: names[c], Ref: refs[c], After: r.Message.Seq - 1, Max: 16, MaxBytes: 256 << 10}
				if ps, _, err := e.Next(q, buf); err != nil || len(ps) != 1 {
					b.Fatal(len(ps), err)
				}
			}
		})
		ack.run(func() {
			for c := range names {
				o := gateway.Outcome{Message: a.ID, Client: names[c], Ref: refs[c], Seq: r.Message.Seq, State: gateway.Acked, At: a.CreatedAt}
				if err := e.Settle(o, false); err != nil {
					b.Fatal(err)
				}
			}
			drain(e)
		})
	}
	next.report(b, "next", b.N*clients)
	ack.report(b, "ack", b.N*clients)
}

// BenchmarkDelivery is a message to one client, end to end in the store: an
// accept, the transmission, an ack; by 256 callers.
func BenchmarkDelivery(b *testing.B) {
	const callers, clients = 256, 10_240
	e := openBench(b)
	names := register(b, e, clients)
	refs := references(b, e, names)
	turn := make([]int, callers)
	payload := make([]byte, 256)
	run(b, callers, func(caller int) {
		c := caller + callers*(turn[caller]%(clients/callers))
		to := names[c]
		turn[caller]++
		a := gateway.Acceptance{ID: nextLoadID(), To: gateway.Audience{Client: to}, Payload: payload,
			CreatedAt: time.Now(), ExpiresAt: time.Now().Add(time.Hour)}
		if _, err := e.Accept(context.Background(), a); err != nil {
			b.Error(err)
			return
		}
		ps, _, err := e.Next(gateway.TransmissionQuery{Client: to, Ref: refs[c], Max: 16, MaxBytes: 256 << 10}, nil)
		if err != nil || len(ps) == 0 {
			b.Error(len(ps), err)
			return
		}
		for _, p := range ps {
			o := gateway.Outcome{Message: p.Message, Client: to, Ref: refs[c], Seq: p.Seq, State: gateway.Acked, At: time.Now()}
			if err := e.Settle(o, false); err != nil {
				b.Error(err)
			}
		}
	})
	drain(e)
	if n := e.Stats().Queued; n != 0 {
		b.Errorf("%d are still queued", n)
	}
}

// BenchmarkAcked is a durable accept and the ack that follows it, as of a message
// to a connected device, which is sent without a read of the store.
func BenchmarkAcked(b *testing.B) {
	const callers, clients = 256, 10_240
	e := openBench(b)
	names := register(b, e, clients)
	refs := references(b, e, names)
	turn := make([]int, callers)
	payload := make([]byte, 256)
	run(b, callers, func(caller int) {
		c := caller + callers*(turn[caller]%(clients/callers))
		turn[caller]++
		a := gateway.Acceptance{ID: nextLoadID(), To: gateway.Audience{Client: names[c]}, Payload: payload,
			CreatedAt: time.Now(), ExpiresAt: time.Now().Add(time.Hour)}
		r, err := e.Accept(context.Background(), a)
		if err != nil {
			b.Error(err)
			return
		}
		o := gateway.Outcome{Message: r.Message.ID, Client: names[c], Ref: refs[c], Seq: r.Message.Seq, State: gateway.Acked, At: time.Now()}
		if err := e.Settle(o, false); err != nil {
			b.Error(err)
		}
	})
	drain(e)
	if n := e.Stats().Queued; n != 0 {
		b.Errorf("%d are still queued", n)
	}
}

// references returns the clients' references, as sessions have them from their
// registrations.
func references(b *testing.B, e *Engine, names []gateway.ClientID) []uint32 {
	b.Helper()
	refs := make([]uint32, len(names))
	for i, id := range names {
		rec, err := e.Client(id)
		if err != nil {
			b.Fatal(err)
		}
		refs[i] = rec.Ref
	}
	return refs
}

// phase adds up the time and the allocations of a part of a benchmark.
type phase struct {
	took   time.Duration
	allocs uint64
}

func (p *phase) run(f func()) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	begun := time.Now()
	f()
	p.took += time.Since(begun)
	runtime.ReadMemStats(&after)
	p.allocs += after.Mallocs - before.Mallocs
}

func (p *phase) report(b *testing.B, name string, n int) {
	b.ReportMetric(float64(p.took.Nanoseconds())/1e3/float64(n), name+"-µs")
	b.ReportMetric(float64(p.allocs)/float64(n), name+"-allocs")
}
