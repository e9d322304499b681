package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/longwire/longwire/api"
	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine"
)

// rosterName is the hidden subcommand whose process is a roster.
const rosterName = "roster"

// roster is a gateway on a real store with connected clients that have no
// connections: more than a machine's files allow. Each acks what it is sent.
type roster struct {
	dir     string // of the store
	clients int
	returns int // of clients that come back on a new connection, a second

	base  residents // before there were clients
	store *engine.Engine
	g     *gateway.Gateway
}

// Paths of a roster beside its API.
const (
	residentsPath = "/roster/residents" // GET: what the process is and has done
	collectPath   = "/roster/collect"   // POST: one collection of garbage
)

// serve serves the API of the gateway when all clients are there. It tells on
// out where, in the words of `longwire serve`, and ends with ctx.
func (r *roster) serve(ctx context.Context, out io.Writer) (err error) {
	if r.store, err = engine.Open(engine.Options{Dir: r.dir, NoSync: true}); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.store.Close()) }()
	r.g = gateway.New(gateway.Config{Store: r.store, NewID: func() [16]byte { return uuid.Must(uuid.NewV7()) }})
	r.g.Start()
	defer r.g.Stop()
	runtime.GC()
	r.base = readResidents()
	if err := inParallel(r.clients, func(i int) error { return r.admit(ctx, i) }); err != nil {
		return fmt.Errorf("register %d clients: %w", r.clients, err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	srv := api.NewServer(api.Config{Gateway: r.g})
	srv.Handler = r.beside(srv.Handler)
	var serving sync.WaitGroup
	serving.Go(func() { err = srv.Serve(ln) })
	serving.Go(func() { r.keepReturning(ctx) })
	fmt.Fprintf(out, "  HTTP API    http://%s\n", ln.Addr())
	<-ctx.Done()
	srv.Close()
	serving.Wait()
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// admit connects a client.
func (r *roster) admit(ctx context.Context, i int) error {
	l := &echo{}
	s, _, err := r.g.Connect(ctx, gateway.Hello{Client: gateway.ClientID(clientID(i)), Dialect: "v2"}, l)
	if err != nil {
		return err
	}
	l.session = s
	s.Start()
	return nil
}

// keepReturning has clients at random come back, r.returns in a second, until
// ctx ends. Each takes its earlier connection over.
func (r *roster) keepReturning(ctx context.Context) {
	if r.returns == 0 {
		return
	}
	p := plan{rate: float64(r.returns)}
	start := time.Now()
	for i := 0; pause(ctx, time.Until(start.Add(p.at(i)))) == nil; i++ {
		_ = r.admit(ctx, rand.IntN(r.clients)) // an error is that of ctx
	}
}

// beside answers for the roster's own paths and leaves the others to the API.
func (r *roster) beside(api http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		switch req.URL.Path {
		case residentsPath:
			now := readResidents()
			now.Base = &r.base
			_ = json.NewEncoder(w).Encode(&now) // who asks sees that it is not whole
		case collectPath:
			runtime.GC()
		default:
			api.ServeHTTP(w, req)
		}
	})
}

// residents is what a process has in memory, and what collecting it has cost so
// far.
type residents struct {
	collector
	Heap int64      `json:"heap"` // bytes that the last collection has found in use
	RSS  int64      `json:"rss"`  // 0 = not known
	Base *residents `json:"base,omitempty"`
}

func readResidents() residents {
	now := residents{collector: readCollector()}
	now.Heap = liveHeap()
	now.RSS, _ = processRSS(os.Getpid())
	return now
}

// echo is the connection of a client that has none: what is delivered to it is
// acked when it is flushed.
type echo struct {
	session *gateway.Session // set before its Start

	mu      sync.Mutex
	pending []gateway.Parcel // without what they carry
}

func (e *echo) Deliver(p gateway.Parcel) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.pending = append(e.pending, gateway.Parcel{Seq: p.Seq, Ephemeral: p.Ephemeral})
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

func (e *echo) Forget(gateway.Seq, bool) {}
func (e *echo) MaxPayload() int          { return gateway.MaxPayload }
func (e *echo) Window() int              { return 16 }
func (e *echo) Stats() gateway.LinkStats {
	return gateway.LinkStats{RemoteAddr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 1), Dialect: "v2",
		Transport: "tcp", LastSeen: time.Unix(1_700_000_000, 0)}
}
