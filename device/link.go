package device

import (
	"cmp"
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"time"

	"github.com/longwire/longwire/protocol"
)

// link is one connection. Run's goroutine owns it; reader and writer use only
// conn and their channels.
type link struct {
	c       *Client
	conn    net.Conn
	s       *protocol.Session
	number  uint64 // which connection of the client this is
	why     protocol.Close
	ended   bool      // KindClosed was seen
	unsaid  bool      // it was seen before any input: the registration cannot be sent
	blocked bool      // the session takes no more uplinks for now
	leaving time.Time // the latest time to close, zero until ctx ends

	registered bool
	since      time.Time     // when it was registered
	asks       bool          // both ends use ASK
	worked     time.Time     // time of the last sayWorking
	patience   time.Duration // time between two sayWorking

	read    chan []byte   // bytes of one read; the buffer is returned with next
	next    chan struct{} // the reader may reuse its buffer
	lost    chan error    // the reader's error; capacity 1
	write   chan []byte   // output for the writer; at most one at a time
	written chan int      // number of bytes written; capacity 1
	writing bool
	spare   []byte // output buffer while the writer has none
}

const (
	readSize = 4 << 10
	// lastWords is how long the final bytes of a session may take.
	lastWords = time.Second
	// workingEvery is the time between two AckWorking for one delivery,
	// progressEvery if it has a new note. Both are above one second, the shortest
	// interval that the gateway accepts (SPEC §2.3).
	workingEvery  = 10 * time.Second
	progressEvery = 2 * time.Second
)

func newLink(c *Client, conn net.Conn, token string) *link {
	c.mu.Lock()
	c.sessions++
	number := c.sessions
	log, askThrough := c.ledger.Connect()
	for _, u := range c.uplinks {
		u.inFlight = false
	}
	c.mu.Unlock()
	r := protocol.Register{ID: c.cfg.ID, Token: token, Labels: c.cfg.Labels, Groups: c.cfg.Groups,
		Heartbeat: c.cfg.Heartbeat, Window: c.cfg.Window, Log: log, Asks: c.cfg.Dialect.Resumes(), AskThrough: askThrough}
	return &link{c: c, conn: conn, number: number, patience: workingEvery,
		s:    protocol.NewDevice(c.cfg.Protocol, c.cfg.Dialect, r, time.Now()),
		read: make(chan []byte), next: make(chan struct{}), lost: make(chan error, 1),
		write: make(chan []byte, 1), written: make(chan int, 1)}
}

// run drives the session until it is closed, and returns the reason.
func (l *link) run(ctx context.Context) protocol.Close {
	var helpers sync.WaitGroup
	done := make(chan struct{})
	helpers.Go(func() { l.readLoop(done) })
	helpers.Go(l.writeLoop)
	timer := time.NewTimer(0)
	defer timer.Stop()
	stop := ctx.Done()
	l.pump()
	l.unsaid = l.ended
	for ; !l.ended; l.pump() {
		l.schedule(timer)
		select {
		case p := <-l.read:
			l.s.Receive(time.Now(), p)
			l.next <- struct{}{}
		case err := <-l.lost:
			l.lose(err)
		case n := <-l.written:
			l.writing = false
			l.s.Flushed(time.Now(), n)
		case <-timer.C:
			l.s.Advance(time.Now())
		case <-l.c.wake:
		case <-stop:
			stop, l.leaving = nil, time.Now().Add(lastWords)
		}
	}
	l.finish()
	close(done)
	helpers.Wait()
	return l.why
}

// forGood reports whether the device must not come back. If it has closed the
// connection itself, because the gateway or a proxy broke the protocol, it comes back
// (SPEC §7.4).
func (l *link) forGood() bool { return !l.why.Code.Reconnect() && (l.why.Remote || l.unsaid) }

// settled reports whether the registration has lasted long enough to end the backoff
// (SPEC §7.4).
func (l *link) settled() bool { return l.registered && time.Since(l.since) >= settledAfter }

// leave closes the session at the end of ctx, when its output is on its way or the time
// is up: in v1 an answer waits for the gap after the frame before it.
func (l *link) leave() {
	if now := time.Now(); !l.leaving.IsZero() && (l.s.Buffered() == 0 || !now.Before(l.leaving)) {
		l.s.Close(protocol.Close{Reason: protocol.ReasonClientClosed})
	}
}

