package tcpserver

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/longwire/longwire/gateway"
)

func TestDeliveryIsSentThenAcked(t *testing.T) {
	inBubble(t, func(w *world) {
		d := w.register("d")
		s := w.gw.session("d")
		if err := s.deliver(7, "hello"); err != nil {
			t.Fatal(err)
		}
		d.wantHeard("DATA 7 hello\n")
		w.wantSaid("d: start", "d: sent 7")
		d.say("ACK 7 done")
		w.wantSaid(`d: acked 7 code 0 "done"`)
		d.say("NAK 9 never seen")
		w.wantSaid(`d: acked 9 code 1 "never seen"`) // late or invented: the gateway knows
		got := w.srv.Stats()
		if got.StaleAcks["other"] != 1 || got.Online["text"] != 1 || got.Unregistered != 0 {
			t.Errorf("stale acks %v, online %v, unregistered %d, want 1, text 1, 0", got.StaleAcks, got.Online, got.Unregistered)
		}
		link := s.link.Stats()
		if link.MessagesOut != 1 || link.Dialect != "text" || link.RemoteAddr.String() != "192.0.2.1:1000" {
			t.Errorf("link stats = %+v", link)
		}
	})
}

// Acks in the other number space settle nothing. Each is counted and reported to
// the gateway.
func TestAckWithTheWrongFlag(t *testing.T) {
	inBubble(t, func(w *world) {
		d := w.register("d")
		s := w.gw.session("d")
		s.link.Deliver(gateway.Transmission{Seq: 1, Payload: []byte("now"), Ephemeral: true})
		s.link.Deliver(gateway.Transmission{Seq: 8, Payload: []byte("stored")})
		s.link.Flush()
		d.wantHeard("DATA e1 now\nDATA 8 stored\n")
		w.wantSaid("d: start", "d: sent 1", "d: sent 8")
		d.say("ACK 1")
		w.wantSaid(`d: acked 1 code 0 ""`, "d: acked other 1 ephemeral false")
		d.say("ACK e8")
		w.wantSaid(`d: acked 8 code 0 ""`, "d: acked other 8 ephemeral true")
		d.say("ACK 9")
		w.wantSaid(`d: acked 9 code 0 ""`)
		want := map[string]uint64{"ephemeral_flag_missing": 1, "ephemeral_flag_extra": 1, "working_too_soon": 0, "other": 1}
		if got := w.srv.Stats().StaleAcks; !maps.Equal(got, want) {
			t.Errorf("stale acks %v, want %v", got, want)
		}
	})
}

func TestUplinkIsAckedWhenItIsStored(t *testing.T) {
	inBubble(t, func(w *world) {
		stored := make(chan error)
		w.gw.onReceived = func(context.Context, string) error { return <-stored }
		d := w.register("d")
		d.say("DATA 1 one")
		d.say("DATA 2 two")
		d.wantHeard("")
		stored <- nil
		d.wantHeard("ACK 1\n")
		stored <- fmt.Errorf("append: %w", gateway.ErrUnavailable)
		d.wantHeard("RETRY 2\n")
		w.wantSaid("d: start", `d: received 1 "one"`, `d: not received 2 "two"`)
	})
}

func TestRefusedRegistrations(t *testing.T) {
	for _, c := range []struct {
		err        error
		code       string
		wantReason string
	}{
		{errUnauthorized, "3501", "unauthorized"},
		{&gateway.Error{Code: gateway.CodeBlocked, RetryAfter: time.Minute}, "3502 60000", "blocked"},
		{&gateway.Error{Code: gateway.CodeIDInUse}, "3503", "id_in_use"},
		{gateway.ErrOvertaken, "3001", "replaced"},
		{&gateway.Error{Code: gateway.CodeTooManyClients}, "3005", "too_many_clients"},
		{&gateway.Error{Code: gateway.CodeDraining}, "3000", "shutdown"},
		{gateway.ErrUnavailable, "3005", "overloaded"},
		{errStore, "3005", "overloaded"},
		{context.DeadlineExceeded, "3005", "overloaded"},
		{&gateway.Error{Code: gateway.CodeValidation}, "3500", "bad_register"},
	} {
		t.Run(c.wantReason, func(t *testing.T) {
			inBubble(t, func(w *world) {
				w.gw.onConnect = func(gateway.Hello) error { return c.err }
				d := w.dial()
				d.say("REGISTER d token")
				got := d.heard()
				if !strings.HasPrefix(got, "CLOSE "+c.code) {
					t.Errorf("device heard %q, want CLOSE %s", got, c.code)
				}
				st := w.srv.Stats()
				if st.Closed[c.wantReason] != 1 || st.Refused[c.wantReason] != 1 || st.Online["text"] != 0 {
					t.Errorf("closed %v, refused %v, online %v", st.Closed, st.Refused, st.Online)
				}
				w.wantSaid("")
			})
		})
	}
}

