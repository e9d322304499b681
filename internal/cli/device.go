package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"time"

	"github.com/longwire/longwire/protocol"
)

// ackPolicy says how a simulated device answers what it gets.
type ackPolicy string

const (
	ackAuto   ackPolicy = "auto"
	ackManual ackPolicy = "manual"
	ackNever  ackPolicy = "never"
	ackReject ackPolicy = "reject"
)

const (
	dialTimeout  = 10 * time.Second
	writeTimeout = 10 * time.Second
	// maxWaiting bounds the uplinks and the unanswered messages that a device
	// holds. At the bound no more is taken from the keyboard, and a message
	// stays unanswered, which is told.
	maxWaiting = 1000
	minBackoff = 500 * time.Millisecond
	maxBackoff = 30 * time.Second
)

// deviceConfig is what all devices of one command have in common.
type deviceConfig struct {
	addr      string
	dialect   protocol.Dialect
	register  protocol.Register // its ID is left to each device
	ack       ackPolicy
	result    string        // sent with each ack
	latency   time.Duration // between getting a message and answering it
	reconnect bool
	protocol  *protocol.Config
	dial      func(ctx context.Context, addr string) (net.Conn, error)
	// tell is called from the device's goroutine for everything that happens;
	// it must be quick.
	tell func(happening)
}

// happening is one thing that a device did or met.
type happening struct {
	client string
	kind   string // connected, received, answered, sent, stored, refused, closed, retrying, ignored
	seq    string
	text   string
	again  bool // received: the server says it has sent this before
}

// device is one simulated device: run is its goroutine, with one reader per
// connection. All fields belong to run but commands.
type device struct {
	deviceConfig
	commands chan command
	ended    chan struct{} // closed when run returns: nobody takes commands any more

	uplinkSeq uint64
	uplinks   []uplink // not stored by the server yet, oldest first
	pending   []answer // received, to be answered (by policy or by hand), oldest first
}

// command is what a person typed.
type command struct {
	uplink []byte           // nil for an answer
	seq    string           // answer: which message, "" for the oldest
	code   protocol.AckCode // answer
	result []byte
}

type uplink struct {
	seq     uint64
	payload []byte
	sent    bool // on this connection
}

// answer is a message that waits for the device's verdict.
type answer struct {
	seq       uint64
	ephemeral bool
	at        time.Time // when the policy answers; zero = a person does
	code      protocol.AckCode
	result    []byte
}

func newDevice(cfg deviceConfig, id string) *device {
	cfg.register.ID = id
	return &device{deviceConfig: cfg, commands: make(chan command), ended: make(chan struct{})}
}

// errClosed is the end of a device that is not to come back.
type errClosed struct{ protocol.Close }

func (e errClosed) Error() string { return "disconnected: " + closeText(e.Close) }

// run connects, and connects again, until ctx ends (then nil) or the server
// says to stay away.
func (d *device) run(ctx context.Context) error {
	defer close(d.ended)
	for failures := 0; ; {
		registered, err := d.once(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if registered {
			failures = 0
		}
		failures++
		closed, _ := errors.AsType[errClosed](err)
		if !d.reconnect || !closed.Code.Reconnect() {
			return err
		}
		pause := max(closed.RetryAfter, backoff(failures))
		d.note("retrying", "", fmt.Sprintf("%s; again in %s", oneLine(err.Error()), pause.Round(10*time.Millisecond)))
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil
		}
	}
}

// backoff is a random pause below a ceiling that doubles, so that a fleet does
// not come back in one wave.
func backoff(failures int) time.Duration {
	ceiling := min(maxBackoff, minBackoff<<min(failures-1, 10))
	return ceiling/4 + rand.N(ceiling*3/4)
}

// once lives one connection. registered tells that the server took it.
func (d *device) once(ctx context.Context) (registered bool, err error) {
	dctx, cancel := context.WithTimeout(ctx, dialTimeout)
	conn, err := d.dial(dctx, d.addr)
	cancel()
	if err != nil {
		return false, err
	}
	defer conn.Close()
	l := &life{device: d, conn: conn, session: protocol.NewDevice(d.protocol, d.dialect, d.register, time.Now())}
	err = l.live(ctx)
	return l.registered, err
}

// life is one connection of a device.
type life struct {
	*device
	conn       net.Conn
	session    *protocol.Session
	registered bool
	leaving    time.Time // when to close at the latest, zero while nobody wants to
	closed     *protocol.Close
}

