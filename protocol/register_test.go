package protocol

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestRegisterDeadline(t *testing.T) {
	for _, tt := range []struct{ sent, closes string }{
		{"", ""},
		{"\x01", ""},
		{"\x01#", ""}, // refused with 2#er; the deadline stays
		{"\x01\x02\x80", "out CLOSE 3003 0 register_timeout"},
		{"regist", `out "CLOSE 3003 0 register_timeout\n"`},
	} {
		d := answerServer(t, nil, "")
		d.advance(9 * time.Second)
		if tt.sent != "" {
			d.recv(tt.sent)
		}
		d.lines = nil
		d.advance(time.Second - tick)
		d.want()
		d.advance(tick)
		want := []string{"event closed 3003 register_timeout"}
		if tt.closes != "" {
			want = append(want, tt.closes)
		}
		d.want(want...)
	}
}

func TestRegisterDeadlineRestsWhileTheDriverDecides(t *testing.T) {
	d := answerServer(t, nil, "")
	d.recv(helloText)
	if at, ok := d.s.Deadline(); ok {
		t.Errorf("deadline %v while deciding", at)
	}
	d.advance(time.Minute)
	d.accept(Registered{Session: "s"})
	d.want(`event register {"id":"d"}`, `out "REGISTERED s answer DATA <n> with ACK <n>, PING with PONG\n"`)
}

// The refusals of a slow decision leave a v1 client its time (SPEC §2.1).
func TestRegisterDeadlineContinuesAfterARefusal(t *testing.T) {
	d := answerServer(t, nil, "")
	for range 3 {
		d.advance(3 * time.Second)
		d.recv(helloV1)
		d.advance(4 * time.Second)
		d.refuse(Close{Code: CloseOverloaded})
	}
	d.lines = nil
	d.advance(time.Second - tick)
	d.want()
	d.advance(tick)
	d.want("event closed 3003 register_timeout")
}

// A client that repeats its REGISTER at once does not keep the connection for ever,
// whether it waits for each answer or has sent all of them before (SPEC §2.1).
func TestRefusalsOfSlowDecisionsComeToAnEnd(t *testing.T) {
	for name, ahead := range map[string]int{"waits": 0, "ahead": 1000} {
		d := answerServer(t, nil, "")
		if ahead > 0 {
			d.recv(strings.Repeat(helloV1, ahead))
		}
		for d.s.state != closed && d.now.Sub(d.s.start) < time.Hour {
			if ahead == 0 {
				d.recv(helloV1)
			}
			d.advance(7 * time.Second)
			d.refuse(Close{Code: CloseUnauthorized})
		}
		if lasted := d.now.Sub(d.s.start); lasted < time.Minute || lasted > 77*time.Second {
			t.Errorf("%s: the connection lasted %v, want a minute of decisions and the register deadline", name, lasted)
		}
		if last := d.lines[len(d.lines)-1]; last != "event closed 3003 register_timeout" {
			t.Errorf("%s: it ended with %s", name, last)
		}
	}
}

func TestInputWaitsForTheDecision(t *testing.T) {
	d := answerServer(t, nil, "")
	d.recv(helloText + "DATA 1 a\nDA")
	d.recv("TA 2 b\n")
	d.want(`event register {"id":"d"}`)
	d.accept(Registered{})
	d.want(`event data 1 "a"`, `event data 2 "b"`, `out "REGISTERED  answer DATA <n> with ACK <n>, PING with PONG\n"`)
}

func TestInputBeforeTheDecisionIsBounded(t *testing.T) {
	for _, chunk := range []int{1000, maxPendingIn + 1} {
		d := answerServer(t, nil, "")
		d.recv(helloText)
		for sent := 0; sent <= maxPendingIn; sent += chunk {
			d.recv(strings.Repeat("x", chunk))
		}
		d.want(`event register {"id":"d"}`, `event closed 3500 input_overflow "more than 65536 bytes before the registration was answered"`,
			`out "CLOSE 3500 0 input_overflow: more than 65536 bytes before the registration was answered\n"`)
	}
}

func TestRefusedByDialect(t *testing.T) {
	blocked := Close{Code: CloseBlocked, RetryAfter: 10 * time.Minute, Text: "until noon"}
	for dialect, want := range map[Dialect][]string{
		V1:   {`out "\x02#er"`},
		V2:   {`event closed 3502 blocked retry 10m0s "until noon"`, "out CLOSE 3502 600000 blocked: until noon"},
		Text: {`event closed 3502 blocked retry 10m0s "until noon"`, `out "CLOSE 3502 600000 blocked: until noon\n"`},
	} {
		d := answerServer(t, nil, "")
		d.recv(hellos[dialect])
		d.lines = nil
		d.refuse(blocked)
		d.want(want...)
	}
}

