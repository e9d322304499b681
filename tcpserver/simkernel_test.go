package tcpserver

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// simKernel is a kernel in memory, for virtual time. Its sockets have no room
// towards the device: like a net.Pipe they take what a Read waits for. So every
// longer answer is left over, and finished when an event says so.
type simKernel struct {
	mu      sync.Mutex
	changed sync.Cond
	sockets map[int32]*simSocket // adopted and open
	lastFD  int32
	events  []simEvent // not told yet, oldest first
	stalled bool       // no poller gets to hear of anything
	closed  int        // queues that were closed
	opened  int
}

type simEvent struct {
	fd               int32
	generation, bits uint32
}

// simRoom is how many bytes a device may write before the server reads.
const simRoom = 64 << 10

func newSimKernel() *simKernel {
	k := &simKernel{sockets: make(map[int32]*simSocket)}
	k.changed.L = &k.mu
	return k
}

// simSocket is both ends of a connection. All of it is guarded by the kernel's
// mutex.
type simSocket struct {
	k          *simKernel
	remote     net.Addr
	fd         int32  // when adopted
	generation uint32 // when watched

	in      []byte // to the server
	inEnd   bool   // the device has closed, or half closed
	gone    bool   // the device has closed
	outEnd  bool   // the server has closed, or half closed
	over    bool   // the server has closed
	reset   bool   // with a reset
	want    []byte // the device's Read that waits
	got     int    // of want, -1 while it waits
	noRoom  bool   // a write has found no room
	timeout time.Time
}

// pair returns the two ends of a new connection.
func (k *simKernel) pair(remote net.Addr) (server *simServerEnd, device *simDeviceEnd) {
	s := &simSocket{k: k, remote: remote}
	return &simServerEnd{s}, &simDeviceEnd{s}
}

// happen makes the server's end hear of bits. k.mu is held.
func (s *simSocket) happen(bits uint32) {
	if s.generation != 0 && !s.over && !s.k.stalled {
		s.k.events = append(s.k.events, simEvent{s.fd, s.generation, bits})
	}
	s.k.changed.Broadcast()
}

// stall keeps all that happens from now on from the pollers.
func (k *simKernel) stall() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.stalled = true
}

func (k *simKernel) adopt(nc net.Conn) (int32, bool) {
	end, ok := nc.(*simServerEnd)
	if !ok {
		return -1, false
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.lastFD++
	end.s.fd = k.lastFD
	k.sockets[k.lastFD] = end.s
	return k.lastFD, true
}

func (k *simKernel) socket(fd int32) *simSocket {
	s := k.sockets[fd]
	if s == nil {
		panic("system call on a closed socket")
	}
	return s
}

func (k *simKernel) read(fd int32, p []byte) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.socket(fd).readNow(p)
}

func (s *simSocket) readNow(p []byte) (int, error) {
	if len(s.in) == 0 && !s.inEnd {
		return 0, errWouldBlock
	}
	n := copy(p, s.in)
	s.in = s.in[n:]
	s.k.changed.Broadcast()
	return n, nil
}

func (k *simKernel) write(fd int32, p []byte) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.socket(fd).writeNow(p)
}

func (s *simSocket) writeNow(p []byte) (int, error) {
	switch {
	case s.gone || s.outEnd:
		return 0, syscall.EPIPE
	case s.got >= 0 || s.want == nil:
		s.noRoom = true
		return 0, errWouldBlock
	}
	s.got = copy(s.want, p)
	s.noRoom = s.got < len(p)
	s.k.changed.Broadcast()
	return s.got, nil
}

func (k *simKernel) closeWrite(fd int32) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.socket(fd).outEnd = true
	k.changed.Broadcast()
}

func (k *simKernel) close(fd int32, reset bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.socket(fd).shut(reset)
	delete(k.sockets, fd)
}

func (s *simSocket) shut(reset bool) {
	s.over, s.outEnd, s.reset = true, true, reset
	s.k.changed.Broadcast()
}

func (k *simKernel) newQueue() (eventQueue, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.opened++
	return (*simQueue)(k), nil
}

// simQueue is a queue of the one list of events that all queues share.
type simQueue simKernel

func (q *simQueue) watch(fd int32, generation uint32) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	s := q.sockets[fd]
	s.generation = generation
	bits := canWrite
	if len(s.in) > 0 {
		bits |= canRead
	}
	if s.inEnd {
		bits |= canRead | hangUp
	}
	s.happen(bits)
	return nil
}

