package api

import (
	"net/http"
	"time"
)

// A connection of HTTP/2 carries many requests, and its caller decides when it takes
// their answers, however short. These constants bound it if net/http has no bound or
// a high one. http.max_connections bounds the connections.
const (
	// maxConcurrent bounds the requests under way on one connection: the least
	// that RFC 9113 §6.5.2 recommends.
	maxConcurrent = 100
	// maxFrame is the largest frame that is read, in bytes: the buffer for it
	// stays with the connection. RFC 9113 §4.2 allows no smaller one.
	maxFrame = 16 << 10
	// unreadBodies bounds the bytes of bodies that a connection may send before the
	// handlers read them.
	unreadBodies = 256 << 10
	// releaseTime is how long an unauthenticated caller may take to read the answer.
	releaseTime = 10 * time.Second
)

// http2Limits returns the bounds of one connection. A header block or a frame must
// arrive within the time for a body, because no other frame can arrive during it, not
// even the answer to a ping. A connection that takes no byte for streamTimeout is
// closed.
func http2Limits(c Config) *http.HTTP2Config {
	return &http.HTTP2Config{
		MaxConcurrentStreams:          maxConcurrent,
		MaxReadFrameSize:              maxFrame,
		MaxReceiveBufferPerConnection: unreadBodies,
		MaxReceiveBufferPerStream:     unreadBodies,
		SendPingTimeout:               c.ReadTimeout / 2,
		PingTimeout:                   c.ReadTimeout / 2,
		WriteByteTimeout:              streamTimeout,
	}
}

// countUnauthenticated counts a request over HTTP/2 as unauthenticated. It is counted
// until markAuthenticated, or until the caller has taken the answer. When
// Config.MaxRequests of them are counted, the next request is cut off without an
// answer, because an answer would wait like the others. Requests over HTTP/1 are not
// counted: their number is bounded by the number of connections.
func (s *server) countUnauthenticated(x *exchange, r *http.Request) {
	if r.ProtoMajor < 2 {
		return
	}
	if !s.load.CountUnauthenticated() {
		panic(http.ErrAbortHandler)
	}
	x.unauthenticated = true
}

// markAuthenticated takes a request out of the count of countUnauthenticated.
func (s *server) markAuthenticated(x *exchange) {
	if x.unauthenticated {
		x.unauthenticated = false
		s.load.MarkAuthenticated()
	}
}

// flushBeforeRelease waits until an unauthenticated caller has taken the answer, for
// at most releaseTime, before the request stops counting as unauthenticated.
func flushBeforeRelease(x *exchange) {
	wire := http.NewResponseController(x.ResponseWriter)
	wire.SetWriteDeadline(time.Now().Add(releaseTime)) // a writer in memory has none
	wire.Flush()                                       // an error means that the caller is gone
}
