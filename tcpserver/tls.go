package tcpserver

import (
	"bytes"
	"crypto/tls"
	"net"
	"syscall"

	"github.com/longwire/longwire/protocol"
)

// The first bytes of a TLS hello (SPEC §1.1): the type of a handshake record and
// the major version of every TLS version.
const (
	tlsHandshakeRecord = 0x16
	tlsMajorVersion    = 0x03
)

// tlsRequired closes a device that does not speak TLS.
var tlsRequired = protocol.Close{Code: protocol.CloseProtocol, Reason: protocol.ReasonTLSRequired,
	Text: "this port takes TLS only"}

// encrypt does the TLS handshake of a device that begins one.
func (p *preamble) encrypt() *ending {
	s := p.srv
	if s.cfg.TLS == nil {
		return nil // behind a proxy; the protocol refuses a TLS hello
	}
	hello, err := p.beginsTLS()
	switch {
	case err != nil:
		return lost(err)
	case !hello && s.cfg.TLSRequired:
		return refusedBy(protocol.ReasonTLSRequired, &tlsRequired)
	case !hello:
		return nil
	}
	if reason := s.limits.handshakes.take(sourceOf(p.remote)); reason != "" {
		return refusedBy(reason, nil)
	}
	return p.handshake()
}

// beginsTLS reads enough bytes to recognise a TLS hello.
func (p *preamble) beginsTLS() (bool, error) {
	for {
		b := p.read()
		switch {
		case len(b) > 0 && b[0] != tlsHandshakeRecord:
			return false, nil
		case len(b) > 1:
			return b[1] == tlsMajorVersion, nil
		}
		if err := p.more(); err != nil {
			return false, err
		}
	}
}

func (p *preamble) handshake() *ending {
	u := &underTLS{Conn: p.base, unread: bytes.Clone(p.read()), cpu: p.srv.handshakes}
	p.releaseInput()
	t := tls.Server(u, p.srv.cfg.TLS)
	u.begin()
	err := t.Handshake()
	u.end()
	if err != nil {
		e := lost(err)
		if e.reason != protocol.ReasonRegisterTimeout {
			e.reason = closedTLSHandshake
		}
		return e
	}
	p.srv.stats.handshakes.Add(1)
	p.nc = t
	return nil
}

// underTLS is the connection below a TLS connection. During the handshake it first
// returns the input that the preamble has read. Slots in cpu bound the handshakes
// that compute at a time: a signature takes a thousand times as long as a delivery,
// and a storm of handshakes must not starve the connected devices. A handshake that
// waits for the network holds no slot.
type underTLS struct {
	net.Conn
	unread  []byte
	cpu     chan struct{}   // nil after the handshake
	raw     syscall.RawConn // set after the handshake: reads do not wait any more; nil if they must
	drained bool            // owned by the read loop: all input was read, so the next step is to wait
}

func (u *underTLS) begin() {
	if u.cpu != nil {
		u.cpu <- struct{}{}
	}
}

// end ends the handshake.
func (u *underTLS) end() {
	u.pause()
	u.cpu = nil
	u.raw = rawConnOf(u.Conn)
}

func (u *underTLS) pause() {
	if u.cpu != nil {
		<-u.cpu
	}
}

func (u *underTLS) Read(p []byte) (int, error) {
	if len(u.unread) > 0 {
		n := copy(p, u.unread)
		if u.unread = u.unread[n:]; len(u.unread) == 0 {
			u.unread = nil
		}
		return n, nil
	}
	if u.raw != nil {
		return u.readNow(p)
	}
	u.pause()
	defer u.begin()
	return u.Conn.Read(p)
}

func (u *underTLS) Write(p []byte) (int, error) {
	u.pause()
	defer u.begin()
	return u.Conn.Write(p)
}

// overSocket returns nc as a TLS connection and the socket below it, nil if that
// cannot be read without waiting.
func overSocket(nc net.Conn) (*tls.Conn, *underTLS) {
	t, ok := nc.(*tls.Conn)
	if !ok {
		return nil, nil
	}
	u, ok := t.NetConn().(*underTLS)
	if !ok || u.raw == nil {
		return nil, nil
	}
	return t, u
}
