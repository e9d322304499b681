package protocol

import (
	"bytes"
	"testing"
	"time"
)

func FuzzFrame(f *testing.F) {
	f.Add([]byte(helloV2))
	f.Add([]byte("\x05\x32\x80\x80\x80\x01"))     // too long by one byte
	f.Add([]byte("\x05\x02\xff\xff\xff\x7f\x01")) // the longest length there is
	f.Add([]byte("\x05\x02\x82\x00"))             // not minimal
	f.Add([]byte("\x06\x22\x0c\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x02r"))
	f.Add([]byte("\x06\x02\x0b\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02\x00")) // beyond 64 bits
	f.Add([]byte("\x05\x52\x02\xe8\x07"))                                     // an ASK
	f.Add([]byte("\x05\x52\x03\xe8\x07x"))                                    // with a payload
	f.Add([]byte("\x05\x42\x02\xe8\x07"))                                     // without DUP
	f.Add([]byte("\x05\x72\x01\x01"))                                         // of an ephemeral number
	f.Add([]byte("\x06\x02\x02\x01\x03"))                                     // not handled
	f.Add([]byte("\x06\x02\x02\x01\x04"))                                     // verdict not kept
	f.Add([]byte("\x06\x02\x04\x01\x0540"))                                   // working
	f.Add([]byte("\x06\x02\x02\x01\x06"))
	f.Add([]byte(v2(&message{kind: typeClose, close: &Close{Code: 3000, Text: "\xff\n"}})))
	f.Fuzz(func(t *testing.T, b []byte) {
		const limit = 1 << 16
		fr, n, err := parseFrame(b, limit)
		if n < 0 || n > len(b) || len(fr.body) > limit || err != nil && n != 0 {
			t.Fatalf("n %d of %d, body %d, %v", n, len(b), len(fr.body), err)
		}
		if n == 0 {
			return
		}
		if head := appendFrameHeader(nil, fr.typ, b[1]&^byte(versionMask), len(fr.body)); !bytes.Equal(append(head, fr.body...), b[:n]) {
			t.Fatalf("% x is not its own encoding % x", b[:n], head)
		}
		m, err := decodeFrame(fr, true)
		if plain, err := decodeFrame(fr, false); err == nil && (plain.kind == typeData && plain.head || plain.code > AckRetry) {
			t.Fatalf("% x is read without an agreement", b[:n])
		}
		if err == nil && m.kind == typeData && m.head && (len(m.payload) != 0 || !m.dup || m.ephemeral) {
			t.Fatalf("% x is an ASK", b[:n])
		}
		if err != nil || m.kind == typeRegister || m.kind == typeRegisterAck || m.kind == typeClose {
			return // JSON and text have many spellings
		}
		again := appendV2(nil, m)
		if want := append(appendFrameHeader(nil, fr.typ, fr.flags, len(fr.body)), fr.body...); !bytes.Equal(again, want) {
			t.Fatalf("% x decodes and encodes to % x", want, again)
		}
	})
}

func FuzzText(f *testing.F) {
	for _, line := range []string{"REGISTER d tok en\r\n", "data e7 x \n", "DATA64 1 AA==\n", "DATA64 1 AA=\n", "ACK 18446744073709551616\n",
		"ACK 018 \n", "NAK64 1\n", "CLOSE 3000 0 bye\n", "CLOSE 70000 0\n", "ERROR\n", "\r\n", " \n", "PING x\n", "DATA 1 \xff\n", "REGISTERED\n", "\r"} {
		f.Add([]byte(line))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		line, n, err := nextLine(b, 1000)
		if n > len(b) || len(line) > 1000 || n == 0 && err == nil && len(b) >= 1002 {
			t.Fatalf("n %d of %d, line %d, %v", n, len(b), len(line), err)
		}
		if n == 0 {
			return
		}
		m, err := parseLine(line)
		if err != nil || m.kind == kindBlank || m.kind == kindError {
			return
		}
		again := appendText(nil, m)
		m2, err := parseLine(again[:len(again)-1])
		if err != nil || bytes.Count(again, []byte{'\n'}) != 1 {
			t.Fatalf("%q encodes to %q: %v", line, again, err)
		}
		if m2.kind != m.kind || m2.seq != m.seq || m2.ephemeral != m.ephemeral || m2.code != m.code || !bytes.Equal(m2.payload, m.payload) {
			t.Fatalf("%q encodes to %q", line, again)
		}
	})
}

