package gateway

import "sync"

// PushCall is one push of StartPushAndAwait. It is used once: the end of its message may
// still reach it after done was called.
type PushCall struct {
	gateway *Gateway
	answer  func(Receipt, error)

	mu       sync.Mutex
	waiter   waiter    // for id
	id       MessageID // the message that the call waits for
	receipt  Receipt
	accepted bool // receipt is set
	ended    bool // the wait is over, or the message is completed
	answered bool
}

// StartPushAndAwait is PushAndAwait for a caller that does not wait. It calls
// done once, maybe before it returns; done must not block. The caller must end
// the wait with c.TimeOut. The messages of one caller keep their order.
func (g *Gateway) StartPushAndAwait(c *PushCall, r PushRequest, done func(Receipt, error)) {
	id := g.newMessageID()
	c.gateway, c.answer = g, done
	c.await(id)
	g.start(&r, id, c.placed)
}

// await registers the call as a waiter for a message.
func (c *PushCall) await(id MessageID) {
	c.mu.Lock()
	c.id, c.waiter = id, waiter{call: c}
	c.mu.Unlock()
	if !c.gateway.waiters.enter(id, &c.waiter) { // the gateway is draining
		c.mu.Lock()
		c.ended = true
		c.mu.Unlock()
	}
}

// placed receives the store's answer.
func (c *PushCall) placed(rec Receipt, err error) {
	if err == nil && rec.Replayed { // the call waits for an earlier message, which may be completed
		c.gateway.waiters.leave(c.id, &c.waiter)
		c.await(rec.Message.ID)
		if m, err := c.gateway.Message(rec.Message.ID); err == nil {
			rec.Message = m
		}
	}
	c.mu.Lock()
	c.receipt, c.accepted = rec, true
	c.ended = c.ended || err != nil || rec.Message.Completed()
	c.mu.Unlock()
	c.finish(err)
}

// TimeOut ends the wait: the caller gets the message as it stands, once it is
// accepted. After the answer it does nothing.
func (c *PushCall) TimeOut() {
	c.mu.Lock()
	c.ended = true
	c.mu.Unlock()
	c.finish(nil)
}

// endAll ends the waits of calls.
func endAll(calls []*PushCall) {
	for _, c := range calls {
		c.TimeOut()
	}
}

// finish calls done if the message is accepted and the wait is over.
func (c *PushCall) finish(err error) {
	c.mu.Lock()
	ready := c.accepted && c.ended && !c.answered
	c.answered = c.answered || ready
	c.mu.Unlock()
	if !ready {
		return
	}
	c.gateway.waiters.leave(c.id, &c.waiter)
	rec := c.receipt
	if err == nil && !rec.Message.Completed() && !c.waiter.completes(&rec.Message) {
		if m, err := c.gateway.Message(c.id); err == nil {
			rec.Message = m
		}
	}
	c.answer(rec, err)
}
