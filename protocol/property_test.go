package protocol

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func randomBytes(r *rand.Rand, most int) []byte {
	b := make([]byte, r.IntN(most+1))
	text := r.IntN(2) == 0
	for i := range b {
		if b[i] = byte(r.Uint32()); text {
			b[i] = ' ' + b[i]%('~'-' '+1)
		}
	}
	return b
}

// randomSeq favours the edges of the uvarint.
func randomSeq(r *rand.Rand) uint64 { return max(1, r.Uint64()>>r.IntN(64)) }

func randomMessage(r *rand.Rand) message {
	m := message{kind: byte(typeRegister + r.IntN(7))}
	switch m.kind {
	case typeRegister:
		m.register = &Register{ID: fmt.Sprintf("dev-%d", r.IntN(1000)), Token: strings.Repeat("t", r.IntN(40))}
	case typeRegisterAck:
		m.accepted = &Registered{Session: fmt.Sprintf("ses_%d", r.IntN(1000))}
	case typeData:
		m.seq, m.ephemeral, m.dup, m.payload = randomSeq(r), r.IntN(2) == 0, r.IntN(2) == 0, randomBytes(r, 300)
		if r.IntN(4) == 0 { // an ASK
			m.head, m.dup, m.ephemeral, m.payload = true, true, false, nil
		}
	case typeAck:
		m.seq, m.ephemeral, m.code, m.payload = randomSeq(r), r.IntN(2) == 0, AckCode(r.IntN(6)), randomBytes(r, 300)
	case typeClose:
		m.close = &Close{Code: CloseCode(r.Uint32()), RetryAfter: time.Duration(r.Uint32()) * time.Millisecond, Text: "some words"}
	}
	return m
}

var compareMessages = []cmp.Option{cmp.AllowUnexported(message{}), cmp.Transformer("empty", func(b []byte) string { return string(b) })}

func TestDecodeUndoesEncode(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 5000 {
		want := randomMessage(r)
		b := appendV2(nil, want)
		f, n, err := parseFrame(b, maxWirePayload)
		if err != nil || n != len(b) {
			t.Fatalf("% x: frame of %d bytes, %v", b, n, err)
		}
		got, err := decodeFrame(f, true)
		if err != nil {
			t.Fatalf("% x: %v", b, err)
		}
		if diff := cmp.Diff(want, got, compareMessages...); diff != "" {
			t.Fatalf("v2 % x (-want +got):\n%s", b, diff)
		}

		want.dup = false // text does not say it
		if want.kind == typeClose && r.IntN(2) == 0 || want.head || want.code > AckRetry {
			continue
		}
		b = appendText(nil, want)
		line, n, err := nextLine(b, maxLine)
		if err != nil || n != len(b) {
			t.Fatalf("%q: line of %d bytes, %v", b, n, err)
		}
		if got, err = parseLine(line); err != nil {
			t.Fatalf("%q: %v", b, err)
		}
		if diff := cmp.Diff(want, got, compareMessages...); diff != "" {
			t.Fatalf("text %q (-want +got):\n%s", b, diff)
		}
	}
}

func TestDecodeUndoesEncodeV1(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 5000 {
		want := randomMessage(r)
		if want.kind == typeClose {
			continue
		}
		want.seq, want.ephemeral, want.dup, want.head, want.code, want.close = 0, false, false, false, 0, nil
		if want.kind == typeRegisterAck {
			want.accepted = &Registered{}
		}
		if want.kind == typeData {
			want.payload = want.payload[:min(len(want.payload), maxV1Payload)]
		} else {
			want.payload = nil
		}
		b := appendV1(nil, want)
		got, err := decodeV1(b, Device, true)
		if err != nil {
			t.Fatalf("%q: %v", b, err)
		}
		if diff := cmp.Diff(want, got, compareMessages...); diff != "" {
			t.Fatalf("v1 %q (-want +got):\n%s", b, diff)
		}
	}
}

