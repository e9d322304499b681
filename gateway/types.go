package gateway

import (
	"slices"
	"time"
)

// ClientID names a registered device or program: [A-Za-z0-9._:@-]{1,128}. "." and
// ".." are excluded, because they change the path of a URL.
type ClientID string

// MessageID names a message: "msg_" and a UUIDv7, so ids sort by time.
type MessageID string

// SessionID names one registered connection: "ses_" and a UUIDv7.
type SessionID string

// LogID names a sequence space. It changes when a store is restored from a
// backup; sequences of different logs must not be compared.
type LogID string

// Seq is a message's place in the store's log: one rising number for the whole
// store. Each client sees a strictly rising subset of it. Zero is before all.
type Seq uint64

// NotClientID is the text with which an id is refused that ClientID.Valid does not
// accept.
const NotClientID = "not a client id: 1 to 128 of A-Z a-z 0-9 . _ : @ -, but not . or .. alone"

var errNotClientID = &Error{Code: CodeValidation, Message: NotClientID}

// Valid reports whether id may name a client.
func (id ClientID) Valid() bool {
	if len(id) == 0 || len(id) > 128 || id == "." || id == ".." {
		return false
	}
	for i := range len(id) {
		switch c := id[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case c == '.', c == '_', c == ':', c == '@', c == '-':
		default:
			return false
		}
	}
	return true
}

// State is the state of a delivery.
type State uint8

const (
	Queued   State = iota + 1 // stored, waiting for the client or for room in its window
	Sent                      // flushed to the socket of the live session (memory only)
	Acked                     // the device acked it
	Rejected                  // the device rejected it or cannot take it
	Expired                   // its time to live ended first
	Canceled                  // a caller withdrew it
	Failed                    // attempts used up, no such client, or an online delivery that was not sent
	Unknown                   // an online delivery that may have been sent, and was not answered
)

var stateNames = [...]string{Queued: "queued", Sent: "sent", Acked: "acked", Rejected: "rejected",
	Expired: "expired", Canceled: "canceled", Failed: "failed", Unknown: "unknown"}

// String returns the state's name in the API, or "" for an unknown one.
func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return ""
}

// Final reports whether no later state can follow. After Unknown the device's answer
// can; see Outcome.Resolves.
func (s State) Final() bool { return s >= Acked && s <= Unknown }

// ParseState returns the state called name; ok is false if there is none.
func ParseState(name string) (s State, ok bool) {
	for i, n := range stateNames {
		if n != "" && n == name {
			return State(i), true
		}
	}
	return 0, false
}

// Encoding is the form in which a caller gave the payload; the API shows it in
// the same form. The device always gets the plain bytes.
type Encoding uint8

const (
	EncodingBinary Encoding = iota // shown as base64
	EncodingText                   // valid UTF-8
	EncodingJSON                   // valid JSON
)

// Counts has the number of deliveries of one message in each state.
type Counts struct {
	Total                                                    int
	Queued, Sent, Acked, Rejected, Expired, Canceled, Failed int
	Unknown                                                  int // of an online delivery
}

// Final returns how many deliveries are final.
func (c Counts) Final() int {
	return c.Acked + c.Rejected + c.Expired + c.Canceled + c.Failed + c.Unknown
}

// Of returns a pointer to the count of one state, nil for an unknown state.
func (c *Counts) Of(s State) *int {
	switch s {
	case Queued:
		return &c.Queued
	case Sent:
		return &c.Sent
	case Acked:
		return &c.Acked
	case Rejected:
		return &c.Rejected
	case Expired:
		return &c.Expired
	case Canceled:
		return &c.Canceled
	case Failed:
		return &c.Failed
	case Unknown:
		return &c.Unknown
	}
	return nil
}

// Message is one message as a caller pushed it, with its counts.
type Message struct {
	ID        MessageID
	Seq       Seq
	Payload   []byte
	Encoding  Encoding
	Metadata  map[string]string
	CreatedAt time.Time
	ExpiresAt time.Time
	Counts    Counts
	Online    bool // see Acceptance.Online
	// Client is the recipient of a message to one client, "" for a message to
	// many.
	Client ClientID
	// Owner names the limited callers that may see the message, in addition to
	// the callers that may see all messages; "" if only those may. The gateway
	// does not interpret it.
	Owner string
	// CompletedAt is when the last delivery became final; zero before.
	CompletedAt time.Time
	// Delivery is the delivery of a completed message to one client, if it is
	// known without a read of the store; else nil.
	Delivery *Delivery
}

