package tcpserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

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

	workers    *workers
	storeCalls chan struct{}   // one element for each call that waits for the store
	tasks      sync.WaitGroup  // readers, flushers and slow turns of live connections
	ctx        context.Context // of calls that wait for the store
	cancel     context.CancelFunc
	stats      counters
	spread     atomic.Int64 // Drain's RetrySpread, nanoseconds

	mu           sync.Mutex
	first        *conn // ring through prev and next; nil when there is none
	open         int
	unregistered int
	perIP        map[netip.Addr]int // unregistered, by source
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
	ln := cfg.Listener
	if ln == nil {
		var err error
		if ln, err = listen(cfg.Addr); err != nil {
			return nil, fmt.Errorf("listen for devices: %w", err)
		}
	}
	s := &Server{
		cfg:        cfg,
		log:        cfg.Logger,
		connect:    connect,
		ln:         ln,
		epoch:      time.Now().Add(-time.Second), // so that 0 can mean none
		workers:    newWorkers(),
		storeCalls: make(chan struct{}, cfg.StoreCalls),
		perIP:      make(map[netip.Addr]int),
		empty:      make(chan struct{}),
		stopping:   make(chan struct{}),
	}
	s.stats.init()
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.workers.start(cfg.Workers)
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
	s.workers.stop()
	s.tasks.Wait()
	return nil
}

// stopAccepting closes the listener; connections live on.
func (s *Server) stopAccepting() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return
	}
	s.closing = true
	close(s.stopping)
	s.ln.Close()
	if s.open == 0 {
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
	s.leaveUnregistered(c)
	s.open--
	if s.open == 0 && s.closing {
		close(s.empty)
	}
}

// nanos is t as a small number; instant is the way back.
func (s *Server) nanos(t time.Time) int64 { return int64(t.Sub(s.epoch)) }

func (s *Server) instant(n int64) time.Time { return s.epoch.Add(time.Duration(n)) }

// farewell is what a device is told when the server goes.
func (s *Server) farewell() protocol.Close {
	return protocol.Close{Code: protocol.CloseShutdown, Reason: protocol.ReasonShutdown,
		RetryAfter: randomUpTo(time.Duration(s.spread.Load()))}
}
