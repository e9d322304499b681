package timeline

import (
	"strconv"
	"testing"
	"time"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/protocol"
)

// BenchmarkPush is the cost of one push to one of many connected devices: two frames
// and three steps.
func BenchmarkPush(b *testing.B) {
	book := New(Config{})
	clients := make([]string, 5000)
	for i := range clients {
		clients[i] = "client-" + strconv.Itoa(i)
	}
	began, message := time.Now(), gateway.MessageIDOf([16]byte{1, 2, 3})
	frame := make([]byte, 80)
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		id := clients[n*2749%len(clients)]
		n++
		st := gateway.Step{Client: gateway.ClientID(id), Message: message, At: began, Seq: gateway.Seq(n), Kind: gateway.StepQueued}
		f := protocol.Frame{Client: id, Began: began, At: began, Dialect: protocol.V2, Type: protocol.FrameData, Out: true, Registered: true, Seq: uint64(n), Size: len(frame), Bytes: frame}
		book.Step(st)
		book.Frame(f)
		st.Kind = gateway.StepSent
		book.Step(st)
		f.Type, f.Out = protocol.FrameAck, false
		book.Frame(f)
		st.Kind = gateway.StepAcked
		book.Step(st)
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