func TestV1IsRefusedAndMayTryAgain(t *testing.T) {
	inBubble(t, func(w *world) {
		w.gw.onConnect = func(h gateway.Hello) error {
			if h.Client == "bad" {
				return errUnauthorized
			}
			return nil
		}
		d := w.dial()
		d.send("\x01#bad")
		d.wantHeard("\x02#er")
		w.pass(time.Second)
		d.send("\x01#2\x00")
		d.wantHeard("\x02#ok")
		w.wantSaid("2: start")
	})
}

func TestBurstToV1GoesOneByOne(t *testing.T) {
	inBubble(t, func(w *world) {
		const n = 20
		next := gateway.Seq(1)
		pump := func(s *recorded) {
			for ; next <= n; next++ {
				if err := s.deliver(next, fmt.Sprint("m", next)); err != nil {
					if !errors.Is(err, gateway.ErrLinkBusy) {
						t.Errorf("deliver: %v", err)
					}
					return
				}
			}
		}
		w.gw.onStart, w.gw.onWritable = pump, pump
		d := w.dial()
		d.send("\x01#2")
		w.pass(100 * time.Millisecond)
		d.wantHeard("\x02#ok\x05#m1")
		for i := 2; i <= n; i++ {
			d.send("\x06#")
			w.pass(100 * time.Millisecond)
			d.wantHeard(fmt.Sprint("\x05#m", i))
		}
		if err := w.gw.session("2").deliver(99, strings.Repeat("x", 127)); !errors.Is(err, gateway.ErrTooLarge) {
			t.Errorf("deliver of 127 bytes = %v, want ErrTooLarge", err)
		}
	})
}

func TestWindowFullThenWritable(t *testing.T) {
	inBubble(t, func(w *world) {
		d := w.register("d")
		s := w.gw.session("d")
		for i := range gateway.Seq(16) {
			if err := s.deliver(i+1, "x"); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.deliver(17, "x"); !errors.Is(err, gateway.ErrWindowFull) {
			t.Fatalf("17th = %v, want ErrWindowFull", err)
		}
		synctest.Wait()
		w.gw.said()
		d.say("ACK 1")
		w.wantSaid(`d: acked 1 code 0 ""`, "d: writable")
		s.link.Forget(2, false)
		if err := s.deliver(17, "x"); err != nil {
			t.Errorf("after an ack = %v", err)
		}
		if err := s.deliver(18, "x"); err != nil {
			t.Errorf("after a forgotten one = %v", err)
		}
	})
}

func TestPanicClosesOneConnectionOnly(t *testing.T) {
	inBubble(t, func(w *world) {
		w.gw.onAcked = func(s *recorded, seq gateway.Seq) {
			if s.id == "bad" {
				panic("bug")
			}
		}
		bad, good := w.register("bad"), w.register("good")
		w.gw.session("bad").deliver(1, "x")
		w.gw.session("good").deliver(1, "x")
		synctest.Wait()
		w.gw.said()
		bad.say("ACK 1")
		w.wantSaid("bad: closed internal_error")
		good.say("ACK 1")
		w.wantSaid(`good: acked 1 code 0 ""`)
		good.wantOpen()
		if got := w.srv.Stats(); got.Panics != 1 || got.Open != 1 || got.Closed["internal_error"] != 1 {
			t.Errorf("panics %d, open %d, want 1, 1", got.Panics, got.Open)
		}
		if err := w.gw.session("bad").deliver(2, "x"); !errors.Is(err, gateway.ErrLinkClosed) {
			t.Errorf("deliver to a closed link = %v, want ErrLinkClosed", err)
		}
	})
}

func TestTakeoverClosesTheOldConnectionWithItsReason(t *testing.T) {
	inBubble(t, func(w *world) {
		d := w.register("d")
		w.gw.session("d").link.Close(gateway.Close{Code: gateway.CloseReplaced, Reason: gateway.ReasonReplaced, RetryAfter: 3 * time.Second, Text: "taken over"})
		d.wantHeard("CLOSE 3001 3000 replaced: taken over\n")
		w.wantSaid("d: start", "d: closed replaced")
	})
}

func TestBadInputIsClosedWithItsReason(t *testing.T) {
	tls := "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
	for _, c := range []struct{ name, input, answer, reason string }{
		{"http", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 400 Bad Request\r\n", "http_request"},
		{"tls", tls, "", "tls_unsupported"},
		{"garbage", "\xff\xfe\xfd", "", "protocol_error"},
		{"data first", "\x01\x02", "", ""},
		{"oversize frame", "\x01\x02\xff\xff\xff\x7f", "", "frame_too_large"},
		{"endless line", strings.Repeat("a", 9000), "ERROR 413 ", "frame_too_large"},
		{"goodbye", "BYE\n", "", "client_closed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(w *world) {
				other := w.register("other")
				d := w.dial()
				d.send(c.input)
				if got := d.heard(); !strings.HasPrefix(got, c.answer) {
					t.Errorf("answer = %q, want %q…", got, c.answer)
				}
				if c.reason != "" && w.srv.Stats().Closed[c.reason] != 1 {
					t.Errorf("closed = %v, want %s", w.srv.Stats().Closed, c.reason)
				}
				other.say("PING")
				other.wantHeard("PONG\n")
			})
		})
	}
}

