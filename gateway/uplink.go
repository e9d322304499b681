package gateway

import "context"

// reception is an uplink on its way to the store. The session's mutex guards it
// until it has left work.receptions; err is read after done is closed.
type reception struct {
	number uint64
	done   chan struct{} // made by the first repeat that waits for the uplink, and then fixed
	err    error
}

// Received stores an uplink. After it has returned nil the device may be acked.
//
// The device's number is an identity and not an order (SPEC §2.2): a number that
// the session does not remember is new. A repeat of a remembered one is not
// stored again, and a repeat of one under way gets its answer. Number 0 means
// that there is no number. The session does not remember an uplink that the store
// has refused, or has not confirmed in time.
func (s *Session) Received(ctx context.Context, number uint64, payload []byte) error {
	if number == 0 {
		return s.storeUplink(ctx, 0, payload)
	}
	s.mu.Lock()
	if s.counted != nil && s.counted.uplinks.has(number) {
		s.mu.Unlock()
		return nil
	}
	if r := s.receptionLocked(number); r != nil {
		if r.done == nil {
			r.done = make(chan struct{})
		}
		s.mu.Unlock()
		return r.join(ctx)
	}
	r := &reception{number: number}
	w := s.busyLocked()
	w.receptions = append(w.receptions, r)
	s.mu.Unlock()
	r.err = errInterrupted
	defer s.conclude(r)
	r.err = s.storeUplink(ctx, number, payload)
	return r.err
}

// errInterrupted answers the repeats of an uplink whose goroutine has panicked.
var errInterrupted = &Error{Code: CodeUnavailable, Message: "the uplink was interrupted; send it again"}

// receptionLocked returns the uplink under way with a number, nil if there is
// none.
func (s *Session) receptionLocked(number uint64) *reception {
	if s.work == nil {
		return nil
	}
	for _, r := range s.work.receptions {
		if r.number == number {
			return r
		}
	}
	return nil
}

// join waits for r on behalf of a repeat, which has made done.
func (r *reception) join(ctx context.Context) error {
	select {
	case <-r.done:
		return r.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// conclude remembers r if it is stored, and answers its repeats.
func (s *Session) conclude(r *reception) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.work
	for i, e := range w.receptions {
		if e == r {
			last := len(w.receptions) - 1
			w.receptions[i], w.receptions[last] = w.receptions[last], nil
			w.receptions = w.receptions[:last]
			break
		}
	}
	s.relaxLocked()
	if r.err == nil {
		s.numberingLocked().uplinks.add(r.number)
	}
	if r.done != nil {
		close(r.done)
	}
}

// storeUplink returns nil when the uplink is on stable storage.
func (s *Session) storeUplink(ctx context.Context, number uint64, payload []byte) error {
	_, err := s.g.store.AppendUplink(ctx, Uplink{Client: s.client, Session: s.ID(), Number: number, At: s.g.now(), Payload: payload})
	s.noteUplinkRefusal(err)
	return err
}

// numbers is a bounded set of uplink numbers: those within numbersSpan of the
// highest, and the last one below them. It forgets numbers, but never holds one
// that was not added: a forgotten uplink is stored twice, which is allowed, while
// a wrong entry would lose one. The nil set is empty.
//
// Comparisons are modulo 2^64, so a counter that wraps keeps rising.
type numbers struct {
	highest uint64
	recent  [numbersSpan / 64]uint64 // bit i%64 of word i/64: highest-i is in the set
	outlier uint64                   // 0 = none
}

// numbersSpan is the largest window of uplinks (SPEC §2.2).
const numbersSpan = 256

func (n *numbers) has(number uint64) bool {
	if n == nil || number == 0 {
		return false
	}
	if below := n.highest - number; below < numbersSpan {
		return n.recent[below/64]&(1<<(below%64)) != 0
	}
	return number == n.outlier
}

func (n *numbers) add(number uint64) {
	if n.recent == [len(n.recent)]uint64{} {
		n.highest = number
	}
	if above := number - n.highest; int64(above) > 0 {
		n.rise(above)
	}
	if below := n.highest - number; below < numbersSpan {
		n.recent[below/64] |= 1 << (below % 64)
	} else {
		n.outlier = number
	}
}

// rise raises the highest number and forgets those that leave the span.
func (n *numbers) rise(by uint64) {
	n.highest += by
	words, bits := int(min(by/64, uint64(len(n.recent)))), by%64
	for i := len(n.recent) - 1; i >= 0; i-- {
		var v uint64
		if i >= words {
			v = n.recent[i-words] << bits
		}
		if i > words && bits > 0 {
			v |= n.recent[i-words-1] >> (64 - bits)
		}
		n.recent[i] = v
	}
}
