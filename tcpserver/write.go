package tcpserver

import (
	"crypto/tls"
	"errors"
	"net"
	"os"
	"time"
)

// blockingChunk bounds one write that may block, so that a timeout tells of
// progress: a TLS record.
const blockingChunk = 16 << 10

// flush writes what the session has to say with one write that does not block.
// What the socket does not take is left to the flusher. c.mu is held.
func (c *conn) flush(now time.Time) {
	for c.out == nil && c.life != dead && c.cause == causeNone && c.proto.Pending() > 0 {
		o := takeOutbound()
		o.buf = c.proto.AppendOutput(o.buf[:0])
		n, err := c.tryWrite(o)
		c.wrote(o, n, now)
		switch {
		case err != nil:
			o.release()
			c.proto.EOF(now)
			c.fail(causePeerGone)
		case len(o.left()) > 0:
			c.out = o
			c.srv.tasks.Go(c.flushLoop)
		default:
			o.release()
		}
	}
}

// wrote notes that the socket took n bytes of o. c.mu is held.
func (c *conn) wrote(o *outbound, n int, now time.Time) {
	if n <= 0 {
		return
	}
	o.done += n
	c.lastOut = c.srv.nanos(now)
	c.bytesOut += uint64(n)
	c.srv.stats.bytesOut.Add(uint64(n))
	if c.cause != causePanic {
		c.proto.Flushed(now, n)
	}
}

// flushLoop writes what is left over and what comes meanwhile, and ends when
// nothing is. c.out is not nil as long as it runs; only it changes it.
func (c *conn) flushLoop() {
	defer c.survive()
	for c.flushMore() {
	}
}

// flushMore waits until the device has taken something.
func (c *conn) flushMore() (more bool) {
	c.mu.Lock()
	o := c.out // ours until we say otherwise
	c.mu.Unlock()

	c.nc.SetWriteDeadline(time.Now().Add(c.srv.cfg.WriteTimeout))
	n, err := c.writeSome(o)
	now := time.Now()

	c.mu.Lock()
	defer c.mu.Unlock()
	c.wrote(o, n, now)
	defer c.wantTurn()
	switch {
	case err != nil && c.endedBy(err, n, now):
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
	c.nc.SetWriteDeadline(time.Time{})
	return false
}

// endedBy judges a failed write and reports whether it is the end. c.mu is held.
func (c *conn) endedBy(err error, n int, now time.Time) bool {
	timeout := errors.Is(err, os.ErrDeadlineExceeded)
	if timeout && n > 0 && !isTLS(c.nc) {
		return false // it reads, if slowly
	}
	switch {
	case !timeout:
		if c.cause == causeNone {
			c.proto.EOF(now)
		}
		c.fail(causePeerGone)
	case c.cause == causeNone:
		c.srv.stats.slowConsumers.Add(1)
		c.proto.Close(now, slowConsumer)
		c.fail(causeSlow)
	}
	return true
}

// writeBlocking is writeSome for connections without a raw descriptor.
func (c *conn) writeBlocking(o *outbound) (int, error) {
	p := o.left()
	return c.nc.Write(p[:min(len(p), blockingChunk)])
}

// halfClose tells the device that nothing follows, where the transport can.
// c.mu is held.
func (c *conn) halfClose() {
	switch nc := c.nc.(type) {
	case *net.TCPConn:
		nc.CloseWrite()
	case *tls.Conn:
		c.srv.tasks.Go(func() { nc.CloseWrite() }) // it writes, and may wait up to 5 s
	}
}

// abandon closes the socket without waiting for anything. With reset the
// kernel forgets what the device has not taken.
func abandon(nc net.Conn, reset bool) {
	if t, ok := nc.(*tls.Conn); ok {
		nc = t.NetConn() // tls.Conn.Close writes an alert and may wait for it
	}
	if t, ok := nc.(*net.TCPConn); ok && reset {
		t.SetLinger(0)
	}
	nc.Close()
}

func isTLS(nc net.Conn) bool {
	_, ok := nc.(*tls.Conn)
	return ok
}
