package tcpserver

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/protocol"
)

// counting is a gateway that costs nothing and counts acks.
type counting struct {
	started, acked atomic.Int64
	onAck          func(s *countedSession)
	sessions       chan *countedSession
}

type countedSession struct {
	g    *counting
	link gateway.Link
	seq  gateway.Seq
}

func (g *counting) connect(_ context.Context, h gateway.Hello, link gateway.Link) (session, gateway.Welcome, error) {
	return &countedSession{g: g, link: link}, gateway.Welcome{Session: "ses", Log: "log"}, nil
}

func (s *countedSession) Start() {
	s.g.started.Add(1)
	if s.g.sessions != nil {
		s.g.sessions <- s
	}
}
func (s *countedSession) Sent(gateway.Seq, bool, time.Time) {}
func (s *countedSession) Acked(gateway.Seq, bool, gateway.AckCode, []byte, time.Time) {
	s.g.acked.Add(1)
	if s.g.onAck != nil {
		s.g.onAck(s)
	}
}
func (s *countedSession) TryAcked(seq gateway.Seq, code gateway.AckCode, result []byte, at time.Time) bool {
	s.Acked(seq, false, code, result, at)
	return true
}
func (s *countedSession) AckedOther(gateway.Seq, bool)                   {}
func (s *countedSession) AckTimeout(gateway.Seq, bool)                   {}
func (s *countedSession) Writable()                                      {}
func (s *countedSession) Suspect()                                       {}
func (s *countedSession) Alive(time.Duration)                            {}
func (s *countedSession) Received(context.Context, uint64, []byte) error { return nil }
func (s *countedSession) Closed(string)                                  {}

// registerFrame is a v2 REGISTER.
func registerFrame(id string) []byte {
	body := fmt.Sprintf(`{"id":%q}`, id)
	b := binary.AppendUvarint([]byte{0x01, 0x02}, uint64(len(body)))
	return append(b, body...)
}

