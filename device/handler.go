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
	Payload   []byte // the handler's to keep
	Dup       bool   // v2: the gateway has sent it before, and this device has not handled it
	Ephemeral bool   // sent to whoever is connected now; Seq counts in this session only
}

// Handler acts on a delivery. Its result goes back to whoever has sent the
// message. An error rejects the message, with the error's text as the reason;
// an error that is Retry asks for it again later. A panic rejects it and is
// logged. v1 can say neither: there the gateway sends it again.
type Handler func(ctx context.Context, m Message) (result []byte, err error)

// Retry asks the gateway to send the message again later.
var Retry error = retryLater{}

type retryLater struct{}

func (retryLater) Error() string { return "retry later" }

// job is a delivery for a worker.
type job struct {
	m       Message
	entry   *entry // in the ledger; nil when the delivery has no lasting number
	session uint64
}

// answer is a verdict on its way back.
type answer struct {
	seq       uint64
	ephemeral bool
	session   uint64 // in which the delivery came last
	code      protocol.AckCode
	result    []byte
}

// deliver judges a delivery: new ones go to the workers, repeats are answered.
func (l *link) deliver(e protocol.Event) {
	j := job{m: Message{Seq: e.Seq, Payload: e.Payload, Dup: e.Dup, Ephemeral: e.Ephemeral}, session: l.number}
	a := answer{seq: e.Seq, ephemeral: e.Ephemeral, session: l.number, code: protocol.AckRetry}
	l.c.mu.Lock()
	defer l.c.mu.Unlock()
	if e.Seq != 0 && !e.Ephemeral {
		seen, known := l.c.ledger.receive(e.Seq, e.Payload, l.number)
		switch {
		case known == handled:
			a.code, a.result = seen.code, seen.result
			l.c.answers = append(l.c.answers, a)
			return
		case known == underway:
			return // its answer will come
		}
		j.entry = seen
	}
	select {
	case l.c.jobs <- j:
	default:
		l.c.ledger.abandon(j.entry)
		l.c.answers = append(l.c.answers, a)
	}
}

// work handles deliveries until ctx ends.
func (c *Client) work(ctx context.Context) {
	for {
		select {
		case j := <-c.jobs:
			c.handle(ctx, j)
		case <-ctx.Done():
			return
		}
	}
}

// handle runs the handler and answers. What it did is remembered, and saved,
// before the answer goes out: a crash in between costs a repeat that is
// recognised.
func (c *Client) handle(ctx context.Context, j job) {
	code, result := c.verdict(ctx, j.m)
	c.mu.Lock()
	if code == protocol.AckRetry {
		c.ledger.abandon(j.entry)
	} else {
		c.ledger.done(j.entry, code, result)
	}
	c.mu.Unlock()
	if j.entry != nil {
		c.save()
	}
	c.mu.Lock()
	if j.entry != nil {
		j.session = j.entry.session // it may have come again meanwhile
	}
	c.answers = append(c.answers, answer{j.m.Seq, j.m.Ephemeral, j.session, code, result})
	c.mu.Unlock()
	c.signal()
}

// verdict calls the handler and turns what it returns into an ack.
func (c *Client) verdict(ctx context.Context, m Message) (code protocol.AckCode, result []byte) {
	defer func() {
		if r := recover(); r != nil {
			c.log.Error("handler panicked", "seq", m.Seq, "panic", r, "stack", string(debug.Stack()))
			code, result = protocol.AckReject, []byte("handler panicked")
		}
	}()
	if c.cfg.Handler == nil {
		return protocol.AckOK, nil
	}
	result, err := c.cfg.Handler(ctx, m)
	switch {
	case err == nil:
		return protocol.AckOK, result
	case errors.Is(err, Retry), ctx.Err() != nil:
		return protocol.AckRetry, nil // a handler that was interrupted has not decided
	}
	return protocol.AckReject, []byte(err.Error())
}

// giveAnswers writes the acks that workers have left. An answer to an earlier
// session is dropped: its number may mean another message here, and if the
// same one comes again the ledger has the answer.
func (l *link) giveAnswers() {
	l.c.mu.Lock()
	answers := l.c.answers
	l.c.answers = nil
	l.c.mu.Unlock()
	for _, a := range answers {
		if a.session != l.number {
			continue
		}
		if len(a.result) > l.s.MaxPayload() {
			a.result = fmt.Appendf(nil, "result of %d bytes", len(a.result))
			a.result = a.result[:min(len(a.result), l.s.MaxPayload())]
		}
		if a.ephemeral {
			_ = l.s.AckEphemeral(time.Now(), a.seq, a.code, a.result)
		} else {
			_ = l.s.AckData(time.Now(), a.seq, a.code, a.result) // only a closed session refuses
		}
	}
}

// save makes the ledger's position lasting, if it has moved.
func (c *Client) save() {
	c.saving.Lock()
	defer c.saving.Unlock()
	c.mu.Lock()
	position := c.ledger.position()
	c.mu.Unlock()
	if position == c.saved || position.Log == "" {
		return
	}
	if err := c.cfg.State.Save(position); err != nil {
		// The gateway still knows what was acked: only a crash before the
		// next save can repeat something.
		c.log.Error("save state", "err", err)
		return
	}
	c.saved = position
}
