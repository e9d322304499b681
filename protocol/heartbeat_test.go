package protocol

import (
	"testing"
	"time"
)

const tick = time.Nanosecond

// asked and answered are a heartbeat and its answer as each dialect writes them.
var (
	asked  = map[Dialect]string{V1: `out "\x03#"`, V2: "out HEARTBEAT", Text: `out "PING\n"`}
	answer = map[Dialect]string{V1: "\x02#h", V2: "\x04\x02\x00", Text: "PONG\n"}
)

// suspect and alive are the events of a suspicion.
const suspect, alive = "event suspect", "event alive"

// gone is the output to a client that is given up.
func gone(d Dialect) []string {
	lines := []string{"event closed 3003 heartbeat_timeout"}
	switch d {
	case V2:
		lines = append(lines, "out CLOSE 3003 0 heartbeat_timeout")
	case Text:
		lines = append(lines, `out "CLOSE 3003 0 heartbeat_timeout\n"`)
	}
	return lines
}

func forEachDialect(t *testing.T, f func(t *testing.T, dialect Dialect)) {
	for dialect := range hellos {
		t.Run(dialect.String(), func(t *testing.T) { f(t, dialect) })
	}
}

func TestSilentClientIsAskedAfterTheHeartbeat(t *testing.T) {
	forEachDialect(t, func(t *testing.T, dialect Dialect) {
		d := answerServer(t, nil, hellos[dialect])
		d.advance(10*time.Second - tick)
		d.want()
		d.advance(tick)
		d.want(asked[dialect])
	})
}

func TestClientIsGoneWhenTheGracePasses(t *testing.T) {
	forEachDialect(t, func(t *testing.T, dialect Dialect) {
		d := answerServer(t, nil, hellos[dialect])
		d.confirm(dialect)
		d.advance(10 * time.Second)
		d.want(asked[dialect])
		d.advance(2*time.Second - tick)
		d.want(suspect)
		d.advance(tick)
		d.want(gone(dialect)...)
		if at, ok := d.s.Deadline(); ok {
			t.Errorf("a closed session still has a deadline: %v", at)
		}
	})
}

// confirm has the client answer one heartbeat, after ten seconds.
func (d *dialogue) confirm(dialect Dialect) {
	d.t.Helper()
	d.advance(10 * time.Second)
	d.recv(answer[dialect])
	if !d.s.Confirmed() {
		d.t.Errorf("%v: not confirmed after an answer", dialect)
	}
	d.want(asked[dialect])
}

// A person at nc has a minute and the grace; the binary dialects are programs.
func TestOnlyATextClientIsUnconfirmedAtFirst(t *testing.T) {
	forEachDialect(t, func(t *testing.T, dialect Dialect) {
		d := answerServer(t, nil, hellos[dialect])
		if got, want := d.s.Confirmed(), dialect != Text; got != want {
			t.Errorf("confirmed %t after the registration, want %t", got, want)
		}
	})
}

func TestWhoNeverAnsweredHasAMinute(t *testing.T) {
	for name, c := range map[string]struct {
		hello string
		cfg   Config
		typed string // 30 s after the registration
		gone  time.Duration
	}{
		"nothing is typed":                {helloText, Config{}, "", 62 * time.Second},
		"a line is typed":                 {helloText, Config{}, "ACK 7\n", 92 * time.Second},
		"an answer that is late":          {helloText, Config{}, "PONG\n", 92 * time.Second},
		"the server's heartbeat is short": {helloText, Config{Heartbeat: time.Second, Grace: 5 * time.Second}, "", 65 * time.Second},
		"the server's heartbeat is long":  {helloText, Config{Heartbeat: 5 * time.Minute}, "", 302 * time.Second},
		"a short one is proposed":         {"REGISTER d - heartbeat=2s\n", Config{}, "", 62 * time.Second},
		"a long one is proposed":          {"REGISTER d - heartbeat=10m\n", Config{}, "", 602 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			d := answerServer(t, &c.cfg, c.hello)
			d.until(epoch.Add(30 * time.Second))
			d.recv(c.typed)
			d.until(epoch.Add(c.gone - tick))
			if !d.s.Registered() || d.s.Confirmed() {
				t.Errorf("%v before its time: registered %t, confirmed %t", tick, d.s.Registered(), d.s.Confirmed())
			}
			d.until(epoch.Add(c.gone))
			if d.s.Registered() {
				t.Errorf("still registered after %v of silence", c.gone)
			}
		})
	}
}

