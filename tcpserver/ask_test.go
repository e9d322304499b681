package tcpserver

import (
	"strings"
	"testing"
	"time"

	"github.com/longwire/longwire/gateway"
)

const (
	helloAsk   = "\x01\x02\x25" + `{"id":"d","log":"l","ask_through":41}`
	ask41      = "\x05\x52\x01\x29"
	open41     = "\x05\x12\x05\x29open"
	notHandled = "\x06\x02\x02\x29\x03"
	notKept    = "\x06\x02\x02\x29\x04"
	working    = "\x06\x02\x06\x29\x0540 %"
)

// asked is a device that answers an ASK, with its session, after registration.
func asked(w *world) (*device, *recorded) {
	w.Helper()
	var hello gateway.Hello
	w.gw.asks = true
	w.gw.onConnect = func(h gateway.Hello) error { hello = h; return nil }
	d := w.dial()
	d.send(helloAsk)
	if !hello.Asks || hello.AskThrough != 41 || hello.Log != "l" {
		w.Errorf("the gateway got asks %v, ask_through %d of log %q", hello.Asks, hello.AskThrough, hello.Log)
	}
	if got := d.heard(); !strings.HasPrefix(got, "\x02\x02") || !strings.Contains(got, `"ask":true`) {
		w.Fatalf("device heard %q, want a welcome with an agreement", got)
	}
	d.forget()
	w.wantSaid("d: start")
	return d, w.gw.session("d")
}

func (s *recorded) ask(seq gateway.Seq) error {
	err := s.link.Deliver(gateway.Transmission{Seq: seq, Payload: []byte("open"), Dup: true, Ask: true})
	s.link.Flush()
	return err
}

func TestAQuestionLeavesWithoutItsPayload(t *testing.T) {
	inBubble(t, func(w *world) {
		d, s := asked(w)
		if err := s.ask(41); err != nil {
			t.Fatal(err)
		}
		d.wantHeard(ask41)
		w.wantSaid("") // it is not sent
		d.send(notHandled)
		w.wantSaid(`d: acked 41 code 3 ""`)
		if err := s.link.Deliver(gateway.Transmission{Seq: 41, Payload: []byte("open"), Dup: true}); err != nil {
			t.Fatal(err)
		}
		s.link.Flush()
		d.wantHeard(open41)
		d.send(notKept)
		w.wantSaid("d: sent 41", `d: acked 41 code 4 ""`)
		if got := s.link.Stats().MessagesOut; got != 1 {
			t.Errorf("%d messages out, want 1: a question is none", got)
		}
	})
}

func TestAQuestionThatIsNotAnsweredInTime(t *testing.T) {
	inBubble(t, func(w *world) {
		d, s := asked(w)
		if err := s.ask(41); err != nil {
			t.Fatal(err)
		}
		for range 4 {
			w.pass(8 * time.Second)
			d.send("\x04\x02\x00")
		}
		w.wantSaid("d: ack timeout 41")
	})
}

// Working is heard once a second. The rest is counted and stays here.
func TestWorkingTooSoonIsCounted(t *testing.T) {
	inBubble(t, func(w *world) {
		d, s := asked(w)
		if err := s.ask(41); err != nil {
			t.Fatal(err)
		}
		d.send(strings.Repeat(working, 20))
		w.wantSaid(`d: acked 41 code 5 "40 %"`)
		w.pass(time.Second)
		d.send(working + notKept + working + notHandled)
		w.wantSaid(`d: acked 41 code 5 "40 %"`, `d: acked 41 code 4 ""`) // the last two are no verdicts
		if got := w.srv.Stats().StaleAcks; got["working_too_soon"] != 19 || got["other"] != 2 {
			t.Errorf("stale acks %v, want 19 too soon and 2 other", got)
		}
		d.wantOpen()
	})
}

func TestAnswersWithoutAnAgreementClose(t *testing.T) {
	inBubble(t, func(w *world) {
		d := w.dial()
		d.send(helloAsk) // the gateway does not ask
		if got := d.heard(); strings.Contains(got, "ask") {
			t.Errorf("device heard %q, want no agreement", got)
		}
		d.forget()
		if err := w.gw.session("d").ask(41); err == nil {
			t.Error("the device was asked")
		}
		d.send(notHandled)
		if got := d.heard(); !strings.Contains(got, "protocol_error: ack without a code of 0 to 2") {
			t.Errorf("device heard %q, want protocol_error", got)
		}
	})
}
