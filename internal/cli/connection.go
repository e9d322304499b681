package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/longwire/longwire/protocol"
)

// connection is one connection of a device. The goroutine of device.run owns it.
type connection struct {
	*device
	conn       net.Conn
	session    *protocol.Session
	registered bool
	heard      bool      // input has come
	leaving    time.Time // the latest time to close, zero while the device stays
	closed     *protocol.Close
}

// leaveWithin is how long a device that ends waits for its last output: v1 needs a
// gap between any two writes.
const leaveWithin = time.Second

// drive drives the session until it is closed. Its reader goroutine ends when
// connectOnce closes conn, which it does as soon as drive returns.
func (cn *connection) drive(ctx context.Context) error {
	for i := range cn.uplinks {
		cn.uplinks[i].sent = false
	}
	in := make(chan []byte)
	done := make(chan struct{})
	defer close(done)
	go readInto(cn.conn, in, done)

	timer := time.NewTimer(0)
	defer timer.Stop()
	stop := ctx.Done()
	for {
		now := time.Now()
		cn.answerDue(now)
		cn.sendUplinks(now)
		cn.leave(now)
		if err := cn.flush(); err != nil {
			cn.session.EOF(time.Now())
		}
		if cn.takeEvents(); cn.closed != nil {
			cn.flush() // sends the CLOSE; the device ends whether or not it is sent
			return errClosed{*cn.closed, !cn.heard}
		}
		cn.arm(timer)
		typed := cn.commands
		if len(cn.uplinks) == maxWaiting {
			typed = nil // the typing person waits until the server has stored some
		}
		select {
		case p, ok := <-in:
			if cn.heard = true; !ok {
				cn.session.EOF(time.Now())
				in = nil
			} else {
				cn.session.Receive(time.Now(), p)
			}
		case <-timer.C:
			cn.session.Advance(time.Now())
		case c := <-typed:
			cn.command(c)
		case <-stop:
			stop, cn.leaving = nil, time.Now().Add(leaveWithin)
		}
		cn.takeEvents()
	}
}

// leave closes the session when the output is written or the time is up.
func (cn *connection) leave(now time.Time) {
	if !cn.leaving.IsZero() && (cn.session.Buffered() == 0 || !now.Before(cn.leaving)) {
		cn.session.Close(now, protocol.Close{Reason: protocol.ReasonClientClosed})
	}
}

// readInto sends each read as one piece, because in v1 a read is a message.
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

// flush writes the pending output of the session.
func (cn *connection) flush() error {
	for cn.session.Pending() > 0 {
		b := cn.session.AppendOutput(nil)
		cn.conn.SetWriteDeadline(time.Now().Add(writeTimeout))
		n, err := cn.conn.Write(b)
		cn.session.Flushed(time.Now(), n)
		if err != nil {
			return err
		}
	}
	return nil
}

// arm sets the timer to the next deadline.
func (cn *connection) arm(t *time.Timer) {
	next, ok := cn.session.Deadline()
	for _, a := range cn.pending {
		if !a.at.IsZero() && (!ok || a.at.Before(next)) {
			next, ok = a.at, true
		}
	}
	now := time.Now()
	for _, u := range cn.uplinks {
		if !u.sent && u.notBefore.After(now) && (!ok || u.notBefore.Before(next)) {
			next, ok = u.notBefore, true
		}
	}
	if !cn.leaving.IsZero() && (!ok || cn.leaving.Before(next)) {
		next, ok = cn.leaving, true
	}
	if !ok {
		t.Stop()
		return
	}
	t.Reset(max(0, time.Until(next)))
}

func (cn *connection) takeEvents() {
	for {
		ev, ok := cn.session.Next()
		if !ok {
			return
		}
		cn.handle(ev)
	}
}

func (cn *connection) handle(ev protocol.Event) {
	switch ev.Kind {
	case protocol.KindRegistered:
		cn.registered = true
		cn.ledger.Registered(*ev.Registered)
		cn.note("connected", "", connectedText(cn.addr, cn.session.Dialect(), ev.Registered))
		if g := cn.register.Groups; len(g) > 0 {
			cn.note("groups", "", groupsText(cn.register.ID, g))
		}
	case protocol.KindData:
		cn.report(deviceEvent{client: cn.register.ID, kind: "received", seq: seqText(ev.Seq, ev.Ephemeral), text: string(ev.Payload), again: ev.Dup})
		cn.expectAnswer(ev)
	case protocol.KindAsk:
		v := cn.ledger.Ask(ev.Seq)
		cn.session.AckData(time.Now(), v.Seq, v.Code, v.Result)
		cn.note("asked", seqText(ev.Seq, false), v.Code.String())
	case protocol.KindAck:
		cn.uplinkAcked(ev)
	case protocol.KindAckTimeout:
		for i := range cn.uplinks {
			if cn.uplinks[i].seq == ev.Seq {
				cn.uplinks[i].sent = false
			}
		}
	case protocol.KindMalformed:
		cn.note("ignored", "", closeText(ev.Close))
	case protocol.KindClosed:
		c := ev.Close
		cn.closed = &c
		kind := "closed"
		if !cn.leaving.IsZero() {
			kind = "left"
		}
		cn.note(kind, "", closeText(c))
	}
}

