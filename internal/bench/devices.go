package bench

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/rpc"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// Join describes clients to be connected.
type Join struct {
	Addr      string
	First     int // number of the first client
	Count     int
	AtOnce    int           // dials in progress at a time; default 64
	Patient   bool          // a refused client tries again, until registerTimeout
	Heartbeat time.Duration // proposed; 0 = once an hour, so that none is in the measurement
	TLS       bool
}

// Bounds of connecting.
const (
	dialsAtOnce     = 64
	registerTimeout = 30 * time.Second
	leastSources    = 8      // spare the ports of one address
	portsPerSource  = 10_000 // of the 28,000 that Linux has by default
	mostSources     = 200    // last numbers of 127.0.0.x
)

// sources is the number of addresses that clients connect from.
func (j *Join) sources() int { return min(max(leastSources, j.Count/portsPerSource+1), mostSources) }

// clientID names a simulated client.
func clientID(n int) string { return fmt.Sprintf("c-%06d", n) }

// device is one simulated client.
type device struct {
	*wire
	tcp  net.Conn // below the wire, or the same
	sent uint64   // uplinks
	up   []byte   // an uplink's frame, reused
}

// admit connects and registers one client. A patient client tries again after a
// refusal.
func (j *Join) admit(ctx context.Context, n int) (*device, error) {
	ctx, cancel := context.WithTimeout(ctx, registerTimeout)
	defer cancel()
	for {
		d, err := j.dial(ctx, n)
		if err == nil || !j.Patient {
			return d, err
		}
		if pause(ctx, rand.N(200*time.Millisecond)) != nil {
			return nil, err
		}
	}
}

func (j *Join) dial(ctx context.Context, n int) (*device, error) {
	dialer := net.Dialer{KeepAlive: -1}
	if runtime.GOOS == "linux" { // on other systems loopback is one address
		dialer.LocalAddr = &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(1+n%j.sources()))}
	}
	conn, err := dialer.DialContext(ctx, "tcp", j.Addr)
	if err != nil {
		return nil, err
	}
	d := &device{wire: newWire(conn), tcp: conn}
	if j.TLS { // this run has made the certificate
		d.Conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13})
	}
	deadline, _ := ctx.Deadline()
	_ = conn.SetDeadline(deadline)
	if err := d.exchange(registerFrame(clientID(n), cmp.Or(j.Heartbeat, time.Hour)), frameRegisterAck); err != nil {
		conn.Close()
		return nil, fmt.Errorf("register %s: %w", clientID(n), err)
	}
	return d, conn.SetDeadline(time.Time{})
}

// hangUp closes the connection without a CLOSE, as a cut line would, and leaves no
// port in TIME_WAIT. A nil device has no connection.
func (d *device) hangUp() {
	if d != nil {
		_ = d.tcp.(*net.TCPConn).SetLinger(0)
		d.tcp.Close()
	}
}

// beat sends a heartbeat and waits for the answer.
func (d *device) beat() error { return d.exchange(heartbeatFrame, frameHeartbeatAck) }

// uplink sends a payload and waits for its ack.
func (d *device) uplink() error {
	d.sent++
	d.up = appendData(d.up[:0], d.sent, pushPayload)
	return d.exchange(d.up, frameAck)
}

// fleet has simulated clients that ack every delivery at once. A client costs a
// goroutine and a small buffer. It serves its exported methods to other processes.
type fleet struct {
	ctx     context.Context
	devices []*device
	readers sync.WaitGroup

	answers     atomic.Int64 // heartbeats that the server has answered
	beats, lost atomic.Int64 // see Counts
	closing     atomic.Bool
}

// Counts is the history of a fleet so far.
type Counts struct {
	Lost  int64 // clients that the server or the network has disconnected
	Beats int64 // heartbeats that the server has sent
}

