package api

import (
	"context"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/longwire/longwire/api/internal/problem"
	"github.com/longwire/longwire/gateway"
)

const (
	// drainBody is how long the rest of a body may take once draining has begun.
	drainBody = 2 * time.Second
	// drainGrace is how long the server still listens, because requests may have
	// been sent just before. It is also the time that connections without an
	// accepted request then have to end: idle ones, half a header, a refused
	// caller that still sends.
	drainGrace = 250 * time.Millisecond
	// drainRetry is the Retry-After of a refusal while draining.
	drainRetry = 5 * time.Second
)

// Server is the API with the limits of NewServer. BeginDrain and Drain stop it so
// that every caller gets an answer.
type Server struct {
	http.Server
	api *server
}

// DrainReport counts the requests during a drain.
type DrainReport struct {
	Answered int // under way when draining began, and answered
	Refused  int // came later and were refused because the gateway drains
	CutOff   int // still under way when Drain gave up
}

// BeginDrain ends long calls: an event stream ends with a comment, a bulk request
// ends after the lines that it has begun, and a body that is being read has two more
// seconds. The server still answers, and closes each connection after the answer.
// Call Gateway.Drain first: it ends the waits, and makes the gateway refuse new
// messages.
func (s *Server) BeginDrain() {
	if s.api.drain.start(s.api.load.UnderWay()) {
		s.SetKeepAlivesEnabled(false)
	}
}

// Drain calls BeginDrain, stops listening a quarter of a second after that and
// returns when every accepted request is answered. Connections without an
// accepted request get a quarter of a second more. It closes the server, also
// when ctx ends first; then requests that are still under way are cut off.
func (s *Server) Drain(ctx context.Context) DrainReport {
	s.BeginDrain()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	select {
	case <-time.After(time.Until(s.api.drain.bodyDeadline().Add(drainGrace - drainBody))):
	case <-ctx.Done():
	}
	ended := make(chan struct{})
	go func() { // stops when all connections have ended, at the latest with ctx
		defer close(ended)
		s.Shutdown(ctx)
	}()
	s.api.awaitAnswers(ctx)
	grace, stop := context.WithTimeout(ctx, drainGrace)
	defer stop()
	select {
	case <-ended:
	case <-grace.Done():
	}
	left := s.api.load.UnderWay()
	cancel()
	<-ended
	s.Close()
	s.api.traces.flush()
	d := &s.api.drain
	return DrainReport{Answered: max(0, d.met-left), Refused: int(d.refused.Load()), CutOff: left}
}

// draining is the state of a drain and the requests that it wakes.
type draining struct {
	began    context.Context // ends when draining begins
	begin    context.CancelFunc
	met      int           // requests under way then; fixed before began ends
	refused  atomic.Int64  // requests that were answered with CodeDraining
	answered chan struct{} // has room for one: the last request under way may have been answered

	mu     sync.Mutex
	until  time.Time // for bodies; zero until draining begins
	bodies map[*exchange]struct{}
}

func (d *draining) init() {
	d.began, d.begin = context.WithCancel(context.Background())
	d.answered = make(chan struct{}, 1)
	d.bodies = make(map[*exchange]struct{})
}

// start begins the drain, once. It reports whether this call did.
func (d *draining) start(underWay int) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.until.IsZero() {
		return false
	}
	d.met, d.until = underWay, time.Now().Add(drainBody)
	d.begin()
	for x := range d.bodies {
		setReadDeadline(x, d.until)
	}
	return true
}

// is reports whether draining has begun.
func (d *draining) is() bool { return d.began.Err() != nil }

// reading notes that x's body is being read, until read is called.
func (d *draining) reading(x *exchange) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.bodies[x] = struct{}{}
	if !d.until.IsZero() {
		setReadDeadline(x, d.until)
	}
}

func (d *draining) read(x *exchange) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.bodies, x)
}

// bodyDeadline returns the time by which the bodies under way must be read; zero
// unless draining has begun.
func (d *draining) bodyDeadline() time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.until
}

// setReadDeadline sets the deadline for the body of x; a reader in memory has none.
func setReadDeadline(x *exchange, at time.Time) {
	http.NewResponseController(x.ResponseWriter).SetReadDeadline(at)
}

// awaitAnswers returns when no accepted request is under way, or ctx ends.
func (s *server) awaitAnswers(ctx context.Context) {
	for s.load.UnderWay() > 0 {
		select {
		case <-s.drain.answered:
		case <-ctx.Done():
			return
		}
	}
}

// drained flushes an answer that is given while draining, before it counts as given.
func (s *server) drained(x *exchange) {
	if s.drain.is() {
		http.NewResponseController(x.ResponseWriter).Flush() // an error means that the caller is gone
	}
}

func drainingProblem() *problem.Problem {
	p := problem.New(problem.Kind(gateway.CodeDraining), "the gateway is shutting down and accepts nothing more; try again later")
	p.RetryAfter = drainRetry
	return p
}

// Bound returns ln with the bounds of Config for its connections.
func (s *Server) Bound(ln net.Listener) net.Listener { return s.api.conns.Bound(ln) }
