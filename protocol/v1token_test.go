package protocol

import (
	"strings"
	"testing"
	"time"
)

// SPEC §3.1: a server that takes tokens reads one after the id.
func TestV1TokenFollowsTheID(t *testing.T) {
	d := answerServer(t, &Config{V1Token: true}, "")
	d.recv("\x01#meter-7 lwd_t0ken\x00\x00")
	d.want(`event register {"id":"meter-7","token":"lwd_t0ken"}`)
	d.accept(Registered{})
	d.advance(time.Second)
	d.want(`out "\x02#ok"`)
	d.recv("\x01#meter-7 lwd_t0ken") // a repeat is answered as before
	d.want(`out "\x02#ok"`)

	plain := answerServer(t, &Config{V1Token: true}, "")
	plain.recv("\x01#2") // the first client program has none
	plain.want(`event register {"id":"2"}`)
}

func TestV1TokensThatAreRefused(t *testing.T) {
	long := strings.Repeat("x", 124)
	for name, c := range map[string]struct {
		take   bool
		hello  string
		reason string
	}{
		"not taken":      {false, "\x01#meter-7 token", ReasonBadClientID},
		"empty":          {true, "\x01#meter-7 ", ReasonBadRegister},
		"two words":      {true, "\x01#meter-7 tok en", ReasonBadRegister},
		"no id":          {true, "\x01# token", ReasonBadClientID},
		"control byte":   {true, "\x01#meter-7 tok\x7fen", ReasonBadRegister},
		"one byte more":  {true, "\x01#d " + long + "x", ReasonBadRegister},
		"a signed token": {true, "\x01#d eyJhbGciOiJFZERTQSJ9." + strings.Repeat("A", 100) + "." + strings.Repeat("B", 86), ReasonBadRegister},
	} {
		t.Run(name, func(t *testing.T) {
			d := answerServer(t, &Config{V1Token: c.take}, "")
			d.recv(c.hello)
			if len(d.lines) != 2 || !strings.HasPrefix(d.lines[0], "event malformed "+c.reason) || d.lines[1] != `out "\x02#er"` {
				t.Errorf("%q: %q, want it refused for %s", c.hello, d.lines, c.reason)
			}
		})
	}
	d := answerServer(t, &Config{V1Token: true}, "")
	d.recv("\x01#d " + long)
	d.want(`event register {"id":"d","token":"` + long + `"}`)
}

func TestV1DeviceSendsItsTokenUntilItIsAnswered(t *testing.T) {
	d := startDevice(t, nil, V1, Register{ID: "d", Token: "t0ken"})
	d.want(`out "\x01#d t0ken"`)
	d.advance(3 * time.Second)
	d.want(`out "\x01#d t0ken"`)
	d.recv("\x02#ok")
	if !d.s.Registered() {
		t.Errorf("not registered: %q", d.lines)
	}
	for _, r := range []Register{{ID: "d", Token: strings.Repeat("x", 125)}, {ID: "d", Token: "a b"}} {
		if d := startDevice(t, nil, V1, r); d.s.Registered() || len(d.lines) != 1 || !strings.Contains(d.lines[0], ReasonBadRegister) {
			t.Errorf("token %q: %q", r.Token, d.lines)
		}
	}
}
