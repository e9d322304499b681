package tcpserver

import (
	"encoding/binary"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/longwire/longwire/protocol"
)

// crowdKernel is a kernel in memory for more connections than a machine has
// files. Behind each socket is a v2 device that answers while it is written to:
// it registers, acks deliveries and answers heartbeats. No system call is made,
// so that what is measured on it is the process alone.
//
// A socket needs no lock: a connection makes its calls with its mutex held.
type crowdKernel struct {
	sockets []crowdSocket // by file
	files   atomic.Int32  // given so far
	queues  []*crowdQueue // made before the first socket is watched

	room       chan struct{} // an element for each connection that may come now
	registered atomic.Int64
	beats      atomic.Int64          // heartbeats that were asked for
	pulse      atomic.Pointer[pulse] // counts them by time; nil = nobody looks
}

// crowdSocket is both ends of a connection, 32 bytes without a pointer, so that
// a million of them are little memory and no work for the collector.
type crowdSocket struct {
	generation    uint32
	queue         uint8
	have          uint8 // bytes of answers
	hasRegistered bool
	full          bool // a write has found no room for its answer
	answers       [24]byte
}

// crowdUnregistered is how many connections may be on their way at a time.
const crowdUnregistered = 2048

func newCrowdKernel(n int) *crowdKernel {
	k := &crowdKernel{sockets: make([]crowdSocket, n), room: make(chan struct{}, n)}
	for range min(n, crowdUnregistered) {
		k.room <- struct{}{}
	}
	return k
}

// bytes is the memory of the kernel and its devices.
func (k *crowdKernel) bytes() int64 {
	return int64(cap(k.sockets))*int64(unsafe.Sizeof(crowdSocket{})) + k.queued()
}

// queued is what its queues take of it.
func (k *crowdKernel) queued() (n int64) {
	for _, q := range k.queues {
		n += q.bytes()
	}
	return n
}

func (k *crowdKernel) adopt(nc net.Conn) (int32, bool) { return int32(nc.(crowdEnd)), true }

func (k *crowdKernel) newQueue() (eventQueue, error) {
	q := &crowdQueue{k: k, number: uint8(len(k.queues))}
	q.nonEmpty.L = &q.mu
	k.queues = append(k.queues, q)
	return q, nil
}

// tell makes the server hear of bits.
func (k *crowdKernel) tell(fd int32, bits uint32) {
	s := &k.sockets[fd]
	k.queues[s.queue].add(simEvent{fd, s.generation, bits})
}

func (k *crowdKernel) read(fd int32, p []byte) (int, error) {
	s := &k.sockets[fd]
	if !s.hasRegistered {
		s.hasRegistered = true
		return len(crowdRegister(p[:0], fd)), nil
	}
	if s.have == 0 {
		return 0, errWouldBlock
	}
	n := copy(p, s.answers[:s.have])
	s.have = 0
	if s.full {
		s.full = false
		k.tell(fd, canWrite)
	}
	return n, nil
}

// crowdRegister appends the first words of the device behind fd.
func crowdRegister(b []byte, fd int32) []byte {
	b = append(b, 0x01, 0x02, 17)
	b = append(b, `{"id":"c0000000"}`...)
	for at := len(b) - 3; fd > 0; at, fd = at-1, fd/10 {
		b[at] = byte('0' + fd%10)
	}
	return b
}

// write takes whole frames, as many as the device has room to answer.
func (k *crowdKernel) write(fd int32, p []byte) (done int, err error) {
	s := &k.sockets[fd]
	before := s.have
	for done < len(p) {
		length, n := binary.Uvarint(p[done+2:])
		end := done + 2 + n + int(length)
		if !k.answer(s, p[done], p[done+1], p[done+2+n:end]) {
			break
		}
		done = end
	}
	if s.have > before {
		k.tell(fd, canRead)
	}
	if done == 0 {
		return 0, errWouldBlock
	}
	return done, nil
}

// answer is the device's part in a frame; false when it has no room for it.
func (k *crowdKernel) answer(s *crowdSocket, kind, flags byte, body []byte) bool {
	const longest = 3 + binary.MaxVarintLen32 + 1 // an ACK
	if s.full = int(s.have)+longest > len(s.answers); s.full {
		return false
	}
	b := s.answers[:s.have]
	switch kind {
	case 0x02: // REGISTER_ACK
		k.registered.Add(1)
		k.room <- struct{}{}
	case 0x03: // HEARTBEAT
		k.beats.Add(1)
		if pulse := k.pulse.Load(); pulse != nil {
			pulse.count(time.Now())
		}
		b = append(b, 0x04, 0x02, 0)
	case 0x05: // DATA
		_, id := binary.Uvarint(body)
		b = append(b, 0x06, flags&0x20|0x02, byte(id+1))
		b = append(append(b, body[:id]...), 0)
	}
	s.have = uint8(len(b))
	return true
}

func (k *crowdKernel) closeWrite(int32)  {}
func (k *crowdKernel) close(int32, bool) {}

