package protocol

import (
	"strings"
	"testing"
	"time"
)

func TestAckTimeoutCountsFromTheFlush(t *testing.T) {
	for dialect, timeout := range map[Dialect]time.Duration{V1: 3 * time.Second, V2: 30 * time.Second, Text: 30 * time.Second} {
		d := answerServer(t, &Config{Heartbeat: time.Hour}, hellos[dialect])
		d.advance(time.Second)
		d.stuck = true
		d.send(Data{Seq: 1, Payload: []byte("x")})
		d.advance(time.Minute)
		d.want() // it has not been sent, so nothing is late
		d.unstick()
		d.lines = nil
		d.advance(timeout - tick)
		d.want()
		d.advance(tick)
		d.want("event ack_timeout 1")
		d.advance(timeout)
		d.want() // reported once
		d.send(Data{Seq: 1, Payload: []byte("x"), Dup: true})
		d.lines = nil
		d.advance(timeout - tick)
		d.want()
		d.advance(tick)
		d.want("event ack_timeout 1")
	}
}

func TestWindowFullAndWritable(t *testing.T) {
	d := answerServer(t, &Config{Window: 2}, helloText)
	d.send(Data{Seq: 1})
	d.send(Data{Seq: 1, Ephemeral: true}) // a separate number space
	d.send(Data{Seq: 2})
	d.send(Data{Seq: 1, Dup: true}) // keeps its place
	d.want(`out "DATA 1\n"`, "event sent 1", `out "DATA e1\n"`, "event sent e1", "error "+ErrWindowFull.Error(),
		`out "DATA 1\n"`, "event sent 1")
	d.recv("ACK 2\n")
	d.want("event stale_ack 2 ok")
	d.recv("ACK e1\n")
	d.want("event ack e1 ok", "event writable")
	d.send(Data{Seq: 2})
	d.send(Data{Seq: 3})
	d.forget(1)
	d.want(`out "DATA 2\n"`, "event sent 2", "error "+ErrWindowFull.Error(), "event writable")
	d.recv("ACK 1\n")
	d.want("event stale_ack 1 ok")
	if got := d.s.InFlight(); got != 1 {
		t.Errorf("%d in flight, want 1", got)
	}
}

func TestWindowIsNegotiated(t *testing.T) {
	for _, tt := range []struct{ proposed, granted, want int }{
		{0, 0, 16}, {1, 0, 1}, {200, 0, 200}, {256, 0, 256}, {257, 0, 256}, {100, 8, 8},
	} {
		d := answerServer(t, nil, "")
		d.recv(v2(&message{kind: typeRegister, register: &Register{ID: "d", Window: tt.proposed}}))
		d.accept(Registered{Window: tt.granted})
		if got := d.s.Window(); got != tt.want {
			t.Errorf("proposed %d, granted %d: got %d, want %d", tt.proposed, tt.granted, got, tt.want)
		}
	}
	if got := answerServer(t, nil, helloV1).s.Window(); got != 1 {
		t.Errorf("v1: got %d, want 1", got)
	}
}

// The peer's ack may be read before the writer has reported the flush.
func TestAckOvertakesTheFlush(t *testing.T) {
	for dialect, ack := range map[Dialect]string{V1: "\x06#", V2: "\x06\x02\x02\x01\x00", Text: "ACK 1\n"} {
		d := answerServer(t, nil, hellos[dialect])
		d.advance(time.Second)
		d.stuck = true
		d.send(Data{Seq: 1, Payload: []byte("x")})
		out := d.s.AppendOutput(nil)
		d.recv(ack)
		d.s.Flushed(d.now, len(out))
		d.drain()
		d.want("event sent 1", "event ack 1 ok")
		if n := d.s.InFlight(); n != 0 {
			t.Errorf("%v: %d in flight, want 0", dialect, n)
		}
	}
}