func TestAnswerInTheLastMomentKeepsTheClient(t *testing.T) {
	forEachDialect(t, func(t *testing.T, dialect Dialect) {
		d := answerServer(t, nil, hellos[dialect])
		d.advance(10 * time.Second)
		d.advance(2*time.Second - tick)
		d.recv(answer[dialect])
		d.want(asked[dialect], suspect, alive)
		if got, want := d.s.RTT(), 2*time.Second-tick; got != want {
			t.Errorf("RTT %v, want %v", got, want)
		}
		d.wantDeadline(22*time.Second - tick)
	})
}

func TestAnyByteIsLife(t *testing.T) {
	for dialect, byteOfLife := range map[Dialect]string{V1: "\x05", V2: "\x05", Text: "D"} {
		d := answerServer(t, nil, hellos[dialect])
		d.advance(9 * time.Second)
		d.recv(byteOfLife)
		d.advance(10*time.Second - tick)
		d.want()
		d.advance(tick)
		d.want(asked[dialect])
	}
}

func TestProposedHeartbeatIsClamped(t *testing.T) {
	for _, tt := range []struct{ proposed, want time.Duration }{
		{0, 10 * time.Second},
		{time.Millisecond, time.Second},
		{time.Second, time.Second},
		{90 * time.Second, 90 * time.Second},
		{time.Hour, time.Hour},
		{2 * time.Hour, time.Hour},
	} {
		hello := v2(&message{kind: typeRegister, register: &Register{ID: "d", Heartbeat: tt.proposed}})
		d := answerServer(t, nil, hello)
		d.advance(tt.want - tick)
		d.want()
		d.advance(tick)
		d.want("out HEARTBEAT")
	}
}

// beats wants heartbeats that come after so much silence each, and answers them.
func (d *dialogue) beats(after ...time.Duration) {
	d.t.Helper()
	for _, silence := range after {
		d.advance(silence - tick)
		d.want()
		d.advance(tick)
		d.want("out HEARTBEAT")
		d.recv("\x04\x02\x00")
	}
}

// Jitter comes off the first heartbeats, and of none more than half.
func TestJitterComesOffTheFirstHeartbeats(t *testing.T) {
	for _, c := range []struct{ jitter, first, second time.Duration }{
		{0, 10 * time.Second, 10 * time.Second},
		{4 * time.Second, 6 * time.Second, 10 * time.Second},
		{9 * time.Second, 5 * time.Second, 6 * time.Second},
		{time.Hour, 5 * time.Second, 5 * time.Second},
	} {
		cfg := &Config{Jitter: func(time.Duration) time.Duration { return c.jitter }}
		answerServer(t, cfg, helloV2).beats(c.first, c.second, 10*time.Second)
	}
}

// A client whose heartbeat was late, with many others, gets the next one at its
// own time again.
func TestLatenessDoesNotStay(t *testing.T) {
	for _, c := range []struct{ late, first, second time.Duration }{
		{3 * time.Second, 7 * time.Second, 10 * time.Second},
		{9 * time.Second, 5 * time.Second, 6 * time.Second},
		{time.Minute, 10 * time.Second, 10 * time.Second},
	} {
		d := answerServer(t, nil, helloV2)
		d.advance(10*time.Second + c.late)
		d.want("out HEARTBEAT")
		d.recv("\x04\x02\x00")
		d.beats(c.first, c.second, 10*time.Second)
	}
}

// A server that was stopped for a minute asks before it gives anybody up.
func TestLateAdvanceAsksFirst(t *testing.T) {
	d := answerServer(t, nil, helloV2)
	d.advance(time.Minute)
	d.want("out HEARTBEAT")
	d.advance(2*time.Second - tick)
	d.want(suspect)
	d.advance(tick)
	d.want(gone(V2)...)
}

