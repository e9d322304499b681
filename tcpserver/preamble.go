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

// preamble is what comes before the device protocol on a connection: the header
// of a trusted proxy, and a TLS handshake. Only connections that may have one
// go through it. It runs in a goroutine that ends before the connection's own
// begins: the stack of a handshake is four times as large as an idle connection
// needs. MaxUnregistered bounds how many there are, and the registration
// deadline, which counts from the accept, how long each takes.
type preamble struct {
	srv   *Server
	base  net.Conn // as accepted
	since time.Time

	// Guarded by the server's mutex.
	counted bool          // among the open connections
	place   *waitingPlace // among the unregistered; nil when another connection has got it

	// Owned by run.
	nc     net.Conn       // base, or the TLS connection over it
	remote netip.AddrPort // the proxy's until its header was read
	in     *inbound       // read and not used yet; nil for nothing
}

// ending is why a preamble does not lead to a connection.
type ending struct {
	reason  string
	refused bool            // by a rule or a limit of ours, not lost
	told    *protocol.Close // what the device is told where its dialect shows; nil for nothing
	err     error
}

func refusedBy(reason string, told *protocol.Close) *ending {
	return &ending{reason: reason, refused: true, told: told}
}

// lost is the end by an error of the socket.
func lost(err error) *ending {
	reason := protocol.ReasonConnectionLost
	if errors.Is(err, os.ErrDeadlineExceeded) {
		reason = protocol.ReasonRegisterTimeout
	}
	return &ending{reason: reason, err: err}
}

// run goes through the steps and hands the connection over.
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

// begin makes a connection of what is through with its preamble. What was read
// on the way is its first input.
func (s *Server) begin(p *preamble) {
	c := newConn(s, p.nc, p.remote, p.since)
	first := p.read()
	if len(first) > 0 {
		c.receive(first, time.Now())
	}
	if reason := s.join(c, p); reason != "" {
		abandon(p.nc, true)
		s.stats.closed.add(reason)
		return
	}
	c.start()
	if len(first) > 0 {
		c.wantTurn()
	}
}

// end closes the connection without it having begun.
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
	s.stats.closed.add(e.reason)
	if e.told != nil {
		p.tell(*e.told)
	}
	// A reset might overtake an alert that says what is wrong with a handshake.
	abandon(p.base, e.reason != closedTLSHandshake)
	s.leave(p)
}

// more waits for something to read and adds it to the input; the only error
// without any is one of the socket. The input is at most as large as the
// largest header of a proxy.
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
		return nil // an error comes again
	}
	return err
}

// read is what was read and not used yet.
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

// tell says why to a device whose first bytes show its dialect, and gives it
// the time of a lingering connection to read that.
func (p *preamble) tell(why protocol.Close) {
	p.base.SetDeadline(time.Now().Add(p.srv.cfg.LingerTimeout))
	if len(p.read()) == 0 && p.more() != nil {
		return
	}
	words := lastWords(&p.srv.cfg.Protocol, p.read(), why)
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
	// With bytes unread a close would be a reset, and the device might not
	// read the words at all.
	io.CopyN(io.Discard, p.base, lingerBytes)
}

// lastWords is what a device that has begun with said is told; nothing where
// its dialect has no words for it.
func lastWords(cfg *protocol.Config, said []byte, why protocol.Close) []byte {
	now := time.Now()
	s := protocol.NewServer(cfg, now)
	s.Receive(now, said)
	s.Refuse(now, why) // v1 has an answer to a REGISTER, but none for the end
	s.Close(now, why)
	return bytes.Clone(s.AppendOutput(nil))
}