func TestAckForWhatWasNeverSentIsStale(t *testing.T) {
	for dialect, ack := range map[Dialect]string{V1: "\x06#", V2: "\x06\x02\x02\x01\x00", Text: "ACK 1\n"} {
		d := answerServer(t, nil, hellos[dialect])
		d.advance(time.Second)
		d.stuck = true
		d.send(Data{Seq: 1, Payload: []byte("x")})
		d.recv(ack)
		seq := map[Dialect]string{V1: "0", V2: "1", Text: "1"}[dialect]
		d.want("event stale_ack " + seq + " ok")
		if n := d.s.InFlight(); n != 1 {
			t.Errorf("%v: %d in flight, want 1", dialect, n)
		}
	}
}

// A device that leaves the EPHEMERAL mark out, or adds it, acks nothing; the
// event names the mistake.
func TestAckInTheOtherNumberSpace(t *testing.T) {
	for _, c := range []struct {
		name      string
		hello     string
		ephemeral bool
		wrong     string
		event     string
		right     string
	}{
		{"v2, flag missing", helloV2, true, "\x06\x02\x02\x07\x00", "event stale_ack 7 ok other_space", "\x06\x22\x02\x07\x00"},
		{"v2, flag extra", helloV2, false, "\x06\x22\x02\x07\x00", "event stale_ack e7 ok other_space", "\x06\x02\x02\x07\x00"},
		{"text, e missing", helloText, true, "ACK 7\n", "event stale_ack 7 ok other_space", "ACK e7\n"},
		{"text, e extra", helloText, false, "ACK e7\n", "event stale_ack e7 ok other_space", "ACK 7\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := answerServer(t, nil, c.hello)
			d.stuck = true
			d.send(Data{Seq: 7, Ephemeral: c.ephemeral})
			d.recv(c.wrong)
			d.want(strings.TrimSuffix(c.event, " other_space")) // the device cannot have seen it yet
			d.unstick()
			d.lines = nil
			d.recv(c.wrong)
			d.want(c.event)
			if n := d.s.InFlight(); n != 1 {
				t.Errorf("%d in flight after the wrong ack, want 1", n)
			}
			d.recv(c.right)
			if n := d.s.InFlight(); n != 0 {
				t.Errorf("%d in flight after the right ack, want 0", n)
			}
		})
	}
}

func TestPartialFlushIsNotSent(t *testing.T) {
	d := answerServer(t, nil, helloV2)
	d.stuck = true
	d.send(Data{Seq: 1, Payload: []byte("abc")})
	d.send(Data{Seq: 2, Payload: []byte("defgh")})
	out := d.s.AppendOutput(nil)
	d.s.Flushed(d.now, 6)
	d.drain()
	d.want()
	d.s.Flushed(d.now, 1)
	d.drain()
	d.want("event sent 1")
	d.s.Flushed(d.now, len(out)-8)
	d.drain()
	d.want()
	d.s.Flushed(d.now, 1)
	d.drain()
	d.want("event sent 2")
}

func TestSendRefuses(t *testing.T) {
	s := NewServer(nil, epoch)
	if err := s.Send(epoch, Data{Seq: 1}); err != ErrNotRegistered {
		t.Errorf("before registration: %v", err)
	}
	for dialect, limit := range map[Dialect]int{V1: 126, V2: 256 << 10, Text: 48_000} {
		d := answerServer(t, nil, hellos[dialect])
		d.advance(time.Second)
		if got := d.s.MaxPayload(); got != limit {
			t.Errorf("%v: MaxPayload %d, want %d", dialect, got, limit)
		}
		if err := d.s.Send(d.now, Data{Seq: 1, Payload: make([]byte, limit+1)}); err != ErrTooLarge {
			t.Errorf("%v: one byte too many: %v", dialect, err)
		}
		if err := d.s.Send(d.now, Data{}); err != ErrZeroSeq {
			t.Errorf("%v: sequence 0: %v", dialect, err)
		}
		if err := d.s.Send(d.now, Data{Seq: 1<<64 - 1, Ephemeral: true, Payload: make([]byte, limit)}); err != nil {
			t.Errorf("%v: the largest payload: %v", dialect, err)
		}
		if dialect == Text && d.s.Pending() > maxLine {
			t.Errorf("a line of %d bytes", d.s.Pending())
		}
	}
}

