package cli

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/longwire/longwire/protocol"
)

// devicePort is the server's end of the device protocol: it takes every client,
// sends it "hello" and "bye", acks what it gets, and keeps a log. A client
// called "banned" is refused; one called "kicked" is asked to come back once, and
// one called "cut-off" when it has acked both. It asks for all that a client says
// it has handled.
type devicePort struct {
	listener net.Listener
	conns    sync.WaitGroup
	stop     context.CancelFunc
	ctx      context.Context

	mu      sync.Mutex
	changed chan struct{} // closed and replaced at each new line
	log     strings.Builder
	kicked  bool
}

func startDevicePort() (*devicePort, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &devicePort{listener: l, changed: make(chan struct{})}
	p.ctx, p.stop = context.WithCancel(context.Background())
	p.serveAll(l)
	return p, nil
}

// serveAll takes devices from l until it is closed.
func (p *devicePort) serveAll(l net.Listener) {
	p.conns.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			p.conns.Go(func() { p.serve(conn) })
		}
	})
}

func (p *devicePort) close() {
	p.stop()
	p.listener.Close()
	p.conns.Wait()
}

func (p *devicePort) line(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprintf(&p.log, format+"\n", args...)
	close(p.changed)
	p.changed = make(chan struct{})
}

// await returns the log once it satisfies ok, or as it is when ctx ends.
func (p *devicePort) await(ctx context.Context, ok func(string) bool) (string, bool) {
	for {
		p.mu.Lock()
		log, changed := p.log.String(), p.changed
		p.mu.Unlock()
		if ok(log) {
			return log, true
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return log, false
		}
	}
}

// serve drives one session until its end.
func (p *devicePort) serve(conn net.Conn) {
	defer conn.Close()
	s := protocol.NewServer(&protocol.Config{}, time.Now())
	in := make(chan []byte)
	done := make(chan struct{})
	defer close(done)
	go readInto(conn, in, done)
	c := &deviceConn{port: p, session: s, todo: []string{"hello", "bye"}}
	for {
		for c.takeEvents(); s.Pending() > 0; c.takeEvents() {
			b := s.AppendOutput(nil)
			if _, err := conn.Write(b); err != nil {
				return
			}
			s.Flushed(time.Now(), len(b))
		}
		if c.closed {
			return
		}
		wake := time.NewTimer(time.Hour)
		if at, ok := s.Deadline(); ok {
			wake.Reset(max(0, time.Until(at)))
		}
		select {
		case b, ok := <-in:
			if !ok {
				in = nil
				s.EOF()
			} else {
				s.Receive(time.Now(), b)
			}
		case <-wake.C:
			s.Advance(time.Now())
		case <-p.ctx.Done():
			return
		}
		wake.Stop()
	}
}

// deviceConn is one connection's script.
type deviceConn struct {
	port    *devicePort
	session *protocol.Session
	todo    []string // payloads not sent yet
	seq     uint64
	cut     bool // to be closed after the second ack
	closed  bool
}

func (c *deviceConn) takeEvents() {
	for {
		ev, ok := c.session.Next()
		if !ok {
			break
		}
		c.event(ev)
	}
	for c.session.Registered() && len(c.todo) > 0 {
		if c.session.Send(time.Now(), protocol.Data{Seq: c.seq + 1, Payload: []byte(c.todo[0])}) != nil {
			return // until the window has room
		}
		c.seq++
		c.todo = c.todo[1:]
	}
}

func (c *deviceConn) event(ev protocol.Event) {
	now := time.Now()
	switch ev.Kind {
	case protocol.KindRegister:
		r := ev.Register
		c.port.line("register %s %s token=%s labels=%v groups=%v", r.ID, c.session.Dialect(), r.Token, r.Labels, r.Groups)
		switch {
		case r.ID == "banned":
			c.session.Refuse(now, protocol.Close{Code: protocol.CloseUnauthorized, Reason: protocol.ReasonUnauthorized})
			return
		case r.ID == "kicked" && !c.port.kickOnce():
			c.session.Refuse(now, protocol.Close{Code: protocol.CloseShutdown, Reason: protocol.ReasonShutdown, RetryAfter: time.Millisecond})
			return
		}
		c.session.Accept(now, protocol.Registered{Session: "ses_1", Log: "log_1", Resumed: r.Log == "log_1", Ask: true})
		c.cut = r.ID == "cut-off" && !c.port.kickOnce()
		for c.seq < r.AskThrough {
			c.seq++
			c.todo = c.todo[1:]
			c.port.line("ask %d", c.seq)
			c.session.Ask(now, c.seq)
		}
	case protocol.KindAck:
		c.port.line("ack %d %s %q", ev.Seq, ev.Code, ev.Payload)
		if c.cut && ev.Seq == 2 {
			c.session.Close(protocol.Close{Code: protocol.CloseShutdown, RetryAfter: time.Millisecond})
		}
	case protocol.KindData:
		c.port.line("data %q", ev.Payload)
		c.session.AckData(now, ev.Seq, protocol.AckOK, nil)
	case protocol.KindClosed:
		c.port.line("closed %s", ev.Close.Reason)
		c.closed = true
	}
}

// kickOnce reports whether a client was kicked before.
func (p *devicePort) kickOnce() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	was := p.kicked
	p.kicked = true
	return was
}

// readInto sends each read as one piece, because in v1 a read is a message. It closes in
// at the end of conn.
func readInto(conn net.Conn, in chan<- []byte, done <-chan struct{}) {
	buf := make([]byte, 32<<10)
	for {
		n, err := conn.Read(buf)
		if n > 0 {
			select {
			case in <- append([]byte(nil), buf[:n]...):
			case <-done:
				return
			}
		}
		if err != nil {
			close(in)
			return
		}
	}
}