func FuzzV1(f *testing.F) {
	f.Add([]byte("\x01#2"))
	f.Add([]byte("\x06#\x05#xxxxx"))
	f.Add([]byte("\x05#\x05\x05#\x06"))
	f.Add([]byte("\x01#dev t0ken\x00"))
	f.Add([]byte("\x01#dev\x00\x00\x02#h"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var joined []byte
		for rest := b; len(rest) > 0; {
			var msg []byte
			msg, rest = cutV1(rest)
			if len(msg) == 0 {
				t.Fatalf("%q: an empty message", b)
			}
			joined = append(joined, msg...)
			for _, role := range []Role{Server, Device} {
				m, err := decodeV1(msg, role, role == Server)
				if err == nil && (len(m.payload) > maxV1Payload || m.register != nil && !validID(m.register.ID, maxClientID)) {
					t.Fatalf("%q: passes a bound", msg)
				}
				if r := m.register; err == nil && r != nil && r.Token != "" && checkV1Register(r) != nil {
					t.Fatalf("%q: a token that no device could have sent", msg)
				}
			}
		}
		if !bytes.Equal(joined, b) {
			t.Fatalf("%q is cut into %q", b, joined)
		}
	})
}

func FuzzRegister(f *testing.F) {
	f.Add([]byte(`{"id":"d","token":"t","labels":{"a":"b"},"groups":["g"],"heartbeat_ms":1000,"window":4,"log":"l","ask_through":9}`))
	f.Add([]byte(`{"id":"d","labels":null,"groups":[]}`))
	f.Add([]byte(`{"ID":"d","window":1e3}`))
	f.Add([]byte(`{"id":"d","ask_through":0}`))
	f.Add([]byte(`{"id":"d","ask_through":null,"last_seq":4}`))
	f.Add([]byte(`{"id":"d","ask_through":18446744073709551615}`))
	f.Add([]byte(`{"id":"d","ask_through":18446744073709551616}`))
	f.Add([]byte(`{"ask":true,"time":253402300800000}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if a, err := decodeRegistered(b); err == nil && (a.Window > maxWireWindow || a.MaxPayload > maxWirePayload || a.Heartbeat < 0 || a.Time.Year() > 9999) {
			t.Fatalf("%s: passes a bound: %+v", b, a)
		}
		r, err := decodeRegister(b)
		if err != nil {
			return
		}
		if len(r.Labels) > maxLabels || len(r.Groups) > maxGroups || r.Window < 0 || r.Window > maxWireWindow || r.Heartbeat < 0 || r.Heartbeat > MaxHeartbeat || !r.Asks && r.AskThrough != 0 {
			t.Fatalf("%s: passes a bound: %+v", b, r)
		}
		if again, err := decodeRegister(encodeRegister(r)); err == nil && string(encodeRegister(again)) != string(encodeRegister(r)) {
			t.Fatalf("%s: %+v becomes %+v", b, r, again)
		}
	})
}

// FuzzSession plays a script of commands against a session of either end: no
// panic, every bound holds, one KindClosed at most and nothing after it, and
// no deadline that Advance does not satisfy.
func FuzzSession(f *testing.F) {
	script := func(parts ...string) []byte { return []byte(join(parts)) }
	f.Add(byte(0), script("r"+helloV2, "a", "s1", "s2", "r\x06\x02\x02\x01\x00", "t\x50", "p"))
	f.Add(byte(0), script("r"+helloV2, "a", "t\x50", "P", "t\x0b", "P", "r\x04\x02\x00", "s1", "t\x0b"))
	f.Add(byte(0), script("r"+helloV1, "a", "s1", "t\x20", "r\x06#\x05#xxxxx", "k\x00", "f1", "t\x28"))
	f.Add(byte(0), script("r"+helloText, "x", "r"+helloText))
	f.Add(byte(0), script("rGET / HTTP/1.1\r\n"))
	f.Add(byte(1), script("r\x02#ok", "s1", "t\x20", "s1", "r\x06#", "k\x00", "c"))
	f.Add(byte(2), script("r\x02\x02\x02{}", "s1", "k\x01", "e"))
	f.Add(byte(0), script("r"+helloAsk, "A", "q\x01", "q\x02", "w\x50", "r"+ackFrame(1, AckSend, ""), "s\x01", "r"+ackFrame(2, AckWorking, "40 %"), "t\xff", "r"+ackFrame(2, AckNotKept, "")))
	f.Add(byte(0), script("r"+helloAsk, "a", "q\x01", "r"+ackFrame(1, AckWorking, "")))
	f.Add(byte(6), script("r"+welcomeAsk, "r\x05\x52\x01\x01", "k\x03", "k\x04", "k\x05", "q\x01", "r\x05\x52\x02\x01x"))
	f.Add(byte(3), script("rREGISTERED s\nDATA 1 x\n", "k\x01", "rCLOSE 3000 5 bye\n"))
	f.Fuzz(func(t *testing.T, start byte, script []byte) {
		w := &fuzzed{t: t, now: epoch}
		cfg := &Config{MaxPayload: 20_000, Window: 3}
		switch start % 4 {
		case 0:
			w.s = NewServer(cfg, epoch)
		default:
			w.s = NewDevice(cfg, Dialect(start%4), Register{ID: "d", Asks: start%8 > 3}, epoch)
		}
		for len(script) > 0 {
			n := min(int(script[0]), len(script)-1)
			w.command(script[1 : 1+n])
			script = script[1+n:]
			w.check()
		}
		w.s.EOF()
		w.check()
		if w.closed != 1 {
			t.Fatalf("%d closed events after EOF, want 1", w.closed)
		}
	})
}

// join writes a fuzz script: each command after its length.
func join(parts []string) (s string) {
	for _, p := range parts {
		s += string(rune(len(p))) + p
	}
	return s
}

type fuzzed struct {
	t      *testing.T
	s      *Session
	now    time.Time
	closed int
	taken  int // bytes not flushed yet
}

func (w *fuzzed) command(c []byte) {
	if len(c) == 0 {
		return
	}
	arg := byte(0)
	if len(c) > 1 {
		arg = c[1]
	}
	s, seq := w.s, uint64(arg)
	switch c[0] {
	case 'r':
		s.Receive(w.now, c[1:])
	case 'R': // the same many times over
		s.Receive(w.now, bytes.Repeat(c[1:], 1000))
	case 'a':
		s.Accept(w.now, Registered{Window: int(arg)})
	case 'A':
		s.Accept(w.now, Registered{Ask: true})
	case 'q':
		_ = s.Ask(w.now, seq)
	case 'x':
		s.Refuse(w.now, Close{Code: CloseBlocked})
	case 's', 'd':
		_ = s.Send(w.now, Data{Seq: seq, Payload: c[1:], Dup: c[0] == 'd', Ephemeral: arg%3 == 0})
	case 'k':
		_ = s.AckData(w.now, seq, AckCode(arg%7), c[1:])
	case 'f':
		s.Forget(w.now, seq, arg%3 == 0)
	case 'p':
		s.Ping(w.now)
	case 'P':
		s.Probe(w.now)
	case 't':
		w.now = w.now.Add(time.Duration(arg) * 100 * time.Millisecond)
		s.Advance(w.now)
	case 'o':
		w.taken += len(s.AppendOutput(nil))
	case 'w':
		n := min(w.taken, int(arg))
		w.taken -= n
		s.Flushed(w.now, n)
	case 'c':
		s.Close(Close{Code: CloseKicked})
	case 'e':
		s.EOF()
	}
}

func (w *fuzzed) check() {
	s := w.s
	for e, ok := s.Next(); ok; e, ok = s.Next() {
		if w.closed > 0 {
			w.t.Fatalf("%s after closed", describe(e))
		}
		if e.Kind == KindClosed {
			w.closed++
		}
		if len(e.Payload) > 20_000+bodyOverhead {
			w.t.Fatalf("a payload of %d bytes", len(e.Payload))
		}
	}
	if s.work != nil && len(s.work.in) > maxPendingIn+maxV1Message {
		w.t.Fatalf("%d bytes of input kept", len(s.work.in))
	}
	if s.InFlight() > max(1, s.Window()) {
		w.t.Fatalf("%d in flight, window %d", s.InFlight(), s.Window())
	}
	if s.Buffered() < s.Pending() {
		w.t.Fatalf("%d pending of %d buffered", s.Pending(), s.Buffered())
	}
	for range 3 {
		at, ok := s.Deadline()
		if !ok || at.After(w.now) {
			return
		}
		s.Advance(w.now)
		for e, ok := s.Next(); ok; e, ok = s.Next() {
			if e.Kind == KindClosed {
				w.closed++
			}
		}
	}
	at, _ := s.Deadline()
	w.t.Fatalf("Advance at %v leaves the deadline %v", w.now.Sub(epoch), at.Sub(epoch))
}
