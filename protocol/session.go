package protocol

import (
	"cmp"
	"errors"
	"time"
)

// Errors of Session.Send, Ask, AckData and AckEphemeral.
var (
	ErrWindowFull    = errors.New("protocol: window full")
	ErrBusy          = errors.New("protocol: v1 peer has an unanswered frame")
	ErrTooLarge      = errors.New("protocol: payload too large for the dialect")
	ErrClosed        = errors.New("protocol: session closed")
	ErrNotRegistered = errors.New("protocol: not registered")
	ErrZeroSeq       = errors.New("protocol: sequence 0 cannot be sent")
	ErrCannotAsk     = errors.New("protocol: no agreement on ASK")
)

// Session is the protocol state of one connection, on either end. It is not safe
// for concurrent use.
//
// It takes at most 160 bytes. While no delivery is in flight and no input half
// read, it holds nothing else but the client's id and, in v1, a stopAndWait.
type Session struct {
	// Fixed after construction.
	cfg   *Config
	start time.Time // an instant counts from here

	traits *traits      // of the dialect; unspoken before the first bytes
	work   *work        // nil while idle
	wait   *stopAndWait // nil unless the traits require it
	id     string       // the client's, "" before its REGISTER

	taken   uint64 // output bytes that the driver has taken so far
	flushed uint64 // taken bytes that have reached the socket

	lastIn    instant       // when the peer last sent something, or was accepted
	answerBy  instant       // registration deadline; once open, the deadline for the answer to a heartbeat, 0 = not asked; then 0 = was open
	askedAt   instant       // when the unanswered heartbeat was sent; while deciding, when the REGISTER came
	heartbeat time.Duration // negotiated
	grace     time.Duration
	phaseDebt time.Duration // by which the next heartbeats, together, still have to come early
	rtt       time.Duration // last measured

	maxPayload int32 // for Send
	window     uint16
	unasked    uint16 // see Unasked
	tooSoon    uint16 // see TooSoon
	malformed  uint8  // refused lines in a row
	role       Role
	state      state
	owes       owed // events for the driver
	asks       bool // the device has offered ASK; once open, both ends have agreed
	answers    bool // server: the client has answered a heartbeat within the grace
}

type state uint8

const (
	awaiting state = iota // no registration yet
	deciding              // server: the driver has a KindRegister to answer
	open                  // registered
	closed                // KindClosed has been pushed
)

// owed is a set of events that the session owes its driver.
type owed uint8

const (
	owesWritable owed = 1 << iota // KindWritable: a Send has failed
	owesSign                      // KindAlive for the next input: the driver has a KindSuspect
	owesAnswer                    // KindAlive for the next answer to a heartbeat: Probe has asked
)

func (o owed) has(e owed) bool { return o&e != 0 }

// instant counts nanoseconds since Session.start, plus one; 0 is never. It is a
// third of the size of a time.Time and keeps its monotonic reading.
type instant int64

func (s *Session) at(now time.Time) instant { return instant(max(now.Sub(s.start), 0) + 1) }
func (s *Session) when(i instant) time.Time { return s.start.Add(time.Duration(i - 1)) }
func (i instant) add(d time.Duration) instant {
	return i + instant(d)
}

