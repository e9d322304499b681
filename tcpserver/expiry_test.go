package tcpserver

import (
	"crypto/tls"
	"net"
	"regexp"
	"testing"
	"testing/synctest"
	"time"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/clocktest"
	"github.com/longwire/longwire/protocol"
)

// expiring gives devices credentials that end at d after the world's start.
func expiring(w *world, d time.Duration) {
	at := w.start.Add(d).Round(0) // a date from a token has no monotonic clock
	w.gw.expiresAt = func(gateway.Hello) time.Time { return at }
}

func TestConnectionEndsWithItsCredentials(t *testing.T) {
	inBubble(t, func(w *world) {
		expiring(w, 25*time.Second)
		d := w.register("d")
		defer w.keepAlive()()
		w.until(25*time.Second - 1)
		w.wantSaid("d: start")
		d.wantHeard("")
		w.until(25*time.Second + tick)
		w.wantSaid("d: closed credentials_expired")
		if heard := d.heard(); !regexp.MustCompile(`^CLOSE 3006 [0-9]{1,4} credentials_expired\n$`).MatchString(heard) {
			t.Errorf("device heard %q", heard)
		}
		if got := w.srv.Stats().Closed["credentials_expired"]; got != 1 {
			t.Errorf("closed for credentials_expired = %d, want 1", got)
		}
		w.pass(10 * time.Second) // the rest of the socket's life
	})
}

// The end is kept in tenths of a second, and never one too few: a device that is
// cut off before its time would be let in again.
func TestConnectionLastsAsLongAsItsCredentials(t *testing.T) {
	inBubble(t, func(w *world) {
		expiring(w, 5901*time.Millisecond)
		w.register("d")
		w.until(5901*time.Millisecond - 1)
		w.wantSaid("d: start")
		w.until(6*time.Second + tick)
		w.wantSaid("d: closed credentials_expired")
		w.pass(10 * time.Second)
	})
}

// A device that is silent has two deadlines; the earlier one counts.
func TestHeartbeatGoesOnBeforeCredentialsEnd(t *testing.T) {
	inBubble(t, func(w *world) {
		expiring(w, time.Hour)
		d := w.register("d")
		w.until(10*time.Second + tick)
		d.wantHeard("PING\n")
		w.until(62*time.Second + 2*tick)
		w.wantSaid("d: start", "d: closed heartbeat_timeout")
	})
}

func TestCredentialsThatHaveEndedEndTheConnectionAtOnce(t *testing.T) {
	inBubble(t, func(w *world) {
		expiring(w, -time.Hour)
		d := w.dial()
		d.say("REGISTER d")
		w.wantSaid("d: start", "d: closed credentials_expired")
		w.pass(10 * time.Second)
	})
}

// A certificate may say that it never ends (RFC 5280 §4.1.2.5: 9999).
func TestCredentialsThatEndInThousandsOfYearsDoNotEnd(t *testing.T) {
	inBubble(t, func(w *world) {
		w.gw.expiresAt = func(gateway.Hello) time.Time { return time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC) }
		d := w.register("d")
		defer w.keepAlive()()
		w.until(20 * time.Second)
		d.wantOpen()
		w.wantSaid("d: start")
	})
}

// What a draining connection still waits for does not prolong its credentials.
func TestCredentialsEndWithADeliveryInFlight(t *testing.T) {
	inBubble(t, func(w *world) {
		expiring(w, 5*time.Second)
		w.gw.onStart = func(s *recorded) { s.deliver(1, "hello") }
		w.register("d")
		w.until(5*time.Second + tick)
		w.wantSaid("d: start", "d: sent 1", "d: closed credentials_expired")
		w.pass(10 * time.Second)
	})
}

// A credential may be revoked while the gateway lets its device in.
func TestConnectionIsEndedWhileItRegisters(t *testing.T) {
	inBubble(t, func(w *world) {
		w.gw.onLink = func(l gateway.Link) {
			l.Close(gateway.Close{Code: gateway.CloseCredentialsExpired, Reason: gateway.ReasonCredentialsExpired})
		}
		d := w.dial()
		d.say("REGISTER d")
		d.wantHeard("CLOSE 3006 0 credentials_expired\n")
		w.wantSaid("d: start", "d: closed credentials_expired")
		if got := w.srv.Stats(); got.Online["text"] != 0 || got.Closed["credentials_expired"] != 1 {
			t.Errorf("online %v, closed %v", got.Online, got.Closed)
		}
		w.pass(10 * time.Second)
	})
}

func TestGatewayIsToldOfTheTransport(t *testing.T) {
	inBubble(t, func(w *world) {
		var got gateway.Hello
		w.gw.onConnect = func(h gateway.Hello) error { got = h; return nil }
		w.register("d")
		if got.Transport != "tcp" || got.Certificate != nil || got.Remote.String() != "192.0.2.1:1000" {
			t.Errorf("hello is %q, %v from %v", got.Transport, got.Certificate, got.Remote)
		}
	})
	synctest.Test(t, func(t *testing.T) { // a certificate that nobody has verified is none
		ours, theirs := net.Pipe()
		defer ours.Close()
		defer theirs.Close()
		c := &conn{tr: &stream{nc: tls.Server(ours, &tls.Config{})}, proto: protocol.NewServer(nil, time.Now())}
		if h := c.hello(&protocol.Register{ID: "d"}); h.Transport != "tls" || h.Certificate != nil || h.Authority != nil {
			t.Errorf("hello is %q with %v by %v", h.Transport, h.Certificate, h.Authority)
		}
	})
}

// A date is on the wall clock, and a connection's deadline is not: what is left
// of a credential is measured at the registration, however the wall clock was set
// since the start.
func TestCredentialsLastAsTheWallClockSaysAtTheRegistration(t *testing.T) {
	for _, by := range []time.Duration{0, time.Hour, -time.Hour, -24 * time.Hour, 3 * 365 * 24 * time.Hour, 20 * 365 * 24 * time.Hour} {
		var clock clocktest.Clock
		s := &Server{cfg: Config{Now: clock.Now}, epoch: clock.Now().Add(-time.Second)}
		clock.Step(by)
		date := clock.Now().Add(30 * time.Minute).Round(0)
		if got := time.Until(s.instant(s.expiry(date).nanos())).Round(time.Minute); got != 30*time.Minute {
			t.Errorf("clock set by %v: the connection ends in %v, want 30m", by, got)
		}
	}
}
