package app

import (
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"time"

	"golang.org/x/term"

	"github.com/longwire/longwire/internal/config"
	"github.com/longwire/longwire/internal/version"
)

// newLogger writes to standard error: text for people on a terminal, JSON for
// machines. The caller closes the writer at the end.
func newLogger(cfg *config.Config) (*slog.Logger, *logWriter) {
	var level slog.Level
	level.UnmarshalText([]byte(cfg.Log.Level)) // validated; the zero level is info
	text := cfg.Log.Format == "text" || cfg.Log.Format == "auto" && term.IsTerminal(int(os.Stderr.Fd()))
	handler := func(w io.Writer) slog.Handler {
		if text {
			return slog.NewTextHandler(w, &slog.HandlerOptions{Level: level})
		}
		return newJSONHandler(w, level)
	}
	w := newLogWriter(os.Stderr, func(out io.Writer, lost int) {
		slog.New(handler(out)).Error("the log took no lines for a time; some are lost", "lost", lost)
	})
	return slog.New(handler(w)), w
}

// newJSONHandler writes lines of JSON to w. Durations have their unit, as in text:
// encoding/json would write a bare number of nanoseconds.
func newJSONHandler(w io.Writer, level slog.Leveler) slog.Handler {
	return slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Value.Kind() == slog.KindDuration {
			a.Value = slog.StringValue(a.Value.Duration().String())
		}
		return a
	}})
}

// greet shows the addresses of the process and two commands to try first.
func (a *App) greet(out io.Writer) {
	api := a.scheme() + "://" + dialable(a.HTTPAddr())
	store := a.cfg.Data.Dir
	if a.cfg.Data.Engine == config.EngineMemory {
		store = "in memory: a 202 is lost with this process"
	}
	fmt.Fprintf(out, `longwire %s
  devices     %s
  console     %s/console/
  HTTP API    %s
  Swagger UI  %s/swagger/
  data        %s

Connect a device in a second terminal, and push to it from a third:
  %s
  %s

`, version.Get().Version, a.TCPAddr(), api, api, api, store,
		deviceCommand(a.cfg, dialable(a.TCPAddr())), pushCommand(api, a.callers.keys.Required()))
}

// deviceCommand returns a command that connects a device to addr under the
// settings. It is nc if a person can type the protocol.
func deviceCommand(cfg *config.Config, addr string) string {
	encrypted, guarded := cfg.TCP.TLS == config.Required, cfg.DevicesAreGuarded()
	if !encrypted && !guarded {
		host, port, _ := net.SplitHostPort(addr)
		return fmt.Sprintf("nc %s %s            then type: REGISTER demo    (or: longwire connect --id demo)", host, port)
	}
	cmd := "longwire connect --id demo --addr " + addr
	if encrypted {
		cmd += " --tls"
	}
	if guarded {
		cmd += ` --token "$TOKEN"`
	}
	return cmd
}

// pushCommand returns a command that pushes to that device.
func pushCommand(api string, needsKey bool) string {
	cmd := "curl "
	if needsKey {
		cmd += `-H "Authorization: Bearer $KEY" `
	}
	return cmd + fmt.Sprintf("-d 'hello' '%s/v1/clients/demo/messages?wait=30s'", api)
}

// dialable returns the form of addr that a program on this machine can dial.
func dialable(addr net.Addr) string {
	t, ok := addr.(*net.TCPAddr)
	if !ok || !t.IP.IsUnspecified() && !t.IP.Equal(net.IPv6loopback) && !t.IP.Equal(net.IPv4(127, 0, 0, 1)) {
		return addr.String()
	}
	return net.JoinHostPort("localhost", fmt.Sprint(t.Port))
}

// randomUpTo is the jitter that spreads first heartbeats.
func randomUpTo(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return rand.N(d)
}