// crowdQueue is a queue of events that is taken as a whole, as epoll's is.
type crowdQueue struct {
	k      *crowdKernel
	number uint8

	mu       sync.Mutex
	nonEmpty sync.Cond
	events   []simEvent // not taken yet
	taken    int        // the capacity of those that run has taken, and gives back
	closed   bool
}

func (q *crowdQueue) bytes() int64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return int64(cap(q.events)+q.taken) * int64(unsafe.Sizeof(simEvent{}))
}

func (q *crowdQueue) watch(fd int32, generation uint32) error {
	s := &q.k.sockets[fd]
	s.queue, s.generation = q.number, generation
	q.add(simEvent{fd, generation, canRead | canWrite})
	return nil
}

func (q *crowdQueue) add(e simEvent) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.events = append(q.events, e)
	if len(q.events) == 1 {
		q.nonEmpty.Signal()
	}
}

// take returns what has happened, nothing when the queue is closed. The events
// that were told before make room for new ones.
func (q *crowdQueue) take(told []simEvent) []simEvent {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.events) == 0 && !q.closed {
		q.nonEmpty.Wait()
	}
	news := q.events
	q.events, q.taken = told[:0], cap(news)
	return news
}

func (q *crowdQueue) run(onEvent func(fd int32, generation, bits uint32), onBatchEnd func()) {
	for news := q.take(nil); len(news) > 0; news = q.take(news) {
		for _, e := range news {
			onEvent(e.fd, e.generation, e.bits)
		}
		onBatchEnd()
	}
}

func (q *crowdQueue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.nonEmpty.Signal()
}

// crowdEnd is what the listener accepts: a file of the kernel, which is adopted
// before anything else can be asked of it.
type crowdEnd int32

func (crowdEnd) Read([]byte) (int, error)         { panic("read of a socket that nobody has adopted") }
func (crowdEnd) Write([]byte) (int, error)        { panic("write to a socket that nobody has adopted") }
func (crowdEnd) Close() error                     { return nil }
func (crowdEnd) SetDeadline(time.Time) error      { return nil }
func (crowdEnd) SetReadDeadline(time.Time) error  { return nil }
func (crowdEnd) SetWriteDeadline(time.Time) error { return nil }
func (crowdEnd) LocalAddr() net.Addr              { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 6666} }
func (e crowdEnd) RemoteAddr() net.Addr {
	return &net.TCPAddr{IP: net.IPv4(10, byte(e>>16), byte(e>>8), byte(e)), Port: 40000}
}

// crowdListener lets the devices of a kernel come as fast as they register.
type crowdListener struct {
	k      *crowdKernel
	closed chan struct{}
	once   sync.Once
}

func (l *crowdListener) Accept() (net.Conn, error) {
	room := l.k.room
	if int(l.k.files.Load()) == len(l.k.sockets) {
		room = nil // all are there
	}
	select {
	case <-room:
		return crowdEnd(l.k.files.Add(1) - 1), nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *crowdListener) Close() error   { l.once.Do(func() { close(l.closed) }); return nil }
func (l *crowdListener) Addr() net.Addr { return crowdEnd(0).LocalAddr() }

// gatherCrowd has the devices of k register at a server.
func gatherCrowd(t testing.TB, k *crowdKernel, connect connector, heartbeat time.Duration) *Server {
	t.Helper()
	return liveServer(t, connect, func(c *Config) {
		c.Listener, c.Driver, c.kernel = &crowdListener{k: k, closed: make(chan struct{})}, DriverAuto, k
		c.MaxConns, c.MaxUnregistered = len(k.sockets), len(k.sockets)
		c.Protocol = protocol.Config{Heartbeat: heartbeat, Jitter: randomUpTo}
	})
}

// wantCrowd checks that all devices are still there.
func wantCrowd(t testing.TB, srv *Server, k *crowdKernel) {
	t.Helper()
	st := srv.Stats()
	if st.Open != len(k.sockets) || st.Online["v2"] != len(k.sockets) {
		t.Errorf("open %d, online %v, closed %v, want %d", st.Open, st.Online, st.Closed, len(k.sockets))
	}
}

// pulse counts heartbeats in slots of an interval; what comes later than the
// interval's end is folded into it.
type pulse struct {
	since time.Time
	slots []atomic.Int64
}

const pulseSlot = 100 * time.Millisecond

func newPulse(interval time.Duration) *pulse {
	return &pulse{time.Now(), make([]atomic.Int64, interval/pulseSlot)}
}

func (p *pulse) count(now time.Time) { p.slots[int(now.Sub(p.since)/pulseSlot)%len(p.slots)].Add(1) }

// unevenness is the fullest slot to the mean: 1 is perfectly even.
func (p *pulse) unevenness() float64 {
	total, most := int64(0), int64(0)
	for i := range p.slots {
		n := p.slots[i].Load()
		total, most = total+n, max(most, n)
	}
	return float64(most) * float64(len(p.slots)) / float64(max(total, 1))
}