// Join connects and registers clients, none of them joined yet. The reply is the
// time from the call to each registration. After an error none of them is connected.
func (f *fleet) Join(j Join, times *[]time.Duration) error {
	joined, start := make([]*device, j.Count), time.Now()
	*times = make([]time.Duration, j.Count)
	err := inParallel(cmp.Or(j.AtOnce, dialsAtOnce), j.Count, func(i int) (err error) {
		joined[i], err = j.admit(f.ctx, j.First+i)
		(*times)[i] = time.Since(start)
		return err
	})
	if err != nil {
		for _, d := range joined {
			d.hangUp()
		}
		return fmt.Errorf("connect %d clients: %w", j.Count, err)
	}
	for _, d := range joined {
		f.readers.Go(func() { f.serve(d) }) // ends when the connection is closed
	}
	f.devices = append(f.devices, joined...)
	return nil
}

// serve answers the server until the connection ends.
func (f *fleet) serve(d *device) {
	_ = d.each(func(got frame) (err error) { return f.answer(d, got) })
	if !f.closing.Load() {
		f.lost.Add(1)
	}
	d.tcp.Close()
}

func (f *fleet) answer(d *device, got frame) (err error) {
	switch got.kind {
	case frameData:
		d.out, err = appendAck(d.out, got)
	case frameHeartbeat:
		f.beats.Add(1)
		d.out = append(d.out, heartbeatAckFrame...)
	case frameHeartbeatAck:
		f.answers.Add(1)
	}
	return err
}

// Ask makes every client send one heartbeat and waits for the answers, so that each
// connection has been read and written since it registered.
func (f *fleet) Ask(int, *int) error {
	want := f.answers.Load() + int64(len(f.devices))
	for _, d := range f.devices {
		if _, err := d.Write(heartbeatFrame); err != nil {
			return err
		}
	}
	return waitFor(f.ctx, callTimeout, "the answers to heartbeats", func() bool { return f.answers.Load() >= want })
}

// Drop disconnects all clients at once without a CLOSE and waits for their
// goroutines. They can join again.
func (f *fleet) Drop(int, *int) error {
	f.closing.Store(true)
	defer f.closing.Store(false)
	for _, d := range f.devices {
		d.hangUp()
	}
	f.readers.Wait()
	f.devices = nil
	return nil
}

// Count replies the counts so far.
func (f *fleet) Count(_ int, c *Counts) error {
	*c = Counts{Lost: f.lost.Load(), Beats: f.beats.Load()}
	return nil
}

// workerName is the hidden subcommand whose process has a fleet.
const workerName = "worker"

// serveWorker serves a fleet until the connection ends, and then disconnects its
// clients.
func serveWorker(ctx context.Context, conn io.ReadWriteCloser) error {
	f, calls := &fleet{ctx: ctx}, rpc.NewServer()
	if err := calls.RegisterName("fleet", f); err != nil {
		return err
	}
	calls.ServeConn(conn)
	return f.Drop(0, nil)
}

// pipes are a worker's end of its connection.
type pipes struct {
	io.Reader
	io.WriteCloser
}

// startWorker runs this binary as a worker. Its process ends with the connection,
// and with ctx at the latest.
func startWorker(ctx context.Context) (io.ReadWriteCloser, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	return program{path: self, args: []string{workerName}}.launch(ctx)
}

// devices controls a fleet in a worker process, whose CPU time counts neither for the
// server nor for the callers.
type devices struct {
	worker *rpc.Client
	size   int // clients that have joined
}

// join makes the clients join. The recorder has the time from the call to each
// registration.
func (d *devices) join(j Join) (joined recorder, err error) {
	var times []time.Duration
	if err = d.worker.Call("fleet.Join", j, &times); err == nil {
		d.size += j.Count
	}
	for _, t := range times {
		joined.observe(t)
	}
	return joined, err
}

// ask makes each client send one heartbeat and waits for the answers.
func (d *devices) ask() error { return d.worker.Call("fleet.Ask", 0, new(int)) }

// drop disconnects all clients at once without a CLOSE. They can join again.
func (d *devices) drop() error {
	d.size = 0
	return d.worker.Call("fleet.Drop", 0, new(int))
}

func (d *devices) count() (c Counts, err error) {
	err = d.worker.Call("fleet.Count", 0, &c)
	return c, err
}

// check returns an error if a client was lost.
func (d *devices) check() error {
	c, err := d.count()
	if err == nil && c.Lost > 0 {
		err = fmt.Errorf("%d of %d clients lost their connection", c.Lost, d.size)
	}
	return err
}
