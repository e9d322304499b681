package state

import (
	"encoding/binary"
	"errors"
	"slices"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine/record"
)

// Event is one entry of the event log. It refers to messages and uplinks by their
// sequences: payloads, results and counts are in their rows, while the store keeps them.
type Event struct {
	Number uint64 // the first, if there are several
	N      int    // how many numbers the entry has taken
	Kind   EventKind
	Client gateway.ClientID // "" if the entry concerns several
	Epoch  uint64           // of the client's session
	Seq    uint64           // of the message, or of the uplink
	State  gateway.State
	Reason string
	At     int64 // ns since 1970
	// Clients are those of an entry with several, by ordinals; nil if the rows of the
	// message have them.
	Clients record.Bitmap
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

// note adds an event to the event log. The state gives it a number when the record is
// complete.
func (m *Machine) note(e *Event) {
	l := &m.events
	b := append(l.row, byte(e.Kind), 0)
	start := len(b)
	b = record.PutUint(record.PutUint(record.PutString(b, e.Client), e.Epoch), e.Seq)
	b = record.PutString(append(b, byte(e.State)), e.Reason)
	b = binary.AppendVarint(b, e.At-m.record.At)
	if e.N == 0 {
		l.taken++
	} else {
		l.taken += uint64(e.N)
		b = putChunks(record.PutUint(b, uint64(e.N)), e.Clients)
	}
	if size := len(b) - start; size < 0x80 {
		b[start-1] = byte(size)
	} else {
		var head [binary.MaxVarintLen64]byte
		b = slices.Replace(b, start-1, start, head[:binary.PutUvarint(head[:], uint64(size))]...)
	}
	l.row = b
}

func putChunks(b []byte, m record.Bitmap) []byte {
	b = record.PutUint(b, uint64(len(m)))
	for _, n := range m.Chunks() {
		b = record.PutBytes(record.PutUint(b, uint64(n)), m[n].Encode())
	}
	return b
}

// noteSettled adds the event of a delivery that is final.
func (m *Machine) noteSettled(kind EventKind, f *finalRow, client gateway.ClientID, seq gateway.Seq) {
	e := Event{Kind: kind, Client: client, Seq: uint64(seq), State: f.state, Reason: f.reason, At: f.finalAt}
	if kind == EventLateAck {
		e.Reason, e.At = "", f.lateAt
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
			return nil, &record.CorruptError{Key: key, Cause: record.ErrShort}
		}
		events = append(events, e)
		number += uint64(e.N)
	}
	return events, nil
}

// openEvents returns the entries of a row and the time of its record.
func openEvents(key, v []byte) (d record.Decoder, at int64, err error) {
	if d.Rest, err = record.CheckSum(key, v); err == nil {
		at = d.Varint()
		err = d.Err
	}
	return d, at, err
}

// decode reads the fields of an entry. at is the time of the record.
func (e *Event) decode(v []byte, at int64) error {
	d := record.Decoder{Rest: v}
	e.Client, e.Epoch, e.Seq = gateway.ClientID(d.Text()), d.Uint(), d.Uint()
	e.State, e.Reason, e.At = gateway.State(d.Byte()), d.Text(), at+d.Varint()
	if e.N = 1; len(d.Rest) == 0 || d.Err != nil {
		return d.Err
	}
	e.N = d.Int()
	for range d.Count(2) {
		n, set := uint32(d.Uint()), new(record.Bitset)
		if err := set.Decode(d.Bytes()); err != nil {
			return err
		}
		if e.Clients == nil {
			e.Clients = record.Bitmap{}
		}
		e.Clients[n] = set
	}
	if d.Err == nil && e.N < 1 {
		return record.ErrShort
	}
	return d.Err
}

// forgetEvents removes the oldest rows of events.
func (m *Machine) forgetEvents(e *record.ForgetEvents) error {
	it, err := m.iter([]byte{kindEvents}, []byte{kindEvents + 1})
	if err != nil {
		return err
	}
	var keys [][]byte
	size := 0
	for ok := it.First(); ok && len(keys) < e.Max && tail64(it.Key()) <= e.Through; ok = it.Next() {
		keys = append(keys, append([]byte(nil), it.Key()...))
		size += len(it.Key()) + len(it.Value())
	}
	if err := errors.Join(it.Error(), it.Close()); err != nil {
		return err
	}
	for _, k := range keys {
		m.delOnce(k)
	}
	m.State.eventBytes -= int64(size)
	return nil
}