// leaveWithin is how long a device that ends waits for its last words to get
// out: v1 keeps a gap between any two of them.
const leaveWithin = time.Second

// live drives the session until it is closed. The reader ends when the
// connection is closed, which once does as soon as live returns.
func (l *life) live(ctx context.Context) error {
	for i := range l.uplinks {
		l.uplinks[i].sent = false
	}
	l.pending = nil // the server sends again what was not answered
	in := make(chan []byte)
	done := make(chan struct{})
	defer close(done)
	go readInto(l.conn, in, done)

	timer := time.NewTimer(0)
	defer timer.Stop()
	stop := ctx.Done()
	for {
		now := time.Now()
		l.answerDue(now)
		l.sendUplinks(now)
		l.leave(now)
		if err := l.flush(); err != nil {
			l.session.EOF(time.Now())
		}
		if l.takeEvents(); l.closed != nil {
			l.flush() // the goodbye; an error changes nothing
			return errClosed{*l.closed}
		}
		l.arm(timer)
		typed := l.commands
		if len(l.uplinks) == maxWaiting {
			typed = nil // whoever types waits until the server has stored some
		}
		select {
		case p, ok := <-in:
			if !ok {
				l.session.EOF(time.Now())
				in = nil
			} else {
				l.session.Receive(time.Now(), p)
			}
		case <-timer.C:
			l.session.Advance(time.Now())
		case c := <-typed:
			l.command(c)
		case <-stop:
			stop, l.leaving = nil, time.Now().Add(leaveWithin)
		}
		l.takeEvents()
	}
}

// leave closes the session once nothing waits to be written.
func (l *life) leave(now time.Time) {
	if !l.leaving.IsZero() && (l.session.Buffered() == 0 || !now.Before(l.leaving)) {
		l.session.Close(now, protocol.Close{Reason: protocol.ReasonClientClosed})
	}
}

// readInto passes on each read as one piece, for in v1 a read is a message.
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

// flush writes what the session has ready.
func (l *life) flush() error {
	for l.session.Pending() > 0 {
		b := l.session.AppendOutput(nil)
		l.conn.SetWriteDeadline(time.Now().Add(writeTimeout))
		n, err := l.conn.Write(b)
		l.session.Flushed(time.Now(), n)
		if err != nil {
			return err
		}
	}
	return nil
}

// arm sets the timer to the next instant at which there is something to do.
func (l *life) arm(t *time.Timer) {
	next, ok := l.session.Deadline()
	for _, a := range l.pending {
		if !a.at.IsZero() && (!ok || a.at.Before(next)) {
			next, ok = a.at, true
		}
	}
	if !l.leaving.IsZero() && (!ok || l.leaving.Before(next)) {
		next, ok = l.leaving, true
	}
	if !ok {
		t.Stop()
		return
	}
	t.Reset(max(0, time.Until(next)))
}

func (l *life) takeEvents() {
	for {
		ev, ok := l.session.Next()
		if !ok {
			return
		}
		l.event(ev)
	}
}

func (l *life) event(ev protocol.Event) {
	switch ev.Kind {
	case protocol.KindRegistered:
		l.registered = true
		l.note("connected", "", connectedText(l.addr, l.session.Dialect(), ev.Registered))
	case protocol.KindData:
		l.tell(happening{client: l.register.ID, kind: "received", seq: seqText(ev.Seq, ev.Ephemeral), text: string(ev.Payload), again: ev.Dup})
		l.expectAnswer(ev)
	case protocol.KindAck:
		l.uplinkAcked(ev)
	case protocol.KindAckTimeout:
		for i := range l.uplinks {
			if l.uplinks[i].seq == ev.Seq {
				l.uplinks[i].sent = false
			}
		}
	case protocol.KindMalformed:
		l.note("ignored", "", closeText(ev.Close))
	case protocol.KindClosed:
		c := ev.Close
		l.closed = &c
		l.note("closed", "", closeText(c))
	}
}

// expectAnswer decides by the policy who answers a message, and when.
func (l *life) expectAnswer(ev protocol.Event) {
	a := answer{seq: ev.Seq, ephemeral: ev.Ephemeral, at: time.Now().Add(l.latency), result: []byte(l.result)}
	switch l.ack {
	case ackNever:
		return
	case ackReject:
		a.code = protocol.AckReject
	case ackManual:
		a.at = time.Time{}
		for _, p := range l.pending {
			if p.seq == a.seq && p.ephemeral == a.ephemeral {
				return // a repeat; one answer will do
			}
		}
	}
	if len(l.pending) == maxWaiting {
		l.note("ignored", seqText(ev.Seq, ev.Ephemeral), "too many messages wait for an answer")
		return
	}
	l.pending = append(l.pending, a)
}

