package deviceauth

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/longwire/longwire/gateway"
)

// door is an authenticator with what it has logged.
type door struct {
	*Authenticator
	t   testing.TB
	log *lockedBuffer
}

func open(t testing.TB, cfg Config) *door {
	t.Helper()
	d := &door{t: t, log: &lockedBuffer{}}
	cfg.Logger = slog.New(slog.NewTextHandler(d.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	a, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Close)
	d.Authenticator = a
	return d
}

// hello is a device at the door.
func hello(id, token string) gateway.Hello {
	return gateway.Hello{Client: gateway.ClientID(id), Token: token, Dialect: "v2", Transport: "tcp",
		Remote: netip.MustParseAddrPort("192.0.2.7:4711")}
}

func (d *door) register(h gateway.Hello) (gateway.Grant, error) {
	return d.Authenticate(context.Background(), h)
}

// wantIn checks that h may register until a time, zero for good.
func (d *door) wantIn(h gateway.Hello, until time.Time) {
	d.t.Helper()
	g, err := d.register(h)
	if err != nil || !g.ExpiresAt.Equal(until) {
		d.t.Errorf("%s: until %v, %v; want in until %v", h.Client, g.ExpiresAt, err, until)
	}
}

// wantOut checks that h is refused, and how that is counted.
func (d *door) wantOut(h gateway.Hello, method Method, reason Reason) {
	d.t.Helper()
	before := d.Stats().Results[[2]string{string(method), string(reason)}]
	_, err := d.register(h)
	want := fmt.Sprintf("%s: %s", method, reason)
	if err == nil || err.Error() != want || errors.Is(err, gateway.ErrUnavailable) {
		d.t.Errorf("%s: %v, want %s", h.Client, err, want)
	}
	if n := d.Stats().Results[[2]string{string(method), string(reason)}] - before; n != 1 {
		d.t.Errorf("%s: counted %d times as %s, want once; counted are %v", h.Client, n, want, d.Stats().Results)
	}
}

// wantLater checks that h is told to come back.
func (d *door) wantLater(h gateway.Hello, reason Reason) {
	d.t.Helper()
	_, err := d.register(h)
	if !errors.Is(err, gateway.ErrUnavailable) || !strings.Contains(err.Error(), string(reason)) {
		d.t.Errorf("%s: %v, want %s and to come back", h.Client, err, reason)
	}
}

func writeFile(t testing.TB, name, text string) string {
	t.Helper()
	if !filepath.IsAbs(name) {
		name = filepath.Join(t.TempDir(), name)
	}
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// tokenFor adds a new token to a file.
func tokenFor(t testing.TB, file string, e TokenEntry) string {
	t.Helper()
	token := NewToken()
	e.SHA256 = fmt.Sprintf("%x", HashToken(token))
	if err := AddToken(file, e); err != nil {
		t.Fatal(err)
	}
	return token
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// eventually waits for what another goroutine does.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(time.Minute); !ok(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}
