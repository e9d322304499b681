package gateway

import (
	"cmp"
	"net/netip"
)

// packedEvent is an Event as the ring keeps it: 72 bytes, and no further memory
// for the frequent types. A test checks both.
type packedEvent struct {
	at      int64 // Unix nanoseconds; 0 = none
	client  ClientID
	session uid
	other   uid // UUID of the message, or the remote address
	rest    *rest
	port    uint16 // of the remote address
	// attempts, and indexes into the tables below. A value without an index is in
	// rest.
	attempts uint8
	kind     eventKind
	state    State
	reason   reasonNumber
	dialect  uint8
	has      packedFlags
}

type packedFlags uint8

const (
	hasSession packedFlags = 1 << iota
	hasMessage             // other is a message
	hasRemote              // other is an IPv6 address
	hasRemote4             // other is an IPv4 address
)

// rest has the fields that few events have.
type rest struct {
	kind     EventType
	reason   string
	dialect  string
	remote   string
	session  SessionID
	message  MessageID
	attempts int
	uplink   *Uplink
	result   []byte
	counts   *Counts
}

// In every table index 0 is the zero value.
type (
	eventKind    uint8
	reasonNumber uint8
)

const (
	eventReplaced eventKind = 3
	eventAcked    eventKind = 5
	eventRejected eventKind = 6

	reasonDeviceRejected reasonNumber = 6
	reasonReplaced       reasonNumber = 7
	reasonVerdictNotKept reasonNumber = 16
)

var eventKinds = [...]EventType{1: EventClientConnected, EventClientDisconnected,
	eventReplaced: EventClientReplaced, EventMessageReceived,
	eventAcked:    EventMessageAcked,
	eventRejected: EventMessageRejected, EventMessageExpired, EventMessageCanceled,
	EventMessageFailed, EventMessageLateAck, EventMessageCompleted}

var reasonNumbers = [...]string{1: ReasonTooLargeForProtocol, ReasonUnknownClient, ReasonQueueFull, ReasonAttemptsUsedUp, ReasonPurged,
	reasonDeviceRejected: ReasonDeviceRejected,
	reasonReplaced:       ReasonReplaced, ReasonHeartbeatTimeout, ReasonClientClosed, ReasonConnectionLost, ReasonKicked,
	ReasonProtocolError, ReasonCredentialsExpired, ReasonSlowConsumer, ReasonShutdown,
	reasonVerdictNotKept: ReasonVerdictNotKept, ReasonClientForgotten, ReasonTooManyClients}

var dialectNumbers = [...]string{1: "v1", "v2", "text"}

// number returns the index of v in a table; ok is false if it has none.
func number[T ~string](table []T, v T) (n uint8, ok bool) {
	for i, e := range table {
		if e == v {
			return uint8(i), true
		}
	}
	return 0, false
}

// packEvent packs an event; remote is passed in its compact form. Values that do
// not fit go to its rest, which is allocated for them.
func packEvent(e *Event, remote netip.AddrPort) packedEvent {
	r := packedEvent{client: e.Client, state: e.State}
	if !e.At.IsZero() {
		r.at = e.At.UnixNano()
	}
	var x rest
	var more bool
	spill := func(ok bool) bool {
		more = more || !ok
		return !ok
	}
	kind, ok := number(eventKinds[:], e.Type)
	if r.kind = eventKind(kind); spill(ok) {
		x.kind = e.Type
	}
	reason, ok := number(reasonNumbers[:], e.Reason)
	if r.reason = reasonNumber(reason); spill(ok) {
		x.reason = e.Reason
	}
	if r.dialect, ok = number(dialectNumbers[:], e.Dialect); spill(ok) {
		x.dialect = e.Dialect
	}
	if spill(r.setSession(e.Session)) {
		x.session = e.Session
	}
	if spill(r.setMessage(e.Message)) {
		x.message = e.Message
	}
	if spill(r.setRemote(remote)) {
		x.remote = remote.String()
	}
	if r.attempts = uint8(min(max(e.Attempts, 0), 255)); spill(int(r.attempts) == e.Attempts) {
		x.attempts = e.Attempts
	}
	if len(e.Result) > 0 {
		x.result, more = e.Result, true
	}
	x.uplink, x.counts = e.Uplink, e.Counts
	if more || x.uplink != nil || x.counts != nil {
		kept := x // x itself stays on the stack
		r.rest = &kept
	}
	return r
}

func (r *packedEvent) setSession(id SessionID) (ok bool) {
	if id == "" {
		return true
	}
	if r.session, ok = parseUID(string(id), sessionKind); ok {
		r.has |= hasSession
	}
	return ok
}

func (r *packedEvent) setMessage(id MessageID) (ok bool) {
	if id == "" {
		return true
	}
	if r.other, ok = id.UUID(); ok {
		r.has |= hasMessage
	}
	return ok
}

// setRemote stores remote in the field of the message id. It returns false if
// that is used, or if the address has a zone.
func (r *packedEvent) setRemote(remote netip.AddrPort) (ok bool) {
	switch a := remote.Addr(); {
	case !remote.IsValid():
		return true
	case r.has&hasMessage != 0, a.Zone() != "":
		return false
	case a.Is4():
		r.has |= hasRemote4
	default:
		r.has |= hasRemote
	}
	r.other, r.port = remote.Addr().As16(), remote.Port()
	return true
}

// event unpacks it.
func (r *packedEvent) event(seq uint64) Event {
	e := Event{Seq: seq, Type: eventKinds[r.kind], At: timeOf(r.at), Client: r.client, State: r.state,
		Reason: reasonNumbers[r.reason], Dialect: dialectNumbers[r.dialect], Attempts: int(r.attempts)}
	if r.has&hasSession != 0 {
		e.Session = SessionID(r.session.text(sessionKind))
	}
	switch addr := netip.AddrFrom16(r.other); {
	case r.has&hasMessage != 0:
		e.Message = MessageIDOf(r.other)
	case r.has&hasRemote4 != 0:
		e.Remote = netip.AddrPortFrom(addr.Unmap(), r.port).String()
	case r.has&hasRemote != 0:
		e.Remote = netip.AddrPortFrom(addr, r.port).String()
	}
	if r.rest != nil {
		r.rest.spillInto(&e)
	}
	return e
}

// spillInto sets the fields of e that are in rest.
func (x *rest) spillInto(e *Event) {
	e.Type = cmp.Or(e.Type, x.kind)
	e.Reason = cmp.Or(e.Reason, x.reason)
	e.Dialect = cmp.Or(e.Dialect, x.dialect)
	e.Remote = cmp.Or(e.Remote, x.remote)
	e.Session = cmp.Or(e.Session, x.session)
	e.Message = cmp.Or(e.Message, x.message)
	e.Attempts = cmp.Or(x.attempts, e.Attempts)
	e.Uplink, e.Result, e.Counts = x.uplink, x.result, x.counts
}

// size is the number of payload bytes that the packedEvent keeps alive.
func (r *packedEvent) size() int {
	if r.rest == nil {
		return 0
	}
	n := len(r.rest.result)
	if r.rest.uplink != nil {
		n += len(r.rest.uplink.Payload)
	}
	return n
}
