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
	// KindAsk (device): the server asks for the verdict on Seq. The driver
	// answers with AckData, from its memory.
	KindAsk
	// KindAck is the peer's answer to a Seq in the window: Code, Payload is
	// its result, RTT the time since the first flush. Seq leaves the window,
	// unless Code is AckWorking.
	KindAck
	// KindStaleAck is an ack for nothing in the window: late, invented, or, with
	// OtherSpace set, without the mark that the delivery has (SPEC §2.2).
	KindStaleAck
	// KindSent reports that the frame of Seq has been flushed completely. An
	// ASK has no KindSent, because it carries no payload.
	KindSent
	// KindAckTimeout tells that Seq is unacked for the ack timeout after its
	// flush, or the last AckWorking. It keeps its place in the window until it
	// is sent again, acked or forgotten.
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

var kindNames = [...]string{KindRegister: "register", KindRegistered: "registered", KindData: "data", KindAsk: "ask",
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
	Ask        bool // KindAck, KindAckTimeout: the last transmission of Seq was an ASK
	OtherSpace bool // KindStaleAck: Seq is in the window with the other value of Ephemeral
	Code       AckCode
	Register   *Register
	Registered *Registered
	Seq        uint64
	Payload    []byte
	Close      Close
	RTT        time.Duration
}

// AckCode is the answer to a payload or to an ASK. Only devices send the codes
// from AckSend on, and only after an agreement on ASK (SPEC §2.3).
type AckCode uint8

const (
	AckOK      AckCode = 0
	AckReject  AckCode = 1 // do not send it again
	AckRetry   AckCode = 2 // send it again later
	AckSend    AckCode = 3 // not handled: send the payload
	AckNotKept AckCode = 4 // handled, but the device no longer knows its verdict
	AckWorking AckCode = 5 // under way: the ack timeout starts anew
)

var codeNames = [...]string{AckOK: "ok", AckReject: "reject", AckRetry: "retry",
	AckSend: "send", AckNotKept: "not_kept", AckWorking: "working"}

// String returns the code in lower case, as in a metrics label.
func (c AckCode) String() string {
	if int(c) < len(codeNames) {
		return codeNames[c]
	}
	return "unknown"
}

// Register is what a client says of itself. Only ID is required. Nil Labels
// and Groups mean that it says nothing of them. v1 carries the ID alone, text
// the ID, the Token and the Heartbeat.
type Register struct {
	ID        string
	Token     string
	Labels    map[string]string
	Groups    []string
	Heartbeat time.Duration // proposal, 0 for none; whole milliseconds on the wire
	Window    int           // proposal, 0 for none
	Log       string        // the log that AskThrough belongs to

	Asks       bool   // it answers ASK; otherwise AskThrough says nothing
	AskThrough uint64 // highest sequence that it has handled, 0 for none
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
	Ask        bool      // both ends use ASK and the codes that answer it
	Time       time.Time // the server's clock in whole milliseconds, zero if it says none
}

// Data is one payload to be sent.
type Data struct {
	Seq       uint64
	Payload   []byte // copied
	Dup       bool   // it was sent before
	Ephemeral bool   // Seq counts in this session only
}