func TestMalformedLinesAreCountedAndHarmless(t *testing.T) {
	inBubble(t, func(w *world) {
		d := w.register("d")
		d.say("WHAT")
		if got := d.heard(); !strings.HasPrefix(got, "ERROR ") {
			t.Errorf("answer = %q, want an ERROR line", got)
		}
		d.wantOpen()
		if got := w.srv.Stats().Malformed; got != 1 {
			t.Errorf("malformed = %d, want 1", got)
		}
	})
}

func TestLimitsRefuseAndCount(t *testing.T) {
	limits := func(c *Config) { c.MaxConns, c.MaxUnregistered, c.MaxUnregisteredPerIP = 6, 5, 2 }
	inBubble(t, func(w *world) {
		from := func(addr string) *device { d := w.dialSilently(addr); d.read(); synctest.Wait(); return d }
		refused := func() map[string]uint64 { return w.srv.Stats().Refused }

		from("192.0.2.1:1")
		from("192.0.2.1:2")
		from("192.0.2.1:3")
		from("[2001:db8::1]:1")
		from("[2001:db8::2]:1")
		from("[2001:db8::3]:1") // the same /64
		if got := refused()["max_unregistered_per_ip"]; got != 2 {
			t.Errorf("refused per address = %d, want 2", got)
		}
		from("127.0.0.1:1")
		from("192.0.2.2:1")
		if got := refused()["max_unregistered"]; got != 1 {
			t.Errorf("refused unregistered = %d, want 1", got)
		}
		if s := w.srv.Stats(); s.Open != 5 || s.Unregistered != 5 {
			t.Errorf("open %d, unregistered %d, want 5 of both: the oldest have made room", s.Open, s.Unregistered)
		}
		w.pass(11 * time.Second) // all of them are closed
		for i := range 6 {
			d := from(fmt.Sprintf("192.0.2.1:%d", 10+i))
			d.say(fmt.Sprint("REGISTER r", i))
		}
		from("192.0.2.9:1")
		if got := refused()["max_connections"]; got != 1 {
			t.Errorf("refused connections = %d, want 1", got)
		}
		if got := w.srv.Stats(); got.Open != 6 || got.Unregistered != 0 || got.Accepted != 14 {
			t.Errorf("open %d, unregistered %d, accepted %d, want 6, 0, 14", got.Open, got.Unregistered, got.Accepted)
		}
	}, limits)
}

func TestOutOfFilesBacksOffAndGoesOn(t *testing.T) {
	inBubble(t, func(w *world) {
		before := w.register("before")
		for range 3 {
			w.ln.offer(syscall.EMFILE)
		}
		w.pass(4 * time.Millisecond)
		if got := w.srv.Stats().AcceptErrors; got != 1 {
			t.Errorf("accept errors at once = %d, want 1 and a pause", got)
		}
		before.say("PING")
		before.wantHeard("PONG\n")
		w.pass(time.Second)
		w.register("after")
		if got := w.srv.Stats().AcceptErrors; got != 3 {
			t.Errorf("accept errors = %d, want 3", got)
		}
	})
}
