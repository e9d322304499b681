package protocol

import (
	"bytes"
	"math"
	"time"
)

// FrameObserver is notified of every frame that sessions read and write. Its
// method runs inside the calls of a session: it must not call the session, must
// not wait, and must not keep Frame.Bytes.
type FrameObserver interface {
	Frame(f Frame)
}

// Frame is one frame, line or v1 message on the wire.
type Frame struct {
	Client string    // the session's client; before the registration, the id that a REGISTER asks for
	Began  time.Time // when the connection was accepted
	At     time.Time // when the frame was read, or the driver took it

	Dialect    Dialect
	Type       FrameType
	Out        bool // from this end to the peer
	Registered bool // the session was registered when the frame came, or before it left
	Ephemeral  bool
	Dup        bool
	Code       AckCode // FrameAck
	Seq        uint64  // FrameData, FrameAsk, FrameAck; 0 if the dialect has none in this frame
	Size       int     // bytes on the wire; of input that is no frame, the bytes at hand
	// Bytes is the frame as on the wire, nil if it may hold a credential that
	// nothing can find: input that is no frame, before a registration or about one.
	// The observer passes a FrameRegister to Mask before it shows it.
	Bytes  []byte
	Reason string // FrameMalformed: one of the Reason constants
}

// FrameType is the type of a Frame in any dialect.
type FrameType uint8

const (
	FrameRegister FrameType = iota + 1
	FrameRegisterAck
	FrameHeartbeat
	FrameHeartbeatAck
	FrameData
	FrameAsk
	FrameAck
	FrameClose
	FrameError
	FrameBlank     // text: an empty line
	FrameMalformed // input that is no frame
)

var frameNames = [...]string{FrameRegister: "register", FrameRegisterAck: "register_ack", FrameHeartbeat: "heartbeat",
	FrameHeartbeatAck: "heartbeat_ack", FrameData: "data", FrameAsk: "ask", FrameAck: "ack", FrameClose: "close",
	FrameError: "error", FrameBlank: "blank", FrameMalformed: "malformed"}

// String returns the type in lower case.
func (t FrameType) String() string { return nameOf(frameNames[:], int(t)) }

// FrameTypes returns the name of every type.
func FrameTypes() []string { return frameNames[FrameRegister:] }

// frameTypeOf returns the type of a message.
func frameTypeOf(m *message) FrameType {
	switch m.kind {
	case kindBlank:
		return FrameBlank
	case kindError:
		return FrameError
	case kindBye, typeClose:
		return FrameClose
	case typeData:
		if m.head {
			return FrameAsk
		}
	}
	return [...]FrameType{typeRegister: FrameRegister, typeRegisterAck: FrameRegisterAck, typeHeartbeat: FrameHeartbeat,
		typeHeartbeatAck: FrameHeartbeatAck, typeData: FrameData, typeAck: FrameAck}[m.kind]
}

// wasOpen reports whether the session is or was registered.
func (s *Session) wasOpen() bool { return s.state == open || s.state == closed && s.answerBy == 0 }

// frame returns m as the observer sees it. b has its bytes.
func (s *Session) frame(m *message, b []byte) Frame {
	f := Frame{Client: s.id, Began: s.start, Dialect: s.traits.dialect, Type: frameTypeOf(m), Registered: s.wasOpen(),
		Ephemeral: m.ephemeral, Dup: m.dup, Code: m.code, Seq: m.seq, Size: len(b), Bytes: b}
	if s.state == awaiting && m.register != nil {
		f.Client = m.register.ID
	}
	return f
}

// observeInput reports the message m with the bytes b, or input that err refuses.
func (s *Session) observeInput(now time.Time, m *message, b []byte, err *wireError) {
	if err != nil {
		m = new(message) // its fields may be wrong
	}
	f := s.frame(m, b)
	if err != nil {
		f.Type, f.Reason = FrameMalformed, err.reason
		if s.state != open || mayRegister(b) {
			f.Bytes = nil
		}
	}
	if f.At = now; f.Client != "" {
		s.cfg.Frames.Frame(f)
	}
}

// mayRegister reports whether b could be meant as a REGISTER, with a credential.
func mayRegister(b []byte) bool {
	return b[0] == typeRegister || bytes.Contains(bytes.ToUpper(b[:min(len(b), maxRegister)]), []byte("REGISTER"))
}

// observeOutput reports the frames of out, whole frames that the driver takes now.
// It reads them as the peer will.
func (s *Session) observeOutput(now time.Time, out []byte) {
	if s.id == "" || s.traits == unspoken {
		return
	}
	for len(out) > 0 {
		m, n, err := s.traits.parse(out, reading{1 - s.role, true, math.MaxInt32 - bodyOverhead, s.cfg.V1Token, true})
		if n == 0 || err != nil {
			return
		}
		if s.wait != nil {
			n = len(out) // one frame at a time; its payload may look like a start
		}
		f := s.frame(&m, out[:n])
		f.At, f.Out = now, true
		if s.wait != nil && f.Type == FrameData && s.InFlight() > 0 {
			f.Seq = s.work.flights[0].seq // which the frame does not carry
			f.Ephemeral = s.work.flights[0].ephemeral
		}
		s.cfg.Frames.Frame(f)
		out = out[n:]
	}
}
