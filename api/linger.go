package api

import (
	"io"
	"net/http"
	"time"
)

// A refused caller may still be sending its body, and many callers read the answer
// only when they have sent everything. Closing the connection then resets it, and
// the caller loses the answer. net/http reads a body of at most leftToHTTP bytes to
// its end before it sends the answer, and keeps the connection. For a longer body, a
// body of unknown length and the body of an unauthenticated caller, the server sends
// the answer first, with Connection: close. It then reads the body and discards it,
// within the bounds below. When the body passes a bound, the server closes the
// connection. So a caller without a key that announces a body and sends none gets its
// answer at once, also from a public route.
//
// A lingering connection counts towards http.max_connections. It holds its goroutine
// and a shared buffer of 8 KiB.
const (
	leftToHTTP = 256 << 10       // bytes of a body
	lingerTime = 5 * time.Second // at most; Config.ReadTimeout if that is shorter
	shortTime  = 2 * time.Second // the same for a caller without a key
	lingerSize = 2               // times Config.MaxBody: a body sent by mistake is rarely larger
)

// lingers reports whether the server reads the rest of r's body after it has refused
// r. HTTP/2 does not need it: the stream ends and the connection stays. A caller that
// sent Expect: 100-continue has sent no body, and a caller whose body timed out gets
// no more time.
func lingers(x *exchange, r *http.Request, status int) bool {
	long := r.ContentLength < 0 || r.ContentLength >= leftToHTTP || r.ContentLength > 0 && !x.identified
	return r.ProtoMajor == 1 && !x.bodyRead && long &&
		r.Header.Get("Expect") == "" && status != http.StatusRequestTimeout
}

// linger sends the answer and then reads the rest of the body.
func (s *server) linger(x *exchange, r *http.Request) {
	wire := http.NewResponseController(x.ResponseWriter)
	most := lingerTime
	if !x.identified {
		most = shortTime
	}
	until := time.Now().Add(min(most, s.cfg.ReadTimeout))
	if wire.Flush() != nil || wire.SetReadDeadline(until) != nil {
		return // the caller has gone, or is no connection
	}
	io.CopyN(io.Discard, r.Body, lingerSize*s.cfg.MaxBody) // the connection closes after it, with an error or without
}
