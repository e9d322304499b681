package tcpserver

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/wheel"
)

// world is a server in a synctest bubble, with devices on connections in memory
// and a gateway that writes down what it is told.
type world struct {
	*testing.T
	sys   *simKernel // of polled connections; nil: devices are on pipes
	srv   *Server
	ln    *pipeListener
	gw    *recorder
	wheel *wheel.Wheel
	start time.Time
	last  *device // that registered last
}

// inBubble runs f in virtual time, once for each transport.
func inBubble(t *testing.T, f func(w *world), options ...func(*Config)) {
	t.Helper()
	t.Run("stream", func(t *testing.T) { inBubbleOn(t, nil, f, options...) })
	t.Run("polled", func(t *testing.T) { inBubbleOn(t, newSimKernel, f, options...) })
}

// inBubbleOn runs f on a fresh world and takes it down. Without a kernel the
// connections are streams.
func inBubbleOn(t *testing.T, sys func() *simKernel, f func(w *world), options ...func(*Config)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{T: t, ln: newPipeListener(), gw: newRecorder(), wheel: wheel.New(), start: time.Now()}
		cfg := Config{Listener: w.ln, Wheel: w.wheel, Driver: DriverPortable}
		if sys != nil {
			w.sys = sys()
			cfg.Driver, cfg.kernel = DriverAuto, w.sys
		}
		for _, o := range options {
			o(&cfg)
		}
		w.wheel.Start()
		defer w.wheel.Stop()
		var err error
		if w.srv, err = newServer(cfg, w.gw.connect); err != nil {
			t.Fatal(err)
		}
		served := make(chan error, 1)
		go func() { served <- w.srv.Serve() }()
		defer func() {
			w.srv.Close()
			if err := <-served; err != nil {
				t.Errorf("Serve: %v", err)
			}
			w.ln.hangUp()
		}()
		f(w)
	})
}

// pass lets d go by and everything settle.
func (w *world) pass(d time.Duration) {
	w.Helper()
	time.Sleep(d)
	synctest.Wait()
}

// until moves to d after the start of the world.
func (w *world) until(d time.Duration) { w.pass(time.Until(w.start.Add(d))) }

// dial connects a device that reads all the time.
func (w *world) dial() *device {
	w.Helper()
	d := w.dialSilently("192.0.2.1:1000")
	d.read()
	return d
}

// dialSilently connects a device that does not read.
func (w *world) dialSilently(from string) *device {
	w.Helper()
	remote := net.TCPAddrFromAddrPort(netip.MustParseAddrPort(from))
	if w.sys != nil {
		theirs, ours := w.sys.pair(remote)
		w.ln.offer(theirs)
		return &device{t: w.T, nc: ours, start: w.start}
	}
	ours, theirs := net.Pipe()
	w.ln.offer(addressed{theirs, remote})
	return &device{t: w.T, nc: ours, start: w.start}
}

// greeting is what a text device is told after its session.
const greeting = " answer DATA <n> with ACK <n>, PING with PONG"

// register connects and registers a text device.
func (w *world) register(id string) *device {
	w.Helper()
	d := w.dial()
	d.say("REGISTER " + id)
	if got := d.heard(); !strings.HasPrefix(got, "REGISTERED ") {
		w.Fatalf("answer to REGISTER %s = %q", id, got)
	}
	d.forget()
	w.last = d
	return d
}

// tick is what the wheel may add to a deadline.
const tick = wheel.Tick

// device is the far end of a pipe.
type device struct {
	t     *testing.T
	nc    net.Conn
	start time.Time

	mu     sync.Mutex
	in     strings.Builder
	closed time.Time // when the server closed, zero before
}

// read collects what comes until the end.
func (d *device) read() {
	go func() {
		var p [4096]byte
		for {
			n, err := d.nc.Read(p[:])
			d.mu.Lock()
			d.in.Write(p[:n])
			if err != nil {
				d.closed = time.Now()
			}
			d.mu.Unlock()
			if err != nil {
				d.nc.Close()
				return
			}
		}
	}()
}

// say sends a line and lets everything settle.
func (d *device) say(line string) { d.send(line + "\n") }

func (d *device) send(raw string) {
	d.t.Helper()
	if _, err := io.WriteString(d.nc, raw); err != nil {
		d.t.Fatalf("send %q: %v", raw, err)
	}
	synctest.Wait()
}

// heard is everything since the last forget.
func (d *device) heard() string {
	synctest.Wait()
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.in.String()
}