// crowd registers n v2 devices and returns their sockets; the answers are read.
func crowd(t testing.TB, srv *Server, n int) []net.Conn {
	t.Helper()
	all := make([]net.Conn, n)
	t.Cleanup(func() {
		for _, nc := range all {
			if nc != nil {
				nc.Close()
			}
		}
	})
	for i := range all {
		nc, err := net.Dial("tcp", srv.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		all[i] = nc
		if _, err := nc.Write(registerFrame(fmt.Sprint("c", i))); err != nil {
			t.Fatal(err)
		}
		readFrame(t, nc)
	}
	return all
}

// readFrame reads one v2 frame of less than 128 bytes, or its length's two
// bytes, and returns its body.
func readFrame(t testing.TB, nc net.Conn) []byte {
	t.Helper()
	var head [3]byte
	if _, err := io.ReadFull(nc, head[:]); err != nil {
		t.Fatal(err)
	}
	n := int(head[2])
	if n >= 0x80 {
		var more [1]byte
		if _, err := io.ReadFull(nc, more[:]); err != nil {
			t.Fatal(err)
		}
		n = n&0x7f | int(more[0])<<7
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(nc, body); err != nil {
		t.Fatal(err)
	}
	return body
}

// memory in use by stacks and heap after a collection.
func memory() (stack, heap int64) {
	runtime.GC()
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.StackInuse), int64(m.HeapInuse)
}

// idleCost registers n devices over loopback, exchanges a delivery and a
// heartbeat with each, and returns bytes per device when all is quiet, the
// test's own ends of the sockets included.
func idleCost(t testing.TB, n int, driver func(*Config)) (stack, heap int64, srv *Server, all []net.Conn) {
	gw := &counting{sessions: make(chan *countedSession, n+32)}
	srv = liveServer(t, gw.connect, driver)
	converse := func(all []net.Conn) {
		for _, nc := range all {
			if err := (<-gw.sessions).push(make([]byte, 64)); err != nil {
				t.Fatal(err)
			}
			readFrame(t, nc)
			nc.Write([]byte{0x06, 0x22, 2, 1, 0, 0x03, 0x02, 0}) // ephemeral ACK 1, HEARTBEAT
			readFrame(t, nc)
		}
	}
	converse(crowd(t, srv, 32)) // pools, workers and maps have their size
	stack0, heap0 := memory()
	all = crowd(t, srv, n)
	converse(all)
	stack1, heap1 := memory()
	return (stack1 - stack0) / int64(n), (heap1 - heap0) / int64(n), srv, all
}

// idleBudgets are bytes that an idle client may cost, the test's own end of the
// socket, about 400, included. A goroutine that waits one call deeper, or a
// buffer that is held, doubles it.
var idleBudgets = map[Driver]struct{ stack, heap int64 }{
	DriverPortable: {2600, 2100},
	DriverEpoll:    {100, 1250},
}

func TestMemoryOfAnIdleClient(t *testing.T) {
	for _, d := range drivers() {
		t.Run(string(d), func(t *testing.T) {
			if raceEnabled {
				t.Log("the race detector has its own memory; the path is run, not measured")
				idleCost(t, 20, drivenBy(d))
				return
			}
			stack, heap, _, _ := idleCost(t, 2000, drivenBy(d))
			t.Logf("per idle client: stack %d B, heap %d B", stack, heap)
			budget := idleBudgets[d]
			if stack > budget.stack {
				t.Errorf("stack = %d B per idle client, want at most %d", stack, budget.stack)
			}
			if heap > budget.heap {
				t.Errorf("heap = %d B per idle client, want at most %d", heap, budget.heap)
			}
		})
	}
}

// What the allocator gives for the parts of an idle connection; the classes
// below are 240, 144 and 64.
func TestSizesOfAnIdleConnection(t *testing.T) {
	for _, c := range []struct {
		name      string
		got, want uintptr
	}{
		{"conn", unsafe.Sizeof(conn{}), 256},
		{"protocol.Session", unsafe.Sizeof(protocol.Session{}), 160},
		{"stream", unsafe.Sizeof(stream{}), 80},
	} {
		if c.got > c.want {
			t.Errorf("%s has %d bytes, want at most %d", c.name, c.got, c.want)
		}
	}
}

// A hundred thousand devices may speak at once, each a few bytes.
func TestSmallReadWaitsInASmallBuffer(t *testing.T) {
	for _, c := range []struct{ read, want int }{{0, smallRead}, {1, smallRead}, {smallRead, smallRead}, {smallRead + 1, readBufferSize}} {
		in := takeLarge()
		in.n = copy(in.buf, make([]byte, c.read))
		if in = in.fitted(); len(in.buf) != c.want || in.n != c.read {
			t.Errorf("a read of %d bytes waits as %d in a buffer of %d, want %d", c.read, in.n, len(in.buf), c.want)
		}
		in.release()
	}
}

func TestGoroutinesOfIdleClients(t *testing.T) {
	for _, d := range drivers() {
		t.Run(string(d), func(t *testing.T) {
			gw := &counting{}
			srv := liveServer(t, gw.connect, drivenBy(d))
			crowd(t, srv, 10)
			var before int
			eventually(t, "the registrations settle", func() bool {
				n := runtime.NumGoroutine()
				same := n == before
				before = n
				return same
			})
			want := map[Driver]int{DriverPortable: 200, DriverEpoll: 0}[d]
			crowd(t, srv, 200)
			eventually(t, fmt.Sprintf("200 clients have %d goroutines", want),
				func() bool { return runtime.NumGoroutine() <= before+want })
		})
	}
}

// echoAcks makes the device at nc ack every delivery of fewer than 128 bytes
// with a sequence below 128, until the connection ends.
func echoAcks(nc net.Conn) {
	buf := make([]byte, 64<<10)
	ack := make([]byte, 0, 64<<10)
	have := 0
	for {
		n, err := nc.Read(buf[have:])
		if err != nil {
			return
		}
		p := buf[:have+n]
		ack = ack[:0]
		for len(p) >= 4 && len(p) >= 3+int(p[2]) {
			if p[0] == 0x05 {
				ack = append(ack, 0x06, p[1]&0x20|0x02, 2, p[3], 0)
			}
			p = p[3+int(p[2]):]
		}
		have = copy(buf, p)
		if len(ack) > 0 {
			if _, err := nc.Write(ack); err != nil {
				return
			}
		}
	}
}

// push is an online push: nothing waits for a store.
func (s *countedSession) push(payload []byte) error {
	s.seq = s.seq%100 + 1
	err := s.link.Deliver(gateway.Transmission{Seq: s.seq, Payload: payload, Ephemeral: true})
	s.link.Flush()
	return err
}

// One push to its ack: the frame is copied into pooled memory, the ack is read
// into pooled memory.
func TestAllocationsOfAPushAndItsAck(t *testing.T) {
	forEachDriver(t, testAllocationsOfAPushAndItsAck)
}

func testAllocationsOfAPushAndItsAck(t *testing.T, driver func(*Config)) {
	if raceEnabled {
		t.Log("pools drop at random under the race detector; the path is run, not measured")
	}
	gw := &counting{sessions: make(chan *countedSession, 1)}
	acked := make(chan struct{}, 1)
	gw.onAck = func(*countedSession) { acked <- struct{}{} }
	srv := liveServer(t, gw.connect, driver)
	nc := crowd(t, srv, 1)[0]
	go echoAcks(nc)
	s := <-gw.sessions
	payload := make([]byte, 64)
	allocs := testing.AllocsPerRun(2000, func() {
		if err := s.push(payload); err != nil {
			t.Errorf("push: %v", err)
		}
		<-acked
	})
	t.Logf("%.1f allocations per push and ack", allocs)
	if allocs > 1 && !raceEnabled {
		t.Errorf("%.1f allocations per push and ack, want at most 1", allocs)
	}
}

func BenchmarkIdleMemory(b *testing.B) {
	for _, d := range drivers() {
		b.Run(string(d), func(b *testing.B) { benchmarkIdleMemory(b, d) })
	}
}

func benchmarkIdleMemory(b *testing.B, d Driver) {
	for b.Loop() {
		stack, heap, srv, all := idleCost(b, 4000, drivenBy(d))
		b.ReportMetric(float64(stack), "stack-B/client")
		b.ReportMetric(float64(heap), "heap-B/client")
		for _, nc := range all {
			nc.Close()
		}
		eventually(b, "the clients are gone", func() bool { return srv.Stats().Open <= 32 })
	}
}

// BenchmarkPushAck keeps a push in flight to each of 256 devices over loopback;
// devices and server share the processors.
func BenchmarkPushAck(b *testing.B) {
	for _, d := range drivers() {
		b.Run(string(d), func(b *testing.B) { benchmarkPushAck(b, d) })
	}
}

func benchmarkPushAck(b *testing.B, d Driver) {
	const devices = 256
	gw := &counting{sessions: make(chan *countedSession, devices)}
	srv := liveServer(b, gw.connect, drivenBy(d))
	payload := make([]byte, 64)
	acks := make(chan *countedSession, devices)
	gw.onAck = func(s *countedSession) { acks <- s }
	for _, nc := range crowd(b, srv, devices) {
		go echoAcks(nc)
	}
	for range devices {
		acks <- <-gw.sessions
	}
	b.ReportAllocs()
	cpu := cpuTime()
	for b.Loop() {
		if err := (<-acks).push(payload); err != nil {
			b.Fatalf("push: %v", err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "acked/s")
	b.ReportMetric(float64((cpuTime()-cpu).Nanoseconds())/float64(b.N), "cpu-ns/op") // both ends
}
