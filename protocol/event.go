package protocol

import "time"

// EventKind says what an Event tells.
type EventKind uint8

const (
	// KindRegister (server): the peer wants to register. The driver answers
	// with Accept or Refuse; until then nothing else is processed and input
	// is kept up to 64 KiB.
	KindRegister EventKind = iota + 1
	// KindRegistered (device): the server has accepted.
	KindRegistered
	// KindData is a payload from the peer. Seq is its id, 0 in v1. The driver
	// calls AckData when the payload is safe.
	KindData
	// KindAck is the peer's verdict on a Seq in the window: Code, Payload is
	// its answer, RTT the time since the flush.
	KindAck
	// KindStaleAck is an ack for nothing in the window: late, invented, or, with
	// OtherSpace set, without the mark that the delivery has (SPEC §2.2).
	KindStaleAck
	// KindSent tells that the frame of Seq has been flushed completely.
	KindSent
	// KindAckTimeout tells that Seq is unacked for the ack timeout after its
	// flush. It keeps its place in the window until it is sent again, acked
	// or forgotten.
	KindAckTimeout
	// KindWritable tells that there is room again after a Send that failed
	// with ErrWindowFull or ErrBusy.
	KindWritable
	// KindMalformed is input that was refused while the session goes on;
	// Close.Reason says why.
	KindMalformed
	// KindClosed is the last event. The output may hold final bytes, to be
	// flushed before the socket is closed.
	KindClosed
)

var kindNames = [...]string{KindRegister: "register", KindRegistered: "registered", KindData: "data",
	KindAck: "ack", KindStaleAck: "stale_ack", KindSent: "sent", KindAckTimeout: "ack_timeout",
	KindWritable: "writable", KindMalformed: "malformed", KindClosed: "closed"}

// String returns the kind in lower case, as in a metrics label.
func (k EventKind) String() string {
	if int(k) < len(kindNames) && kindNames[k] != "" {
		return kindNames[k]
	}
	return "unknown"
}

// Event is one thing that happened, to be taken with Session.Next. Which
// fields are set depends on Kind. The receiver owns everything it points to.
type Event struct {
	Kind       EventKind
	Ephemeral  bool // Seq counts in this session only
	Dup        bool // KindData: the peer says that it has sent this before
	OtherSpace bool // KindStaleAck: Seq is in the window with the other value of Ephemeral
	Code       AckCode
	Register   *Register
	Registered *Registered
	Seq        uint64
	Payload    []byte
	Close      Close
	RTT        time.Duration
}

// AckCode is a verdict on a payload.
type AckCode uint8

const (
	AckOK     AckCode = 0
	AckReject AckCode = 1 // do not send it again
	AckRetry  AckCode = 2 // send it again later
)

// String returns "ok", "reject" or "retry".
func (c AckCode) String() string {
	switch c {
	case AckOK:
		return "ok"
	case AckReject:
		return "reject"
	case AckRetry:
		return "retry"
	}
	return "unknown"
}

// Register is what a client says of itself. Only ID is required. Nil Labels
// and Groups mean that it says nothing of them. v1 carries the ID alone, text
// the ID and the Token.
type Register struct {
	ID        string
	Token     string
	Labels    map[string]string
	Groups    []string
	Heartbeat time.Duration // proposal, 0 for none; whole milliseconds on the wire
	Window    int           // proposal, 0 for none
	Log       string        // the log that LastSeq belongs to
	LastSeq   uint64        // highest sequence up to which nothing is left unhandled
}

// Registered is the server's answer. In Session.Accept zero fields mean what
// was negotiated.
type Registered struct {
	Session    string
	Log        string
	Resumed    bool
	Heartbeat  time.Duration
	Grace      time.Duration
	Window     int
	MaxPayload int
}

// Data is one payload to be sent.
type Data struct {
	Seq       uint64
	Payload   []byte // copied
	Dup       bool   // it was sent before
	Ephemeral bool   // Seq counts in this session only
}
