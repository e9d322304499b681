package protocol

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"
)

var helloAsk = v2(&message{kind: typeRegister, register: &Register{ID: "d", Log: "log_1", Asks: true, AskThrough: 41}})

var welcomeAsk = v2(&message{kind: typeRegisterAck, accepted: &Registered{Log: "log_1", Ask: true}})

// askingServer starts a server that has agreed with its device on ASK.
func askingServer(t *testing.T, cfg *Config) *dialogue {
	t.Helper()
	d := answerServer(t, cfg, "")
	d.recv(helloAsk)
	d.accept(Registered{Session: "ses_1", Log: "log_1", Ask: true})
	d.lines = nil
	return d
}

// askedDevice starts a device that has agreed with its server on ASK.
func askedDevice(t *testing.T, cfg *Config) *dialogue {
	t.Helper()
	d := startDevice(t, cfg, V2, Register{ID: "d", Log: "log_1", Asks: true, AskThrough: 41})
	d.recv(welcomeAsk)
	d.lines = nil
	return d
}

func (d *dialogue) ask(seq uint64) {
	if err := d.s.Ask(d.now, seq); err != nil {
		d.lines = append(d.lines, "error "+err.Error())
	}
	d.drain()
}

func ackFrame(seq uint64, code AckCode, result string) string {
	return v2(&message{kind: typeAck, seq: seq, code: code, payload: []byte(result)})
}

func TestAServerAsksForAVerdictInsteadOfSendingAgain(t *testing.T) {
	d := askingServer(t, nil)
	d.ask(40)
	d.ask(41)
	d.want("out ASK 40", "out ASK 41") // and nothing was sent
	d.recv(ackFrame(40, AckReject, "jammed"))
	d.want(`event ack 40 reject asked "jammed"`)
	d.recv(ackFrame(41, AckSend, ""))
	d.want("event ack 41 send asked")
	d.send(Data{Seq: 41, Payload: []byte("open"), Dup: true})
	d.want(`out DATA 41 dup "open"`, "event sent 41")
	d.recv(ackFrame(41, AckNotKept, ""))
	d.want("event ack 41 not_kept")
	if n := d.s.InFlight(); n != 0 {
		t.Errorf("%d in flight, want 0", n)
	}
}

func TestADeviceAnswersWhatItIsAsked(t *testing.T) {
	d := askedDevice(t, nil)
	for code, want := range codeNames {
		d.recv(v2(&message{kind: typeData, seq: 41, dup: true, head: true}))
		d.want("event ask 41")
		d.ack(41, AckCode(code), "r")
		d.want("out ACK 41 " + want + ` "r"`)
	}
	d.ack(41, AckWorking+1, "")
	d.want("out ACK 41 retry") // no such code

	d.recv(v2(&message{kind: typeData, seq: 1 << 60, dup: true, head: true}))
	d.want("event ask 1152921504606846976") // above its ask_through: it is the ledger's to say
}

func TestBothEndsMustAgreeOnAsking(t *testing.T) {
	for _, tt := range []struct{ offered, granted, agreed bool }{
		{true, true, true}, {true, false, false}, {false, true, false}, {false, false, false},
	} {
		t.Run(fmt.Sprint(tt), func(t *testing.T) {
			r := Register{ID: "d", Asks: tt.offered}
			server := answerServer(t, nil, "")
			server.recv(v2(&message{kind: typeRegister, register: &r}))
			server.accept(Registered{Ask: tt.granted})
			if got := strings.Contains(server.lines[len(server.lines)-1], `"ask":true`); got != tt.agreed {
				t.Errorf("the server says %s", server.lines[len(server.lines)-1])
			}
			device := startDevice(t, nil, V2, r)
			device.recv(v2(&message{kind: typeRegisterAck, accepted: &Registered{Ask: tt.granted}}))
			if got := strings.Contains(device.lines[len(device.lines)-1], `"ask":true`); got != tt.agreed {
				t.Errorf("the device reports %s", device.lines[len(device.lines)-1])
			}

			server.lines, device.lines = nil, nil
			server.ask(1)
			device.recv(v2(&message{kind: typeData, seq: 1, dup: true, head: true}))
			if tt.agreed {
				server.want("out ASK 1")
				device.want("event ask 1")
				return
			}
			server.want("error " + ErrCannotAsk.Error())
			device.want(`event closed 3500 protocol_error "HEAD without an agreement on ask"`,
				"out CLOSE 3500 0 protocol_error: HEAD without an agreement on ask")
			server.recv(ackFrame(1, AckSend, ""))
			server.want(`event closed 3500 protocol_error "ack without a code of 0 to 2"`,
				"out CLOSE 3500 0 protocol_error: ack without a code of 0 to 2")
		})
	}
}

