package tcpserver

import (
	"bytes"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// ProxyListener returns ln for a server whose proxies may begin a connection with a
// PROXY header, v1 or v2. RemoteAddr then returns the address in the header. The
// listener accepts headers from trusted addresses only. RemoteAddr and the first
// Read wait up to timeout for the first bytes of a proxy; Accept does not wait.
func ProxyListener(ln net.Listener, trusted []netip.Prefix, timeout time.Duration) net.Listener {
	if len(trusted) == 0 {
		return ln
	}
	return &proxyListener{ln, trusted, timeout}
}

type proxyListener struct {
	net.Listener
	trusted []netip.Prefix
	timeout time.Duration
}

func (l *proxyListener) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	if err != nil || !isTrusted(l.trusted, addrPort(nc.RemoteAddr()).Addr()) {
		return nc, err
	}
	return &proxiedConn{Conn: nc, timeout: l.timeout}, nil
}

func isTrusted(list []netip.Prefix, a netip.Addr) bool {
	a = a.WithZone("")
	return slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Contains(a) })
}

// proxiedConn is a connection of a trusted proxy.
type proxiedConn struct {
	net.Conn
	timeout time.Duration

	once   sync.Once
	remote net.Addr // address in the header; nil without one
	read   []byte   // input after the header that Read has not returned yet
	err    error
}

// NetConn returns the connection below.
func (c *proxiedConn) NetConn() net.Conn { return c.Conn }

func (c *proxiedConn) RemoteAddr() net.Addr {
	c.once.Do(c.begin)
	if c.remote != nil {
		return c.remote
	}
	return c.Conn.RemoteAddr()
}

func (c *proxiedConn) Read(b []byte) (int, error) {
	c.once.Do(c.begin)
	if len(c.read) > 0 {
		n := copy(b, c.read)
		c.read = c.read[n:]
		return n, nil
	}
	if c.err != nil {
		return 0, c.err
	}
	return c.Conn.Read(b)
}

// begin reads the header if the connection begins with one.
func (c *proxiedConn) begin() {
	c.Conn.SetReadDeadline(time.Now().Add(c.timeout))
	defer c.Conn.SetReadDeadline(time.Time{})
	var buf [512]byte
	for {
		size, err := proxyHeaderSize(c.read)
		if err != nil {
			if !bytes.HasPrefix(c.read, []byte(proxyWord)) && !bytes.HasPrefix(c.read, proxySignature) {
				return // a request without a header
			}
			c.fail(err)
			return
		}
		if size > 0 && size <= len(c.read) {
			remote, err := parseProxyHeader(c.read[:size])
			if err != nil {
				c.fail(err)
				return
			}
			c.read = c.read[size:]
			if remote.IsValid() {
				c.remote = net.TCPAddrFromAddrPort(remote)
			}
			return
		}
		n, err := c.Conn.Read(buf[:])
		c.read = append(c.read, buf[:n]...)
		if err != nil && n == 0 {
			c.fail(err)
			return
		}
	}
}

// fail ends the connection, because its caller's address is unknown.
func (c *proxiedConn) fail(err error) {
	c.read, c.err = nil, err
}
