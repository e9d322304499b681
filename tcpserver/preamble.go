package tcpserver

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/longwire/longwire/protocol"
)

// preamble is the part of a connection before the device protocol: the header of a
// trusted proxy, and a TLS handshake. Only connections that may have one go through
// it. It runs in a goroutine that ends before the connection's own begins, because
// the stack of a handshake is four times as large as an idle connection needs.
// MaxUnregistered bounds their number. The registration deadline, which counts from
// the accept, bounds the time of each.
type preamble struct {
	srv   *Server
	base  net.Conn // as accepted
	since time.Time

	// Guarded by the server's mutex.
	counted bool          // it counts as an open connection
	place   *waitingPlace // its place among the unregistered; nil after a newcomer has replaced it

	// Owned by run.
	nc     net.Conn       // base, or the TLS connection on top of it
	remote netip.AddrPort // the proxy's address until the header is read
	in     *inbound       // unused input; nil for none
}

// ending is the reason why a preamble does not lead to a connection.
type ending struct {
	reason  string
	refused bool            // by a rule or a limit of this server; else the connection was lost
	close   *protocol.Close // sent to the device if its dialect is known; nil for none
	err     error
}

// text returns the details behind the reason.
func (e *ending) text() string {
	switch {
	case e.close != nil:
		return e.close.Text
	case e.err != nil:
		return e.err.Error()
	}
	return ""
}

func refusedBy(reason string, why *protocol.Close) *ending {
	return &ending{reason: reason, refused: true, close: why}
}

// lost is the ending by an error of the socket.
func lost(err error) *ending {
	reason := protocol.ReasonConnectionLost
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		reason = protocol.ReasonRegisterTimeout
	case errors.Is(err, io.EOF):
		reason = protocol.ReasonHungUp
	}
	return &ending{reason: reason, err: err}
}

// run executes the steps and hands the connection over.
func (p *preamble) run() {
	defer p.releaseInput()
	p.base.SetDeadline(p.since.Add(p.srv.cfg.Protocol.RegisterTimeout))
	end := p.readProxyHeader()
	if end == nil {
		end = p.encrypt()
	}
	if end != nil {
		p.end(end)
		return
	}
	p.base.SetDeadline(time.Time{})
	p.srv.begin(p)
}

// begin makes a connection after the preamble. Unused input of the preamble is its
// first input.
func (s *Server) begin(p *preamble) {
	c := newConn(s, p.remote, p.since)
	c.mu.Lock() // a goroutine that finds c in the server's list waits until c has started
	defer c.mu.Unlock()
	if reason := s.join(c, p); reason != "" {
		abandon(p.nc, true)
		s.stats.closed.add(reason)
		return
	}
	if first := p.read(); len(first) > 0 {
		c.takeLocked(first, time.Now()) // counted until the connection is removed, so not before join
		c.wantTurn()
	}
	c.startLocked(p.nc)
}

// end closes the connection before the protocol has begun.
func (p *preamble) end(e *ending) {
	s := p.srv
	switch {
	case s.stopped():
		e = &ending{reason: protocol.ReasonShutdown}
	case s.displaced(p):
		e = &ending{reason: protocol.ReasonOverloaded, err: e.err}
	}
	s.log.Debug("connection ended before the protocol", "remote", p.remote, "reason", e.reason, "error", e.err)
	if e.refused {
		s.stats.refused.add(e.reason)
	}
	if e.reason == protocol.ReasonTLSRequired || e.reason == protocol.ReasonProxyRequired {
		s.logStranger(p.remote, e.reason, e.text())
	}
	s.stats.closed.add(e.reason)
	if e.close != nil {
		p.sendClose(*e.close)
	}
	// A reset might overtake the TLS alert that explains a failed handshake.
	abandon(p.base, e.reason != closedTLSHandshake)
	s.leave(p)
}

// more waits for input and adds it to the unused input. It returns an error of the
// socket only if it read no bytes. The input is at most as large as the largest
// header of a proxy.
func (p *preamble) more() error {
	switch {
	case p.in == nil:
		p.in = smallReads.Get().(*inbound)
	case p.in.n == len(p.in.buf):
		large := takeLarge()
		large.n = copy(large.buf, p.in.bytes())
		p.in.release()
		p.in = large
	}
	n, err := p.base.Read(p.in.buf[p.in.n:])
	p.in.n += n
	if n > 0 {
		return nil // the next read returns the error
	}
	return err
}

// read returns the unused input.
func (p *preamble) read() []byte {
	if p.in == nil {
		return nil
	}
	return p.in.bytes()
}

// use drops the first n bytes of the input.
func (p *preamble) use(n int) { p.in.n = copy(p.in.buf, p.in.buf[n:p.in.n]) }

func (p *preamble) releaseInput() {
	if p.in != nil {
		p.in.release()
		p.in = nil
	}
}

// sendClose sends why to a device whose first bytes show its dialect. The device
// has LingerTimeout to read it.
func (p *preamble) sendClose(why protocol.Close) {
	p.base.SetDeadline(time.Now().Add(p.srv.cfg.LingerTimeout))
	if len(p.read()) == 0 && p.more() != nil {
		return
	}
	words := closeOutput(&p.srv.cfg.Protocol, p.read(), why)
	if len(words) == 0 {
		return
	}
	p.releaseInput()
	if _, err := p.base.Write(words); err != nil {
		return
	}
	if t, ok := p.base.(*net.TCPConn); ok {
		t.CloseWrite()
	}
	// If input is unread, a close is a reset, and the device might not read its
	// output.
	io.CopyN(io.Discard, p.base, lingerBytes)
}

// closeOutput returns the frames that close a device that has sent input, empty if
// its dialect has none.
func closeOutput(cfg *protocol.Config, said []byte, why protocol.Close) []byte {
	now := time.Now()
	s := protocol.NewServer(cfg, now)
	s.Receive(now, said)
	s.Refuse(now, why) // v1 has an answer to a REGISTER, but none for the end
	s.Close(why)
	return bytes.Clone(s.AppendOutput(nil))
}