// lose ends the session after an error of the socket. It cannot be a timeout,
// because the reader has no deadline.
func (l *link) lose(err error) {
	l.s.EOF()
	l.why.Text = err.Error()
}

// finish writes the last output of the session and closes the connection, which
// wakes reader and writer.
func (l *link) finish() {
	_ = l.conn.SetWriteDeadline(time.Now().Add(lastWords))
	if l.writing {
		<-l.written
		l.writing = false
	}
	l.writeOutput()
	close(l.write)
	if l.writing {
		<-l.written
	}
	_ = l.conn.Close()
}

// schedule sets the timer to the next deadline of the session, of an uplink to be
// repeated, of sayWorking, or of leave.
func (l *link) schedule(timer *time.Timer) {
	at, ok := l.s.Deadline()
	if l.registered && !l.blocked { // otherwise an event comes first
		if retry, waits := l.c.nextRetry(); waits && (!ok || retry.Before(at)) {
			at, ok = retry, true
		}
	}
	if due, works := l.workingDue(); works && (!ok || due.Before(at)) {
		at, ok = due, true
	}
	if !l.leaving.IsZero() && (!ok || l.leaving.Before(at)) {
		at, ok = l.leaving, true
	}
	if !ok {
		timer.Stop()
		return
	}
	timer.Reset(max(0, time.Until(at)))
}

// pump moves events, answers, uplinks and output as far as possible.
func (l *link) pump() {
	l.leave()
	for e, ok := l.s.Next(); ok; e, ok = l.s.Next() {
		l.event(e)
	}
	if l.registered && !l.ended {
		l.sayWorking()
		l.giveAnswers()
		l.sendUplinks()
	}
	l.writeOutput()
}

func (l *link) event(e protocol.Event) {
	if e.Registered != nil {
		e.Registered.MaxPayload = l.s.MaxPayload() // not each dialect names it
	}
	if e.Kind != protocol.KindData && e.Kind != protocol.KindAck { // those two know more of it
		l.c.trace(Step{Event: e})
	}
	switch e.Kind {
	case protocol.KindRegistered:
		l.registered, l.since, l.asks = true, time.Now(), e.Registered.Ask
		l.worked = l.since
		l.c.accepted(*e.Registered)
	case protocol.KindData:
		l.deliver(e)
	case protocol.KindAsk:
		l.asked(e.Seq)
	case protocol.KindAck:
		l.c.uplinkAcked(e)
	case protocol.KindAckTimeout:
		l.repeatUplink(e.Seq)
	case protocol.KindWritable:
		l.blocked = false
	case protocol.KindMalformed:
		l.c.log.Warn("input refused", "reason", e.Close.Reason, "text", e.Close.Text)
	case protocol.KindClosed:
		l.ended = true
		e.Close.Text = cmp.Or(e.Close.Text, l.why.Text)
		l.why = e.Close
	}
}

// writeOutput hands the pending output to the writer if it is idle.
func (l *link) writeOutput() {
	if l.writing || l.s.Pending() == 0 {
		return
	}
	l.spare = l.s.AppendOutput(l.spare[:0])
	l.writing = true
	l.write <- l.spare
}

func (l *link) writeLoop() {
	for p := range l.write {
		n, _ := l.conn.Write(p) // the reader gets the error, too
		l.written <- n
	}
}

func (l *link) readLoop(done <-chan struct{}) {
	buf := make([]byte, readSize)
	for {
		n, err := l.conn.Read(buf)
		if n > 0 {
			select {
			case l.read <- buf[:n]:
			case <-done:
				return
			}
			select {
			case <-l.next:
			case <-done:
				return
			}
		}
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			l.lost <- err
			return
		}
	}
}

// accepted processes the gateway's answer to the registration.
func (c *Client) accepted(r protocol.Registered) {
	c.mu.Lock()
	forgot := c.ledger.Registered(r)
	c.mu.Unlock()
	if forgot {
		c.log.Warn("the gateway has another log: verdicts on earlier deliveries no longer count", "log", r.Log)
		c.save()
	}
	c.log.Info("connected", "session", r.Session, "resumed", r.Resumed, "window", r.Window)
	if c.cfg.OnConnect != nil {
		c.cfg.OnConnect(r)
	}
}