// A server may have asked before the device can know that it agrees.
func TestAQuestionMayFollowTheWelcomeInOneRead(t *testing.T) {
	d := startDevice(t, nil, V2, Register{ID: "d", Asks: true})
	d.lines = nil
	d.recv(welcomeAsk + v2(&message{kind: typeData, seq: 1, dup: true, head: true}))
	if got := d.lines[len(d.lines)-1]; got != "event ask 1" {
		t.Errorf("got %q, want the question", d.lines)
	}
}

func TestNoOtherDialectAsks(t *testing.T) {
	for _, dialect := range []Dialect{V1, Text} {
		d := answerServer(t, nil, "")
		d.recv(hellos[dialect])
		d.accept(Registered{Ask: true})
		d.lines = nil
		d.ask(1)
		d.want("error " + ErrCannotAsk.Error())

		d = startDevice(t, nil, dialect, Register{ID: "d", Asks: true, AskThrough: 41})
		if got := d.lines[0]; strings.Contains(got, "41") {
			t.Errorf("%v: %s", dialect, got)
		}
	}
}

func TestAQuestionThatIsNeverAnswered(t *testing.T) {
	d := askingServer(t, &Config{Heartbeat: time.Hour})
	d.stuck = true
	d.ask(40)
	d.advance(time.Minute)
	d.want() // it has not been asked yet
	d.unstick()
	d.want("out ASK 40")
	d.advance(30*time.Second - tick)
	d.want()
	d.advance(tick)
	d.want("event ack_timeout 40 asked")
	d.send(Data{Seq: 40, Payload: []byte("open"), Dup: true})
	d.want(`out DATA 40 dup "open"`, "event sent 40")
	d.recv(ackFrame(40, AckSend, "")) // the answer to the question, late
	d.want("event ack 40 send after 30s")
	d.recv(ackFrame(40, AckOK, "")) // the answer to the payload
	d.want("event stale_ack 40 ok")
}

func TestAQuestionTakesAPlaceInTheWindow(t *testing.T) {
	d := askingServer(t, &Config{Window: 2})
	d.ask(40)
	d.ask(41)
	d.ask(42)
	d.send(Data{Seq: 43})
	d.want("out ASK 40", "out ASK 41", "error "+ErrWindowFull.Error(), "error "+ErrWindowFull.Error())
	d.recv(ackFrame(41, AckOK, ""))
	d.want("event ack 41 ok asked", "event writable")
	d.forget(40)
	d.recv(ackFrame(40, AckSend, ""))
	d.want("event stale_ack 40 send")
	d.recv(ackFrame(40, AckReject, "jammed")) // late, but with the device's text
	d.want(`event stale_ack 40 reject "jammed"`)
}

func TestWorkingStartsTheAckTimeoutAnew(t *testing.T) {
	d := askingServer(t, &Config{Heartbeat: time.Hour})
	d.send(Data{Seq: 50, Payload: []byte("bake")})
	d.want(`out DATA 50 "bake"`, "event sent 50")
	for range 3 {
		d.advance(29 * time.Second)
		d.recv(ackFrame(50, AckWorking, "40 %"))
	}
	d.want(`event ack 50 working "40 %" after 29s`, `event ack 50 working "40 %" after 58s`, `event ack 50 working "40 %" after 1m27s`)
	d.advance(30*time.Second - tick)
	d.want()
	d.advance(tick)
	d.want("event ack_timeout 50")
	d.recv(ackFrame(50, AckWorking, "")) // also when it has passed
	d.want("event ack 50 working after 1m57s")
	d.advance(30 * time.Second)
	d.want("event ack_timeout 50")
	d.recv(ackFrame(50, AckOK, "baked"))
	d.want(`event ack 50 ok "baked" after 2m27s`)
	if got := d.s.RTT(); got != 29*time.Second {
		t.Errorf("RTT %v, want that of the first answer, 29s", got)
	}
}

