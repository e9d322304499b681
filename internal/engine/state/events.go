package state

import (
	"encoding/binary"
	"slices"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine/record"
)

// Event is one entry of the event log. It refers to messages and uplinks by their
// sequences: payloads, results and counts are in their rows, while the store keeps them.
type Event struct {
	Number  uint64 // the first, if there are several
	N       int    // how many numbers the entry has taken
	Kind    EventKind
	Client  gateway.ClientID // "" if the entry concerns several
	Epoch   uint64           // of the client's session
	Seq     uint64           // of the message, or of the uplink
	Message gateway.MessageID
	State   gateway.State
	Reason  string
	At      int64 // ns since 1970
	// Attempts are the transmissions of a delivery; Result says that its row has a
	// result.
	Attempts int
	Result   bool
	// Session, Dialect and Remote are of the connection that has begun or ended.
	Session gateway.SessionID
	Dialect string
	Remote  string
	// Clients are those of an entry with several, by ordinals; nil if the rows of the
	// message have them.
	Clients record.Bitmap
	// Groups are those of the client, of EventRegrouped.
	Groups []string
	// Note is the content of EventNoted, which no other row has.
	Note *record.Note
}

// EventKind is the kind of an entry. Numbers are never reused.
type EventKind uint8

const (
	EventConnected       EventKind = iota + 1
	EventReplaced                  // a registration while an earlier session of the client was live
	EventDisconnected              // Reason
	EventDisconnectedAll           // Clients, Reason: the process that had their connections has ended
	EventForgotten
	EventQueuedForAbsent     // a message was accepted for a client that is offline
	EventQueuedForAbsentMany // the same for Clients
	EventReceived            // Seq is of an uplink
	EventSettled             // State, Reason
	EventSettledRest         // the N deliveries that were not final became State in one step
	EventLateAck             // State is the delivery's
	EventCompleted           // of a message to many
	EventRegrouped           // the client is in Groups from here on
	EventNoted               // Note
)

// eventLog collects the events of the record under way, encoded as in their row.
type eventLog struct {
	row   []byte // time of the record, entries; its memory is used again
	taken uint64 // numbers
}

func (l *eventLog) begin(at int64) {
	if cap(l.row) > maxKeptLane {
		l.row = nil
	}
	l.row, l.taken = binary.AppendVarint(l.row[:0], at), 0
}

// The parts of an entry that few kinds have.
const (
	partMessage = 1 << iota // Message, Attempts
	partResult              // Result is true; no bytes
	partSession             // Session, Dialect, Remote
	partMany                // N, Clients
	partGroups              // Groups
	partNote                // Note
)

func (e *Event) parts() (p byte) {
	if e.Message != "" {
		p |= partMessage
	}
	if e.Result {
		p |= partResult
	}
	if e.Session != "" {
		p |= partSession
	}
	if e.N != 0 {
		p |= partMany
	}
	if e.Kind == EventRegrouped {
		p |= partGroups
	}
	if e.Note != nil {
		p |= partNote
	}
	return p
}

// note adds an event to the event log, and returns the bytes that it is counted with. The
// state gives it a number when the record is complete.
func (m *Machine) note(e *Event) int64 {
	l := &m.events
	before := len(l.row)
	b := append(l.row, byte(e.Kind), 0)
	start := len(b)
	parts := e.parts()
	b = record.PutUint(record.PutUint(record.PutString(append(b, parts), e.Client), e.Epoch), e.Seq)
	b = record.PutString(append(b, byte(e.State)), e.Reason)
	b = binary.AppendVarint(b, e.At-m.record.At)
	if parts&partMessage != 0 {
		b = record.PutUint(record.PutID(b, e.Message), uint64(e.Attempts))
	}
	if parts&partSession != 0 {
		b = record.PutString(record.PutString(record.PutString(b, e.Session), e.Dialect), e.Remote)
	}
	if parts&partMany == 0 {
		l.taken++
	} else {
		l.taken += uint64(e.N)
		b = record.PutBitmap(record.PutUint(b, uint64(e.N)), e.Clients)
	}
	if parts&partGroups != 0 {
		b = record.PutStrings(b, e.Groups)
	}
	if parts&partNote != 0 {
		b = record.PutNote(b, e.Note)
	}
	if size := len(b) - start; size < 0x80 {
		b[start-1] = byte(size)
	} else {
		var head [binary.MaxVarintLen64]byte
		b = slices.Replace(b, start-1, start, head[:binary.PutUvarint(head[:], uint64(size))]...)
	}
	l.row = b
	size := int64(len(b)-before) + entryOverhead
	m.State.written.add(m.hour(), size)
	return size
}