func TestTakeoverByDialect(t *testing.T) {
	replaced := Close{Code: CloseReplaced, RetryAfter: 4 * time.Second}
	for dialect, want := range map[Dialect][]string{
		V1:   {"event closed 3001 replaced retry 4s"},
		V2:   {"event closed 3001 replaced retry 4s", "out CLOSE 3001 4000 replaced"},
		Text: {"event closed 3001 replaced retry 4s", `out "CLOSE 3001 4000 replaced\n"`},
	} {
		d := answerServer(t, nil, hellos[dialect])
		d.close(replaced)
		d.close(replaced) // once is enough
		d.eof()
		d.recv("PING\n")
		d.want(want...)
		if err := d.s.Send(d.now, Data{Seq: 1}); err != ErrClosed {
			t.Errorf("%v: Send after Close: %v, want ErrClosed", dialect, err)
		}
	}
}

func TestDeviceHearsWhyItWasClosed(t *testing.T) {
	for dialect, says := range map[Dialect]string{
		V2:   v2(&message{kind: typeClose, close: &Close{Code: CloseReplaced, RetryAfter: 4 * time.Second}}),
		Text: "CLOSE 3001 4000 replaced\n",
	} {
		d := registeredDevice(t, nil, dialect)
		d.recv(says)
		d.want(`event closed 3001 replaced retry 4s "replaced" remote`)
	}
	d := registeredDevice(t, nil, Text)
	d.recv("CLOSE 3500 0 frame_too_large: too long\n")
	d.want(`event closed 3500 frame_too_large "frame_too_large: too long" remote`)
	d = registeredDevice(t, nil, Text)
	d.recv("CLOSE 3999 0 of a later version\n")
	d.want(`event closed 3999 server_closed "of a later version" remote`)
}

func TestCodesThatInviteBack(t *testing.T) {
	for code, want := range map[CloseCode]bool{0: true, CloseShutdown: true, CloseOverloaded: true, 3499: true,
		CloseProtocol: false, CloseIDInUse: false, 3999: false} {
		if got := code.Reconnect(); got != want {
			t.Errorf("%d: Reconnect %v, want %v", code, got, want)
		}
	}
}

func TestPeopleMayMistypeSixteenTimes(t *testing.T) {
	for name, hello := range map[string]string{"before": "", "after": helloText} {
		d := answerServer(t, nil, hello)
		for range maxMalformed {
			d.recv("oops\n")
		}
		if n := len(d.lines); n != 2*maxMalformed {
			t.Fatalf("%s registration: %d lines, want %d: %q", name, n, 2*maxMalformed, d.lines)
		}
		d.lines = nil
		d.recv("oops\n")
		if got, want := d.lines[1], `event closed 3500 too_many_errors "17 lines refused in a row"`; got != want {
			t.Errorf("%s registration: got %q, want %q", name, got, want)
		}
	}
	for name, hello := range map[string]string{"before": "", "after": helloText} {
		d := answerServer(t, nil, hello)
		for range 3 * maxMalformed {
			d.recv("oops\nPONG\n") // not in a row
		}
		if d.s.state == closed {
			t.Errorf("%s registration: closed although no two errors were in a row", name)
		}
	}
}

func TestBadUTF8IsRefusedNotFatal(t *testing.T) {
	d := answerServer(t, nil, helloText)
	d.recv("DATA 1 \xff\n")
	d.want(`event malformed invalid_utf8 "line is not UTF-8; send bytes with DATA64"`,
		`out "ERROR 400 line is not UTF-8; send bytes with DATA64\n"`)
}

func TestBoundsOfARegistration(t *testing.T) {
	many := func(n int, item string) string {
		items := make([]string, n)
		for i := range items {
			items[i] = fmt.Sprintf(item, i)
		}
		return strings.Join(items, ",")
	}
	id := strings.Repeat("i", maxClientID)
	for body, want := range map[string]string{
		`{"id":"` + id + `"}`:                 "",
		`{"id":"` + id + `i"}`:                ReasonBadClientID,
		`{"id":""}`:                           ReasonBadClientID,
		`{"id":"ü"}`:                          ReasonBadClientID,
		`{}`:                                  ReasonBadClientID,
		`{"id":"d","of_a_later_version":[1]}`: "",
		`{"id":"d"} `:                         "",
		`{"id":"d"}{}`:                        ReasonBadRegister,
		`{"id":7}`:                            ReasonBadRegister,
		`[]`:                                  ReasonBadRegister,
		"{\"id\":\"d\",\"token\":\"\xff\"}":   ReasonBadRegister,
		`{"id":"d","labels":{` + many(32, `"k%d":"v"`) + `}}`:           "",
		`{"id":"d","labels":{` + many(33, `"k%d":"v"`) + `}}`:           ReasonBadRegister,
		`{"id":"d","labels":{"` + strings.Repeat("k", 64) + `":""}}`:    "",
		`{"id":"d","labels":{"` + strings.Repeat("k", 65) + `":""}}`:    ReasonBadRegister,
		`{"id":"d","labels":{"":""}}`:                                   ReasonBadRegister,
		`{"id":"d","labels":{"k":"` + strings.Repeat("v", 256) + `"}}`:  "",
		`{"id":"d","labels":{"k":"` + strings.Repeat("v", 257) + `"}}`:  ReasonBadRegister,
		`{"id":"d","groups":[` + many(32, `"g%d"`) + `]}`:               "",
		`{"id":"d","groups":[` + many(33, `"g%d"`) + `]}`:               ReasonBadRegister,
		`{"id":"d","groups":[""]}`:                                      ReasonBadRegister,
		`{"id":"d","window":-1}`:                                        ReasonBadRegister,
		`{"id":"d","heartbeat_ms":-1}`:                                  ReasonBadRegister,
		`{"id":"d","heartbeat_ms":9223372036854775807}`:                 "",
		`{"id":"d","heartbeat_ms":9223372036854775808}`:                 ReasonBadRegister,
		`{"id":"d","ask_through":18446744073709551615}`:                 "",
		`{"id":"d","ask_through":18446744073709551616}`:                 ReasonBadRegister,
		`{"id":"d","ask_through":-1}`:                                   ReasonBadRegister,
		`{"id":"d","ask_through":1.0}`:                                  ReasonBadRegister,
		`{"id":"d","ask_through":"1"}`:                                  ReasonBadRegister,
		`{"id":"d","last_seq":-1}`:                                      "", // an unknown member
		`{"id":"d","log":"` + strings.Repeat("l", 129) + `"}`:           ReasonBadRegister,
		`{"id":"d","token":"` + strings.Repeat("t", maxRegister) + `"}`: ReasonFrameTooLarge,
	} {
		got := ""
		if _, err := decodeRegister([]byte(body)); err != nil {
			got = err.reason
		}
		if got != want {
			t.Errorf("%.80s: got %q, want %q", body, got, want)
		}
	}
}

