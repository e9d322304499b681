package tcpserver

import (
	"crypto/tls"
	"errors"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"
)

// blockingChunk bounds one write that may block, in bytes, so that a timeout shows
// progress. It is the size of a TLS record.
const blockingChunk = 16 << 10

// stream is the transport for every system. A goroutine waits for input. While
// output is left over, another waits until the device takes it.
type stream struct {
	// Fixed after construction.
	c   *conn
	nc  net.Conn
	raw syscall.RawConn // nil if reads and writes must block

	in *inbound // owned by the read loop; set only while it holds input

	inbox   atomic.Pointer[inbound] // reads that no turn has taken yet, newest first
	waiting atomic.Int32            // reads in inbox and input
	paused  atomic.Bool             // no more reads for now

	// Guarded by the connection's mutex.
	input   *inbound // reads that a turn has taken from the inbox and not handled yet, oldest first
	reading bool     // a read loop runs
	ended   bool     // the end of the stream was read
}

func newStream(c *conn, nc net.Conn) *stream {
	return &stream{c: c, nc: nc, raw: rawConnOf(nc)}
}

// readLoop reads until the connection ends or input must wait; a turn starts it
// again. Only one runs at a time. Its stack must stay small, because it is most of
// the memory of an idle connection: the loop only puts reads into the inbox, and a
// turn on a worker's stack handles them.
func (s *stream) readLoop() {
	if t, u := overSocket(s.nc); u != nil {
		s.readTLS(t, u)
		return
	}
	ready := s.readReady
	for {
		in := s.waitForInput(ready)
		if in == nil {
			break
		}
		last := in.err != nil
		s.put(in)
		if last {
			break
		}
		s.c.wantTurn()
	}
	s.stopReading()
}

// stopReading ends a read loop.
func (s *stream) stopReading() {
	s.c.mu.Lock()
	s.reading = false
	s.c.mu.Unlock()
	s.c.wantTurn()
}

// mustPause reports whether the read loop must end because a turn could not handle
// more input yet.
func (s *stream) mustPause() bool { return s.paused.Load() || s.waiting.Load() >= maxInbox }

// listen starts a read loop if none runs and input may be read.
func (s *stream) listen() {
	c := s.c
	s.paused.Store(c.life == open && c.inputWaitsLocked())
	if s.reading || s.ended || c.life == dead || c.cause != causeNone || s.mustPause() {
		return
	}
	s.reading = true
	c.srv.tasks.Go(s.readLoop)
}

func (s *stream) retryIO()        { s.listen() }
func (s *stream) pause()          { s.paused.Store(true) }
func (s *stream) listening() bool { return s.reading }

// put adds one read to the inbox. The end of the stream is a separate element after
// its last bytes.
func (s *stream) put(in *inbound) {
	if in.n > 0 && in.err != nil {
		end := takeSmall(nil, in.err)
		defer s.put(end)
		in.err = nil
	}
	s.waiting.Add(1)
	in.next = s.inbox.Load()
	for !s.inbox.CompareAndSwap(in.next, in) {
		in.next = s.inbox.Load()
	}
}

func (s *stream) read() *inbound {
	if s.input == nil {
		for in := s.inbox.Swap(nil); in != nil; {
			before := in.next
			in.next, s.input = s.input, in
			in = before
		}
	}
	in := s.input
	if in != nil {
		s.ended = in.err != nil
		s.input = in.next
		s.waiting.Add(-1)
	}
	return in
}

// waitBlocking is waitForInput for connections without a raw descriptor. It holds a
// small buffer while it waits.
func (s *stream) waitBlocking() *inbound {
	if s.mustPause() {
		return nil
	}
	var small [smallRead]byte
	n, err := s.nc.Read(small[:])
	return takeSmall(small[:n], err)
}

// mayWrite is false while the flusher has output. The flusher also writes later
// output.
func (s *stream) mayWrite() bool { return s.c.out == nil }

func (s *stream) finish(*outbound, time.Time) { s.c.srv.tasks.Go(s.flushLoop) }

// flushLoop writes the remaining output and all output that is added before it
// ends. While it runs, conn.out is not nil, and only flushLoop changes it.
func (s *stream) flushLoop() {
	defer s.c.recoverPanic()
	for s.flushMore() {
	}
}

// flushMore waits until the device has taken some output.
func (s *stream) flushMore() (more bool) {
	c := s.c
	c.mu.Lock()
	o := c.out // owned by this goroutine until it changes conn.out
	c.mu.Unlock()

	s.nc.SetWriteDeadline(time.Now().Add(c.srv.cfg.WriteTimeout))
	n, err := s.writeSome(o)
	now := time.Now()

	c.mu.Lock()
	defer c.mu.Unlock()
	c.wroteLocked(o, n, now)
	defer c.wantTurn()
	switch {
	case err != nil && s.endedByLocked(err, n):
		c.out = nil
		o.release()
		return false
	case len(o.left()) > 0:
		return true
	}
	if c.cause == causeNone && c.proto.Pending() > 0 {
		o.buf, o.done = c.proto.AppendOutputAt(now, o.buf[:0]), 0
		return true
	}
	c.out = nil
	o.release()
	s.nc.SetWriteDeadline(time.Time{})
	return false
}

// endedByLocked handles a failed write and reports whether it ends the connection.
// The caller holds the connection's mutex.
func (s *stream) endedByLocked(err error, n int) bool {
	timeout := errors.Is(err, os.ErrDeadlineExceeded)
	switch {
	case timeout && n > 0 && !isTLS(s.nc):
		return false // the device reads, but slowly
	case timeout:
		s.c.tooSlowLocked()
	default:
		s.c.lostLocked()
	}
	return true
}

// writeBlocking is writeSome for connections without a raw descriptor.
func (s *stream) writeBlocking(o *outbound) (int, error) {
	p := o.left()
	return s.nc.Write(p[:min(len(p), blockingChunk)])
}

func (s *stream) closeWrite() {
	switch nc := s.nc.(type) {
	case *net.TCPConn:
		nc.CloseWrite()
	case *tls.Conn:
		s.c.srv.tasks.Go(func() { nc.CloseWrite() }) // writes an alert, which may wait up to 5 s
	}
}

func (s *stream) close(reset bool) { abandon(s.nc, reset) }

func (s *stream) netConn() net.Conn { return s.nc }

// abandon closes nc without waiting. With reset the kernel drops the output that
// the device has not taken.
func abandon(nc net.Conn, reset bool) {
	if t, ok := nc.(*tls.Conn); ok {
		nc = t.NetConn() // tls.Conn.Close writes an alert and may wait
	}
	if u, ok := nc.(*underTLS); ok {
		nc = u.Conn
	}
	if t, ok := nc.(interface{ SetLinger(int) error }); ok && reset {
		t.SetLinger(0)
	}
	nc.Close()
}

func isTLS(nc net.Conn) bool {
	_, ok := nc.(*tls.Conn)
	return ok
}
