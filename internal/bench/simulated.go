package bench

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"math/rand/v2"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// simulated has the simulated clients that are registered at one server. Each acks
// every delivery at once. A client costs a goroutine and a small buffer.
type simulated struct {
	devices []*device
	readers sync.WaitGroup

	answers atomic.Int64 // heartbeats that the server has answered
	beats   atomic.Int64 // heartbeats that the server has sent
	lost    atomic.Int64 // clients that the server or the network has disconnected
	closing atomic.Bool
}

// device is one simulated client.
type device struct {
	conn net.Conn
	tcp  *net.TCPConn // below conn, or conn itself
	id   string
}

// counts is the history of simulated clients so far.
type counts struct {
	Lost  int64 `json:"lost"`  // clients that the server or the network has disconnected
	Beats int64 `json:"beats"` // heartbeats that the server has sent
}

// join describes the clients to be connected.
type join struct {
	Addr      string        `json:"addr"`
	First     int           `json:"first"` // number of the first client
	Count     int           `json:"count"`
	AtOnce    int           `json:"at_once"`   // dials in progress at a time
	Patient   bool          `json:"patient"`   // a refused client tries again, until registerTimeout
	Heartbeat time.Duration `json:"heartbeat"` // proposed; 0 = once an hour, so that none is in the measurement
	TLS       bool          `json:"tls"`
	Sources   int           `json:"sources"` // addresses that clients connect from
}

// Bounds of connecting.
const (
	dialsAtOnce     = 64
	registerTimeout = 30 * time.Second
	leastSources    = 8      // spare the ports of one address
	portsPerSource  = 10_000 // of the 28,000 that Linux has by default
	mostSources     = 200    // last numbers of 127.0.0.x
)

// clientID names a simulated client.
func clientID(n int) string { return fmt.Sprintf("c-%06d", n) }

func (m join) withDefaults() join {
	m.AtOnce = cmp.Or(m.AtOnce, dialsAtOnce)
	m.Heartbeat = cmp.Or(m.Heartbeat, time.Hour)
	m.Sources = cmp.Or(m.Sources, min(max(leastSources, m.Count/portsPerSource+1), mostSources))
	return m
}

// join connects and registers the clients of m, none of them joined yet. The
// recorder has the time from the call to each registration. After an error no
// client of m is connected.
func (c *simulated) join(ctx context.Context, m join) (*recorder, error) {
	m = m.withDefaults()
	joined := make([]*device, m.Count)
	var next atomic.Int64
	errs := make([]error, m.AtOnce)
	times := make([]time.Duration, m.Count)
	start := time.Now()
	var dialers sync.WaitGroup
	for i := range errs {
		dialers.Go(func() {
			for errs[i] == nil {
				k := int(next.Add(1)) - 1
				if k >= m.Count || ctx.Err() != nil {
					return
				}
				joined[k], errs[i] = m.admit(ctx, m.First+k)
				times[k] = time.Since(start)
			}
		})
	}
	dialers.Wait()
	if err := cmp.Or(ctx.Err(), firstOf(errs)); err != nil {
		for _, d := range joined {
			d.hangUp()
		}
		return nil, fmt.Errorf("connect %d clients: %w", m.Count, err)
	}
	var after recorder
	for k, d := range joined {
		after.observe(times[k])
		c.readers.Go(func() { c.serve(d) }) // ends when the connection is closed
	}
	c.devices = append(c.devices, joined...)
	return &after, nil
}

// admit connects and registers one client. A patient client tries again after a
// refusal.
func (m *join) admit(ctx context.Context, k int) (*device, error) {
	ctx, cancel := context.WithTimeout(ctx, registerTimeout)
	defer cancel()
	for {
		d, err := m.dial(ctx, k)
		if err == nil || !m.Patient {
			return d, err
		}
		if pause(ctx, rand.N(200*time.Millisecond)) != nil {
			return nil, err
		}
	}
}

func (m *join) dial(ctx context.Context, k int) (*device, error) {
	dialer := net.Dialer{KeepAlive: -1}
	if runtime.GOOS == "linux" { // on other systems loopback is one address
		dialer.LocalAddr = &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(1+k%m.Sources))}
	}
	conn, err := dialer.DialContext(ctx, "tcp", m.Addr)
	if err != nil {
		return nil, err
	}
	d := &device{conn: conn, tcp: conn.(*net.TCPConn), id: clientID(k)}
	if m.TLS { // this run has made the certificate
		d.conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13})
	}
	deadline, _ := ctx.Deadline()
	_ = conn.SetDeadline(deadline)
	if err := d.register(m.Heartbeat); err != nil {
		conn.Close()
		return nil, fmt.Errorf("register %s: %w", d.id, err)
	}
	_ = conn.SetDeadline(time.Time{})
	return d, nil
}

// register sends REGISTER and reads the answer. No other frame can come before it,
// because nothing is queued for a new client.
func (d *device) register(heartbeat time.Duration) error {
	if _, err := d.conn.Write(registerFrame(d.id, heartbeat)); err != nil {
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

// hangUp closes the connection without a CLOSE, as a cut line would, and leaves no
// port in TIME_WAIT. A nil device has no connection.
func (d *device) hangUp() {
	if d != nil {
		_ = d.tcp.SetLinger(0)
		d.tcp.Close()
	}
}

// serve answers the gateway until the connection ends.
func (c *simulated) serve(d *device) {
	in, out := make([]byte, 0, 256), make([]byte, 0, 64)
	for {
		if len(in) == cap(in) { // the frame is larger; its length was checked
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
			d.tcp.Close()
			return
		}
	}
}

// answer processes the complete frames in in, appends their answers to out, and
// returns the rest of in, moved to the front.
func (c *simulated) answer(in, out []byte) (rest, answers []byte, err error) {
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
			c.beats.Add(1)
			out = append(out, heartbeatAckFrame...)
		case frameHeartbeatAck:
			c.answers.Add(1)
		case frameClose:
			return in, out, fmt.Errorf("the gateway closed the connection: %q", body)
		}
	}
}

// ask makes every client send one heartbeat and waits for the answers, so that each
// connection has been read and written since it registered.
func (c *simulated) ask(ctx context.Context) error {
	want := c.answers.Load() + int64(len(c.devices))
	for _, d := range c.devices {
		if _, err := d.conn.Write(heartbeatFrame); err != nil {
			return err
		}
	}
	return waitFor(ctx, callTimeout, "the answers to heartbeats", func() bool { return c.answers.Load() >= want })
}

// drop disconnects all clients and waits for their goroutines. They can join again.
func (c *simulated) drop() {
	c.closing.Store(true)
	for _, d := range c.devices {
		d.hangUp()
	}
	c.readers.Wait()
	c.devices = nil
	c.closing.Store(false)
}