// answerDue gives the answers whose time has come. All wait equally long, so
// they are due in order.
func (l *life) answerDue(now time.Time) {
	for len(l.pending) > 0 && !l.pending[0].at.IsZero() && !l.pending[0].at.After(now) {
		a := l.pending[0]
		l.pending = l.pending[1:]
		l.answer(a)
	}
}

func (l *life) answer(a answer) {
	answerWith := l.session.AckData
	if a.ephemeral {
		answerWith = l.session.AckEphemeral
	}
	seq := seqText(a.seq, a.ephemeral)
	if err := answerWith(time.Now(), a.seq, a.code, a.result); err != nil {
		l.note("refused", seq, err.Error())
		return
	}
	l.note("answered", seq, a.code.String())
}

// command does what a person typed.
func (l *life) command(c command) {
	if c.uplink != nil {
		l.queueUplink(c.uplink)
		return
	}
	for i, a := range l.pending {
		if c.seq == "" || c.seq == seqText(a.seq, a.ephemeral) {
			l.pending = append(l.pending[:i], l.pending[i+1:]...)
			a.code, a.result = c.code, c.result
			l.answer(a)
			return
		}
	}
	l.note("refused", c.seq, "no such message waits for an answer")
}

func (l *life) queueUplink(payload []byte) {
	if limit := l.session.MaxPayload(); l.registered && len(payload) > limit {
		l.note("refused", "", fmt.Sprintf("this dialect carries at most %d bytes", limit))
		return
	}
	l.uplinkSeq++
	l.uplinks = append(l.uplinks, uplink{seq: l.uplinkSeq, payload: payload})
}

// sendUplinks sends what is waiting, in order, as far as there is room; the
// rest goes out when an ack makes some.
func (l *life) sendUplinks(now time.Time) {
	if !l.registered {
		return
	}
	for i := range l.uplinks {
		u := &l.uplinks[i]
		if u.sent {
			continue
		}
		if err := l.session.Send(now, protocol.Data{Seq: u.seq, Payload: u.payload}); err != nil {
			if errors.Is(err, protocol.ErrTooLarge) {
				l.note("refused", seqText(u.seq, false), err.Error())
				l.uplinks = append(l.uplinks[:i], l.uplinks[i+1:]...)
			}
			return
		}
		u.sent = true
		l.note("sent", seqText(u.seq, false), string(u.payload))
	}
}

func (l *life) uplinkAcked(ev protocol.Event) {
	for i, u := range l.uplinks {
		if u.seq != ev.Seq {
			continue
		}
		if ev.Code == protocol.AckRetry {
			l.uplinks[i].sent = false
			return
		}
		l.uplinks = append(l.uplinks[:i], l.uplinks[i+1:]...)
		kind := "stored"
		if ev.Code == protocol.AckReject {
			kind = "refused"
		}
		l.note(kind, seqText(ev.Seq, false), string(ev.Payload))
		return
	}
}

func (d *device) note(kind, seq, text string) {
	d.tell(happening{client: d.register.ID, kind: kind, seq: seq, text: text})
}

// seqText writes a sequence as the text dialect does: e7 counts in this
// session only.
func seqText(seq uint64, ephemeral bool) string {
	switch {
	case ephemeral:
		return fmt.Sprintf("e%d", seq)
	case seq == 0:
		return ""
	}
	return fmt.Sprint(seq)
}

func connectedText(addr string, d protocol.Dialect, r *protocol.Registered) string {
	s := fmt.Sprintf("to %s, dialect %s", addr, d)
	if r != nil && r.Session != "" {
		s += ", " + r.Session
	}
	if r != nil && r.Heartbeat > 0 {
		s += ", heartbeat " + r.Heartbeat.String()
	}
	return s
}

func closeText(c protocol.Close) string {
	s := c.Reason
	if c.Text != "" && c.Text != c.Reason {
		s += ": " + c.Text
	}
	if c.Code != 0 {
		s += fmt.Sprintf(" (%d)", c.Code)
	}
	if c.RetryAfter > 0 {
		s += fmt.Sprintf(", come back after %s", c.RetryAfter)
	}
	if s == "" {
		return io.EOF.Error()
	}
	return s
}
