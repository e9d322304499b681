package protocol

import "time"

// Dialect is the form of frames on the wire. A server learns it from the first
// bytes. A Dialect is only a name: code that behaves differently asks for a
// trait, so a new dialect is a new row of the table below.
type Dialect uint8

const (
	Unknown Dialect = iota // not enough bytes yet
	V1                     // unframed, one read is one message
	V2                     // framed binary
	Text                   // lines
)

// traits is all that a session knows of its peer's dialect: the codec and the
// dialect's abilities. Sessions share it and only read it.
type traits struct {
	dialect Dialect
	name    string

	// The codec. parse reads the message at the start of b, and n is its size: 0
	// without an error means that more bytes are needed, 0 with an error that
	// nothing after it can be read either. cut returns the first of several
	// encoded frames; only stopAndWait uses it. check returns why a registration
	// cannot be sent.
	append func(b []byte, m message) []byte
	parse  func(b []byte, r reading) (m message, n int, err *wireError)
	cut    func(b []byte) (first, rest []byte)
	check  func(r *Register) *wireError
	mask   func(register []byte) // overwrites the credential of a REGISTER with stars

	ids     bool // DATA and ACK carry a number
	rejects bool // an ACK can say reject and retry later
	results bool // an ACK can carry a result
	resumes bool // a registration names the log of its sequence
	ask     bool // the ends can agree on ASK and on the codes that answer it
	paces   bool // REGISTER can propose a heartbeat

	window      int                           // most deliveries in flight
	payload     int                           // largest payload in bytes
	patience    time.Duration                 // of a server, until the client has answered a heartbeat in time
	stopAndWait bool                          // frames leave one by one (stopwait.go)
	ackTimeout  func(c *Config) time.Duration // until a delivery counts as unacked
	gap         func(c *Config) time.Duration // between two frames; only with stopAndWait

	asksEarly       [2]bool // by the role of the receiver: a heartbeat may come before registration
	answersLate     bool    // a server may answer a heartbeat with its own next one only
	repeatsRegister bool    // a device sends REGISTER until it is accepted; a refusal does not end the session
	ownsEphemeral   bool    // a device that sends an ephemeral number is refused; otherwise the mark is ignored

	forgives   bool    // the session drops input that breaks a rule and stays open
	maxRefused uint8   // bound of refusals in a row; 0 is without limit
	errors     bool    // a server has an ERROR message for such input
	goodbye    [2]byte // by role: the message that ends a session; 0 is none
}

// dialects has a row for each Dialect, the table form of SPEC §3 to §8. A trait that a row
// does not name is absent.
var dialects = [...]traits{
	Unknown: {name: "unknown"},
	V1: {
		dialect: V1, name: "v1",
		append: appendV1, parse: parseV1, cut: cutV1, check: checkV1Register, mask: maskV1,
		window: 1, payload: maxV1Payload,
		stopAndWait: true, ackTimeout: (*Config).v1AckTimeout, gap: (*Config).v1Gap,
		asksEarly: [2]bool{Device: true}, answersLate: true,
		repeatsRegister: true, forgives: true,
	},
	V2: {
		dialect: V2, name: "v2",
		append: appendV2, parse: parseV2, check: checkV2Register, mask: maskV2,
		ids: true, rejects: true, results: true, resumes: true, ask: true, paces: true,
		window: maxWireWindow, payload: maxWirePayload,
		ackTimeout: (*Config).ackTimeout,
		goodbye:    [2]byte{Server: typeClose, Device: typeClose},
	},
	Text: {
		dialect: Text, name: "text",
		append: appendText, parse: parseText, check: checkTextRegister, mask: maskText,
		ids: true, rejects: true, results: true, paces: true,
		window: maxWireWindow, payload: maxTextPayload, patience: textPatience,
		ackTimeout: (*Config).ackTimeout,
		asksEarly:  [2]bool{Server: true, Device: true}, ownsEphemeral: true,
		forgives: true, maxRefused: maxMalformed, errors: true,
		goodbye: [2]byte{Server: typeClose, Device: kindBye},
	},
}

// unspoken is the traits of a session without a dialect: it can neither read nor
// write.
var unspoken = &dialects[Unknown]

// reading has the facts of the session that a codec needs to read a message.
type reading struct {
	role    Role // of the reader
	open    bool // the session is registered
	payload int  // largest payload in bytes
	tokens  bool // Config.V1Token
	ask     bool // both ends have agreed on ASK
}

// String returns "v1", "v2", "text", or "unknown".
func (d Dialect) String() string {
	if int(d) >= len(dialects) {
		d = Unknown
	}
	return dialects[d].name
}

// Rejects reports whether an ACK can say reject and retry later.
func (d Dialect) Rejects() bool { return dialects[d].rejects }

// Resumes reports whether a registration names the log of its sequence.
func (d Dialect) Resumes() bool { return dialects[d].resumes }

// Dialects returns all dialects but Unknown, by their values from 1.
func Dialects() []Dialect {
	all := make([]Dialect, 0, len(dialects)-1)
	for _, t := range dialects[Unknown+1:] {
		all = append(all, t.dialect)
	}
	return all
}

// ParseDialect returns the dialect called name.
func ParseDialect(name string) (d Dialect, ok bool) {
	for _, d := range Dialects() {
		if d.String() == name {
			return d, true
		}
	}
	return Unknown, false
}