func (d *device) forget() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.in.Reset()
}

func (d *device) wantHeard(want string) {
	d.t.Helper()
	if got := d.heard(); got != want {
		d.t.Errorf("device heard %q, want %q", got, want)
	}
	d.forget()
}

func (d *device) wantOpen() {
	d.t.Helper()
	if at := d.closedAt(); at >= 0 {
		d.t.Errorf("connection closed after %v, want open; heard %q", at, d.heard())
	}
}

// wantClosed checks that the server has closed at d, at most a tick later.
func (d *device) wantClosed(at time.Duration) {
	d.t.Helper()
	if got := d.closedAt(); got < at || got > at+tick {
		d.t.Errorf("connection closed at %v, want %v", got, at)
	}
}

// closedAt is when the server closed, -1 when it did not.
func (d *device) closedAt() time.Duration {
	synctest.Wait()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed.IsZero() {
		return -1
	}
	return d.closed.Sub(d.start)
}

// pipeListener is a listener in memory.
type pipeListener struct {
	incoming chan any // net.Conn or error
	closed   chan struct{}
	once     sync.Once
}

func newPipeListener() *pipeListener {
	return &pipeListener{incoming: make(chan any, 4096), closed: make(chan struct{})}
}

func (l *pipeListener) offer(x any) { l.incoming <- x }

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case <-l.closed:
		return nil, net.ErrClosed
	case x := <-l.incoming:
		if err, ok := x.(error); ok {
			return nil, err
		}
		return x.(net.Conn), nil
	}
}

func (l *pipeListener) Close() error   { l.once.Do(func() { close(l.closed) }); return nil }
func (l *pipeListener) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 6666} }

// hangUp closes what was offered and not accepted.
func (l *pipeListener) hangUp() {
	for {
		select {
		case x := <-l.incoming:
			if nc, ok := x.(net.Conn); ok {
				nc.Close()
			}
		default:
			return
		}
	}
}

type addressed struct {
	net.Conn
	remote net.Addr
}

func (a addressed) RemoteAddr() net.Addr { return a.remote }

// recorder is a gateway that lets all in and writes down what it is told, as
// "id: sentence".
type recorder struct {
	mu       sync.Mutex
	log      []string
	sessions map[string]*recorded

	onConnect  func(h gateway.Hello) error
	onLink     func(l gateway.Link)            // a client that is let in; before it hears so
	expiresAt  func(h gateway.Hello) time.Time // of the credentials; nil = never
	asks       bool                            // it agrees with devices that answer an ASK
	onReceived func(ctx context.Context, payload string) error
	onAcked    func(s *recorded, seq gateway.Seq)
	onStart    func(s *recorded)
	onWritable func(s *recorded)
}

func newRecorder() *recorder { return &recorder{sessions: make(map[string]*recorded)} }

func (r *recorder) note(id, format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.log = append(r.log, id+": "+fmt.Sprintf(format, args...))
}

func (r *recorder) connect(ctx context.Context, h gateway.Hello, link gateway.Link) (session, gateway.Welcome, error) {
	if r.onConnect != nil {
		if err := r.onConnect(h); err != nil {
			return nil, gateway.Welcome{}, err
		}
	}
	if r.onLink != nil {
		r.onLink(link)
	}
	s := &recorded{r: r, id: string(h.Client), link: link}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sessions[s.id] = s
	w := gateway.Welcome{Session: gateway.SessionID("ses_" + s.id), Log: "log", Ask: r.asks && h.Asks}
	if r.expiresAt != nil {
		w.ExpiresAt = r.expiresAt(h)
	}
	return s, w, nil
}

// said takes what was written down.
func (r *recorder) said() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	defer func() { r.log = nil }()
	return strings.Join(r.log, "\n")
}

