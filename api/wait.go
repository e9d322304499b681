package api

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// halfClosedWait bounds the wait of a caller that has closed its direction.
const halfClosedWait = 10 * time.Second

// lingerOf returns how long a wait lasts after the request's context has ended. A
// reset of the HTTP/2 stream ends the wait at once. Over HTTP/1 a caller that has
// closed its connection looks like a caller that has closed only its sending half
// and still reads. Both get halfClosedWait: the first holds its place no longer, and
// the second gets its answer.
func lingerOf(r *http.Request) time.Duration {
	if r.ProtoMajor >= 2 {
		return 0
	}
	return halfClosedWait
}

// patience returns a context that ends lingerOf after the request's context, and at
// once when the caller's key ends. The caller of patience calls release.
func (s *server) patience(w http.ResponseWriter, r *http.Request) (ctx context.Context, release func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(r.Context()))
	stop := context.AfterFunc(r.Context(), func() { time.AfterFunc(lingerOf(r), cancel) })
	unwatch := s.onKeyEnd(w, cancel)
	return ctx, func() { stop(); unwatch(); cancel() }
}

// onKeyEnd arranges that f is called when the caller's key or session ends. Calling stop
// cancels that.
func (s *server) onKeyEnd(w http.ResponseWriter, f func()) (stop func()) {
	v := viewOf(w)
	if !v.Ends() {
		return func() {}
	}
	unwatch := context.AfterFunc(v.Key().Life(), f)
	until := v.Until()
	if until.IsZero() {
		return func() { unwatch() }
	}
	expiry := time.AfterFunc(until.Sub(s.cfg.Now()), f)
	return func() { unwatch(); expiry.Stop() }
}

// waitUnder returns the context of a wait, and how long the wait may last after the
// context has ended. A configured key never ends, so its wait uses the request's
// context.
func (s *server) waitUnder(w http.ResponseWriter, r *http.Request) (ctx context.Context, linger time.Duration, release func()) {
	if !viewOf(w).Ends() {
		return r.Context(), lingerOf(r), func() {}
	}
	ctx, release = s.patience(w, r)
	return ctx, 0, release
}

// untilDrain returns the context of requests to an endpoint whose end a caller waits for.
// It ends when draining begins, so that the caller still gets an answer, and when the
// caller's key ends; the caller itself may be gone. The caller of untilDrain calls release.
func (s *server) untilDrain(w http.ResponseWriter) (ctx context.Context, release func()) {
	ctx, cancel := context.WithCancel(s.drain.began)
	unwatch := s.onKeyEnd(w, cancel)
	return ctx, func() { unwatch(); cancel() }
}

// endWithKey closes the connection after the answer if the caller's key has ended
// during the wait.
func endWithKey(w http.ResponseWriter) {
	if viewOf(w).Alive() != nil {
		w.Header().Set("Connection", "close")
	}
}

// waiting is how long a caller will wait for a final state; zero = not at all.
type waiting struct {
	d         time.Duration
	preferred bool // set by Prefer, so the answer has Preference-Applied
}

// waitOf takes ?wait=, else Prefer: wait (RFC 7240). A parameter out of range is
// an error; a preference is shortened to Config.MaxWait.
func (s *server) waitOf(q *query, r *http.Request) waiting {
	if d, given := q.duration("wait", 0, s.cfg.MaxWait); given {
		return waiting{d: d}
	}
	for _, line := range r.Header["Prefer"] {
		for preference := range strings.SplitSeq(line, ",") {
			preference, _, _ = strings.Cut(preference, ";") // wait has no parameters
			name, value, _ := strings.Cut(strings.TrimSpace(preference), "=")
			if !strings.EqualFold(strings.TrimSpace(name), "wait") {
				continue
			}
			seconds, err := strconv.ParseUint(strings.Trim(strings.TrimSpace(value), `"`), 10, 31)
			if err != nil {
				return waiting{} // a preference that cannot be read is not applied
			}
			return waiting{d: min(time.Duration(seconds)*time.Second, s.cfg.MaxWait), preferred: true}
		}
	}
	return waiting{}
}

// applied sets Preference-Applied if the wait came from Prefer (RFC 7240 §3).
func (w waiting) applied(h http.Header) {
	if w.preferred {
		h["Preference-Applied"] = []string{"wait=" + strconv.Itoa(int(w.d/time.Second))}
	}
}
