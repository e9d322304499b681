package bench

import (
	"bytes"
	"errors"
	"io"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/longwire/longwire/protocol"
)

// gatewayEnd is a real gateway's end of the wire, that has taken the simulated
// client's registration.
func gatewayEnd(t *testing.T, now time.Time) *protocol.Session {
	t.Helper()
	s := protocol.NewServer(&protocol.Config{}, now)
	s.Receive(now, registerFrame("c-000001", time.Hour))
	e, ok := s.Next()
	if !ok || e.Kind != protocol.KindRegister || e.Register.ID != "c-000001" || e.Register.Window != 256 || e.Register.Heartbeat != time.Hour {
		t.Fatalf("the registration reads as %+v, %+v", e, e.Register)
	}
	s.Accept(now, protocol.Registered{Session: "s", Log: "l"})
	return s
}

func TestClientSpeaksTheProtocol(t *testing.T) {
	now := time.Unix(1000, 0)
	s := gatewayEnd(t, now)
	if err := s.Send(now, protocol.Data{Seq: 1000, Payload: pushPayload}); err != nil {
		t.Fatal(err)
	}
	if err := s.Send(now, protocol.Data{Seq: 1, Payload: pushPayload, Ephemeral: true}); err != nil {
		t.Fatal(err)
	}
	out := s.AppendOutput(nil)
	s.Flushed(now, len(out))
	first, err := newWire(&chunks{reads: [][]byte{out}}).next()
	if err != nil || first.kind != frameRegisterAck {
		t.Fatalf("first frame is of type %d, %v; want REGISTER_ACK", first.kind, err)
	}

	var f fleet
	s.Receive(now, append(served(&f, out), heartbeatFrame...))
	var acked []uint64
	for e, ok := s.Next(); ok; e, ok = s.Next() {
		switch e.Kind {
		case protocol.KindAck:
			acked = append(acked, e.Seq)
			if e.Code != protocol.AckOK || e.Ephemeral != (e.Seq == 1) {
				t.Errorf("ack reads as %+v", e)
			}
		case protocol.KindSent:
		default:
			t.Errorf("unexpected event %+v", e)
		}
	}
	if len(acked) != 2 || acked[0] != 1000 || acked[1] != 1 {
		t.Errorf("acked are %v, want 1000 and 1", acked)
	}
	served(&f, s.AppendOutput(nil))
	if got := f.answers.Load(); got != 1 {
		t.Errorf("the answer to the heartbeat was counted %d times", got)
	}
}

// chunks is a connection on which these reads come, and then its end. It keeps what
// is written.
type chunks struct {
	net.Conn
	reads   [][]byte
	written []byte
}

func (c *chunks) Read(p []byte) (int, error) {
	if len(c.reads) == 0 {
		return 0, io.EOF
	}
	n := copy(p, c.reads[0])
	c.reads = c.reads[1:]
	return n, nil
}

func (c *chunks) Write(p []byte) (int, error) {
	c.written = append(c.written, p...)
	return len(p), nil
}

func (c *chunks) Close() error { return nil }

// served is what a client of the fleet answers to these reads.
func served(f *fleet, reads ...[]byte) []byte {
	c := &chunks{reads: reads}
	f.serve(&device{wire: newWire(c), tcp: c})
	return c.written
}

func TestAnswersDoNotDependOnTheReads(t *testing.T) {
	data := append([]byte{frameData, frameVersion, 0x82, 0x80, 0x00}, 7, 'x') // padded length: a frame, although a gateway sends none
	if f, err := newWire(&chunks{reads: [][]byte{data}}).next(); err != nil || len(f.body) != 2 {
		t.Fatalf("the body is %x, %v", f.body, err)
	}
	stream := slices.Concat(data, heartbeatFrame, data)
	var f fleet
	whole, each := served(&f, stream), served(&f, slices.Collect(slices.Chunk(stream, 1))...)
	if want := 2*len([]byte{frameAck, frameVersion, 2, 7, 0}) + len(heartbeatAckFrame); len(whole) != want {
		t.Errorf("the answers are %x, want %d bytes", whole, want)
	}
	if !bytes.Equal(each, whole) {
		t.Errorf("byte by byte the answers are %x, want %x", each, whole)
	}
}

func TestBrokenFramesEndTheClient(t *testing.T) {
	end := func(stream []byte) error {
		d := &device{wire: newWire(&chunks{reads: [][]byte{stream}})}
		return d.each(func(got frame) error { return new(fleet).answer(d, got) })
	}
	for name, stream := range map[string][]byte{
		"version":        {frameData, 3, 0},
		"endless length": append([]byte{frameData, frameVersion}, bytes.Repeat([]byte{0xff}, 20)...),
		"long length":    {frameData, frameVersion, 0xff, 0xff, 0xff, 0x7f},
		"no number":      {frameData, frameVersion, 0},
	} {
		if err := end(stream); err == nil || errors.Is(err, io.EOF) {
			t.Errorf("%s ends the client with %v", name, err)
		}
	}
	if err := end([]byte{frameClose, frameVersion, 7, 0x0b, 0xb8, 0, 0, 0, 0, 'x'}); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("CLOSE ends the client with %v", err)
	}
}