func (w *world) wantSaid(want ...string) {
	w.Helper()
	synctest.Wait()
	if got := w.gw.said(); got != strings.Join(want, "\n") {
		w.Errorf("gateway was told\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
}

func (r *recorder) session(id string) *recorded {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.sessions[id]
}

type recorded struct {
	r    *recorder
	id   string
	link gateway.Link
}

func (s *recorded) Start() {
	s.r.note(s.id, "start")
	if s.r.onStart != nil {
		s.r.onStart(s)
	}
}
func (s *recorded) Sent(seq gateway.Seq, _ bool, _ time.Time) { s.r.note(s.id, "sent %d", seq) }
func (s *recorded) Acked(seq gateway.Seq, _ bool, code gateway.AckCode, result []byte, _ time.Time) {
	if s.r.onAcked != nil {
		s.r.onAcked(s, seq)
	}
	s.r.note(s.id, "acked %d code %d %q", seq, code, result)
}

// TryAcked takes an ack at once, unless Acked may wait.
func (s *recorded) TryAcked(seq gateway.Seq, code gateway.AckCode, result []byte, at time.Time) bool {
	if s.r.onAcked != nil {
		return false
	}
	s.Acked(seq, false, code, result, at)
	return true
}
func (s *recorded) AckedOther(seq gateway.Seq, ephemeral bool) {
	s.r.note(s.id, "acked other %d ephemeral %v", seq, ephemeral)
}
func (s *recorded) AckTimeout(seq gateway.Seq, _ bool) { s.r.note(s.id, "ack timeout %d", seq) }
func (s *recorded) Suspect()                           {}
func (s *recorded) Alive(time.Duration)                {}
func (s *recorded) Writable() {
	s.r.note(s.id, "writable")
	if s.r.onWritable != nil {
		s.r.onWritable(s)
	}
}
func (s *recorded) Received(ctx context.Context, id uint64, payload []byte) error {
	if s.r.onReceived != nil {
		if err := s.r.onReceived(ctx, string(payload)); err != nil {
			s.r.note(s.id, "not received %d %q", id, payload)
			return err
		}
	}
	s.r.note(s.id, "received %d %q", id, payload)
	return nil
}
func (s *recorded) Closed(reason string) { s.r.note(s.id, "closed %s", reason) }

func (s *recorded) deliver(seq gateway.Seq, payload string) error {
	err := s.link.Deliver(gateway.Transmission{Seq: seq, Payload: []byte(payload)})
	s.link.Flush()
	return err
}

// drivers are those that this system has.
func drivers() []Driver {
	if systemKernel() == nil {
		return []Driver{DriverPortable}
	}
	return []Driver{DriverPortable, DriverEpoll}
}

// forEachDriver runs f on real sockets, once for each driver.
func forEachDriver(t *testing.T, f func(t *testing.T, d func(*Config))) {
	for _, d := range drivers() {
		t.Run(string(d), func(t *testing.T) { f(t, drivenBy(d)) })
	}
}

func drivenBy(d Driver) func(*Config) { return func(c *Config) { c.Driver = d } }

// liveServer is a server on a real loopback socket, with its own wheel.
func liveServer(t testing.TB, connect connector, options ...func(*Config)) *Server {
	t.Helper()
	cfg := Config{Addr: "127.0.0.1:0", Wheel: wheel.New()}
	for _, o := range options {
		o(&cfg)
	}
	srv, err := newServer(cfg, connect)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Wheel.Start()
	served := make(chan error, 1)
	go func() { served <- srv.Serve() }()
	t.Cleanup(func() {
		srv.Close()
		cfg.Wheel.Stop()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return srv
}

// phone is a text device on a real socket, driven by hand.
type phone struct {
	t  testing.TB
	nc *net.TCPConn
	in *bufio.Reader
}

func call(t testing.TB, srv *Server) *phone {
	t.Helper()
	nc, err := net.Dial("tcp", srv.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	nc.SetDeadline(time.Now().Add(time.Minute)) // a hanging test fails by itself
	return &phone{t, nc.(*net.TCPConn), bufio.NewReaderSize(nc, 64<<10)}
}

func (p *phone) say(line string) {
	p.t.Helper()
	if _, err := io.WriteString(p.nc, line+"\n"); err != nil {
		p.t.Fatalf("say %q: %v", line, err)
	}
}

func (p *phone) hear() string {
	p.t.Helper()
	line, err := p.in.ReadString('\n')
	if err != nil {
		p.t.Fatalf("hear: %v after %q", err, line)
	}
	return strings.TrimRight(line, "\r\n")
}

func (p *phone) register(id string) {
	p.t.Helper()
	p.say("REGISTER " + id)
	if got := p.hear(); !strings.HasPrefix(got, "REGISTERED ") {
		p.t.Fatalf("answer to REGISTER %s = %q", id, got)
	}
}

// eventually waits for a condition of another goroutine.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

var (
	errUnauthorized = &gateway.Error{Code: gateway.CodeUnauthorized, Message: "no"}
	errStore        = errors.New("disk on fire")
)