func TestTooLargeUplink(t *testing.T) {
	cfg := &Config{MaxPayload: 10_000}
	big := strings.Repeat("x", 10_001)
	d := answerServer(t, cfg, helloV2)
	d.recv(v2(&message{kind: typeData, seq: 1, payload: []byte(big)}))
	d.want(`event closed 3500 frame_too_large "payload of 10001 bytes, at most 10000"`, "out CLOSE 3500 0 frame_too_large: payload of 10001 bytes, at most 10000")
	d = answerServer(t, cfg, helloV2)
	d.recv("\x05\x02\xa2\x4e") // the length alone is enough: 10,018
	d.want(`event closed 3500 frame_too_large "frame body of 10018 bytes, at most 10016"`, "out CLOSE 3500 0 frame_too_large: frame body of 10018 bytes, at most 10016")

	d = answerServer(t, cfg, helloText)
	d.recv("DATA 1 " + big + "\n")
	d.want(`event malformed frame_too_large "payload of 10001 bytes, at most 10000"`, `out "ERROR 413 payload of 10001 bytes, at most 10000\n"`)
	d.recv(strings.Repeat("y", maxLine+2))
	d.want(`event closed 3500 frame_too_large "line longer than 65536 bytes"`, `out "ERROR 413 line longer than 65536 bytes\n"`,
		`out "CLOSE 3500 0 frame_too_large: line longer than 65536 bytes\n"`)

	d = answerServer(t, cfg, helloV1)
	d.advance(time.Second)
	d.recv("\x05#" + strings.Repeat("z", 126))
	d.recv("\x05#" + strings.Repeat("z", 127))
	d.want(`event data 0 "`+strings.Repeat("z", 126)+`"`, `event malformed frame_too_large "v1 message of 129 bytes, at most 128"`)
}

// The bound of payloads is that of results and reasons, too (SPEC §8).
func TestTooLargeResult(t *testing.T) {
	cfg := &Config{MaxPayload: 10_000}
	largest, big := strings.Repeat("x", 10_000), strings.Repeat("x", 10_001)
	for code := range AckWorking + 1 {
		for _, seq := range []uint64{1, 1 << 60} { // in flight, or not
			d := askingServer(t, cfg)
			d.send(Data{Seq: 1})
			d.lines = nil
			d.recv(ackFrame(seq, code, largest))
			if len(d.lines) != 1 || strings.Contains(d.lines[0], "closed") {
				t.Errorf("code %d with the largest result: %.200q", code, d.lines)
			}
			d.lines = nil
			d.recv(ackFrame(seq, code, big))
			d.want(`event closed 3500 frame_too_large "payload of 10001 bytes, at most 10000"`, "out CLOSE 3500 0 frame_too_large: payload of 10001 bytes, at most 10000")
		}
	}
	d := answerServer(t, cfg, helloText)
	d.send(Data{Seq: 1})
	d.lines = nil
	d.recv("ACK 1 " + big + "\n")
	d.want(`event malformed frame_too_large "payload of 10001 bytes, at most 10000"`, `out "ERROR 413 payload of 10001 bytes, at most 10000\n"`)
	d.recv("ACK 1\n")
	d.want("event ack 1 ok")
}

func TestVerdictsOfADevice(t *testing.T) {
	for dialect, want := range map[Dialect][]string{
		V1:   {`out "\x06#"`}, // it has no other word than yes
		V2:   {`out ACK 1 ok "r"`, `out ACK 1 reject "r"`, `out ACK 1 retry "r"`, `out ACK e1 reject`},
		Text: {`out "ACK 1 r\n"`, `out "NAK 1 r\n"`, `out "RETRY 1 r\n"`, `out "NAK e1\n"`},
	} {
		d := registeredDevice(t, nil, dialect)
		d.advance(time.Second)
		for code := AckOK; code <= AckRetry; code++ {
			d.ack(1, code, "r")
		}
		d.ackEphemeral(1, AckReject)
		d.want(want...)
	}
}