// sooner returns the earlier of two instants. Never is later than each other instant.
func sooner(a, b instant) instant {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

func (i instant) since(earlier instant) time.Duration { return time.Duration(i - earlier) }

// NewServer returns the server's end of a connection that was accepted at now.
// The first bytes decide the dialect. A nil cfg is all defaults.
func NewServer(cfg *Config, now time.Time) *Session { return newSession(cfg, Server, now) }

func newSession(cfg *Config, role Role, now time.Time) *Session {
	if cfg == nil {
		cfg = &defaults
	}
	s := &Session{cfg: cfg, traits: unspoken, role: role, start: now, heartbeat: cfg.heartbeat(), grace: cfg.grace()}
	s.lastIn = s.at(now)
	s.answerBy = s.lastIn.add(cfg.registerTime())
	return s
}

// speak sets the dialect and the values that follow from it.
func (s *Session) speak(d Dialect) {
	s.traits = &dialects[d]
	s.window = uint16(s.cfg.window(s.traits, 0))
	s.maxPayload = int32(s.cfg.maxPayload(s.traits))
	if s.traits.stopAndWait {
		s.wait = new(stopAndWait)
	}
}

// Receive processes the bytes of one read. It borrows p for the call. In v1 a
// read is a message, so reads must not be joined.
func (s *Session) Receive(now time.Time, p []byte) {
	if s.state == closed || len(p) == 0 {
		return
	}
	s.noteInput(now)
	s.consume(now, p)
	s.afterChange(now)
}

// EOF reports that the peer has ended its direction of the connection. A server notes
// ReasonHungUp, a device ReasonConnectionLost.
func (s *Session) EOF() {
	reason := ReasonHungUp
	if s.role == Device {
		reason = ReasonConnectionLost
	}
	s.shut(Close{Reason: reason, Remote: true})
}

// Lost reports that the socket failed.
func (s *Session) Lost() {
	s.shut(Close{Reason: ReasonConnectionLost, Remote: true})
}

// Close ends the session: it sends the reason to the peer, if the dialect can,
// and KindClosed is the last event. It does nothing on a closed session.
func (s *Session) Close(c Close) {
	c.Remote = false
	s.shut(c)
}

// shut closes the session.
func (s *Session) shut(c Close) { s.end(c, nil) }

// end is the only way into the closed state. badID is the payload of KindClosed.
func (s *Session) end(c Close, badID []byte) {
	if s.state == closed {
		return
	}
	c.Reason = cmp.Or(c.Reason, codeReasons[c.Code], ReasonProtocolError)
	if s.state == open {
		s.answerBy = 0
	}
	s.state = closed
	if kind := s.traits.goodbye[s.role]; kind != 0 && !c.Remote {
		said := c
		s.write(message{kind: kind, close: &said})
	}
	if s.wait != nil {
		s.wait.stop(s)
	}
	w := s.busy()
	w.in, w.flights = nil, nil
	s.push(Event{Kind: KindClosed, Close: c, Payload: badID})
}

// fail closes the session because the peer broke the protocol.
func (s *Session) fail(e *wireError) {
	s.end(Close{Code: CloseProtocol, Reason: e.reason, Text: e.text}, e.badID())
}

// Advance runs everything that is due at now. Calling it early, late or twice is
// harmless.
func (s *Session) Advance(now time.Time) {
	if s.state == closed {
		return
	}
	if s.state == awaiting {
		s.advanceRegister(now)
	}
	if s.state == open {
		s.advanceSuspicion(now)
		s.advanceHeartbeat(now)
		s.advanceAcks(now)
		s.advanceFrame(now)
	}
	s.afterChange(now)
}

// Deadline returns the next time at which Advance must run; ok is false if there
// is none.
func (s *Session) Deadline() (t time.Time, ok bool) {
	var next instant
	switch s.state {
	case awaiting:
		next = s.answerBy
	case open:
		next = sooner(sooner(s.heartbeatDue(), s.suspectAt()), sooner(s.ackDue(), s.frameDue()))
	}
	if s.wait != nil && s.state != closed {
		next = sooner(next, s.wait.due(s))
	}
	if next == 0 {
		return time.Time{}, false
	}
	return s.when(next), true
}

// afterChange ends every call that changes the session: the next frame moves to the
// output, a waiting sender gets KindWritable, and an idle session releases its
// memory.
func (s *Session) afterChange(now time.Time) {
	if s.wait != nil && s.state != closed {
		s.wait.advance(s, now)
	}
	if s.owes.has(owesWritable) && s.state == open && s.hasRoom() {
		s.owes &^= owesWritable
		s.push(Event{Kind: KindWritable})
	}
	s.releaseWork()
}

// Next returns the next event; ok is false when there is none.
func (s *Session) Next() (e Event, ok bool) {
	w := s.work
	if w == nil || w.next == len(w.events) {
		s.releaseWork()
		return Event{}, false
	}
	e = w.events[w.next]
	w.events[w.next] = Event{}
	w.next++
	return e, true
}

// Dialect returns the peer's dialect; Unknown before its first bytes.
func (s *Session) Dialect() Dialect { return s.traits.dialect }

// Registered reports whether the session is registered and open.
func (s *Session) Registered() bool { return s.state == open }

// ClientID returns the id of the client that is registered or asks to be.
func (s *Session) ClientID() string { return s.id }

// Began returns when the connection was accepted, or made. It may be called from any
// goroutine.
func (s *Session) Began() time.Time { return s.start }

// MaxPayload returns how many bytes Send takes; 0 before the dialect is known.
func (s *Session) MaxPayload() int { return int(s.maxPayload) }

// Window returns how many deliveries may be unacked at once.
func (s *Session) Window() int { return int(s.window) }

// InFlight returns how many deliveries are in the window.
func (s *Session) InFlight() int {
	if s.work == nil {
		return 0
	}
	return len(s.work.flights)
}

// Unasked returns the number of messages received since the last call, modulo
// 65,536, without acks that settled a delivery or restarted its ack timeout. The
// peer sends these messages at its own rate; the driver limits that.
func (s *Session) Unasked() int {
	n := int(s.unasked)
	s.unasked = 0
	return n
}

// Confirmed reports whether silence for heartbeat and grace proves that the
// client is gone. It is false for a text client that has answered no PING within
// the grace yet (SPEC §6).
func (s *Session) Confirmed() bool { return s.answers || s.traits.patience == 0 }

// LastReceived returns when the peer last sent something, or when it was accepted if
// that was later; at first the time of construction.
func (s *Session) LastReceived() time.Time { return s.when(s.lastIn) }

// RTT returns the last measured time from a heartbeat to its answer or from
// the flush of a delivery to its ack; 0 before the first.
func (s *Session) RTT() time.Duration { return s.rtt }