// expectAnswer queues the answer that the policy gives, with its time. A repeated
// message gets its earlier answer.
func (cn *connection) expectAnswer(ev protocol.Event) {
	a := answer{seq: ev.Seq, ephemeral: ev.Ephemeral, at: time.Now().Add(cn.latency), result: []byte(cn.result)}
	switch cn.ack {
	case ackNever:
		return
	case ackReject:
		a.code = protocol.AckReject
	case ackManual:
		a.at = time.Time{}
		if ev.Seq == 0 && len(cn.pending) > 0 {
			return // a repeat: v1 has one message under way, and one answer is enough
		}
	}
	if ev.Seq != 0 && !ev.Ephemeral {
		ticket, v, known := cn.ledger.Receive(ev.Seq, ev.Payload)
		if known {
			cn.send(answer{seq: v.Seq, code: v.Code, result: v.Result})
			return
		}
		a.ticket = ticket
	}
	if len(cn.pending) == maxWaiting {
		cn.ledger.Decide(a.ticket, protocol.AckRetry, nil)
		cn.note("ignored", seqText(ev.Seq, ev.Ephemeral), "too many messages wait for an answer")
		return
	}
	cn.pending = append(cn.pending, a)
}

// answerDue sends the answers whose time has come. All wait equally long, so they
// are due in order.
func (cn *connection) answerDue(now time.Time) {
	for len(cn.pending) > 0 && !cn.pending[0].at.IsZero() && !cn.pending[0].at.After(now) {
		a := cn.pending[0]
		cn.pending = cn.pending[1:]
		cn.answer(a)
	}
}

// answer sends an answer. The ledger remembers it, in memory only.
func (cn *connection) answer(a answer) {
	cn.ledger.Decide(a.ticket, a.code, a.result)
	cn.ledger.Unsaved()
	cn.ledger.Release(true)
	cn.send(a)
}

func (cn *connection) send(a answer) {
	answerWith := cn.session.AckData
	if a.ephemeral {
		answerWith = cn.session.AckEphemeral
	}
	seq := seqText(a.seq, a.ephemeral)
	switch err := answerWith(time.Now(), a.seq, a.code, a.result); {
	case err != nil:
		cn.note("refused", seq, err.Error())
	case a.code != protocol.AckWorking:
		cn.note("answered", seq, a.code.String())
	}
}

// command executes a typed line.
func (cn *connection) command(c command) {
	if c.uplink != nil {
		cn.queueUplink(c.uplink)
		return
	}
	for i, a := range cn.pending {
		if c.seq == "" || c.seq == seqText(a.seq, a.ephemeral) {
			cn.pending = append(cn.pending[:i], cn.pending[i+1:]...)
			a.code, a.result = c.code, c.result
			cn.answer(a)
			return
		}
	}
	cn.note("refused", c.seq, "no such message waits for an answer")
}

func (cn *connection) queueUplink(payload []byte) {
	if limit := cn.session.MaxPayload(); cn.registered && len(payload) > limit {
		cn.note("refused", "", fmt.Sprintf("this dialect carries at most %d bytes", limit))
		return
	}
	cn.uplinkSeq++
	cn.uplinks = append(cn.uplinks, uplink{seq: cn.uplinkSeq, payload: payload})
}

// sendUplinks sends waiting uplinks in order while the session has room. An ack
// makes room for the others.
func (cn *connection) sendUplinks(now time.Time) {
	if !cn.registered {
		return
	}
	for i := range cn.uplinks {
		u := &cn.uplinks[i]
		if u.sent || now.Before(u.notBefore) {
			continue
		}
		if err := cn.session.Send(now, protocol.Data{Seq: u.seq, Payload: u.payload, Dup: u.again}); err != nil {
			if errors.Is(err, protocol.ErrTooLarge) {
				cn.note("refused", seqText(u.seq, false), err.Error())
				cn.uplinks = append(cn.uplinks[:i], cn.uplinks[i+1:]...)
			}
			return
		}
		u.sent, u.again = true, true
		cn.note("sent", seqText(u.seq, false), string(u.payload))
	}
}

func (cn *connection) uplinkAcked(ev protocol.Event) {
	for i, u := range cn.uplinks {
		if u.seq != ev.Seq {
			continue
		}
		if ev.Code == protocol.AckRetry {
			u := &cn.uplinks[i]
			u.later(time.Now())
			cn.note("later", seqText(u.seq, false), "the gateway cannot store it now; again in "+u.pause.String())
			return
		}
		cn.uplinks = append(cn.uplinks[:i], cn.uplinks[i+1:]...)
		kind := "stored"
		if ev.Code == protocol.AckReject {
			kind = "refused"
		}
		cn.note(kind, seqText(ev.Seq, false), string(ev.Payload))
		return
	}
}
