package tcpserver

import "time"

// readLoop reads until the connection ends or input has to wait; a turn starts
// it again. There is one at a time. It must stay shallow, for its stack is what
// an idle connection costs: it only puts what it has read into the inbox, and a
// turn, on a worker's stack, does the rest.
func (c *conn) readLoop() {
	ready := c.readReady
	for {
		in := c.waitForInput(ready)
		if in == nil {
			break
		}
		last := in.err != nil
		c.put(in)
		if last {
			break
		}
		c.wantTurn()
	}
	c.mu.Lock()
	c.flags &^= flagReading
	c.mu.Unlock()
	c.wantTurn()
}

// mustPause reports whether the read loop has to end: what it would read could
// not be handled yet.
func (c *conn) mustPause() bool { return c.deaf.Load() || c.waiting.Load() >= maxInbox }

// resumeReading starts a read loop when none runs and nothing speaks against
// it. c.mu is held.
func (c *conn) resumeReading() {
	c.deaf.Store(c.life == open && c.held() > c.srv.cfg.OutputBudget)
	if c.is(flagReading) || c.life == dead || c.cause != causeNone || c.mustPause() {
		return
	}
	c.flags |= flagReading
	c.srv.tasks.Go(c.readLoop)
}

// takeInput moves what was read into the session; it reports whether there was
// anything. Input waits while the device leaves the answers to earlier input
// unread. c.mu is held.
func (c *conn) takeInput(now time.Time) bool {
	if c.held() > c.srv.cfg.OutputBudget {
		return false
	}
	in := c.nextInput()
	if in == nil {
		return false
	}
	defer in.release()
	if in.n > 0 {
		c.hold = 0
		c.bytesIn += uint64(in.n)
		c.srv.stats.bytesIn.Add(uint64(in.n))
		c.proto.Receive(now, in.bytes())
	}
	if in.err != nil {
		c.proto.EOF(now)
		c.fail(causePeerGone)
	}
	return true
}

// discardInput drops what a device still says after the end. c.mu is held.
func (c *conn) discardInput() {
	for in := c.nextInput(); in != nil; in = c.nextInput() {
		c.discarded += int32(in.n)
		if in.err != nil || c.discarded > lingerBytes {
			c.fail(causePeerGone)
		}
		in.release()
	}
}

// waitBlocking is waitForInput for connections without a raw descriptor: it
// holds a small buffer while it waits.
func (c *conn) waitBlocking() *inbound {
	if c.mustPause() {
		return nil
	}
	var small [smallRead]byte
	n, err := c.nc.Read(small[:])
	return takeSmall(small[:n], err)
}
