package protocol

import "time"

// EventKind is the kind of an Event.
type EventKind uint8

const (
	// KindRegister (server): the peer wants to register. The driver answers with
	// Accept or Refuse. Until then the session processes nothing else and keeps
	// up to 64 KiB of input.
	KindRegister EventKind = iota + 1
	// KindRegistered (device): the server has accepted.
	KindRegistered
	// KindData is a payload from the peer. Seq is its id, 0 in v1. The driver
	// calls AckData when it has stored or handled the payload.
	KindData
	// KindAsk (device): the server asks for the verdict on Seq. The driver
	// answers from its memory, with AckData.
	KindAsk
	// KindAck is the peer's answer to a Seq in the window. Payload is its result,
	// RTT the time since the first flush. Seq leaves the window, unless Code is
	// AckWorking.
	KindAck
	// KindStaleAck is an ack for a Seq that is not in the window: late or
	// invented, or, with OtherSpace set, without the delivery's mark (SPEC §2.2).
	KindStaleAck
	// KindSent reports that the frame of Seq has been flushed completely. An ASK
	// has no KindSent, because it carries no payload.
	KindSent
	// KindAckTimeout reports that the ack timeout has passed since the flush of
	// Seq or its last AckWorking. Seq keeps its place in the window until it is
	// sent again, acked or forgotten.
	KindAckTimeout
	// KindWritable reports that there is room again after a Send that failed with
	// ErrWindowFull or ErrBusy.
	KindWritable
	// KindSuspect (server) reports that the client has not answered a heartbeat for
	// SuspectAfter (SPEC §6). KindAlive or KindClosed follows.
	KindSuspect
	// KindAlive (server) is a sign of life after a KindSuspect, or the answer that
	// Probe has asked for: only then RTT is set.
	KindAlive
	// KindMalformed reports refused input on a session that stays open;
	// Close.Reason says why. Payload is the start of the id of a REGISTER that cannot
	// be read, as the peer has sent it.
	KindMalformed
	// KindClosed is the last event. The output may hold final bytes, to be
	// flushed before the socket is closed. Payload is as in KindMalformed.
	KindClosed
)

var kindNames = [...]string{KindRegister: "register", KindRegistered: "registered", KindData: "data", KindAsk: "ask",
	KindAck: "ack", KindStaleAck: "stale_ack", KindSent: "sent", KindAckTimeout: "ack_timeout",
	KindWritable: "writable", KindSuspect: "suspect", KindAlive: "alive", KindMalformed: "malformed", KindClosed: "closed"}

// String returns the kind in lower case, as in a metrics label.
func (k EventKind) String() string { return nameOf(kindNames[:], int(k)) }

// Event is one event of a session, returned by Session.Next. Kind decides which
// fields are set. The receiver owns all memory that it points to.
type Event struct {
	Kind       EventKind
	Ephemeral  bool // Seq is valid in this session only
	Dup        bool // KindData: the peer has sent it before
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
	AckWorking AckCode = 5 // in progress: the ack timeout starts anew
)

var codeNames = [...]string{AckOK: "ok", AckReject: "reject", AckRetry: "retry",
	AckSend: "send", AckNotKept: "not_kept", AckWorking: "working"}

// String returns the code in lower case, as in a metrics label.
func (c AckCode) String() string { return nameOf(codeNames[:], int(c)) }

// nameOf returns the n-th name, "unknown" if there is none.
func nameOf(names []string, n int) string {
	if n < len(names) && names[n] != "" {
		return names[n]
	}
	return "unknown"
}

// Register is a client's request to register. Only ID is required. Nil Labels and
// Groups leave the stored ones unchanged. v1 carries the ID alone, text the ID,
// the Token and the Heartbeat.
type Register struct {
	ID        string
	Token     string
	Labels    map[string]string
	Groups    []string
	Heartbeat time.Duration // proposal, 0 for none; whole milliseconds on the wire
	Window    int           // proposal, 0 for none
	Log       string        // the log of AskThrough

	Asks       bool   // it answers ASK; otherwise AskThrough has no meaning
	AskThrough uint64 // highest sequence that it has handled, 0 for none
}

// Registered is the server's answer. In Session.Accept zero fields stand for the
// negotiated values.
type Registered struct {
	Session    string
	Log        string
	Resumed    bool
	Heartbeat  time.Duration
	Grace      time.Duration
	Window     int
	MaxPayload int
	Ask        bool      // both ends use ASK and the codes that answer it
	Time       time.Time // the server's clock in whole milliseconds, zero if it sends none

	// TokenUnchecked (server) is set when the client sent a token that the server does not
	// check. Only the text dialect says so, in its words for people.
	TokenUnchecked bool
}

// Data is one payload for Session.Send.
type Data struct {
	Seq       uint64
	Payload   []byte // copied
	Dup       bool   // it was sent before
	Ephemeral bool   // Seq is valid in this session only
}
