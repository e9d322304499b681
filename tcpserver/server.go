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

// Server accepts device connections and drives them. All methods may be called
// from any goroutine.
type Server struct {
	// Fixed after construction.
	cfg     Config
	log     *slog.Logger
	connect connector
	ln      net.Listener
	epoch   time.Time // nanos counts from here

	poll        *pollers // nil where connections are streams
	workers     *workers
	callers     *workers        // run the turns that wait for the store
	tasks       sync.WaitGroup  // readers and flushers of live connections
	ctx         context.Context // of calls that wait for the store
	cancel      context.CancelFunc
	calls       atomic.Pointer[storeCalls] // those that begin now
	stats       counters
	limits      *limits
	memory      memoryWatch
	unfinished  hoards        // frames that have begun and not ended
	untaken     hoards        // output that sockets have not taken
	handshakes  chan struct{} // one element for each TLS handshake that computes
	turningAway chan struct{} // one element for each refused connection that is told why
	spread      atomic.Int64  // Drain's RetrySpread, nanoseconds
	refusals    *shares.Lines // of refused registrations, by source

	mu           sync.Mutex
	first        *conn // ring through prev and next; nil when there is none
	open         int
	leaving      int // connections in open that gave their place to a newcomer
	unregistered waiting
	waits        map[*conn]*waitingPlace // of connections; a preamble has its own
	entering     map[*preamble]struct{}
	closing      bool
	empty        chan struct{} // closed when closing and the last connection is gone
	stopping     chan struct{} // closed when closing
}

// New returns a server that is bound to its address and serves when Serve is
// called. Close releases it, whether it has served or not.
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
			ln = acceptSockets(ln) // no preamble reads from a connection
		}
	}
	s := &Server{
		cfg:         cfg,
		log:         cfg.Logger,
		connect:     connect,
		ln:          ln,
		epoch:       time.Now().Add(-time.Second), // so that 0 can mean none
		poll:        poll,
		workers:     startWorkers((*conn).runTurn, cfg.Workers, cfg.Workers),
		callers:     startWorkers((*conn).driveSlowly, cfg.StoreCalls, spareCallers),
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
	s.unfinished.budget, s.unfinished.from = cfg.InputBudget, 1<<10
	s.untaken.budget, s.untaken.from, s.untaken.slowest = cfg.OutputMemory, 16<<10, true
	s.refusals = shares.NewLines(maxLinesPerSource, maxLines, func(source string, held int) {
		s.log.Warn("refused registrations that are not logged one by one", "source", source, "count", held)
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

// Addr is where the server listens.
func (s *Server) Addr() net.Addr { return s.ln.Addr() }

// Close ends everything at once: devices get a CLOSE when their socket takes
// it without waiting. It returns when no goroutine of the server is left. The
// wheel must run until then.
func (s *Server) Close() error {
	s.stopAccepting()
	s.cancel()
	for _, c := range s.conns() {
		c.cut(s.farewell())
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

// stopAccepting closes the listener and what is still in its preamble;
// connections live on.
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
		abandon(p.base, true) // which wakes it; it leaves by itself
	}
	if s.open == 0 {
		close(s.empty)
	}
}

// closed counts a connection as gone. s.mu is held.
func (s *Server) closed() {
	s.open--
	if s.open == 0 && s.closing {
		close(s.empty)
	}
}

// conns returns the connections of this moment.
func (s *Server) conns() []*conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*conn, 0, s.open)
	for c := s.first; c != nil; c = c.next {
		all = append(all, c)
	}
	return all
}

// remove forgets a connection whose socket is closed.
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
	s.forget(c)
	s.closed()
}

// nanos is t as a small number; instant is the way back.
func (s *Server) nanos(t time.Time) int64 { return int64(t.Sub(s.epoch)) }

func (s *Server) instant(n int64) time.Time { return s.epoch.Add(time.Duration(n)) }

// farewell is what a device is told when the server goes.
func (s *Server) farewell() protocol.Close {
	return protocol.Close{Code: protocol.CloseShutdown, Reason: protocol.ReasonShutdown,
		RetryAfter: randomUpTo(time.Duration(s.spread.Load()))}
}