func TestWorkingAnswersAQuestion(t *testing.T) {
	d := askingServer(t, &Config{Heartbeat: time.Hour})
	d.ask(40)
	d.advance(20 * time.Second)
	d.recv(ackFrame(40, AckWorking, ""))
	d.advance(30*time.Second - tick)
	d.want("out ASK 40", "event ack 40 working asked after 20s")
	d.advance(tick)
	d.want("event ack_timeout 40 asked")
}

// The device may answer before the driver has reported the flush, and while a
// repeat is on its way into the socket.
func TestWorkingOvertakesTheFlush(t *testing.T) {
	d := askingServer(t, &Config{Heartbeat: time.Hour})
	d.stuck = true
	d.send(Data{Seq: 50})
	out := d.s.AppendOutput(nil)
	d.recv(ackFrame(50, AckWorking, ""))
	d.want("event sent 50", "event ack 50 working")
	d.s.Flushed(d.now, len(out))
	d.drain()
	d.want()
	d.advance(30 * time.Second)
	d.want("event ack_timeout 50")

	d.send(Data{Seq: 50, Dup: true})
	d.recv(ackFrame(50, AckWorking, ""))
	d.want("event ack 50 working after 30s")
	d.advance(time.Hour - time.Minute)
	d.want() // the repeat has not been flushed
	d.unstick()
	d.want("out DATA 50 dup \"\"", "event sent 50")
	d.advance(30 * time.Second)
	d.want("event ack_timeout 50")
}

// A device that says working 1,000 times a second is heard once a second, and
// costs no memory.
func TestWorkingAThousandTimesASecond(t *testing.T) {
	d := askingServer(t, &Config{Heartbeat: time.Hour})
	d.send(Data{Seq: 50})
	d.lines = nil
	d.s.Unasked()
	const seconds = 60
	dropped, unasked := 0, 0
	for range 1000 * seconds {
		d.recv(ackFrame(50, AckWorking, "40 %"))
		dropped += d.s.TooSoon()
		unasked += d.s.Unasked()
		d.now = d.now.Add(time.Millisecond)
		d.s.Advance(d.now)
	}
	if len(d.lines) != seconds || dropped != 999*seconds || unasked != dropped {
		t.Errorf("%d taken, %d dropped, %d counted as unasked; want %d, %d and %d", len(d.lines), dropped, unasked, seconds, 999*seconds, 999*seconds)
	}
	if w := d.s.work; len(w.flights) != 1 || cap(w.events) > keepEntries || cap(w.in) > keepPooled || cap(w.out) > keepPooled {
		t.Errorf("%d flights; room for %d events, %d bytes in, %d bytes out", len(w.flights), cap(w.events), cap(w.in), cap(w.out))
	}
	d.recv(ackFrame(50, AckOK, ""))
	if d.s.work != nil {
		t.Error("an idle session holds memory")
	}
}

func TestAnAnswerOfTheLargestSize(t *testing.T) {
	large := strings.Repeat("r", 256<<10)
	server, device := askingServer(t, nil), askedDevice(t, nil)
	server.ask(40)
	device.recv(v2(&message{kind: typeData, seq: 40, dup: true, head: true}))
	server.lines, device.lines = nil, nil
	for _, code := range []AckCode{AckWorking, AckReject} {
		if err := device.s.AckData(device.now, 40, code, []byte(large)); err != nil {
			t.Fatal(err)
		}
		server.recv(string(device.s.AppendOutput(nil)))
		server.want(fmt.Sprintf("event ack 40 %v asked %q", code, large))
	}
	device.ack(40, AckOK, large+"r")
	device.want("error " + ErrTooLarge.Error())
}

func TestFramesThatAreNoQuestion(t *testing.T) {
	for frame, text := range map[string]string{
		"\x05\x52\x02\x01x": "HEAD with a payload of 1 bytes",
		"\x05\x42\x01\x01":  "HEAD without DUP, or with EPHEMERAL",
		"\x05\x72\x01\x01":  "HEAD without DUP, or with EPHEMERAL",
		"\x05\x52\x01\x00":  "id is not a minimal uvarint above 0",
		"\x05\x52\x00":      "id is not a minimal uvarint above 0",
	} {
		for _, d := range []*dialogue{askedDevice(t, nil), askingServer(t, nil)} {
			d.recv(frame)
			d.want(fmt.Sprintf("event closed 3500 protocol_error %q", text), "out CLOSE 3500 0 protocol_error: "+text)
		}
	}
}

