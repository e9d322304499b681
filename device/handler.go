package device

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/longwire/longwire/protocol"
)

// Message is one delivery.
type Message struct {
	Seq       uint64 // the gateway's sequence; 0 in v1
	Payload   []byte // the handler may keep it
	Dup       bool   // v2: the gateway has sent it before, and this device has not handled it
	Ephemeral bool   // sent to the connected device only; Seq is valid in this session only

	ticket  Ticket // the ledger's; zero if Seq is valid in this session only
	session uint64
}

// Handler acts on a delivery. The gateway passes its result to the sender of the
// message. An error rejects the message, with the error's text as the reason; an
// error that is Retry asks for a later repeat, and one that is Later answers nothing
// yet. A panic rejects it and is logged.
// v1 can express neither: there the gateway sends the message again.
type Handler func(ctx context.Context, m Message) (result []byte, err error)

// Retry asks the gateway to send the message again later.
var Retry error = retryLater{}

type retryLater struct{}

func (retryLater) Error() string { return "retry later" }

// Later is the error of a Handler that leaves the answer to a call of Client.Answer.
// Until then the delivery is in progress, as if the Handler had not returned.
var Later error = answerLater{}

type answerLater struct{}

func (answerLater) Error() string { return "answered later" }

// answer is a verdict on its way back.
type answer struct {
	Verdict
	ephemeral bool
	ask       bool   // it answers an ASK
	session   uint64 // the session that it may leave in
}

// deliver passes a new delivery to the workers and answers a repeat.
func (l *link) deliver(e protocol.Event) {
	c := l.c
	m := Message{Seq: e.Seq, Payload: e.Payload, Dup: e.Dup, Ephemeral: e.Ephemeral, session: l.number}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cfg.Mute {
		c.trace(Step{Event: e})
		return
	}
	if m.lasting() {
		ticket, v, known := c.ledger.Receive(e.Seq, e.Payload)
		if known {
			c.trace(Step{Event: e, Known: true})
			c.answers = append(c.answers, answer{Verdict: v, session: l.number})
			if v.Code == protocol.AckWorking { // the ack timeout is shorter than l.patience
				l.patience = max(l.patience/2, progressEvery)
			}
			return
		}
		m.ticket = ticket
	}
	c.trace(Step{Event: e})
	select {
	case c.jobs <- m:
	default:
		c.decideLocked(m, protocol.AckRetry, nil)
	}
	if c.ledger.Crowded() {
		l.s.Close(protocol.Close{Reason: protocol.ReasonClientClosed, Text: "too many deliveries wait"})
	}
}

// asked answers an ASK.
func (l *link) asked(seq uint64) {
	l.c.mu.Lock()
	defer l.c.mu.Unlock()
	l.c.answers = append(l.c.answers, answer{Verdict: l.c.ledger.Ask(seq), ask: true, session: l.number})
}

// lasting reports whether the delivery's number is valid in the next connection.
func (m *Message) lasting() bool { return m.Seq != 0 && !m.Ephemeral }

// decideLocked notes a verdict, and queues the answer if it need not be saved
// first.
func (c *Client) decideLocked(m Message, code protocol.AckCode, result []byte) {
	if !m.lasting() {
		c.answers = append(c.answers, answer{Verdict: Verdict{m.Seq, code, result}, ephemeral: m.Ephemeral, session: m.session})
		return
	}
	if v, now := c.ledger.Decide(m.ticket, code, result); now {
		c.answers = append(c.answers, answer{Verdict: v, session: c.sessions})
	}
}

// work handles deliveries until ctx ends.
func (c *Client) work(ctx context.Context) {
	for {
		select {
		case m := <-c.jobs:
			c.handle(ctx, m)
		case <-ctx.Done():
			return
		}
	}
}

// handle runs the handler and answers.
func (c *Client) handle(ctx context.Context, m Message) {
	if m.lasting() {
		ctx = context.WithValue(ctx, progressKey{}, func(note []byte) { c.note(m, note) })
	}
	result, err := c.call(ctx, m)
	switch {
	case errors.Is(err, Later):
		return
	case err != nil && err != errPanicked && ctx.Err() != nil:
		err = Retry // an interrupted handler has not decided
	}
	c.Answer(m, result, err)
}

var errPanicked = errors.New("handler panicked")

