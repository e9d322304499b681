package api

import (
	"net/http"
	"time"
)

// A connection of HTTP/2 carries many requests, and its caller decides when it
// takes their answers, however short. What net/http leaves open or generous has
// these bounds; http.max_connections bounds the connections.
const (
	// maxConcurrent bounds the requests under way on one connection: the least
	// that RFC 9113 §6.5.2 recommends.
	maxConcurrent = 100
	// maxFrame is the largest frame that is read, in bytes: the buffer for it
	// stays with the connection. RFC 9113 §4.2 allows no smaller one.
	maxFrame = 16 << 10
	// unreadBodies bounds what a connection may send ahead of the handlers, in
	// bytes.
	unreadBodies = 256 << 10
	// strangerTime is for a stranger to take the answer.
	strangerTime = 10 * time.Second
)

// http2Limits are the bounds of one connection. A header block that is begun has
// to end, like every frame, within the time for a body: meanwhile nothing else
// can come, not even the answer to a ping. A connection that takes no byte for
// as long as a stream may is cut off.
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

// meet counts a request over HTTP/2 as that of a stranger until it is let in or
// its answer has been taken. When there are Config.MaxRequests of them one more
// is cut off: an answer to it would wait like the others. Requests over HTTP/1
// are no more than connections.
func (s *server) meet(x *exchange, r *http.Request) {
	if r.ProtoMajor < 2 {
		return
	}
	if s.load.strangers.Add(1) > int64(s.cfg.MaxRequests) {
		s.load.strangers.Add(-1)
		panic(http.ErrAbortHandler)
	}
	x.stranger = true
}

// know ends that a request is a stranger's.
func (s *server) know(x *exchange) {
	if x.stranger {
		x.stranger = false
		s.load.strangers.Add(-1)
	}
}

// part waits until a stranger has taken the answer, or has had the time to.
func (s *server) part(x *exchange) {
	wire := http.NewResponseController(x.ResponseWriter)
	wire.SetWriteDeadline(time.Now().Add(strangerTime)) // a writer in memory has none
	wire.Flush()                                        // an error means that the caller is gone
}