func TestPingAsksNow(t *testing.T) {
	d := answerServer(t, nil, helloText)
	d.confirm(Text)
	d.advance(time.Second)
	d.ping()
	d.ping() // one question is enough
	d.want(`out "PING\n"`)
	d.until(epoch.Add(13 * time.Second))
	d.want(append([]string{suspect}, gone(Text)...)...)
}

func TestBothSidesMayAsk(t *testing.T) {
	for dialect, p := range map[Dialect][2]string{V1: {"\x03#", `out "\x04#h"`}, V2: {"\x03\x02\x00", "out HEARTBEAT_ACK"}, Text: {"ping\n", `out "PONG\n"`}} {
		d := answerServer(t, nil, hellos[dialect])
		d.advance(time.Second)
		d.recv(p[0])
		d.want(p[1])
	}
}

// A v1 client with an unanswered delivery is not asked, and still given up on
// time.
func TestStoppedV1ClientIsGoneInTime(t *testing.T) {
	d := answerServer(t, nil, helloV1)
	d.advance(9 * time.Second)
	d.send(Data{Seq: 1, Payload: []byte("x")})
	d.want(`out "\x05#x"`, "event sent 1")
	d.advance(3*time.Second - tick)
	d.want(suspect)
	d.advance(tick)
	d.want(gone(V1)...)
}

func TestV1DeliveryHoldsBackTheHeartbeat(t *testing.T) {
	d := answerServer(t, nil, helloV1)
	d.advance(9 * time.Second)
	d.send(Data{Seq: 1, Payload: []byte("x")})
	d.advance(2 * time.Second)
	d.recv("\x06#")
	d.want(`out "\x05#x"`, "event sent 1", suspect, alive, "event ack 1 ok after 2s")
	d.advance(10*time.Second - tick)
	d.want()
	d.advance(tick)
	d.want(`out "\x03#"`)
}

// The delivery is withdrawn, and the hold passes within the grace: the client
// gets the rest of heartbeat and grace, and no more.
func TestV1ClientIsAskedLateAfterAHold(t *testing.T) {
	d := answerServer(t, nil, helloV1)
	d.advance(8 * time.Second)
	d.send(Data{Seq: 1, Payload: []byte("x")})
	d.forget(1)
	d.want(`out "\x05#x"`, "event sent 1")
	d.until(epoch.Add(11 * time.Second)) // the hold of 3 s ends
	d.want(suspect, `out "\x03#"`)
	d.until(epoch.Add(12*time.Second - tick))
	d.want()
	d.until(epoch.Add(12 * time.Second))
	d.want(gone(V1)...)
}

func TestDeviceLetsTheServerAskFirst(t *testing.T) {
	d := registeredDevice(t, nil, V2)
	d.advance(12*time.Second - tick)
	d.want()
	d.advance(tick)
	d.want("out HEARTBEAT")
	d.advance(2*time.Second - tick)
	d.want()
	d.advance(tick)
	d.want(gone(V2)...)
}

// The first server program does not answer heartbeats, but sends its own within
// 10 s of receiving one.
func TestV1DeviceGivesItsServerTimeToAsk(t *testing.T) {
	d := registeredDevice(t, nil, V1)
	d.advance(12 * time.Second)
	d.want(`out "\x03#"`)
	d.advance(12*time.Second - tick)
	d.want()
	d.advance(tick)
	d.want(gone(V1)...)
}

// A client that waits for the answer to its REGISTER is not silent, however long the
// server decides.
func TestTheDecisionIsNoSilence(t *testing.T) {
	forEachDialect(t, func(t *testing.T, dialect Dialect) {
		d := &dialogue{t: t, s: NewServer(nil, epoch), now: epoch}
		d.recv(hellos[dialect])
		d.now = epoch.Add(20 * time.Second)
		d.accept(Registered{Session: "ses_1", Log: "log_1"})
		d.now = d.now.Add(time.Second)
		d.send(Data{Seq: 1, Payload: []byte("a")})
		d.lines = nil
		d.advance(time.Second)
		d.want()
		if !d.s.Registered() {
			t.Error("given up 2 s after the registration")
		}
	})
}
