package tcpserver

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/pires/go-proxyproto"

	"github.com/longwire/longwire/protocol"
)

// The sizes of a PROXY header (SPEC §1.2).
const (
	maxProxyLine  = 107      // v1, with its CRLF
	proxyPrefix   = 16       // v2: signature, command, family and length
	maxProxyFrame = 4 << 10  // v2 with the proxy's additions
	proxyWord     = "PROXY " // v1
	proxyLocal    = 0x20     // v2: version 2, command LOCAL
)

var (
	proxySignature = []byte("\r\n\r\n\x00\r\nQUIT\n") // v2

	errNoProxyHeader = errors.New("no PROXY header")
	errProxyTooLong  = errors.New("PROXY header too long")
)

// isTrustedProxy reports whether connections from a begin with a proxy's header.
func (s *Server) isTrustedProxy(a netip.Addr) bool { return isTrusted(s.cfg.ProxyTrusted, a) }

// readProxyHeader reads the header of a trusted proxy and takes the device's
// address from it. A connection of the proxy itself (LOCAL, or UNKNOWN in v1) keeps
// the proxy's address.
func (p *preamble) readProxyHeader() *ending {
	if !p.srv.isTrustedProxy(p.remote.Addr()) {
		return nil
	}
	for {
		n, err := proxyHeaderSize(p.read())
		if err != nil {
			return &ending{reason: protocol.ReasonProxyRequired, refused: true, err: err}
		}
		if n > 0 && n <= len(p.read()) {
			return p.takeProxyHeader(n)
		}
		if err := p.more(); err != nil {
			return lost(err)
		}
	}
}

func (p *preamble) takeProxyHeader(n int) *ending {
	remote, err := parseProxyHeader(p.read()[:n])
	if err != nil {
		return &ending{reason: protocol.ReasonProxyRequired, refused: true, err: err}
	}
	p.use(n)
	if len(p.read()) == 0 {
		p.releaseInput() // the next input may come late, and this buffer may be a large one
	}
	if remote.IsValid() {
		p.remote = remote
	}
	if reason := p.srv.attribute(p); reason != "" {
		return refusedBy(reason, overloaded())
	}
	return nil
}

// proxyHeaderSize returns the length of the header that b begins with, 0 if b is
// too short to know.
func proxyHeaderSize(b []byte) (int, error) {
	switch {
	case startsLike(b, proxySignature):
		if len(b) < proxyPrefix {
			return 0, nil
		}
		n := proxyPrefix + int(binary.BigEndian.Uint16(b[proxyPrefix-2:]))
		if n > maxProxyFrame {
			return 0, errProxyTooLong
		}
		return n, nil
	case startsLike(b, []byte(proxyWord)):
		end := bytes.IndexByte(b, '\n') + 1
		if end > maxProxyLine || end == 0 && len(b) >= maxProxyLine {
			return 0, errProxyTooLong
		}
		return end, nil
	}
	return 0, errNoProxyHeader
}

// startsLike reports whether b begins with prefix, or may do so with more input.
func startsLike(b, prefix []byte) bool {
	n := min(len(b), len(prefix))
	return bytes.Equal(b[:n], prefix[:n])
}

// parseProxyHeader returns the device's address from a complete header, invalid if
// the proxy speaks for itself.
func parseProxyHeader(b []byte) (netip.AddrPort, error) {
	if bytes.HasPrefix(b, proxySignature) && b[len(proxySignature)] == proxyLocal {
		return netip.AddrPort{}, nil // whatever its family says and its addresses are
	}
	h, err := proxyproto.Read(bufio.NewReaderSize(bytes.NewReader(b), len(b)))
	if err != nil {
		return netip.AddrPort{}, err
	}
	if h.Command.IsLocal() {
		return netip.AddrPort{}, nil
	}
	source, ok := h.SourceAddr.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}, fmt.Errorf("PROXY header for %v, not for TCP", h.TransportProtocol)
	}
	return addrPort(source), nil
}
