package app

import (
	"errors"
	"io"
	"testing"
	"time"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/config"
)

// An online push that still waits for its turn behind other frames of a v1 device when its
// time is over was not sent, and the answer says so. The device does not get it later.
func TestAnOnlinePushThatNeverHadItsTurnWasNotSent(t *testing.T) {
	t.Parallel()
	g := &troubled{T: t, cfg: testConfig(t.TempDir())}
	g.cfg.TCP.V1Gap = config.Duration(2 * time.Second)
	g.start()
	l := dial(t, g.App, nil)
	hear := func(want string) {
		t.Helper()
		got := make([]byte, len(want))
		if _, err := io.ReadFull(l.in, got); err != nil || string(got) != want {
			t.Fatalf("got %q, %v, want %q", got, err, want)
		}
	}
	push := func(text string, wait time.Duration) string {
		t.Helper()
		_, err := g.gw.PushOnline(t.Context(), gateway.OnlineRequest{Client: "meter-1", Payload: []byte(text), Wait: wait})
		if e, ok := errors.AsType[*gateway.Error](err); ok {
			return e.Reason
		}
		return ""
	}
	l.say("\x01#meter-1")
	hear("\x02#ok") // the gap begins
	if reason := push("a", 100*time.Millisecond); reason != gateway.ReasonNotSent {
		t.Errorf("reason %q, want %s", reason, gateway.ReasonNotSent)
	}
	if reason := push("b", 4*time.Second); reason != gateway.ReasonAckTimeout {
		t.Errorf("reason %q of a push without an ack, want %s", reason, gateway.ReasonAckTimeout)
	}
	hear("\x05#b")
}