// Completed reports whether every delivery is final.
func (m *Message) Completed() bool { return m.Counts.Final() == m.Counts.Total }

// Delivery is one message for one client. Unknown times are zero: a plain ack
// within a message to many keeps neither times nor attempts.
type Delivery struct {
	Message   MessageID
	Client    ClientID
	Seq       Seq
	Online    bool // see Acceptance.Online
	State     State
	Reason    string // why it was rejected or failed, is unknown, or is not sent
	Attempts  int    // transmissions so far by this process, without those answered with retry later
	CreatedAt time.Time
	ExpiresAt time.Time
	SentAt    time.Time // last transmission
	FinalAt   time.Time
	Result    []byte    // the device's answer
	Progress  []byte    // the end of the device's last AckWorking, while it is connected
	LateAckAt time.Time // when the device acked after another final state
	// LateCode and LateResult are that late ack.
	LateCode   AckCode
	LateResult []byte
}

// Transmission is one delivery ready to be sent to a session.
type Transmission struct {
	Message   MessageID
	Seq       Seq // the session-local number when Ephemeral
	ExpiresAt time.Time
	Payload   []byte // read-only: shared between the recipients of one message
	Many      bool   // the message has more than one recipient
	Dup       bool   // sent before; set by the gateway
	Ask       bool   // send an ASK for the verdict, and no payload
	Ephemeral bool   // mode=online: nothing is stored, Seq is valid in this session only
}

// ClientRecord is a client as the store keeps it.
type ClientRecord struct {
	ID           ClientID
	Labels       map[string]string // the operator's
	Reported     map[string]string // labels that the device has sent
	Groups       []string          // sorted
	CreatedAt    time.Time
	LastSeenAt   time.Time
	LastClose    string    // reason of the last disconnect; see CloserOf
	BlockedUntil time.Time // until when registrations are refused; zero = not blocked
	Queued       int       // deliveries that are not final
	QueuedBytes  int64     // their payload bytes, messages to many not counted
	// Ref is the store's own name of the client, valid as long as the client is
	// stored; 0 if the store has none. An Outcome or a TransmissionQuery with it saves
	// the store a look-up.
	Ref uint32
	// Epoch rises by one with each registration.
	Epoch uint64
	// Joined has for each of Groups when the client came into it.
	Joined []Joining
}

// In reports whether a client is in a group, and when it came into it.
func (r *ClientRecord) In(group string) (Joining, bool) {
	i, ok := slices.BinarySearch(r.Groups, group)
	if !ok {
		return Joining{}, false
	}
	return r.Joined[i], true
}

// Joining is the place in the log at which a client came into a group: higher numbers
// belong to the client as a member. Groups that a store had before it kept joinings have
// the zero Joining, or one with the event alone.
type Joining struct {
	Event  uint64 // number of the newest event before
	Seq    Seq    // of the newest message before
	Uplink uint64 // sequence of the newest uplink before
}

// Span is the sequences above After, up to and including Through; 0 = no bound.
type Span struct{ After, Through Seq }

// Has reports whether a sequence is in the span.
func (s Span) Has(seq Seq) bool { return seq > s.After && (s.Through == 0 || seq <= s.Through) }

// Rejoin returns the joinings of a client whose groups change from old to now. A group
// that it keeps has its joining from joined, and a new one has at. Both lists of groups
// are sorted.
func Rejoin(old []string, joined []Joining, now []string, at Joining) []Joining {
	list := make([]Joining, len(now))
	for i, name := range now {
		list[i] = at
		if j, ok := slices.BinarySearch(old, name); ok {
			list[i] = joined[j]
		}
	}
	return list
}

// Uplink is one payload from a device, stored before the device's ack.
type Uplink struct {
	Seq     uint64 // given by the store, rising
	Client  ClientID
	Session SessionID
	Number  uint64 // the device's own number; 0 for dialects without one
	At      time.Time
	Payload []byte
	// Omitted is set in an event whose Payload is too large to be kept twice;
	// Uplinks returns it.
	Omitted bool
}
