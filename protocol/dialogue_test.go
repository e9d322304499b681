package protocol

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// dialogue drives one session in virtual time. It collects the session's output
// and events as lines, in order, until want compares them.
type dialogue struct {
	t     *testing.T
	s     *Session
	now   time.Time
	stuck bool // the socket takes nothing
	lines []string
}

var epoch = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// answerServer starts a server's session and sends it hello. If hello registers
// the client, the registration is accepted.
func answerServer(t *testing.T, cfg *Config, hello string) *dialogue {
	t.Helper()
	d := &dialogue{t: t, s: NewServer(cfg, epoch), now: epoch}
	if hello == "" {
		return d
	}
	d.recv(hello)
	d.accept(Registered{Session: "ses_1", Log: "log_1"})
	if !d.s.Registered() {
		t.Fatalf("hello %q: not registered: %q", hello, d.lines)
	}
	d.lines = nil
	return d
}

func startDevice(t *testing.T, cfg *Config, dialect Dialect, r Register) *dialogue {
	t.Helper()
	d := &dialogue{t: t, s: NewDevice(cfg, dialect, r, epoch), now: epoch}
	d.drain()
	return d
}

// registeredDevice starts a device whose server has accepted it.
func registeredDevice(t *testing.T, cfg *Config, dialect Dialect) *dialogue {
	t.Helper()
	d := startDevice(t, cfg, dialect, Register{ID: "d"})
	d.recv(map[Dialect]string{V1: "\x02#ok", V2: v2(&message{kind: typeRegisterAck, accepted: &Registered{}}), Text: "REGISTERED ses_1\n"}[dialect])
	if !d.s.Registered() {
		t.Fatalf("not registered: %q", d.lines)
	}
	d.lines = nil
	return d
}

const (
	helloV1   = "\x01#2"
	helloText = "REGISTER d\n"
)

var helloV2 = v2(&message{kind: typeRegister, register: &Register{ID: "d"}})

var hellos = map[Dialect]string{V1: helloV1, V2: helloV2, Text: helloText}

func v2(m *message) string { return string(appendV2(nil, *m)) }

func (d *dialogue) recv(p string) { d.s.Receive(d.now, []byte(p)); d.drain() }
func (d *dialogue) eof()          { d.s.EOF(); d.drain() }
func (d *dialogue) advance(by time.Duration) {
	d.now = d.now.Add(by)
	d.s.Advance(d.now)
	d.drain()
}
func (d *dialogue) accept(a Registered) { d.s.Accept(d.now, a); d.drain() }
func (d *dialogue) refuse(c Close)      { d.s.Refuse(d.now, c); d.drain() }
func (d *dialogue) close(c Close)       { d.s.Close(c); d.drain() }
func (d *dialogue) ping()               { d.s.Ping(d.now); d.drain() }
func (d *dialogue) forget(seq uint64)   { d.s.Forget(d.now, seq, false); d.drain() }
func (d *dialogue) ack(seq uint64, c AckCode, r string) {
	d.ackErr(d.s.AckData(d.now, seq, c, []byte(r)))
}
func (d *dialogue) ackEphemeral(seq uint64, c AckCode) {
	d.ackErr(d.s.AckEphemeral(d.now, seq, c, nil))
}
func (d *dialogue) ackErr(err error) {
	if err != nil {
		d.lines = append(d.lines, "error "+err.Error())
	}
	d.drain()
}

func (d *dialogue) send(data Data) {
	if err := d.s.Send(d.now, data); err != nil {
		d.lines = append(d.lines, "error "+err.Error())
	}
	d.drain()
}

// until advances to the next deadlines, one by one, up to and including t.
func (d *dialogue) until(t time.Time) {
	for n := 0; ; n++ {
		at, ok := d.s.Deadline()
		if !ok || at.After(t) {
			break
		}
		if n > 1000 {
			d.t.Fatalf("a deadline that nothing satisfies: %v", at.Sub(epoch))
		}
		if at.After(d.now) {
			d.now = at
		}
		d.s.Advance(d.now)
		d.drain()
	}
	d.now = t
}

// unstick lets the socket take bytes again.
func (d *dialogue) unstick() { d.stuck = false; d.drain() }

func (d *dialogue) drain() {
	for {
		if e, ok := d.s.Next(); ok {
			d.lines = append(d.lines, describe(e))
			continue
		}
		if d.stuck || d.s.Pending() == 0 {
			return
		}
		out := d.s.AppendOutput(nil)
		d.lines = append(d.lines, describeOutput(d.s.Dialect(), out)...)
		d.s.Flushed(d.now, len(out))
	}
}

