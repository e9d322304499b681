package api

import (
	"io"
	"net/http"
	"time"
)

// A caller that is refused may still be sending its body, and many read the
// answer only when all is sent. To close then resets the connection, which takes
// the answer with it. net/http reads to the end what is short, up to leftToHTTP,
// and the connection stays. A longer body, one of unknown length and a
// stranger's have to wait: the answer is sent first, with the announcement that the connection ends; then the body
// is read and thrown away until it ends, as long as it and its caller keep to
// the bounds below. Whoever goes beyond them is cut off.
//
// This costs a connection, which http.max_connections bounds, its goroutine and
// a shared buffer of 8 KiB.
const (
	leftToHTTP = 256 << 10       // bytes of a body
	lingerTime = 5 * time.Second // and not longer than Config.ReadTimeout
	shortTime  = 2 * time.Second // likewise for a caller without a key
	lingerSize = 2               // times Config.MaxBody: an honest mistake is not larger
)

// lingers reports whether the refusal of r is to be read at leisure. HTTP/2 needs
// none of that: there the stream ends, and the connection stays. Who asks before
// sending (Expect: 100-continue) does not send, and who was too slow had his time.
func lingers(x *exchange, r *http.Request, status int) bool {
	long := r.ContentLength < 0 || r.ContentLength >= leftToHTTP || r.ContentLength > 0 && status == http.StatusUnauthorized
	return r.ProtoMajor == 1 && !x.bodyRead && long &&
		r.Header.Get("Expect") == "" && status != http.StatusRequestTimeout
}

// linger sends the answer and reads what is left of the body.
func (s *server) linger(x *exchange, r *http.Request) {
	wire := http.NewResponseController(x.ResponseWriter)
	most := lingerTime
	if x.status == http.StatusUnauthorized {
		most = shortTime
	}
	until := time.Now().Add(min(most, s.cfg.ReadTimeout))
	if wire.Flush() != nil || wire.SetReadDeadline(until) != nil {
		return // the caller has gone, or is no connection
	}
	io.CopyN(io.Discard, r.Body, lingerSize*s.cfg.MaxBody) // whatever ends it, the connection ends with it
}
