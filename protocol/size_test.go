package protocol

import (
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

func TestAllocations(t *testing.T) {
	for dialect, ack := range map[Dialect]string{V1: "\x06#", V2: "\x06\x02\x02\x01\x00", Text: "ACK 1\n"} {
		d := answerServer(t, nil, hellos[dialect])
		s, now := d.s, epoch
		buf := make([]byte, 0, 1024)
		flush := func() {
			for _, ok := s.Next(); ok; _, ok = s.Next() {
			}
			buf = s.AppendOutput(buf[:0])
			s.Flushed(now, len(buf))
			for _, ok := s.Next(); ok; _, ok = s.Next() {
			}
		}
		pong, ack, payload := []byte(answer[dialect]), []byte(ack), make([]byte, 100)
		heartbeats := testing.AllocsPerRun(200, func() {
			now = now.Add(10 * time.Second)
			s.Advance(now)
			flush()
			s.Receive(now, pong)
			flush()
		})
		if limit := 1.0; heartbeats > limit {
			t.Errorf("%v: %v allocations in a heartbeat and its answer, at most %v", dialect, heartbeats, limit)
		}
		pushes := testing.AllocsPerRun(200, func() {
			now = now.Add(time.Second)
			if err := s.Send(now, Data{Seq: 1, Payload: payload}); err != nil {
				t.Fatal(err)
			}
			flush()
			s.Receive(now, ack)
			flush()
		})
		if limit := 2.0; pushes > limit {
			t.Errorf("%v: %v allocations in a push and its ack, at most %v", dialect, pushes, limit)
		}
	}
}