// Nil labels keep the server's labels, empty ones clear them: the difference must
// survive the wire.
func TestNilAndEmptyAreDifferent(t *testing.T) {
	for _, r := range []Register{{ID: "d"}, {ID: "d", Labels: map[string]string{}, Groups: []string{}}} {
		got, err := decodeRegister(encodeRegister(&r))
		if err != nil {
			t.Fatal(err)
		}
		if (got.Labels == nil) != (r.Labels == nil) || (got.Groups == nil) != (r.Groups == nil) {
			t.Errorf("got %#v, want %#v", got, r)
		}
	}
}

func TestDeviceRefusesWhatItCannotSay(t *testing.T) {
	for _, tt := range []struct {
		dialect Dialect
		r       Register
		want    string
	}{
		{V1, Register{ID: strings.Repeat("i", 127)}, ReasonBadClientID},
		{Text, Register{ID: "d", Token: "a\nb"}, ReasonBadRegister},
		{Text, Register{ID: "d", Token: strings.Repeat("t", maxRegister)}, ReasonBadRegister},
		{V2, Register{ID: "d", Groups: []string{"no spaces"}}, ReasonBadRegister},
		{V2, Register{}, ReasonBadClientID},
	} {
		s := NewDevice(nil, tt.dialect, tt.r, epoch)
		e, ok := s.Next()
		if !ok || e.Kind != KindClosed || e.Close.Reason != tt.want {
			t.Errorf("%v %.20s: got %s, want closed %s", tt.dialect, tt.r.ID, describe(e), tt.want)
		}
		if s.Pending() != 0 {
			t.Errorf("%v: %d bytes of output", tt.dialect, s.Pending())
		}
	}
}

func TestDeviceRegisterDeadline(t *testing.T) {
	d := startDevice(t, nil, V2, Register{ID: "d"})
	d.lines = nil
	d.advance(10*time.Second - tick)
	d.want()
	d.advance(tick)
	d.want("event closed 3003 register_timeout", "out CLOSE 3003 0 register_timeout")

	d = startDevice(t, nil, V1, Register{ID: "d"})
	d.recv("\x02#er")
	d.lines = nil
	d.until(epoch.Add(10 * time.Second))
	d.want(`out "\x01#d"`, `out "\x01#d"`, `out "\x01#d"`, "event closed register_refused")
}

func TestDeviceSpeaksV2ByDefault(t *testing.T) {
	if got := NewDevice(nil, Unknown, Register{ID: "d"}, epoch).Dialect(); got != V2 {
		t.Errorf("got %v, want v2", got)
	}
}

// A text device proposes its heartbeat as a v2 device does, and watches its
// server by it.
func TestATextDeviceProposesAHeartbeat(t *testing.T) {
	d := startDevice(t, nil, Text, Register{ID: "d", Heartbeat: 90 * time.Second})
	d.want(`out "REGISTER d - heartbeat=90s\n"`)
	d.recv("REGISTERED ses_1 welcome\n")
	d.want(`event registered {"session":"ses_1","log":"","resumed":false,"heartbeat_ms":90000,"grace_ms":2000,"window":16,"max_payload":48000}`)
	d.wantDeadline(92 * time.Second)
}

func TestATextTokenIsOneWord(t *testing.T) {
	for _, token := range []string{"two words", "-", "heartbeat=60s", "tab\t"} {
		d := startDevice(t, nil, Text, Register{ID: "d", Token: token})
		if len(d.lines) != 1 || !strings.HasPrefix(d.lines[0], "event closed 3500 bad_register") {
			t.Errorf("token %q: %q, want bad_register", token, d.lines)
		}
	}
}