// call calls the handler.
func (c *Client) call(ctx context.Context, m Message) (result []byte, err error) {
	defer func() {
		if r := recover(); r != nil {
			c.log.Error("handler panicked", "seq", m.Seq, "panic", r, "stack", string(debug.Stack()))
			result, err = nil, errPanicked
		}
	}()
	if c.cfg.Handler == nil {
		return nil, nil
	}
	return c.cfg.Handler(ctx, m)
}

// Answer answers a delivery for which the Handler has returned Later; result and err are
// as those of a Handler. Call it once for each. An answer to a number of an earlier
// session does not leave. The verdict is saved before the answer leaves: after a crash in
// between the gateway asks, and gets the same answer.
func (c *Client) Answer(m Message, result []byte, err error) {
	code := protocol.AckOK
	switch {
	case errors.Is(err, Retry):
		code, result = protocol.AckRetry, nil
	case err != nil:
		reason := []byte(err.Error())
		code, result = protocol.AckReject, reason[:min(len(reason), keptResult)]
	}
	c.mu.Lock()
	c.decideLocked(m, code, result)
	c.mu.Unlock()
	if m.lasting() && code != protocol.AckRetry {
		c.save()
	}
	c.signal()
}

type progressKey struct{}

// maxNote is how much of a note the gateway shows, in bytes: the end of it (SPEC
// §2.3).
const maxNote = 1 << 10

// Progress reports the progress of a Handler; ctx is the Handler's. The gateway
// shows the last 1 KiB of the latest note with the delivery. A note leaves within
// two seconds, if the gateway accepts notes. It settles nothing.
func Progress(ctx context.Context, note string) {
	if report, ok := ctx.Value(progressKey{}).(func([]byte)); ok {
		report([]byte(note[max(0, len(note)-maxNote):]))
	}
}

func (c *Client) note(m Message, note []byte) {
	c.mu.Lock()
	c.ledger.Note(m.ticket, note)
	c.noted = true
	c.mu.Unlock()
	c.signal()
}

// workingDue returns when the next sayWorking is due.
func (l *link) workingDue() (due time.Time, ok bool) {
	if !l.asks {
		return due, false
	}
	l.c.mu.Lock()
	defer l.c.mu.Unlock()
	if l.c.noted {
		return l.worked.Add(progressEvery), true
	}
	return l.worked.Add(l.patience), l.c.ledger.open() > 0
}

// sayWorking answers AckWorking for deliveries that workers have had for a while,
// so that the gateway does not send them again.
func (l *link) sayWorking() {
	now := time.Now()
	if due, ok := l.workingDue(); !ok || now.Before(due) {
		return
	}
	l.worked = now
	l.c.mu.Lock()
	defer l.c.mu.Unlock()
	l.c.noted = false
	for _, v := range l.c.ledger.Working() {
		l.c.answers = append(l.c.answers, answer{Verdict: v, session: l.number})
	}
}

// giveAnswers writes the waiting acks. It drops an answer to an earlier session:
// its number may mean another message here, and if the gateway asks for the same
// delivery, the ledger has the answer.
func (l *link) giveAnswers() {
	l.c.mu.Lock()
	answers := l.c.answers
	l.c.answers = nil
	l.c.mu.Unlock()
	for _, a := range answers {
		if a.session != l.number {
			continue
		}
		if len(a.Result) > l.s.MaxPayload() {
			a.Result = fmt.Appendf(nil, "result of %d bytes", len(a.Result))
			a.Result = a.Result[:min(len(a.Result), l.s.MaxPayload())]
		}
		answer := l.s.AckData
		if a.ephemeral {
			answer = l.s.AckEphemeral
		}
		err := answer(time.Now(), a.Seq, a.Code, a.Result) // fails only if the session is closed
		l.c.trace(Step{Event: protocol.Event{Kind: protocol.KindAck, Seq: a.Seq, Ephemeral: a.ephemeral, Ask: a.ask, Code: a.Code, Payload: a.Result},
			Sent: true, Err: err})
	}
}

// save makes the new verdicts durable, including those of other workers, and
// releases their answers.
func (c *Client) save() {
	c.saving.Lock()
	defer c.saving.Unlock()
	c.mu.Lock()
	change, ok := c.ledger.Unsaved()
	c.mu.Unlock()
	var err error
	if ok {
		change.ID = c.cfg.ID
		if err = c.cfg.State.Save(change); err != nil {
			// The answers leave nevertheless. A delivery is handled again only if
			// they are lost and the process dies before the next Save.
			c.log.Error("save state", "err", err)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, v := range c.ledger.Release(err == nil) {
		c.answers = append(c.answers, answer{Verdict: v, session: c.sessions})
	}
}
