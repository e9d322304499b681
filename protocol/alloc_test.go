//go:build !race

package protocol

import (
	"testing"
	"time"
)

// The race detector lets pools forget some of what they have.
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