// peerStream is a random stream from the end in role after hello: mostly valid
// messages, with some invalid ones.
func peerStream(r *rand.Rand, dialect Dialect, hello string) []byte {
	b := []byte(hello)
	for range 3 + r.IntN(20) {
		m := randomMessage(r)
		for m.kind == typeRegister || m.kind == typeRegisterAck || m.kind == typeClose ||
			m.head && hello != welcomeAsk || m.code > AckRetry && hello != helloAsk {
			m = randomMessage(r)
		}
		if dialect == Text {
			b = appendText(b, m)
			if r.IntN(5) == 0 {
				b = append(b, "what is this\r\n\n"...)
			}
		} else {
			b = appendV2(b, m)
		}
	}
	if r.IntN(4) == 0 {
		b = append(b, randomBytes(r, 20)...)
	}
	return b
}

// play gives b to s in chunks and returns all it reported and wrote. Output is
// joined: chunking may only change how it is cut.
func play(s *Session, b []byte, chunk func(left int) int) (events []string, output string) {
	take := func() {
		for e, ok := s.Next(); ok; e, ok = s.Next() {
			events = append(events, describe(e))
			if e.Kind == KindRegister {
				s.Accept(epoch, Registered{Session: "s", Ask: true})
			}
		}
		output += string(s.AppendOutput(nil))
	}
	for len(b) > 0 {
		n := min(max(1, chunk(len(b))), len(b))
		p := bytes.Clone(b[:n])
		s.Receive(epoch, p)
		for i := range p {
			p[i] = 0xee // the session must not have kept it
		}
		b = b[n:]
		take()
	}
	s.EOF()
	take()
	return events, output
}

func TestSplitsDoNotMatter(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	server := func() *Session { return NewServer(nil, epoch) }
	device := func() *Session { return NewDevice(nil, V2, Register{ID: "d", Asks: true}, epoch) }
	for _, c := range []struct {
		dialect Dialect
		hello   string
		start   func() *Session
	}{
		{V2, helloV2, server}, {V2, helloAsk, server}, {Text, helloText, server}, {V2, welcomeAsk, device},
	} {
		dialect := c.dialect
		for range 300 {
			b := peerStream(r, dialect, c.hello)
			wantEvents, wantOutput := play(c.start(), b, func(left int) int { return left })
			for name, chunk := range map[string]func(int) int{
				"bytes":  func(int) int { return 1 },
				"random": func(left int) int { return 1 + r.IntN(left) },
				"short":  func(int) int { return 1 + r.IntN(7) },
			} {
				events, output := play(c.start(), b, chunk)
				if diff := cmp.Diff(wantEvents, events); diff != "" {
					t.Fatalf("%v in %s (-whole +split) of %q:\n%s", dialect, name, b, diff)
				}
				if output != wantOutput {
					t.Fatalf("%v in %s: output %q, whole %q", dialect, name, output, wantOutput)
				}
			}
		}
	}
}

// v1 keeps its meaning when messages are joined, and when a read ends between
// type byte and mark; no more can be asked of it.
func TestV1JoinsDoNotMatter(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	for range 300 {
		var whole []byte
		var ends []int
		add := func(m string) { whole = append(whole, m...); ends = append(ends, len(whole)) }
		add("\x01#dev\n")
		for range r.IntN(10) {
			add([]string{"\x06#", "\x02#h", "\x03#", "\x05#" + strings.Repeat("p", r.IntN(127))}[r.IntN(4)])
		}
		wantEvents, _ := play(NewServer(nil, epoch), whole, func(left int) int { return left })
		events, _ := play(NewServer(nil, epoch), whole, func(left int) int {
			at := len(whole) - left
			for _, end := range ends {
				if end > at && (r.IntN(2) == 0 || end == len(whole)) {
					return end - at
				}
			}
			return left
		})
		if diff := cmp.Diff(wantEvents, events); diff != "" {
			t.Fatalf("%q (-joined +apart):\n%s", whole, diff)
		}
	}
}

// end is one end of the simulated wire: its session, and bytes on their way.
type end struct {
	s        *Session
	inbound  [][]byte // one element per write, for v1 keeps them apart
	queue    []uint64 // still to be sent, in order
	unacked  []uint64 // sent at least once, in order
	asked    []uint64 // asked on this connection and not answered yet
	arrived  []uint64 // first payloads, in order
	handled  []uint64 // those that were handled, in order
	seen     map[uint64]bool
	acked    map[uint64]bool
	closes   int
	nextSend int
}

