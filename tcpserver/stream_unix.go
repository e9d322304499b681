//go:build unix

package tcpserver

import (
	"io"
	"net"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// rawConnOf returns nc's descriptor for reads and writes that do not block, nil if
// it has none (TLS, pipes).
func rawConnOf(nc net.Conn) syscall.RawConn {
	tcp, ok := nc.(*net.TCPConn)
	if !ok {
		return nil
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil
	}
	return raw
}

// waitForInput waits for input or the end of the stream. ready is s.readReady, made
// once so that waiting allocates no memory. It holds no buffer while it waits. It
// returns nil if input must wait.
func (s *stream) waitForInput(ready func(fd uintptr) bool) *inbound {
	if s.raw == nil {
		return s.waitBlocking()
	}
	err := s.raw.Read(ready)
	in := s.in
	s.in = nil
	if err != nil { // an error of the wait: this server has closed the socket
		in = takeSmall(nil, err)
	}
	return in
}

// readReady takes a buffer when there is input, reads, and leaves it in s.in. It
// runs on the stack of the wait and must use little of it. After each successful
// read it needs another one that finds no input: the end of the stream may have
// come with the last data, and package net would not report it again.
func (s *stream) readReady(fd uintptr) bool {
	if s.mustPause() {
		return true
	}
	in := takeLarge()
	for {
		n, err := syscall.Read(int(fd), in.buf)
		switch {
		case err == syscall.EINTR:
			continue
		case err == syscall.EAGAIN:
			in.release()
			return false
		case err != nil:
			in.err = err
		case n == 0:
			in.err = io.EOF
		default:
			in.n = n
		}
		s.in = in.fitted()
		return true
	}
}

// rawWrite is one write that does not block. It lives in a pooled outbound, so that
// its callback is made once and a write allocates no memory.
type rawWrite struct {
	p    []byte
	n    int
	err  error
	once func(fd uintptr) bool
	wait func(fd uintptr) bool
}

func (w *rawWrite) init() {
	w.once = func(fd uintptr) bool { w.try(fd); return true }
	w.wait = func(fd uintptr) bool { return w.try(fd) }
}

// try reports whether the socket took output or returned an error.
func (w *rawWrite) try(fd uintptr) bool {
	for {
		n, err := syscall.Write(int(fd), w.p)
		switch {
		case err == syscall.EINTR:
			continue
		case err == syscall.EAGAIN:
			return false
		case err != nil:
			w.err = err
		default:
			w.n = n
		}
		return true
	}
}

func (s *stream) reset() (reset bool) {
	raw := s.raw
	if _, u := overSocket(s.nc); u != nil {
		raw = u.raw
	}
	if raw != nil {
		_ = raw.Control(func(fd uintptr) { reset = wasReset(fd) }) // closed by this server is no reset
	}
	return reset
}

// wasReset looks without taking anything. Elsewhere than on Linux a hang-up may be a
// half-close.
func wasReset(fd uintptr) bool {
	look := [1]unix.PollFd{{Fd: int32(fd)}}
	bits := int16(unix.POLLERR)
	if runtime.GOOS == "linux" {
		bits |= unix.POLLHUP
	}
	n, err := unix.Poll(look[:], 0)
	return err == nil && n > 0 && look[0].Revents&bits != 0
}

func (s *stream) write(o *outbound) (n int, err error) {
	if s.raw == nil {
		return 0, nil
	}
	return o.write(s.raw, o.wr.once)
}

// writeSome waits until the socket takes some of o. The write deadline bounds the
// wait.
func (s *stream) writeSome(o *outbound) (n int, err error) {
	if s.raw == nil {
		return s.writeBlocking(o)
	}
	return o.write(s.raw, o.wr.wait)
}

func (o *outbound) write(raw syscall.RawConn, f func(fd uintptr) bool) (int, error) {
	w := &o.wr
	w.p, w.n, w.err = o.left(), 0, nil
	err := raw.Write(f)
	w.p = nil
	if w.err != nil {
		err = w.err
	}
	return w.n, err
}