func (d *dialogue) want(lines ...string) {
	d.t.Helper()
	if diff := cmp.Diff(lines, d.lines, cmp.Transformer("empty", func(s []string) []string { return append([]string{}, s...) })); diff != "" {
		d.t.Fatalf("at %v (-want +got):\n%s", d.now.Sub(epoch), diff)
	}
	d.lines = nil
}

func (d *dialogue) wantDeadline(after time.Duration) {
	d.t.Helper()
	at, ok := d.s.Deadline()
	if !ok || !at.Equal(epoch.Add(after)) {
		d.t.Fatalf("got deadline %v (%v), want %v", at.Sub(epoch), ok, after)
	}
}

// describe writes an event as a line: its kind, then its nonzero fields.
func describe(e Event) string {
	var b strings.Builder
	b.WriteString("event " + e.Kind.String())
	switch e.Kind {
	case KindRegister:
		fmt.Fprintf(&b, " %s", encodeRegister(e.Register))
	case KindRegistered:
		fmt.Fprintf(&b, " %s", encodeRegistered(e.Registered))
	case KindMalformed, KindClosed:
		describeClose(&b, e.Close)
	case KindWritable, KindSuspect:
	case KindAlive:
		if e.RTT != 0 {
			fmt.Fprintf(&b, " after %v", e.RTT)
		}
	default:
		describeSeq(&b, e)
	}
	return b.String()
}

func describeSeq(b *strings.Builder, e Event) {
	b.WriteString(" ")
	if e.Ephemeral {
		b.WriteString("e")
	}
	fmt.Fprint(b, e.Seq)
	if e.Kind == KindAck || e.Kind == KindStaleAck {
		b.WriteString(" " + e.Code.String())
	}
	if e.OtherSpace {
		b.WriteString(" other_space")
	}
	if e.Ask {
		b.WriteString(" asked")
	}
	if e.Dup {
		b.WriteString(" dup")
	}
	if len(e.Payload) > 0 || e.Kind == KindData {
		fmt.Fprintf(b, " %q", e.Payload)
	}
	if e.RTT != 0 {
		fmt.Fprintf(b, " after %v", e.RTT)
	}
}

func describeClose(b *strings.Builder, c Close) {
	if c.Code != 0 {
		fmt.Fprintf(b, " %d", c.Code)
	}
	b.WriteString(" " + c.Reason)
	if c.RetryAfter != 0 {
		fmt.Fprintf(b, " retry %v", c.RetryAfter)
	}
	if c.Text != "" {
		fmt.Fprintf(b, " %q", c.Text)
	}
	if c.Remote {
		b.WriteString(" remote")
	}
}

// describeOutput writes output as lines: v2 frames by name, the rest quoted.
func describeOutput(d Dialect, out []byte) (lines []string) {
	if d != V2 {
		for line := range strings.Lines(string(out)) {
			if d == V1 {
				line = string(out)
			}
			lines = append(lines, "out "+strconv.Quote(line))
			if d == V1 {
				break
			}
		}
		return lines
	}
	for len(out) > 0 {
		f, n, err := parseFrame(out, maxWirePayload)
		if err != nil || n == 0 {
			return append(lines, fmt.Sprintf("out broken % x", out))
		}
		m, err := decodeFrame(f, true)
		if err != nil {
			return append(lines, "out broken "+err.Error())
		}
		lines = append(lines, "out "+strings.TrimSuffix(describeFrame(&m), "\n"))
		out = out[n:]
	}
	return lines
}

var typeNames = [...]string{typeRegister: "REGISTER", typeRegisterAck: "REGISTER_ACK", typeHeartbeat: "HEARTBEAT",
	typeHeartbeatAck: "HEARTBEAT_ACK", typeData: "DATA", typeAck: "ACK", typeClose: "CLOSE"}

func describeFrame(m *message) string {
	var b strings.Builder
	b.WriteString(typeNames[m.kind])
	switch m.kind {
	case typeRegister:
		fmt.Fprintf(&b, " %s", encodeRegister(m.register))
	case typeRegisterAck:
		fmt.Fprintf(&b, " %s", encodeRegistered(m.accepted))
	case typeClose:
		fmt.Fprintf(&b, " %d %d %s", m.close.Code, retryMillis(*m.close), m.close.Text)
	case typeData, typeAck:
		e := Event{Seq: m.seq, Ephemeral: m.ephemeral, Dup: m.dup, Payload: m.payload, Code: m.code}
		switch e.Kind = KindData; {
		case m.kind == typeAck:
			e.Kind = KindAck
		case m.head:
			return fmt.Sprint("ASK ", m.seq)
		}
		describeSeq(&b, e)
	}
	return b.String()
}