// TestTwoEnds lets a device and a server talk over random chunking, random
// delays and random losses of the connection: what either sends arrives at
// least once, first transmissions in order, and every delivery is acked. With an
// agreement on ASK no payload that was handled is sent again, and the code that
// is acked is the code that the device gave.
func TestTwoEnds(t *testing.T) {
	for _, dialect := range Dialects() {
		t.Run(dialect.String(), func(t *testing.T) {
			for seed := range uint64(40) {
				newWire(t, dialect, seed).run()
			}
		})
	}
	t.Run("v2 with ASK", func(t *testing.T) {
		for seed := range uint64(80) {
			w := newWire(t, V2, seed)
			w.asks = true
			w.run()
		}
	})
}

type wire struct {
	t              *testing.T
	r              *rand.Rand
	dialect        Dialect
	asks           bool
	now            time.Time
	server, device *end
	toAsk          []uint64 // not asked yet on this connection
}

func newWire(t *testing.T, dialect Dialect, seed uint64) *wire {
	w := &wire{t: t, r: rand.New(rand.NewPCG(seed, 9)), dialect: dialect, now: epoch, server: &end{}, device: &end{}}
	for _, e := range []*end{w.server, w.device} {
		e.seen, e.acked = map[uint64]bool{}, map[uint64]bool{}
		for seq := range uint64(12) {
			e.queue = append(e.queue, seq+1)
		}
	}
	return w
}

func (w *wire) run() {
	w.connect()
	for steps := 0; len(w.server.acked) < 12 || len(w.device.acked) < 12; steps++ {
		if steps > 20000 {
			w.t.Fatalf("%v: no end: server %v, device %v", w.dialect, w.server.unacked, w.device.unacked)
		}
		w.step()
		if steps < 400 && w.r.IntN(60) == 0 {
			w.disconnect()
			w.connect()
		}
	}
	for name, e := range map[string]*end{"server": w.server, "device": w.device} {
		if !slices.IsSorted(e.arrived) || len(e.handled) != 12 {
			w.t.Fatalf("%v: %s handled %v, which arrived as %v", w.dialect, name, e.handled, e.arrived)
		}
	}
}

func (w *wire) connect() {
	cfg := &Config{Window: 1 + w.r.IntN(4)}
	w.server.s = NewServer(cfg, w.now)
	through := slices.Max(append(w.device.handled, 0))
	w.device.s = NewDevice(cfg, w.dialect, Register{ID: "d", Asks: w.asks, AskThrough: through}, w.now)
	for _, e := range []*end{w.server, w.device} {
		e.inbound, e.nextSend, e.closes = nil, 0, 0
		e.queue = append(e.unacked, e.queue...) // again, in order
		e.unacked, e.asked = nil, nil
	}
	for w.asks && len(w.server.queue) > 0 && w.server.queue[0] <= through {
		w.server.asked = append(w.server.asked, w.server.queue[0])
		w.server.queue = w.server.queue[1:]
	}
	w.server.unacked = slices.Clone(w.server.asked)
	w.toAsk = slices.Clone(w.server.asked)
}

func (w *wire) disconnect() {
	for _, e := range []*end{w.server, w.device} {
		e.s.EOF()
		w.events(e)
		if e.closes != 1 {
			w.t.Fatalf("%v: %d closed events, want 1", w.dialect, e.closes)
		}
	}
}

func (w *wire) step() {
	w.now = w.now.Add(time.Duration(w.r.IntN(20)) * time.Millisecond)
	for _, pair := range [][2]*end{{w.server, w.device}, {w.device, w.server}} {
		from, to := pair[0], pair[1]
		from.s.Advance(w.now)
		w.events(from)
		w.send(from)
		if from.s.Pending() > 0 && w.r.IntN(3) > 0 {
			out := from.s.AppendOutput(nil)
			to.inbound = append(to.inbound, out)
			from.s.Flushed(w.now, len(out))
		}
		w.deliver(to)
		w.events(to)
	}
}

// deliver hands one write, or a part of it, to e.
func (w *wire) deliver(e *end) {
	if len(e.inbound) == 0 || w.r.IntN(3) == 0 {
		return
	}
	p := e.inbound[0]
	if n := 1 + w.r.IntN(len(p)); w.dialect != V1 && n < len(p) {
		e.inbound[0] = p[n:]
		p = p[:n]
	} else {
		e.inbound = e.inbound[1:]
	}
	e.s.Receive(w.now, p)
}

// keeps reports whether e is a device with a ledger.
func (w *wire) keeps(e *end) bool { return w.asks && e == w.device }

