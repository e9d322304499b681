package api

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/longwire/longwire/api/internal/tenant"
)

// exchange is one request and its answer. It is the http.ResponseWriter of the
// handlers, so that the middleware can pass them its findings without context
// values. Only the request's goroutine uses it.
type exchange struct {
	http.ResponseWriter
	id              string
	callerID        string    // the caller's X-Request-Id, "" for none that can be shown
	idHeader        [1]string // what X-Request-Id points to
	route           string    // the pattern that matched, "" for none
	principal       string    // id of the caller's key, "" for an open API
	identified      bool      // the caller has a valid key, or needs none
	view            tenant.View
	started         time.Time
	status          int  // 0 until the answer has begun
	secure          bool // the caller's connection, or the proxy's with its caller, has TLS
	quiet           bool
	bodyRead        bool // to its end
	lingers         bool // behind the answer the rest of the body is read
	unauthenticated bool // counted in guard.Requests
	admitted        bool // counted in guard.Requests
	connected       bool // likewise, over HTTP/1
	bodySize        int  // bytes of the body that are counted in server.bodies
}

func (x *exchange) WriteHeader(status int) {
	if x.status == 0 && status >= 200 {
		x.status = status
	}
	x.ResponseWriter.WriteHeader(status)
}

func (x *exchange) Write(b []byte) (int, error) {
	if x.status == 0 {
		x.status = http.StatusOK
	}
	return x.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController reach the connection.
func (x *exchange) Unwrap() http.ResponseWriter { return x.ResponseWriter }

// exchangeOf returns the exchange behind w, which every handler was given.
func exchangeOf(w http.ResponseWriter) *exchange { return w.(*exchange) }

// observe is the outermost layer: request id, recovery, access log, metrics.
func (s *server) observe(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		secure := s.cfg.isSecure(r)
		r.RemoteAddr = s.cfg.callerOf(r)
		x := &exchange{ResponseWriter: w, started: s.cfg.Now(), id: s.requestID(), callerID: callerID(r), secure: secure}
		s.traces.turn(x.started)
		h := w.Header()
		x.idHeader[0] = x.id
		h["X-Request-Id"] = x.idHeader[:]
		protect(h, r)
		if r.ProtoMajor == 1 && len(r.TransferEncoding) > 0 {
			// The request may also have a Content-Length. A proxy that uses it sees
			// the next request begin at another byte (RFC 9112 §6.1).
			h["Connection"] = closeConnection
		}
		s.countUnauthenticated(x, r)
		defer s.markAuthenticated(x)
		defer s.finish(x, r)
		next.ServeHTTP(x, r)
	})
}

// finish runs when the handler has returned or panicked.
func (s *server) finish(x *exchange, r *http.Request) {
	cause := recover()
	if cause != nil && cause != http.ErrAbortHandler {
		s.log.LogAttrs(r.Context(), slog.LevelError, "handler panicked", slog.String("request_id", x.id),
			slog.String("route", x.route), slog.Any("panic", cause), slog.String("stack", string(debug.Stack())))
		if x.status == 0 {
			s.fail(x, r, fmt.Errorf("panic: %v", cause))
			cause = nil
		}
	}
	if cause == nil {
		cause = s.unanswered(x, r)
	}
	elapsed := time.Since(x.started)
	if s.cfg.Recorder != nil {
		s.cfg.Recorder.Request(x.route, r.Method, x.status, elapsed)
	}
	s.logAccess(x, r, elapsed)
	s.drained(x)
	s.release(x)
	if cause != nil {
		panic(http.ErrAbortHandler) // net/http cuts the connection without a second log line
	}
	switch {
	case x.lingers:
		s.linger(x, r)
	case x.unauthenticated:
		flushBeforeRelease(x)
	}
}

// unanswered returns the value of the panic that closes the connection when the
// handler has returned without an answer, because net/http would send an empty 200.
// It returns nil if there is an answer.
func (s *server) unanswered(x *exchange, r *http.Request) any {
	switch x.status {
	default:
		return nil
	case 0:
		s.log.LogAttrs(r.Context(), slog.LevelError, "handler gave no answer", slog.String("request_id", x.id), slog.String("route", x.route))
		x.status = http.StatusInternalServerError
	case statusCallerGone:
	}
	return http.ErrAbortHandler
}

// logAccess writes one line: refusals and failures at Info, the rest at Debug
// unless Config.AccessLog is set, probes never.
func (s *server) logAccess(x *exchange, r *http.Request, elapsed time.Duration) {
	level := slog.LevelDebug
	if x.status >= 400 || s.cfg.AccessLog {
		level = slog.LevelInfo
	}
	if x.quiet || !s.log.Enabled(r.Context(), level) || !s.mayLog(x, r) {
		return
	}
	list := make([]slog.Attr, 0, 8)
	list = append(list, slog.String("request_id", x.id), slog.String("method", loggedMethod(r)),
		slog.String("path", loggedPath(r)), slog.Int("status", x.status), slog.Duration("elapsed", elapsed),
		slog.String("remote", r.RemoteAddr), slog.String("principal", x.principal))
	if x.callerID != "" {
		list = append(list, slog.String("caller_request_id", x.callerID))
	}
	s.log.LogAttrs(r.Context(), level, "request", list...)
}

// callerID returns the caller's X-Request-Id if it is short and plain, else "". It
// is logged beside the request's id and never replaces it, because two callers may
// send the same.
func callerID(r *http.Request) string {
	if given := r.Header["X-Request-Id"]; len(given) == 1 && plainToken(given[0], 128) {
		return given[0]
	}
	return ""
}

// requestID returns the process's random prefix and the number of the request.
func (s *server) requestID() string {
	var buf [32]byte
	b := append(buf[:0], s.boot...)
	b = append(b, '-')
	return string(strconv.AppendUint(b, s.requests.Add(1), 36))
}

// plainToken reports whether v is 1 to max bytes of [A-Za-z0-9._:-].
func plainToken(v string, max int) bool {
	if len(v) == 0 || len(v) > max {
		return false
	}
	for i := range len(v) {
		switch c := v[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case c == '.', c == '_', c == ':', c == '-':
		default:
			return false
		}
	}
	return true
}

// newBoot names this process's run in request and event ids.
func newBoot() string {
	var b [6]byte
	rand.Read(b[:]) // never fails: crypto/rand aborts the process instead
	return hex.EncodeToString(b[:])
}
