package bench

import (
	"bytes"
	"errors"
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
	kind, _, _, size, err := nextFrame(out)
	if err != nil || kind != frameRegisterAck {
		t.Fatalf("first frame is of type %d, %v; want REGISTER_ACK", kind, err)
	}

	var c simulated
	rest, answers, err := c.answer(out[size:], nil)
	if err != nil || len(rest) != 0 {
		t.Fatalf("%d bytes were left, %v", len(rest), err)
	}
	s.Receive(now, append(answers, heartbeatFrame...))
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
	if _, _, err := c.answer(s.AppendOutput(nil), nil); err != nil || c.answers.Load() != 1 {
		t.Errorf("the answer to the heartbeat was counted %d times, %v", c.answers.Load(), err)
	}
}

func TestAnswersDoNotDependOnTheReads(t *testing.T) {
	data := append([]byte{frameData, frameVersion, 0x82, 0x80, 0x00}, 7, 'x') // padded length: a frame, although a gateway sends none
	if _, _, _, size, err := nextFrame(data); err != nil || size != len(data) {
		t.Fatalf("size %d, %v", size, err)
	}
	stream := append(append(append([]byte{}, data...), heartbeatFrame...), data...)
	var c simulated
	_, whole, err := c.answer(bytes.Clone(stream), nil)
	if err != nil {
		t.Fatal(err)
	}
	var in, out []byte
	for _, b := range stream {
		if in, out, err = c.answer(append(in, b), out); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(out, whole) || len(in) != 0 {
		t.Errorf("byte by byte the answers are %x, want %x; %d bytes left", out, whole, len(in))
	}
}

func TestBrokenFramesEndTheClient(t *testing.T) {
	var c simulated
	for name, stream := range map[string][]byte{
		"version":        {frameData, 3, 0},
		"endless length": {frameData, frameVersion, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
		"long length":    {frameData, frameVersion, 0xff, 0xff, 0xff, 0x7f},
		"no number":      {frameData, frameVersion, 0},
	} {
		if _, _, err := c.answer(stream, nil); !errors.Is(err, errBrokenFrame) {
			t.Errorf("%s: error %v, want %v", name, err, errBrokenFrame)
		}
	}
	closing := []byte{frameClose, frameVersion, 7, 0x0b, 0xb8, 0, 0, 0, 0, 'x'}
	if _, _, err := c.answer(closing, nil); err == nil {
		t.Error("CLOSE does not end the client")
	}
}