// take is a payload on its arrival. A device with a ledger handles it sooner or
// later.
func (w *wire) take(e *end, seq uint64) {
	if w.keeps(e) && e.seen[seq] {
		w.t.Fatalf("%d was sent again, although it is handled", seq)
	}
	if !slices.Contains(e.arrived, seq) {
		e.arrived = append(e.arrived, seq)
	}
	if w.keeps(e) && w.r.IntN(3) == 0 {
		w.answer(e, seq, AckRetry)
		return
	}
	if !e.seen[seq] {
		e.seen[seq] = true
		e.handled = append(e.handled, seq)
	}
	w.answer(e, seq, AckOK)
}

// answer acks seq with the verdict that e has given, or with otherwise.
func (w *wire) answer(e *end, seq uint64, otherwise AckCode) {
	code := otherwise
	if w.keeps(e) && e.seen[seq] {
		code = verdictOf(seq)
	}
	for _, c := range [...]AckCode{AckWorking, code} {
		if c == AckWorking && (!w.keeps(e) || w.r.IntN(4) > 0) {
			continue
		}
		if err := e.s.AckData(w.now, seq, c, nil); err != nil {
			w.t.Fatal(err)
		}
	}
}

// verdictOf is the answer of a device with a ledger for seq.
func verdictOf(seq uint64) AckCode { return [...]AckCode{AckOK, AckReject, AckNotKept}[seq%3] }

func payloadOf(seq uint64) []byte { return fmt.Appendf(nil, "payload %d", seq) }

func (w *wire) send(e *end) {
	for e == w.server && len(w.toAsk) > 0 && e.s.Ask(w.now, w.toAsk[0]) == nil {
		w.toAsk = w.toAsk[1:]
	}
	for len(e.queue) > 0 && len(e.asked) == 0 {
		if err := e.s.Send(w.now, Data{Seq: e.queue[0], Payload: payloadOf(e.queue[0])}); err != nil {
			return
		}
		e.unacked = append(e.unacked, e.queue[0])
		e.queue = e.queue[1:]
	}
}

func (w *wire) events(e *end) {
	for ev, ok := e.s.Next(); ok; ev, ok = e.s.Next() {
		if e.closes > 0 {
			w.t.Fatalf("%v: %s after closed", w.dialect, describe(ev))
		}
		switch ev.Kind {
		case KindRegister:
			e.s.Accept(w.now, Registered{Session: "s", Ask: true})
		case KindData:
			var seq uint64
			if _, err := fmt.Sscanf(string(ev.Payload), "payload %d", &seq); err != nil {
				w.t.Fatalf("%v: payload %q", w.dialect, ev.Payload)
			}
			w.take(e, seq)
		case KindAsk:
			w.answer(e, ev.Seq, AckSend)
		case KindAck:
			peer := w.device
			if e == w.device {
				peer = w.server
			}
			if ev.Ask {
				e.asked = slices.DeleteFunc(e.asked, func(seq uint64) bool { return seq == ev.Seq })
			}
			if ev.Code == AckWorking {
				continue
			}
			if ev.Code == AckSend || ev.Code == AckRetry {
				if err := e.s.Send(w.now, Data{Seq: ev.Seq, Payload: payloadOf(ev.Seq), Dup: true}); err != nil {
					w.t.Fatal(err)
				}
				continue
			}
			if !peer.seen[ev.Seq] {
				w.t.Fatalf("%v: %d acked, but never handled", w.dialect, ev.Seq)
			}
			if w.keeps(peer) && ev.Code != verdictOf(ev.Seq) {
				w.t.Fatalf("%v: %d acked %v, the verdict was %v", w.dialect, ev.Seq, ev.Code, verdictOf(ev.Seq))
			}
			e.acked[ev.Seq] = true
			e.unacked = slices.DeleteFunc(e.unacked, func(seq uint64) bool { return seq == ev.Seq })
		case KindAckTimeout:
			if err := e.s.Send(w.now, Data{Seq: ev.Seq, Payload: payloadOf(ev.Seq), Dup: true}); err != nil {
				w.t.Fatal(err)
			}
		case KindClosed:
			e.closes++
		case KindMalformed:
			w.t.Fatalf("%v: %s", w.dialect, describe(ev))
		}
	}
}
