package timeline

import (
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/protocol"
)

// fleet pushes to many connected devices: two frames and three steps for each push.
type fleet struct {
	book    *Book
	clients []string
	began   time.Time
	message gateway.MessageID
	frame   []byte
	n       int
}

func newFleet() *fleet {
	f := &fleet{book: New(Config{}), clients: make([]string, 5000), began: time.Now(), message: gateway.MessageIDOf([16]byte{1, 2, 3}), frame: make([]byte, 80)}
	for i := range f.clients {
		f.clients[i] = "client-" + strconv.Itoa(i)
	}
	return f
}

// push pushes to the next client.
func (f *fleet) push() {
	id := f.clients[f.n*2749%len(f.clients)]
	f.n++
	st := gateway.Step{Client: gateway.ClientID(id), Message: f.message, At: f.began, Seq: gateway.Seq(f.n), Kind: gateway.StepQueued}
	fr := protocol.Frame{Client: id, Began: f.began, At: f.began, Dialect: protocol.V2, Type: protocol.FrameData, Out: true, Registered: true, Seq: uint64(f.n), Size: len(f.frame), Bytes: f.frame}
	f.book.Step(st)
	f.book.Frame(fr)
	st.Kind = gateway.StepSent
	f.book.Step(st)
	fr.Type, fr.Out = protocol.FrameAck, false
	f.book.Frame(fr)
	st.Kind = gateway.StepAcked
	f.book.Step(st)
}

// BenchmarkPush is the cost of one push to one of many connected devices.
func BenchmarkPush(b *testing.B) {
	f := newFleet()
	b.ReportAllocs()
	for b.Loop() {
		f.push()
	}
}

// TestABusyFleetMakesLittleGarbage pushes so often that the lines fill their memory: the
// longest ones shrink and grow again all the time.
func TestABusyFleetMakesLittleGarbage(t *testing.T) {
	f := newFleet()
	for range 60 * len(f.clients) {
		f.push()
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	const pushes = 100_000
	for range pushes {
		f.push()
	}
	runtime.ReadMemStats(&after)
	if each := (after.TotalAlloc - before.TotalAlloc) / pushes; each > 400 {
		t.Errorf("a push allocates %d bytes, want at most 400", each)
	}
}

// BenchmarkHeartbeat is the cost of a heartbeat of an idle client.
func BenchmarkHeartbeat(b *testing.B) {
	book := New(Config{})
	f := protocol.Frame{Client: "idle", Began: time.Now(), At: time.Now(), Dialect: protocol.V2, Type: protocol.FrameHeartbeatAck, Registered: true, Size: 3}
	b.ReportAllocs()
	for b.Loop() {
		book.Frame(f)
	}
}
