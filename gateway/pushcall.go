package gateway

import "sync"

// PushCall is one push of StartPushAndAwait, until its caller is answered. It belongs
// to the caller, who may use it again after that.
type PushCall struct {
	gateway *Gateway
	answer  func(Receipt, error)

	mu       sync.Mutex
	waiter   *waiter   // for id
	id       MessageID // what is waited for
	receipt  Receipt
	accepted bool // receipt is set
	ended    bool // nobody waits any longer, or the message is completed
	answered bool
}

// StartPushAndAwait is PushAndAwait for a caller that does not wait: done is called
// once, maybe before StartPushAndAwait returns, and must not block. It is the caller
// who ends the wait, with c.TimeOut. The messages of a caller have its order.
func (g *Gateway) StartPushAndAwait(c *PushCall, r PushRequest, done func(Receipt, error)) {
	id := g.newMessageID()
	c.gateway, c.answer = g, done
	c.receipt, c.accepted, c.ended, c.answered = Receipt{}, false, false, false
	c.await(id)
	g.start(&r, id, c.placed)
}

// await begins to wait for a message.
func (c *PushCall) await(id MessageID) {
	w := c.gateway.waiters.joinCall(id, c)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.id, c.waiter = id, w
	select {
	case <-w.done: // the gateway drains
		c.ended = true
	default:
	}
}

// placed takes the store's answer.
func (c *PushCall) placed(rec Receipt, err error) {
	if err == nil && rec.Replayed { // another message is waited for, which may be completed
		c.gateway.waiters.leave(c.id, c.waiter)
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
// accepted. It does nothing after the answer.
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

// finish answers when the message is accepted and nothing is waited for.
func (c *PushCall) finish(err error) {
	c.mu.Lock()
	ready := c.accepted && c.ended && !c.answered
	c.answered = c.answered || ready
	c.mu.Unlock()
	if !ready {
		return
	}
	c.gateway.waiters.leave(c.id, c.waiter)
	rec := c.receipt
	if err == nil && !rec.Message.Completed() && !c.waiter.completes(&rec.Message) {
		if m, err := c.gateway.Message(c.id); err == nil {
			rec.Message = m
		}
	}
	c.answer(rec, err)
}
