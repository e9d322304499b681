package protocol

import (
	"strings"
	"testing"
	"time"
	"unsafe"
)

// A million of them may sit idle.
func TestSessionIsSmall(t *testing.T) {
	if got, limit := unsafe.Sizeof(Session{}), uintptr(160); got > limit {
		t.Errorf("Session takes %d bytes, at most %d", got, limit)
	}
	if got, limit := unsafe.Sizeof(stopAndWait{}), uintptr(128); got > limit {
		t.Errorf("stopAndWait takes %d bytes, at most %d", got, limit)
	}
}

func TestIdleSessionHoldsNoBuffer(t *testing.T) {
	forEachDialect(t, func(t *testing.T, dialect Dialect) {
		d := answerServer(t, nil, hellos[dialect])
		idle := func(after string) {
			t.Helper()
			if d.s.work != nil {
				t.Errorf("after %s: work %+v", after, *d.s.work)
			}
			if v := d.s.wait; v != nil && (v.held != nil || v.data != nil) {
				t.Errorf("after %s: held frames %q %q", after, v.held, v.data)
			}
		}
		idle("registration")
		d.advance(10 * time.Second)
		d.recv(answer[dialect])
		idle("a heartbeat")
		d.send(Data{Seq: 1, Payload: make([]byte, 100)})
		d.advance(time.Second)
		d.recv(map[Dialect]string{V1: "\x06#\x05#up", V2: "\x06\x02\x02\x01\x00\x05\x02\x02\x01x", Text: "ACK 1\nDATA 1 up\n"}[dialect])
		d.ack(1, AckOK, "")
		d.advance(time.Second)
		idle("a delivery and an uplink")
	})
}

// A device may leave a delivery unanswered for as long as it likes.
func TestBusySessionHoldsNoLargeBuffer(t *testing.T) {
	d := answerServer(t, nil, helloV2)
	d.send(Data{Seq: 1, Payload: []byte("on")})
	for _, input := range []string{
		v2(&message{kind: typeData, seq: 1, payload: make([]byte, 200<<10)}),
		strings.Repeat(v2(&message{kind: typeAck, seq: 9}), 3000), // each is an event
	} {
		d.recv(input[:len(input)/2])
		d.recv(input[len(input)/2:])
		w := d.s.work
		if got := cap(w.in) + cap(w.out) + cap(w.events)*int(unsafe.Sizeof(Event{})); got > 8<<10 {
			t.Errorf("with a delivery in flight the session holds %d bytes after %d of input: in %d, out %d, %d events",
				got, len(input), cap(w.in), cap(w.out), cap(w.events))
		}
	}
}
