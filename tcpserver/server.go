package tcpserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/longwire/longwire/internal/shares"
	"github.com/longwire/longwire/protocol"
)

// Server accepts device connections and drives them. Any goroutine may call its
// methods.
type Server struct {
	// Fixed after construction.
	cfg     Config
	log     *slog.Logger
	connect connector
	ln      net.Listener
	epoch   time.Time // nanos counts from epoch

	poll        *pollers // nil if connections are streams
	workers     *workers
	callers     *workers        // run turns that wait for the store
	tasks       sync.WaitGroup  // goroutines of streams, preambles and closes
	ctx         context.Context // of calls that wait for the store
	cancel      context.CancelFunc
	calls       atomic.Pointer[storeCalls] // context of the calls that begin now
	stats       counters
	limits      *limits
	memory      memoryWatch
	unfinished  memoryBudget  // memory of incomplete frames
	untaken     memoryBudget  // memory of output that sockets have not taken
	handshakes  chan struct{} // one element for each TLS handshake that computes
	turningAway chan struct{} // one element for each refused connection that gets a close
	spread      atomic.Int64  // Drain's RetrySpread, nanoseconds
	refusals    *shares.Lines // log lines about refused registrations and strangers, by source

	mu           sync.Mutex
	first        *conn // list through prev and next; nil for none
	open         int
	leaving      int // connections in open that a newcomer has replaced
	unregistered waiting
	waits        map[*conn]*waitingPlace // places of unregistered connections; a preamble holds its own
	entering     map[*preamble]struct{}
	closing      bool
	empty        chan struct{} // closed after stopping, when the last connection is gone
	stopping     chan struct{} // closed by stopAccepting
}

// New returns a server that is bound to its address. Serve serves. Close releases
// it, even if Serve was not called.
func New(cfg Config) (*Server, error) {
	if cfg.Gateway == nil || cfg.Wheel == nil {
		return nil, errors.New("tcpserver: Config.Gateway and Config.Wheel are required")
	}
	return newServer(cfg, connectTo(cfg.Gateway))
}

func newServer(cfg Config, connect connector) (*Server, error) {
	cfg.setDefaults()
	poll, err := pollersFor(&cfg)
	if err != nil {
		return nil, err
	}
	ln := cfg.Listener
	if ln == nil {
		if ln, err = listen(cfg.Addr); err != nil {
			return nil, fmt.Errorf("listen for devices: %w", err)
		}
		if poll != nil && cfg.kernel == nil && cfg.TLS == nil && len(cfg.ProxyTrusted) == 0 {
			ln = acceptSockets(ln) // no preamble needs to read from a connection
		}
	}
	s := &Server{
		cfg:         cfg,
		log:         cfg.Logger,
		connect:     connect,
		ln:          ln,
		epoch:       time.Now().Add(-time.Second), // so that 0 can mean no time
		poll:        poll,
		workers:     startWorkers((*conn).runTurn, cfg.Workers, cfg.Workers),
		callers:     startWorkers((*conn).driveOnCaller, maxCallers, spareCallers),
		limits:      newLimits(&cfg),
		memory:      memoryWatch{limit: cfg.MemoryLimit, used: cfg.MemoryUsed},
		handshakes:  make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2)),
		turningAway: make(chan struct{}, min(maxTurningAway, max(8, cfg.MaxConns/64))),
		waits:       make(map[*conn]*waitingPlace),
		entering:    make(map[*preamble]struct{}),
		empty:       make(chan struct{}),
		stopping:    make(chan struct{}),
	}
	s.stats.init()
	s.unfinished.bound, s.unfinished.from = cfg.InputBudget, 1<<10
	s.untaken.bound, s.untaken.from, s.untaken.evictOldest = cfg.OutputMemory, 16<<10, true
	s.refusals = shares.NewLines(maxLinesPerSource, maxLines, func(source string, held int) {
		s.log.Warn("refused registrations and connections that are not logged one by one", "source", source, "count", held)
	})
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.tasks.Go(func() { s.memory.watch(s.ctx) })
	return s, nil
}

func listen(addr string) (net.Listener, error) {
	lc := net.ListenConfig{KeepAliveConfig: net.KeepAliveConfig{
		Enable: true, Idle: keepAliveIdle, Interval: keepAliveInterval, Count: keepAliveCount,
	}}
	return lc.Listen(context.Background(), "tcp", addr)
}

// Addr returns the listening address.
func (s *Server) Addr() net.Addr { return s.ln.Addr() }

// Close ends all connections at once. A device gets a CLOSE if its socket takes it
// without waiting. Close returns when the server has no goroutines left. The wheel
// must run until then.
func (s *Server) Close() error {
	s.stopAccepting()
	s.cancel()
	for _, c := range s.conns() {
		c.cut(s.shutdownClose())
	}
	<-s.empty
	if s.poll != nil {
		s.poll.stop()
	}
	s.callers.stop()
	s.workers.stop()
	s.tasks.Wait()
	s.refusals.Flush()
	return nil
}

// stopAccepting closes the listener and the connections in their preamble. Others
// continue.
func (s *Server) stopAccepting() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return
	}
	s.closing = true
	close(s.stopping)
	s.ln.Close()
	for p := range s.entering {
		abandon(p.base, true) // its goroutine wakes and leaves
	}
	if s.open == 0 {
		close(s.empty)
	}
}

// connClosedLocked counts a connection as closed. The caller holds s.mu.
func (s *Server) connClosedLocked() {
	s.open--
	if s.open == 0 && s.closing {
		close(s.empty)
	}
}

// conns returns the current connections.
func (s *Server) conns() []*conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*conn, 0, s.open)
	for c := s.first; c != nil; c = c.next {
		all = append(all, c)
	}
	return all
}

// remove removes a connection whose socket is closed.
func (s *Server) remove(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.prev != nil {
		c.prev.next = c.next
	} else {
		s.first = c.next
	}
	if c.next != nil {
		c.next.prev = c.prev
	}
	c.prev, c.next = nil, nil
	s.forgetLocked(c)
	s.connClosedLocked()
}

// nanos returns t in nanoseconds since epoch; instant is the inverse.
func (s *Server) nanos(t time.Time) int64 { return int64(t.Sub(s.epoch)) }

func (s *Server) instant(n int64) time.Time { return s.epoch.Add(time.Duration(n)) }

// shutdownClose is the close of a draining or closing server.
func (s *Server) shutdownClose() protocol.Close {
	return protocol.Close{Code: protocol.CloseShutdown, Reason: protocol.ReasonShutdown,
		RetryAfter: randomUpTo(time.Duration(s.spread.Load()))}
}
