package tcpserver

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// socketListener accepts sockets without package net. Package net would read each
// local address, set the options that a socket inherits anyway, and add it to the
// runtime's poller, from which adopt would remove it: ten of the seventeen system
// calls of a registration.
type socketListener struct {
	file *os.File // owns the socket; its poller wakes Accept
	raw  syscall.RawConn
	addr net.Addr
}

// acceptSockets takes over the socket of ln. If that fails it returns ln.
func acceptSockets(ln net.Listener) net.Listener {
	tcp, ok := ln.(*net.TCPListener)
	if !ok {
		return ln
	}
	file, err := tcp.File()
	if err != nil {
		return ln
	}
	l := &socketListener{file: file, addr: tcp.Addr()}
	if l.raw, err = file.SyscallConn(); err == nil {
		err = file.SetReadDeadline(time.Time{}) // only a polled file has one
	}
	if err == nil {
		var set error
		err = l.raw.Control(func(fd uintptr) { set = inherit(int(fd)) })
		err = errors.Join(err, set)
	}
	if err != nil {
		file.Close()
		return ln
	}
	tcp.Close()
	return l
}

// inherit sets the options that accepted sockets inherit.
func inherit(fd int) error {
	for _, o := range []struct{ level, name, value int }{
		{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
		{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, int(keepAliveIdle.Seconds())},
		{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, int(keepAliveInterval.Seconds())},
		{unix.IPPROTO_TCP, unix.TCP_KEEPCNT, keepAliveCount},
		{unix.IPPROTO_TCP, unix.TCP_NODELAY, 1},
	} {
		if err := unix.SetsockoptInt(fd, o.level, o.name, o.value); err != nil {
			return os.NewSyscallError("setsockopt", err)
		}
	}
	return nil
}

func (l *socketListener) Accept() (net.Conn, error) {
	s := &socket{fd: -1}
	var err error
	readErr := l.raw.Read(func(fd uintptr) bool {
		for {
			n, from, e := unix.Accept4(int(fd), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
			switch e {
			case nil:
				s.fd, s.remote = n, addrPortOf(from)
			case unix.EAGAIN:
				return false
			case unix.EINTR, unix.ECONNABORTED:
				continue
			default:
				err = os.NewSyscallError("accept4", e)
			}
			return true
		}
	})
	if readErr != nil {
		return nil, &net.OpError{Op: "accept", Net: "tcp", Addr: l.addr, Err: net.ErrClosed}
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

func (l *socketListener) Close() error   { return l.file.Close() }
func (l *socketListener) Addr() net.Addr { return l.addr }

func addrPortOf(a unix.Sockaddr) netip.AddrPort {
	switch a := a.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr).Unmap(), uint16(a.Port))
	}
	return netip.AddrPort{}
}

// socket is an accepted connection until a poller adopts it or asNetConn makes it a
// connection of package net. It cannot be read or written.
type socket struct {
	fd     int // -1 = closed, or owned by another part
	remote netip.AddrPort
}

// take returns the descriptor. The caller owns it from then on.
func (s *socket) take() int {
	fd := s.fd
	s.fd = -1
	return fd
}

// asNetConn makes the socket a connection of package net. If the system has no room
// for that, it closes the socket and returns it.
func (s *socket) asNetConn() net.Conn {
	f := os.NewFile(uintptr(s.take()), "device")
	defer f.Close()
	nc, err := net.FileConn(f)
	if err != nil {
		return s
	}
	return nc
}

func (s *socket) Close() error {
	if s.fd < 0 {
		return net.ErrClosed
	}
	return unix.Close(s.take())
}

// SetLinger does the same as that of net.TCPConn.
func (s *socket) SetLinger(seconds int) error {
	return unix.SetsockoptLinger(s.fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1, Linger: int32(seconds)})
}

func (s *socket) LocalAddr() net.Addr            { return nil }
func (s *socket) RemoteAddr() net.Addr           { return net.TCPAddrFromAddrPort(s.remote) }
func (*socket) Read([]byte) (int, error)         { return 0, net.ErrClosed }
func (*socket) Write([]byte) (int, error)        { return 0, net.ErrClosed }
func (*socket) SetDeadline(time.Time) error      { return net.ErrClosed }
func (*socket) SetReadDeadline(time.Time) error  { return net.ErrClosed }
func (*socket) SetWriteDeadline(time.Time) error { return net.ErrClosed }
