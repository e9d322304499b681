package device

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/longwire/longwire/protocol"
)

// ErrQueueFull is returned by Send when too many uplinks wait already.
var ErrQueueFull = errors.New("device: too many uplinks wait")

// RejectedError is returned by Send when the gateway has refused the payload.
type RejectedError struct{ Reason string }

func (e *RejectedError) Error() string { return "device: uplink rejected: " + e.Reason }

const (
	maxUplinks = 1024 // that wait to be acked
	// An uplink that the gateway could not store is sent again after firstPause. Each
	// further answer retry later doubles the pause, up to longestPause.
	firstPause   = time.Second
	longestPause = time.Minute
)

// uplink is one payload on its way to the gateway.
type uplink struct {
	seq       uint64
	payload   []byte
	inFlight  bool // in the session's window
	sent      bool // at least once, so the gateway may have it
	notBefore time.Time
	pause     time.Duration // before notBefore; 0 without an answer retry later
	done      chan error    // capacity 1
}

// Send passes payload to the gateway. It returns nil if and only if the gateway
// has acked it with ok, which means that it is stored. Uplinks are sent in the
// order of the calls; unacked ones are sent again after a reconnect. payload must
// not change before Send returns. Send waits while the device is not connected, and
// also when Run has returned: give it a ctx that ends. If ctx ends first, the payload may or may not
// arrive. Errors: ErrQueueFull, *RejectedError, protocol.ErrTooLarge, ctx's.
func (c *Client) Send(ctx context.Context, payload []byte) error {
	u, err := c.post(payload)
	if err != nil {
		return err
	}
	select {
	case err := <-u.done:
		return err
	case <-ctx.Done():
	}
	c.mu.Lock()
	if c.settleLocked(u.seq) != nil {
		c.dropped = append(c.dropped, u.seq)
	}
	c.mu.Unlock()
	c.signal()
	return ctx.Err()
}

// Post is Send without the wait. Config.Trace shows what becomes of the payload, which
// must not change until then. Errors: ErrQueueFull.
func (c *Client) Post(payload []byte) error {
	_, err := c.post(payload)
	return err
}

func (c *Client) post(payload []byte) (*uplink, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.uplinks) >= maxUplinks {
		return nil, ErrQueueFull
	}
	c.lastUp++
	u := &uplink{seq: c.lastUp, payload: payload, done: make(chan error, 1)}
	c.uplinks = append(c.uplinks, u)
	c.signal()
	return u, nil
}

// settleLocked removes an uplink from the list, nil if it is not there.
func (c *Client) settleLocked(seq uint64) *uplink {
	i := slices.IndexFunc(c.uplinks, func(u *uplink) bool { return u.seq == seq })
	if i < 0 {
		return nil
	}
	u := c.uplinks[i]
	c.uplinks = slices.Delete(c.uplinks, i, i+1)
	return u
}

// sendUplinks puts waiting uplinks into the window, in order, until it is full.
func (l *link) sendUplinks() {
	c, now := l.c, time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, seq := range c.dropped {
		l.s.Forget(now, seq, false)
	}
	c.dropped = nil
	for i := 0; i < len(c.uplinks) && !l.blocked; {
		u := c.uplinks[i]
		if u.inFlight || now.Before(u.notBefore) {
			i++
			continue
		}
		err := l.send(u, u.sent)
		switch {
		case err == nil:
			u.inFlight, u.sent = true, true
			i++
		case errors.Is(err, protocol.ErrTooLarge):
			c.settleLocked(u.seq)
			u.done <- err
		default: // window full, or v1 must wait: KindWritable follows
			l.blocked = true
		}
	}
}

// send passes an uplink to the session, which takes it later if its window is full.
func (l *link) send(u *uplink, dup bool) error {
	err := l.s.Send(time.Now(), protocol.Data{Seq: u.seq, Payload: u.payload, Dup: dup})
	if err == nil || errors.Is(err, protocol.ErrTooLarge) {
		l.c.trace(Step{Event: protocol.Event{Kind: protocol.KindData, Seq: u.seq, Dup: dup, Payload: u.payload}, Sent: true, Err: err})
	}
	return err
}

// repeatUplink sends an uplink again that was not acked in time.
func (l *link) repeatUplink(seq uint64) {
	l.c.mu.Lock()
	defer l.c.mu.Unlock()
	for _, u := range l.c.uplinks {
		if u.seq == seq {
			_ = l.send(u, true) // it has its place in the window
		}
	}
}

// uplinkAcked passes the gateway's verdict to Send. Only an ok means that the
// payload is stored.
func (c *Client) uplinkAcked(e protocol.Event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	step := Step{Event: e}
	defer func() { c.trace(step) }()
	switch e.Code {
	case protocol.AckOK:
		if u := c.settleLocked(e.Seq); u != nil {
			u.done <- nil
		}
	case protocol.AckReject:
		if u := c.settleLocked(e.Seq); u != nil {
			u.done <- &RejectedError{string(e.Payload)}
		}
	default:
		for _, u := range c.uplinks {
			if u.seq == e.Seq {
				u.pause = min(max(2*u.pause, firstPause), longestPause)
				u.inFlight, u.notBefore = false, time.Now().Add(u.pause)
				step.Wait = u.pause
			}
		}
	}
}

// nextRetry returns when the next uplink that the gateway could not store is due, also
// if that time has just passed.
func (c *Client) nextRetry() (at time.Time, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, u := range c.uplinks {
		if !u.inFlight && u.pause > 0 && (!ok || u.notBefore.Before(at)) {
			at, ok = u.notBefore, true
		}
	}
	return at, ok
}