func (q *simQueue) run(onEvent func(fd int32, generation, bits uint32), onBatchEnd func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for {
		for len(q.events) == 0 {
			if q.closed == q.opened {
				return
			}
			q.changed.Wait()
		}
		events := q.events
		q.events = nil
		q.mu.Unlock()
		for _, e := range events {
			onEvent(e.fd, e.generation, e.bits)
		}
		onBatchEnd()
		q.mu.Lock()
	}
}

func (q *simQueue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed++
	q.changed.Broadcast()
}

// simServerEnd is what the listener accepts.
type simServerEnd struct{ s *simSocket }

func (e *simServerEnd) Read(p []byte) (int, error) {
	n, err := e.wait(e.s.readNow, p)
	if n == 0 && err == nil {
		err = io.EOF
	}
	return n, err
}

func (e *simServerEnd) Write(p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		var m int
		m, err = e.wait(e.s.writeNow, p[n:])
		n += m
	}
	return n, err
}

// wait calls f until it does not block.
func (e *simServerEnd) wait(f func([]byte) (int, error), p []byte) (int, error) {
	s := e.s
	s.k.mu.Lock()
	defer s.k.mu.Unlock()
	for {
		switch {
		case s.over:
			return 0, net.ErrClosed
		case !s.timeout.IsZero() && !time.Now().Before(s.timeout):
			return 0, os.ErrDeadlineExceeded
		}
		if n, err := f(p); err != errWouldBlock {
			return n, err
		}
		s.k.changed.Wait()
	}
}

func (e *simServerEnd) Close() error {
	e.s.k.mu.Lock()
	defer e.s.k.mu.Unlock()
	if e.s.generation == 0 { // a watched socket lives on
		e.s.shut(false)
	}
	return nil
}

func (e *simServerEnd) SetDeadline(t time.Time) error {
	k := e.s.k
	k.mu.Lock()
	defer k.mu.Unlock()
	e.s.timeout = t
	k.changed.Broadcast()
	if !t.IsZero() {
		time.AfterFunc(time.Until(t), func() {
			k.mu.Lock()
			defer k.mu.Unlock()
			k.changed.Broadcast()
		})
	}
	return nil
}

func (e *simServerEnd) SetReadDeadline(t time.Time) error  { return e.SetDeadline(t) }
func (e *simServerEnd) SetWriteDeadline(t time.Time) error { return e.SetDeadline(t) }
func (e *simServerEnd) LocalAddr() net.Addr                { return e.s.remote }
func (e *simServerEnd) RemoteAddr() net.Addr               { return e.s.remote }

// simDeviceEnd is the device's.
type simDeviceEnd struct{ s *simSocket }

func (e *simDeviceEnd) Read(p []byte) (int, error) {
	s := e.s
	s.k.mu.Lock()
	defer s.k.mu.Unlock()
	s.want, s.got = p, -1
	defer func() { s.want = nil }()
	if s.noRoom {
		s.noRoom = false
		s.happen(canWrite)
	}
	s.k.changed.Broadcast()
	for s.got < 0 {
		switch {
		case s.gone:
			return 0, net.ErrClosed
		case s.reset:
			return 0, syscall.ECONNRESET
		case s.outEnd:
			return 0, io.EOF
		}
		s.k.changed.Wait()
	}
	return s.got, nil
}

func (e *simDeviceEnd) Write(p []byte) (int, error) {
	s := e.s
	s.k.mu.Lock()
	defer s.k.mu.Unlock()
	for len(s.in) > simRoom && !s.over && !s.inEnd {
		s.k.changed.Wait()
	}
	if s.over || s.inEnd {
		return 0, syscall.EPIPE
	}
	s.in = append(s.in, p...)
	s.happen(canRead)
	return len(p), nil
}

// CloseWrite ends the device's direction only.
func (e *simDeviceEnd) CloseWrite() error {
	s := e.s
	s.k.mu.Lock()
	defer s.k.mu.Unlock()
	s.inEnd = true
	s.happen(canRead | hangUp)
	return nil
}

func (e *simDeviceEnd) Close() error {
	s := e.s
	s.k.mu.Lock()
	defer s.k.mu.Unlock()
	if !s.gone {
		s.gone, s.inEnd = true, true
		s.happen(canRead | canWrite | hangUp)
	}
	return nil
}

func (e *simDeviceEnd) SetDeadline(time.Time) error      { return nil }
func (e *simDeviceEnd) SetReadDeadline(time.Time) error  { return nil }
func (e *simDeviceEnd) SetWriteDeadline(time.Time) error { return nil }
func (e *simDeviceEnd) LocalAddr() net.Addr              { return e.s.remote }
func (e *simDeviceEnd) RemoteAddr() net.Addr             { return e.s.remote }
