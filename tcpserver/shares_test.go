package tcpserver

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/longwire/longwire/gateway"
)

// lockedBuffer is a log that tests read.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// A stranger that registers in vain at full rate leaves a few lines in the log,
// and its number in one more.
func TestRefusedRegistrationsLeaveFewLines(t *testing.T) {
	var log lockedBuffer
	inBubbleOn(t, nil, func(w *world) {
		w.gw.onConnect = func(gateway.Hello) error { return errUnauthorized }
		const tries = 200
		for i := range tries {
			d := w.dial()
			d.say(fmt.Sprintf("REGISTER guess-%d", i))
		}
		w.pass(time.Minute)
		w.dial().say("REGISTER late")
		if got := strings.Count(log.String(), "registration refused"); got > 21 {
			t.Errorf("%d lines for %d tries in a minute, want at most 20 and one for the minute after", got, tries)
		}
		if want := fmt.Sprintf("count=%d", tries-20); !strings.Contains(log.String(), want) {
			t.Errorf("the log lacks %q", want)
		}
	}, func(c *Config) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
}
