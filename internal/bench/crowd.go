package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// crowd is simulated clients that are registered at one gateway. Each acks
// every delivery at once. It costs a goroutine and a small buffer per client.
type crowd struct {
	devices []*device
	readers sync.WaitGroup

	answers atomic.Int64 // heartbeats that the gateway has answered
	lost    atomic.Int64 // clients that the gateway or the network has closed
	closing atomic.Bool
}

// device is one simulated client.
type device struct {
	conn net.Conn
	id   string
}

// Bounds of the connecting.
const (
	dialsAtOnce     = 64 // below the gateway's bound of unregistered connections for one address
	registerTimeout = 30 * time.Second
	sourceAddresses = 8 // spare the ports of one address
)

// clientID names a simulated client.
func clientID(n int) string { return fmt.Sprintf("c-%06d", n) }

// connect registers n clients at addr. On an error none is left.
func connect(ctx context.Context, addr string, n int) (*crowd, error) {
	c := &crowd{devices: make([]*device, n)}
	var next atomic.Int64
	errs := make([]error, dialsAtOnce)
	var dialers sync.WaitGroup
	for i := range errs {
		dialers.Go(func() {
			for errs[i] == nil {
				k := int(next.Add(1)) - 1
				if k >= n || ctx.Err() != nil {
					return
				}
				c.devices[k], errs[i] = register(ctx, addr, k)
			}
		})
	}
	dialers.Wait()
	if err := errors.Join(append(errs, ctx.Err())...); err != nil {
		c.close()
		return nil, fmt.Errorf("connect %d clients: %w", n, err)
	}
	for _, d := range c.devices {
		c.readers.Go(func() { c.serve(d) }) // ends when the connection is closed
	}
	return c, nil
}

// register connects one client and waits for the gateway's word.
func register(ctx context.Context, addr string, k int) (*device, error) {
	dialer := net.Dialer{Timeout: registerTimeout, KeepAlive: -1}
	if runtime.GOOS == "linux" { // elsewhere loopback is one address
		dialer.LocalAddr = &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(1+k%sourceAddresses))}
	}
	conn, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	d := &device{conn: conn, id: clientID(k)}
	_ = conn.SetDeadline(time.Now().Add(registerTimeout))
	if err := d.register(); err != nil {
		conn.Close()
		return nil, fmt.Errorf("register %s: %w", d.id, err)
	}
	_ = conn.SetDeadline(time.Time{})
	return d, nil
}

// register says who the client is. Nothing but the answer comes before the
// first delivery, and nothing is queued for a new client.
func (d *device) register() error {
	if _, err := d.conn.Write(registerFrame(d.id)); err != nil {
		return err
	}
	var buf [1024]byte
	for n := 0; ; {
		got, err := d.conn.Read(buf[n:])
		if err != nil {
			return err
		}
		n += got
		kind, _, body, size, err := nextFrame(buf[:n])
		switch {
		case err != nil:
			return err
		case size == 0 && n < len(buf):
			continue
		case kind != frameRegisterAck:
			return fmt.Errorf("the gateway answered with frame type %d: %q", kind, body)
		}
		return nil
	}
}

// serve answers the gateway until the connection ends.
func (c *crowd) serve(d *device) {
	in, out := make([]byte, 0, 256), make([]byte, 0, 64)
	for {
		if len(in) == cap(in) { // a frame that is larger; its length was checked
			in = append(in, make([]byte, cap(in))...)[:len(in)]
		}
		n, err := d.conn.Read(in[len(in):cap(in)])
		if err == nil {
			in = in[:len(in)+n]
			in, out, err = c.answer(in, out[:0])
		}
		if err == nil && len(out) > 0 {
			_, err = d.conn.Write(out)
		}
		if err != nil {
			if !c.closing.Load() {
				c.lost.Add(1)
			}
			d.conn.Close()
			return
		}
	}
}

// answer takes the whole frames off in, appends what they ask for to out, and
// returns what is left of in, moved to the front.
func (c *crowd) answer(in, out []byte) (rest, answers []byte, err error) {
	taken := 0
	for {
		kind, flags, body, size, err := nextFrame(in[taken:])
		if err != nil {
			return in, out, err
		}
		if size == 0 {
			return in[:copy(in, in[taken:])], out, nil
		}
		taken += size
		switch kind {
		case frameData:
			if out, err = appendAck(out, flags, body); err != nil {
				return in, out, err
			}
		case frameHeartbeat:
			out = append(out, heartbeatAckFrame...)
		case frameHeartbeatAck:
			c.answers.Add(1)
		case frameClose:
			return in, out, fmt.Errorf("the gateway closed the connection: %q", body)
		}
	}
}

// ask has every client ask for a sign of life once and waits for the answers,
// so that each connection has been read from and written to since it
// registered.
func (c *crowd) ask(ctx context.Context) error {
	want := c.answers.Load() + int64(len(c.devices))
	for _, d := range c.devices {
		if _, err := d.conn.Write(heartbeatFrame); err != nil {
			return err
		}
	}
	return waitFor(ctx, callTimeout, "the answers to heartbeats", func() bool { return c.answers.Load() >= want })
}

// check tells when clients were lost: what was measured then is worth nothing.
func (c *crowd) check() error {
	if n := c.lost.Load(); n > 0 {
		return fmt.Errorf("%d of %d clients lost their connection", n, len(c.devices))
	}
	return nil
}

// close disconnects everybody and waits for the goroutines.
func (c *crowd) close() {
	c.closing.Store(true)
	for _, d := range c.devices {
		if d != nil {
			d.conn.Close()
		}
	}
	c.readers.Wait()
}

// waitFor looks every 5 ms whether done, for at most limit.
func waitFor(ctx context.Context, limit time.Duration, what string, done func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for !done() {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w", what, ctx.Err())
		}
	}
	return nil
}

// pause lets d pass.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
