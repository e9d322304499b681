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

// blockingChunk bounds one write that may block, so that a timeout tells of
// progress: a TLS record.
const blockingChunk = 16 << 10

// stream is the transport of every system: a goroutine waits for input, and
// another one, as long as output is left over, for the device to take it.
type stream struct {
	// Fixed after construction.
	c   *conn
	nc  net.Conn
	raw syscall.RawConn // nil where reads and writes have to block

	in *inbound // owned by the read loop; set only while there is data

	inbox   atomic.Pointer[inbound] // what was read and no turn has taken yet, newest first
	waiting atomic.Int32            // reads in inbox and input
	deaf    atomic.Bool             // no more is to be read for now

	// Guarded by the connection's mutex.
	input   *inbound // reads that a turn has taken from the inbox and not handled yet, oldest first
	reading bool     // a read loop runs
	over    bool     // the end of the stream was read
}

func newStream(c *conn, nc net.Conn) *stream {
	return &stream{c: c, nc: nc, raw: rawConnOf(nc)}
}

// readLoop reads until the connection ends or input has to wait; a turn starts
// it again. There is one at a time. It must stay shallow, for its stack is what
// an idle connection costs: it only puts what it has read into the inbox, and a
// turn, on a worker's stack, does the rest.
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

// stopReading is the end of a read loop.
func (s *stream) stopReading() {
	s.c.mu.Lock()
	s.reading = false
	s.c.mu.Unlock()
	s.c.wantTurn()
}

// mustPause reports whether the read loop has to end: what it would read could
// not be handled yet.
func (s *stream) mustPause() bool { return s.deaf.Load() || s.waiting.Load() >= maxInbox }

// listen starts a read loop when none runs and nothing speaks against it.
func (s *stream) listen() {
	c := s.c
	s.deaf.Store(c.life == open && c.inputWaits())
	if s.reading || s.over || c.life == dead || c.cause != causeNone || s.mustPause() {
		return
	}
	s.reading = true
	c.srv.tasks.Go(s.readLoop)
}

func (s *stream) look()           { s.listen() }
func (s *stream) pause()          { s.deaf.Store(true) }
func (s *stream) listening() bool { return s.reading }

// put adds one read to the inbox. The end of the stream comes after the bytes
// that were read with it.
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
		s.over = in.err != nil
		s.input = in.next
		s.waiting.Add(-1)
	}
	return in
}

// waitBlocking is waitForInput for connections without a raw descriptor: it
// holds a small buffer while it waits.
func (s *stream) waitBlocking() *inbound {
	if s.mustPause() {
		return nil
	}
	var small [smallRead]byte
	n, err := s.nc.Read(small[:])
	return takeSmall(small[:n], err)
}

// mayWrite is false as long as the flusher has something: what comes meanwhile
// is its to write.
func (s *stream) mayWrite() bool { return s.c.out == nil }

func (s *stream) finish(*outbound, time.Time) { s.c.srv.tasks.Go(s.flushLoop) }

// flushLoop writes what is left over and what comes meanwhile, and ends when
// nothing is. conn.out is not nil as long as it runs; only it changes it.
func (s *stream) flushLoop() {
	defer s.c.survive()
	for s.flushMore() {
	}
}

// flushMore waits until the device has taken something.
func (s *stream) flushMore() (more bool) {
	c := s.c
	c.mu.Lock()
	o := c.out // ours until we say otherwise
	c.mu.Unlock()

	s.nc.SetWriteDeadline(time.Now().Add(c.srv.cfg.WriteTimeout))
	n, err := s.writeSome(o)
	now := time.Now()

	c.mu.Lock()
	defer c.mu.Unlock()
	c.wrote(o, n, now)
	defer c.wantTurn()
	switch {
	case err != nil && s.endedBy(err, n, now):
		c.out = nil
		o.release()
		return false
	case len(o.left()) > 0:
		return true
	}
	if c.cause == causeNone && c.proto.Pending() > 0 {
		o.buf, o.done = c.proto.AppendOutput(o.buf[:0]), 0
		return true
	}
	c.out = nil
	o.release()
	s.nc.SetWriteDeadline(time.Time{})
	return false
}

// endedBy judges a failed write and reports whether it is the end. The
// connection's mutex is held.
func (s *stream) endedBy(err error, n int, now time.Time) bool {
	timeout := errors.Is(err, os.ErrDeadlineExceeded)
	switch {
	case timeout && n > 0 && !isTLS(s.nc):
		return false // it reads, if slowly
	case timeout:
		s.c.tooSlow(now)
	default:
		s.c.lost(now)
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
		s.c.srv.tasks.Go(func() { nc.CloseWrite() }) // it writes, and may wait up to 5 s
	}
}

func (s *stream) close(reset bool) { abandon(s.nc, reset) }

func (s *stream) netConn() net.Conn { return s.nc }

// abandon closes nc without waiting for anything. With reset the kernel
// forgets what the device has not taken.
func abandon(nc net.Conn, reset bool) {
	if t, ok := nc.(*tls.Conn); ok {
		nc = t.NetConn() // tls.Conn.Close writes an alert and may wait for it
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
