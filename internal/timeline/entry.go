package timeline

import (
	"slices"
	"time"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/protocol"
)

// Kind is the kind of an Entry.
type Kind uint8

const (
	Connected       Kind = iota + 1 // a registration was accepted
	Refused                         // a registration was refused, Count times in a row
	Closed                          // a connection ended
	Framed                          // a frame came or left
	Heartbeats                      // Count heartbeats came in time
	HeartbeatMissed                 // the device did not answer a heartbeat
	Stepped                         // a delivery moved on
)

var kindNames = [...]string{Connected: "connected", Refused: "refused", Closed: "closed", Framed: "frame",
	Heartbeats: "heartbeats", HeartbeatMissed: "heartbeat_missed", Stepped: "delivery"}

// String returns the kind in lower case.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return ""
}

// Kinds returns the name of every kind.
func Kinds() []string { return kindNames[Connected:] }

// Entry is one event of a client. The kind decides which fields are set.
type Entry struct {
	Number     uint64 // rises with each entry of the client, also after its line was dropped
	At         time.Time
	Until      time.Time // Refused, Heartbeats: of the last one
	Kind       Kind
	Connection time.Time // when the connection of the entry was accepted; zero for a step
	Count      int       // Refused, Heartbeats

	Session   gateway.SessionID // Connected
	Remote    string            // Connected, Refused, Closed: address and port
	Transport string            // likewise: tcp or tls
	Dialect   string            // likewise
	Reason    string            // Refused, Closed, Stepped, malformed frames

	Frame     protocol.FrameType
	Out       bool
	Ephemeral bool // frames and steps: Seq is valid in its connection only
	Dup       bool
	Code      protocol.AckCode
	Seq       uint64 // frames and steps; 0 for none
	Size      int    // bytes of the frame
	Bytes     []byte // of a traced frame; a credential in it is masked
	Cut       bool   // Bytes has the first MaxFrameBytes only

	Step     gateway.StepKind
	Message  gateway.MessageID // of a step, and of a frame if the line still has a step of its delivery
	Attempts int
}

// IsAck reports whether e is a frame with a Code.
func (e *Entry) IsAck() bool { return e.Kind == Framed && e.Frame == protocol.FrameAck }

// OfDelivery reports whether e is about a delivery that the store has, and Seq is the place
// of its message.
func (e *Entry) OfDelivery() bool {
	return e.Seq != 0 && !e.Ephemeral && (e.Kind == Stepped ||
		e.Kind == Framed && (e.Out && (e.Frame == protocol.FrameData || e.Frame == protocol.FrameAsk) || !e.Out && e.Frame == protocol.FrameAck))
}

// HasPayload reports whether the bytes of a frame may have a payload, a result or
// parts of one.
func (e *Entry) HasPayload() bool {
	switch e.Frame {
	case protocol.FrameData, protocol.FrameAck, protocol.FrameMalformed, protocol.FrameError:
		return true
	}
	return false
}

// Reasons returns every reason of an entry.
func Reasons() []string {
	all := slices.Concat(gateway.DeliveryReasons(), gateway.CloseReasons(), protocol.Reasons())
	slices.Sort(all)
	return slices.Compact(all)
}

// entry is an Entry as a line keeps it: 56 bytes without a pointer, so that the garbage
// collector passes over rings. The line has its extra.
type entry struct {
	at      int64 // Unix nanoseconds, like conn
	conn    int64 // 0 = none
	seq     uint64
	message [16]byte // of a step
	size    uint32
	count   uint32 // attempts of a step
	kind    Kind
	frame   protocol.FrameType
	step    gateway.StepKind
	code    protocol.AckCode
	flags   flags
}

type flags uint8

const (
	flagOut flags = 1 << iota
	flagEphemeral
	flagDup
	flagCut
	flagExtra // the line has an extra
)

// extra has what few entries need.
type extra struct {
	until                                       int64
	session, remote, transport, dialect, reason string
	bytes                                       []byte
}

// extraSize is the memory of an extra without its bytes; the texts are short.
const extraSize = 256

func (x *extra) size() int {
	if x == nil {
		return 0
	}
	return extraSize + len(x.bytes)
}

// entry returns e as readers get it; x is its extra, or nil.
func (e *entry) entry(number uint64, x *extra) Entry {
	v := Entry{Number: number, At: time.Unix(0, e.at), Kind: e.kind, Frame: e.frame, Out: e.flags&flagOut != 0, Ephemeral: e.flags&flagEphemeral != 0,
		Dup: e.flags&flagDup != 0, Cut: e.flags&flagCut != 0, Code: e.code, Seq: e.seq, Size: int(e.size), Step: e.step}
	if e.conn != 0 {
		v.Connection = time.Unix(0, e.conn)
	}
	switch e.kind {
	case Stepped:
		v.Message, v.Attempts = gateway.MessageIDOf(e.message), int(e.count)
	case Refused, Heartbeats:
		v.Count = int(e.count)
	}
	if x != nil {
		v.Session, v.Remote, v.Transport, v.Dialect, v.Reason, v.Bytes = gateway.SessionID(x.session), x.remote, x.transport, x.dialect, x.reason, x.bytes
		if x.until != 0 {
			v.Until = time.Unix(0, x.until)
		}
	}
	return v
}