func TestOnlyServersAskAndOnlyDevicesAnswer(t *testing.T) {
	d := askingServer(t, nil)
	d.recv("\x05\x52\x01\x01")
	d.want(`event closed 3500 protocol_error "only a server asks"`, "out CLOSE 3500 0 protocol_error: only a server asks")
	d = askedDevice(t, nil)
	d.ask(1)
	d.want("error " + ErrCannotAsk.Error())
	for code := AckSend; code <= AckWorking; code++ {
		d = askedDevice(t, nil)
		d.recv(ackFrame(1, code, ""))
		d.want(fmt.Sprintf(`event closed 3500 protocol_error "code %d is a device's"`, code),
			fmt.Sprintf("out CLOSE 3500 0 protocol_error: code %d is a device's", code))

		d = askingServer(t, nil)
		d.ack(1, code, "")
		if code == AckWorking {
			d.want()
		} else {
			d.want("out ACK 1 " + map[AckCode]string{AckSend: "retry", AckNotKept: "ok"}[code])
		}
	}
}

// Without an agreement a device says the nearest word that there is.
func TestAnswersWithoutAnAgreement(t *testing.T) {
	for dialect, want := range map[Dialect][]string{
		V1:   {`out "\x06#"`},
		V2:   {"out ACK 1 retry", "out ACK 1 ok"},
		Text: {`out "RETRY 1\n"`, `out "ACK 1\n"`},
	} {
		d := registeredDevice(t, nil, dialect)
		d.advance(time.Second)
		for code := AckSend; code <= AckWorking; code++ {
			d.ack(1, code, "")
		}
		d.want(want...)
	}
}

func TestAskRefuses(t *testing.T) {
	d := answerServer(t, nil, "")
	d.ask(1)
	d.want("error " + ErrNotRegistered.Error())
	d = askingServer(t, nil)
	d.ask(0)
	d.want("error " + ErrZeroSeq.Error())
	d.ask(math.MaxUint64)
	d.want("out ASK 18446744073709551615")
	d.close(Close{Code: CloseKicked})
	d.lines = nil
	d.ask(1)
	d.want("error " + ErrClosed.Error())
}

// A number above 2^53 is where JSON parsers of many languages lose digits.
func TestAskThroughKeepsAllItsDigits(t *testing.T) {
	for _, through := range []uint64{0, 1<<53 + 1, math.MaxInt64, math.MaxUint64} {
		want := Register{ID: "d", Asks: true, AskThrough: through}
		body := encodeRegister(&want)
		if text := fmt.Sprintf(`"ask_through":%d}`, through); !strings.HasSuffix(string(body), text) {
			t.Errorf("%s, want %s", body, text)
		}
		if got, err := decodeRegister(body); err != nil || !got.Asks || got.AskThrough != through {
			t.Errorf("%s: %+v, %v", body, got, err)
		}
	}
	for _, body := range []string{`{"id":"d"}`, `{"id":"d","ask_through":null}`, `{"id":"d","last_seq":9}`} {
		if got, err := decodeRegister([]byte(body)); err != nil || got.Asks || got.AskThrough != 0 {
			t.Errorf("%s: %+v, %v", body, got, err)
		}
	}
}

func TestTheWelcomeHasTheServersClock(t *testing.T) {
	at := time.Date(2026, 5, 6, 7, 8, 9, 123_456_789, time.UTC)
	got, err := decodeRegistered(encodeRegistered(&Registered{Time: at}))
	if err != nil || !got.Time.Equal(at.Truncate(time.Millisecond)) {
		t.Errorf("got %v, %v, want %v in milliseconds", got.Time, err, at)
	}
	for _, ms := range []string{"0", "-1", "253402300800000", "9223372036854775807"} {
		if got, err := decodeRegistered([]byte(`{"time":` + ms + `}`)); err != nil || !got.Time.IsZero() {
			t.Errorf("%s ms: %v, %v, want no time", ms, got.Time, err)
		}
	}
}
