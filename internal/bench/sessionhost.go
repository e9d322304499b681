package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"os"
	"runtime"
	"runtime/metrics"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/longwire/longwire/api"
	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine"
)

// sessionsName is the hidden subcommand whose process is a sessionHost.
const sessionsName = "sessions"

// sessionHost is a gateway on a real store. Its connected clients have no sockets,
// so there can be more than the limit of open files allows. Each acks every
// delivery.
type sessionHost struct {
	dir       string // of the store
	clients   int
	returning bool // returnsASecond clients reconnect

	g    *gateway.Gateway
	base residents // before there were clients
}

// Paths of a sessionHost in addition to its API.
const (
	residentsPath = "/sessions/residents" // GET: memory and collections
	collectPath   = "/sessions/collect"   // POST: one collection of garbage
)

// serve serves the API of the gateway once all clients are connected. It prints its
// address on out in the format of `longwire serve`, and ends with ctx.
func (h *sessionHost) serve(ctx context.Context, out io.Writer) (err error) {
	store, err := engine.Open(engine.Options{Dir: h.dir, NoSync: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	h.g = gateway.New(gateway.Config{Store: store, NewID: func() [16]byte { return uuid.Must(uuid.NewV7()) }})
	h.g.Start()
	defer h.g.Stop()
	runtime.GC()
	h.base = readResidents()
	if err := inParallel(fillers, h.clients, func(i int) error { return h.admit(ctx, i) }); err != nil {
		return fmt.Errorf("register %d clients: %w", h.clients, err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	srv := api.NewServer(api.Config{Gateway: h.g})
	srv.Handler = h.beside(srv.Handler)
	var returning sync.WaitGroup
	returning.Go(func() { h.keepReturning(ctx) })
	defer returning.Wait()
	fmt.Fprintf(out, "  HTTP API    http://%s\n", ln.Addr())
	return serveHTTP(ctx, ln, srv)
}

// admit connects a client.
func (h *sessionHost) admit(ctx context.Context, i int) error {
	e := &echo{}
	s, _, err := h.g.Connect(ctx, gateway.Hello{Client: gateway.ClientID(clientID(i)), Dialect: "v2"}, e)
	if err != nil {
		return err
	}
	e.session = s
	s.Start()
	return nil
}

// staying returns how many of the first clients keep their connections. The others
// return now and then: an online push to one of them would meet its closed connection.
func staying(clients int) int { return clients - clients/10 }

// keepReturning reconnects random clients, but not those that stay, until ctx ends.
// Each takes over its earlier connection.
func (h *sessionHost) keepReturning(ctx context.Context) {
	stay := staying(h.clients)
	if !h.returning || stay == h.clients {
		return
	}
	p := plan{rate: returnsASecond}
	start := time.Now()
	for i := 0; pause(ctx, time.Until(start.Add(p.at(i)))) == nil; i++ {
		_ = h.admit(ctx, stay+rand.IntN(h.clients-stay)) // fails only when ctx ends
	}
}

// beside answers the host's own paths and passes the others to the API.
func (h *sessionHost) beside(api http.Handler) http.Handler {
	own := http.NewServeMux()
	own.HandleFunc(residentsPath, func(w http.ResponseWriter, _ *http.Request) {
		now := readResidents()
		now.HeapGrowth, now.RSSGrowth = now.Heap-h.base.Heap, now.RSS-h.base.RSS
		_ = json.NewEncoder(w).Encode(&now) // the caller notices a cut answer
	})
	own.HandleFunc(collectPath, func(http.ResponseWriter, *http.Request) { runtime.GC() })
	own.Handle("/", api)
	return own
}

// residents is a process's memory and the cost of its collections so far.
type residents struct {
	Heap, HeapGrowth int64            // bytes in use at the end of the last collection; since there are clients
	RSS, RSSGrowth   int64            // 0 = not known
	Cycles           uint64           // collections
	Allocated        uint64           // bytes since the process began
	Pauses           map[int64]uint64 // of the whole process, by their longest nanoseconds
}

// readResidents does not read the collector's CPU time: the runtime measures it by
// the clock, as if its threads always had a core.
func readResidents() residents {
	s := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/gc/cycles/total:gc-cycles"}, {Name: "/gc/heap/allocs:bytes"}, {Name: "/sched/pauses/total/gc:seconds"}}
	metrics.Read(s)
	now := residents{Heap: int64(s[0].Value.Uint64()), RSS: processRSS(os.Getpid()), Cycles: s[1].Value.Uint64(), Allocated: s[2].Value.Uint64(),
		Pauses: make(map[int64]uint64)}
	h := s[3].Value.Float64Histogram()
	for i, n := range h.Counts {
		end := h.Buckets[i+1]
		if math.IsInf(end, 1) {
			end = h.Buckets[i]
		}
		if n > 0 {
			now.Pauses[int64(end*1e9)] += n
		}
	}
	return now
}

// pauses are the pauses after before.
func (r *residents) pauses(before *residents) (after recorder) {
	for ns, n := range r.Pauses {
		if n -= before.Pauses[ns]; n > 0 {
			after.observeMany(time.Duration(ns), int64(n))
		}
	}
	return after
}

// echo is the connection of a client without a socket. It acks each delivery when
// it is flushed.
type echo struct {
	session *gateway.Session // set before its Start

	mu      sync.Mutex
	pending []gateway.Transmission // without their payloads
}

func (e *echo) Deliver(p gateway.Transmission) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.pending = append(e.pending, gateway.Transmission{Seq: p.Seq, Ephemeral: p.Ephemeral})
	return nil
}

func (e *echo) Flush() {
	e.mu.Lock()
	acked := e.pending
	e.pending = nil
	e.mu.Unlock()
	for _, p := range acked {
		e.session.Sent(p.Seq, p.Ephemeral, time.Now())
		e.session.Acked(p.Seq, p.Ephemeral, gateway.AckOK, nil, time.Now())
	}
}

// Close must not call into the gateway itself.
func (e *echo) Close(c gateway.Close) { go e.session.Closed(c.Reason) }

func (e *echo) Forget(gateway.Seq, bool) bool { return false }
func (e *echo) MaxPayload() int               { return gateway.MaxPayload }
func (e *echo) Window() int                   { return 16 }
func (e *echo) Probe() bool                   { return false }
func (e *echo) Stats() gateway.LinkStats {
	return gateway.LinkStats{RemoteAddr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 1), Dialect: "v2",
		Transport: "tcp", LastSeen: time.Unix(1_700_000_000, 0)}
}
