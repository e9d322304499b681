package gateway

import (
	"context"
	"fmt"
	"runtime"
	"testing"
)

// million is how many clients a list has to bear.
const million = 1_000_000

// presenceBudget bounds the memory of the index of online clients for each
// client, in bytes, without its session.
const presenceBudget = 100

func numbered(n int) ClientID { return ClientID(fmt.Sprintf("device-%07d", n)) }

// heapInUse is the memory of live objects.
func heapInUse() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// presenceBytes is the memory of the hub for each of n clients that come in the
// order of step (mod n), without sessions and ids.
func presenceBytes(n, step int) float64 {
	sessions := make([]Session, n)
	for i := range sessions {
		sessions[i].client = numbered(i)
	}
	h := newHub()
	before := heapInUse()
	for i, at := 0, 0; i < n; i, at = i+1, (at+step)%n {
		s := &sessions[at]
		h.shard(s.client).put(s)
		h.online.add(s.client)
	}
	grown := heapInUse() - before
	runtime.KeepAlive(h)
	runtime.KeepAlive(sessions)
	return float64(grown) / float64(n)
}

func TestPresenceIndexIsSmall(t *testing.T) {
	const n = 100_003 // a prime, so that each step visits all
	for name, step := range map[string]int{"in order": 1, "backwards": n - 1, "scattered": 61_813} {
		got := presenceBytes(n, step)
		t.Logf("%s: %.0f bytes for a client", name, got)
		if got > presenceBudget {
			t.Errorf("%s: the presence index takes %.0f bytes for a client, want %d at most", name, got, presenceBudget)
		}
	}
}

// rollStore knows every client and keeps nothing. Only what Connect and a list
// need is there.
type rollStore struct{ Store }

func (rollStore) Log() LogID                 { return "roll" }
func (rollStore) Disconnected(Disconnection) {}

func (rollStore) EventSpan() (forgotten, last uint64, err error) { return 0, 0, nil }

func (rollStore) Observe(Observer) {}

func (rollStore) Client(id ClientID) (ClientRecord, error) { return ClientRecord{ID: id}, nil }

func (rollStore) Register(_ context.Context, r Registration) (ClientRecord, Seq, error) {
	return ClientRecord{ID: r.Client, CreatedAt: r.At}, 0, nil
}

func (rollStore) Undurable(ClientID) (n, bytes int) { return 0, 0 }

// namedLink is the connection of a client that is connected in name only.
type namedLink struct{}

func (namedLink) Deliver(Transmission) error { return ErrLinkClosed }
func (namedLink) Flush()                     {}
func (namedLink) Forget(Seq, bool) bool      { return false }
func (namedLink) Close(Close)                {}
func (namedLink) MaxPayload() int            { return MaxPayload }
func (namedLink) Window() int                { return 16 }
func (namedLink) Probe() bool                { return false }
func (namedLink) Stats() LinkStats           { return LinkStats{Dialect: "v2"} }

// crowded is a gateway with n clients online.
func crowded(b *testing.B, n int) *Gateway {
	b.Helper()
	g := New(Config{Store: rollStore{}, NewID: func() [16]byte { return [16]byte{} }})
	for i := range n {
		if _, _, err := g.Connect(context.Background(), Hello{Client: numbered(i)}, namedLink{}); err != nil {
			b.Fatal(err)
		}
	}
	return g
}

// BenchmarkClientsOfAMillion is a page of 100 out of a million clients online,
// and the memory of the index for each of them.
func BenchmarkClientsOfAMillion(b *testing.B) {
	each := presenceBytes(million, 7)
	g := crowded(b, million)
	for _, page := range []struct {
		name string
		q    ClientSelection
	}{
		{"first", ClientSelection{}},
		{"middle", ClientSelection{ClientQuery: ClientQuery{After: numbered(million / 2)}}},
		{"prefix", ClientSelection{ClientQuery: ClientQuery{Prefix: "device-05000"}}},
		{"group of nobody", ClientSelection{ClientQuery: ClientQuery{Group: "none"}}}, // looks at as many as one page may
	} {
		b.Run(page.name, func(b *testing.B) {
			page.q.Status, page.q.Limit, page.q.QueuedGT = StatusOnline, 100, -1
			b.ReportAllocs()
			b.ReportMetric(each, "index-B/client")
			for b.Loop() {
				if _, err := g.Clients(page.q); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
