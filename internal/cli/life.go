package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/longwire/longwire/protocol"
)

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
		l.ledger.Registered(*ev.Registered)
		l.note("connected", "", connectedText(l.addr, l.session.Dialect(), ev.Registered))
	case protocol.KindData:
		l.tell(happening{client: l.register.ID, kind: "received", seq: seqText(ev.Seq, ev.Ephemeral), text: string(ev.Payload), again: ev.Dup})
		l.expectAnswer(ev)
	case protocol.KindAsk:
		v := l.ledger.Ask(ev.Seq)
		l.session.AckData(time.Now(), v.Seq, v.Code, v.Result)
		l.note("asked", seqText(ev.Seq, false), v.Code.String())
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
		kind := "closed"
		if !l.leaving.IsZero() {
			kind = "left"
		}
		l.note(kind, "", closeText(c))
	}
}

// expectAnswer decides by the policy who answers a message, and when. A repeat
// gets the answer of before.
func (l *life) expectAnswer(ev protocol.Event) {
	a := answer{seq: ev.Seq, ephemeral: ev.Ephemeral, at: time.Now().Add(l.latency), result: []byte(l.result)}
	switch l.ack {
	case ackNever:
		return
	case ackReject:
		a.code = protocol.AckReject
	case ackManual:
		a.at = time.Time{}
		if ev.Seq == 0 && len(l.pending) > 0 {
			return // v1 has one message under way: a repeat; one answer will do
		}
	}
	if ev.Seq != 0 && !ev.Ephemeral {
		ticket, v, known := l.ledger.Receive(ev.Seq, ev.Payload)
		if known {
			l.send(answer{seq: v.Seq, code: v.Code, result: v.Result})
			return
		}
		a.ticket = ticket
	}
	if len(l.pending) == maxWaiting {
		l.ledger.Decide(a.ticket, protocol.AckRetry, nil)
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

// answer gives a verdict; the ledger remembers it, in memory only.
func (l *life) answer(a answer) {
	l.ledger.Decide(a.ticket, a.code, a.result)
	l.ledger.Unsaved()
	l.ledger.Release(true)
	l.send(a)
}

func (l *life) send(a answer) {
	answerWith := l.session.AckData
	if a.ephemeral {
		answerWith = l.session.AckEphemeral
	}
	seq := seqText(a.seq, a.ephemeral)
	switch err := answerWith(time.Now(), a.seq, a.code, a.result); {
	case err != nil:
		l.note("refused", seq, err.Error())
	case a.code != protocol.AckWorking:
		l.note("answered", seq, a.code.String())
	}
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
