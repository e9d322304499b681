package verdicts

// state is a delivery's state.
type state uint8

const (
	absent state = iota
	queued
	acked
	ackedResult
	ackedUnkept // reason verdict_not_kept
	rejected
	expired
	canceled
	failed
	tooLarge
)

func (s state) final() bool { return s > queued }

var stateOf = [...]state{ackOK: acked, ackReject: rejected, ackUnkept: ackedUnkept, ackResult: ackedResult}

// noConn is the connection of an uplink whose connection has ended.
const noConn = 9

const (
	maxMessages = 4
	maxUplinks  = 3
	maxRecords  = 3 // not yet synced
)

type recordKind uint8

const (
	noRecord recordKind = iota
	accept              // a: sequence
	settle              // a: sequence, s: its final state, b: 1 if the device gave it
	expire              // a: sequence, b: the time it was judged by
	stored              // a: payload of an uplink, b: connection, c: number
)

type record struct {
	kind    recordKind
	a, b, c uint8
	s       state
}

// store is the durable state and the records that a crash may lose.
type store struct {
	log      uint8
	given    uint8 // highest sequence given, durable
	message  [maxMessages + 1]state
	uplinks  uint8 // payloads stored, a bit each
	full     bool  // the disk
	n        uint8
	unsynced [maxRecords]record
}

func (s *store) room() bool { return s.n < maxRecords }

func (s *store) append(r record) {
	s.unsynced[s.n] = r
	s.n++
}

// lose drops the unsynced records, as a crash does.
func (s *store) lose() { s.n, s.unsynced = 0, [maxRecords]record{} }

func (s *store) pop() record {
	r := s.unsynced[0]
	copy(s.unsynced[:], s.unsynced[1:])
	s.n--
	s.unsynced[s.n] = record{}
	return r
}

// applied is the state of a delivery with all records, synced or not.
func (s *store) applied(m uint8) state {
	st := s.message[m]
	for i := range s.n {
		r := &s.unsynced[i]
		if r.a != m || st.final() {
			continue
		}
		switch r.kind {
		case accept:
			st = queued
		case settle:
			st = r.s
		case expire:
			st = expired
		}
	}
	return st
}

// through is the highest sequence given, by any record.
func (s *store) through() uint8 {
	g := s.given
	for i := range s.n {
		if s.unsynced[i].kind == accept {
			g++
		}
	}
	return g
}

// verdicts counts the device's verdicts that are not durable.
func (s *store) verdicts() (n uint8) {
	for i := range s.n {
		if s.unsynced[i].kind == settle && s.unsynced[i].b == 1 {
			n++
		}
	}
	return n
}
