package test

import (
	"errors"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/longwire/longwire/protocol"
)

// roughDevice is a device with a bad connection and a will of its own: it
// drops its connection, reads slowly, ignores, refuses and puts off what it
// gets, until it is calmed. It writes down what it saw and said.
type roughDevice struct {
	id      string
	dialect protocol.Dialect
	addr    string
	calm    *atomic.Bool

	rng *rand.Rand // owned by run

	mu       sync.Mutex
	order    []string // payloads in the order of their first sight
	accepted map[string]bool
	rejected map[string]bool
	seen     map[string]bool
	drops    int // connections dropped on purpose

	lastClose protocol.Close // of the last connection
}

func newRoughDevice(id string, d protocol.Dialect, addr string, calm *atomic.Bool, seed uint64) *roughDevice {
	return &roughDevice{id: id, dialect: d, addr: addr, calm: calm, rng: rand.New(rand.NewPCG(seed, uint64(d))),
		accepted: map[string]bool{}, rejected: map[string]bool{}, seen: map[string]bool{}}
}

// run connects again and again until stop is closed.
func (d *roughDevice) run(stop <-chan struct{}) {
	for {
		if nc, err := net.Dial("tcp", d.addr); err == nil {
			d.talk(nc, stop)
			nc.Close()
		}
		select {
		case <-stop:
			return
		case <-time.After(time.Duration(d.rng.Int64N(int64(100 * time.Millisecond)))):
		}
	}
}

// talk drives one connection to its end.
func (d *roughDevice) talk(nc net.Conn, stop <-chan struct{}) {
	s := protocol.NewDevice(nil, d.dialect, protocol.Register{ID: d.id}, time.Now())
	var in [4096]byte
	var out []byte
	for {
		if out = s.AppendOutput(out[:0]); len(out) > 0 {
			if _, err := nc.Write(out); err != nil {
				return
			}
			s.Flushed(time.Now(), len(out))
		}
		for e, ok := s.Next(); ok; e, ok = s.Next() {
			if e.Kind == protocol.KindClosed {
				d.mu.Lock()
				d.lastClose = e.Close
				d.mu.Unlock()
				return
			}
			if e.Kind == protocol.KindData && !d.answer(s, e) {
				return
			}
		}
		if s.Pending() > 0 {
			continue
		}
		select {
		case <-stop:
			return
		default:
		}
		nc.SetReadDeadline(d.wake(s))
		n, err := nc.Read(in[:])
		s.Receive(time.Now(), in[:n])
		switch {
		case err == nil:
		case errors.Is(err, os.ErrDeadlineExceeded):
			s.Advance(time.Now())
		default:
			return
		}
	}
}

// wake is when the device looks up although nothing came.
func (d *roughDevice) wake(s *protocol.Session) time.Time {
	at := time.Now().Add(100 * time.Millisecond)
	if due, ok := s.Deadline(); ok && due.Before(at) {
		return due
	}
	return at
}

// answer handles one delivery; false drops the connection.
func (d *roughDevice) answer(s *protocol.Session, e protocol.Event) (stay bool) {
	p := string(e.Payload)
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.seen[p] {
		d.seen[p] = true
		d.order = append(d.order, p)
	}
	code := protocol.AckOK
	if !d.calm.Load() {
		switch n := d.rng.IntN(100); {
		case n < 3:
			d.drops++
			return false
		case n < 5:
			<-time.After(200 * time.Millisecond) // reads slowly
		case n < 8:
			return true // ignores it
		case n < 12 && d.dialect != protocol.V1:
			code = protocol.AckReject
		case n < 14 && d.dialect != protocol.V1:
			code = protocol.AckRetry
		}
	}
	switch code {
	case protocol.AckOK:
		d.accepted[p] = true
	case protocol.AckReject:
		d.rejected[p] = true
	}
	ack := s.AckData
	if e.Ephemeral {
		ack = s.AckEphemeral
	}
	return ack(time.Now(), e.Seq, code, nil) == nil
}