// lastEvent returns the number of the last event so far.
func (m *Machine) lastEvent() uint64 { return m.State.Event + m.events.taken }

// noteSettled adds the event of a delivery that is final.
func (m *Machine) noteSettled(kind EventKind, f *finalRow, client gateway.ClientID, seq gateway.Seq) {
	e := Event{Kind: kind, Client: client, Seq: uint64(seq), Message: f.id, State: f.state, Reason: f.reason, At: f.finalAt,
		Attempts: f.attempts, Result: len(f.result) > 0}
	if kind == EventLateAck {
		e.Reason, e.At, e.Result = "", f.lateAt, len(f.lateResult) > 0
	}
	m.note(&e)
}

// storeEvents gives the events of the record their numbers and writes their row.
func (m *Machine) storeEvents() {
	l := &m.events
	if l.taken == 0 {
		return
	}
	k := key64(kindEvents, m.State.Event+1)
	l.row = record.PutSum(k, l.row)
	m.set(k, l.row)
	m.State.Event += l.taken
	m.State.eventBytes += int64(len(k) + len(l.row))
	m.notices.logged = gateway.EventsLogged{Last: m.State.Event}
	m.notices.add(&m.notices.logged)
}

// DecodeEvents reads a row of events: entries in the order of their numbers. It accepts
// kinds that it does not know, and fields behind the known ones.
func DecodeEvents(key, v []byte) (events []Event, err error) {
	d, at, err := openEvents(key, v)
	if err != nil {
		return nil, err
	}
	for number := tail64(key); len(d.Rest) > 0; {
		e := Event{Number: number, Kind: EventKind(d.Byte())}
		if err := e.decode(d.Bytes(), at); err != nil || d.Err != nil {
			return nil, record.Corrupt(key, record.ErrShort)
		}
		events = append(events, e)
		number += uint64(e.N)
	}
	return events, nil
}

// openEvents returns the entries of a row and the time of its record.
func openEvents(key, v []byte) (d record.Decoder, at int64, err error) {
	d = record.Open(key, v)
	at = d.Varint()
	return d, at, d.Err
}

// decode reads the fields of an entry. at is the time of the record.
func (e *Event) decode(v []byte, at int64) error {
	d := record.Decoder{Rest: v}
	parts := d.Byte()
	e.Client, e.Epoch, e.Seq = gateway.ClientID(d.Text()), d.Uint(), d.Uint()
	e.State, e.Reason, e.At = gateway.State(d.Byte()), d.Text(), at+d.Varint()
	if e.Result = parts&partResult != 0; parts&partMessage != 0 {
		e.Message, e.Attempts = d.ID(), d.Int()
	}
	if parts&partSession != 0 {
		e.Session, e.Dialect, e.Remote = gateway.SessionID(d.Text()), d.Text(), d.Text()
	}
	if e.N = 1; parts&partMany != 0 {
		e.N, e.Clients = d.Int(), d.Bitmap()
	}
	if parts&partGroups != 0 {
		e.Groups = record.DecodeStrings[string](&d)
	}
	if parts&partNote != 0 {
		e.Note = record.DecodeNote(&d)
	}
	if d.Err == nil && e.N < 1 {
		return record.ErrShort
	}
	return d.Err
}

// last returns the last number that the entry has taken.
func (e *Event) last() uint64 { return e.Number + uint64(e.N) - 1 }

// forgetEvents removes the oldest rows of events.
func (m *Machine) forgetEvents(e *record.ForgetEvents) error {
	var keys [][]byte
	size := 0
	gone := m.State.EventsGone
	err := m.each([]byte{kindEvents}, []byte{kindEvents + 1}, func(k, val []byte) (bool, error) {
		if len(keys) == e.Max || tail64(k) > e.Through {
			gone = tail64(k) - 1
			return false, nil
		}
		keys = append(keys, slices.Clone(k))
		size += len(k) + len(val)
		gone = m.State.Event // unless a row follows
		return true, nil
	})
	if err != nil {
		return err
	}
	if len(keys) > 0 {
		m.State.EventsGone = gone
	}
	for _, k := range keys {
		m.delOnce(k)
	}
	m.State.eventBytes -= int64(size)
	return nil
}
