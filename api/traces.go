package api

import (
	"context"
	"log/slog"
	"net/http"
	"net/netip"
	"time"

	"github.com/longwire/longwire/api/internal/guard"
	"github.com/longwire/longwire/api/internal/problem"
	"github.com/longwire/longwire/internal/audit"
	"github.com/longwire/longwire/internal/shares"
)

// Bounds of the lines that refused requests add to the logs. A source is a key, or
// for requests without a valid key an address (IPv6: a /64).
const (
	maxLinesPerAddress = 20   // in a minute, in the log and in the audit log each
	maxLinesOfAddress  = 600  // of all addresses
	maxLinesPerKey     = 600  // likewise for keys
	maxLinesOfKeys     = 6000 // of all keys
	maxLoggedPath      = 256  // bytes
	maxLoggedMethod    = 32   // bytes
)

// traces bounds the lines about requests in the log and in the audit log, so that
// no caller can fill the disk with refused requests.
type traces struct {
	log, audit struct{ addresses, keys *shares.Lines }
}

func (s *server) initTraces() {
	t := &s.traces
	t.log.addresses = shares.NewLines(maxLinesPerAddress, maxLinesOfAddress, s.logHeld("address"))
	t.log.keys = shares.NewLines(maxLinesPerKey, maxLinesOfKeys, s.logHeld("principal"))
	t.audit.addresses = shares.NewLines(maxLinesPerAddress, maxLinesOfAddress, func(address string, held int) {
		s.cfg.Audit.Record(audit.Entry{At: s.cfg.Now(), What: audit.Refused, From: address, Count: held, Result: audit.Held})
	})
	t.audit.keys = shares.NewLines(maxLinesPerKey, maxLinesOfKeys, func(key string, held int) {
		s.cfg.Audit.Record(audit.Entry{At: s.cfg.Now(), What: audit.Refused, Who: key, Count: held, Result: audit.Held})
	})
}

// logHeld returns the function that writes one line for all requests of a source
// that got no line.
func (s *server) logHeld(source string) func(string, int) {
	return func(name string, held int) {
		s.log.LogAttrs(context.Background(), slog.LevelWarn, "requests that are not logged one by one", slog.String(source, name), slog.Int("count", held))
	}
}

// turn writes the lines about held requests when a minute has ended. Each request
// calls it.
func (t *traces) turn(now time.Time) {
	for _, lines := range t.all() {
		lines.Turn(now)
	}
}

func (t *traces) all() [4]*shares.Lines {
	return [...]*shares.Lines{t.log.addresses, t.log.keys, t.audit.addresses, t.audit.keys}
}

// held returns how many lines were not written since the start, by log.
func (t *traces) held() map[string]uint64 {
	return map[string]uint64{"log": t.log.addresses.Held() + t.log.keys.Held(), "audit": t.audit.addresses.Held() + t.audit.keys.Held()}
}

func (t *traces) flush() {
	for _, lines := range t.all() {
		lines.Flush()
	}
}

// mayLog reports whether the access log has room for a line about the request.
// Successful requests with a key have no bound, because the operator has enabled
// them with Config.AccessLog.
func (s *server) mayLog(x *exchange, r *http.Request) bool {
	switch {
	case x.principal != "":
		return x.status < 400 || s.traces.log.keys.Take(x.principal, x.started)
	case x.status < 400 && !s.keyset.Required():
		return true
	}
	return s.traces.log.addresses.Take(addressOf(r.RemoteAddr), x.started)
}

// mayRecord reports whether the audit log has room for an entry about a refused
// write.
func (s *server) mayRecord(x *exchange, r *http.Request) bool {
	if x.principal != "" {
		return s.traces.audit.keys.Take(x.principal, x.started)
	}
	return s.traces.audit.addresses.Take(addressOf(r.RemoteAddr), x.started)
}

// addressOf returns the address under which unauthenticated requests are counted: an
// IPv4 address, or the /64 that one IPv6 host uses.
func addressOf(remote string) string {
	if source, ok := guard.SourceOf(remote); ok {
		if source.Bits() == 32 {
			return source.Addr().String()
		}
		return source.String()
	}
	if at, err := netip.ParseAddrPort(remote); err == nil {
		return at.Addr().String()
	}
	return "unknown"
}

// loggedPath is the request's path as the logs show it.
func loggedPath(r *http.Request) string { return problem.Cut(r.URL.Path, maxLoggedPath) }

func loggedMethod(r *http.Request) string { return problem.Cut(r.Method, maxLoggedMethod) }
