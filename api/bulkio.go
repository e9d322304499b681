package api

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

var (
	errNoMoreLines = errors.New("no more lines")
	errLongLine    = errors.New("line too long")
)

// lineReader reads the lines of a body, each of at most Config.MaxBody bytes.
// When the server drains, a read that waits for the caller ends.
type lineReader struct {
	server *server
	r      *bufio.Reader
	wire   *http.ResponseController
	close  func()      // ends the watch for the drain and the end of the key, and releases the bytes of buf
	over   atomic.Bool // the key has ended

	mu     sync.Mutex
	closed bool // the request ends: cut leaves its connection alone

	buf    []byte
	key    string
	failed error // of begin
	held   int   // bytes of buf beyond maxPooled, which are counted in server.bodies
}

func (s *server) newLineReader(w http.ResponseWriter, r *http.Request, key string) *lineReader {
	wire := http.NewResponseController(w)
	wire.EnableFullDuplex() // HTTP/2 needs no leave; a writer in memory has none to give
	l := &lineReader{server: s, r: bufio.NewReaderSize(r.Body, maxPooled), wire: wire, key: key}
	undrain := context.AfterFunc(s.drain.began, l.cut)
	unwatch := s.onKeyEnd(w, func() {
		l.over.Store(true)
		l.cut()
	})
	l.close = func() {
		undrain()
		unwatch()
		l.mu.Lock()
		l.closed = true
		l.mu.Unlock()
		s.bodies.Give(key, l.held)
	}
	return l
}

// cut ends a read that waits for the caller. It may run when the request ends, and
// net/http panics if it touches a stream of HTTP/2 after that.
func (l *lineReader) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed {
		l.wire.SetReadDeadline(time.Now())
	}
}

// wait sets the deadline of the next read. The drain may begin and the key may end at
// any moment. Each sets its own deadline after this one, or has set a flag that wait
// sees.
func (l *lineReader) wait() {
	l.wire.SetReadDeadline(time.Now().Add(bulkTimeout))
	if l.server.drain.is() || l.over.Load() {
		l.wire.SetReadDeadline(time.Now())
	}
}

// begin waits for the first byte of a caller that sends its body only after 100 Continue.
// net/http sends 100 Continue with the first read, and not after the status of the answer.
// next returns the error of this read.
func (l *lineReader) begin(r *http.Request) {
	if r.ProtoMajor == 1 && r.Header.Get("Expect") != "" {
		l.wait()
		_, l.failed = l.r.Peek(1)
	}
}

// discard reads the rest of the body until the drain's deadline for bodies. Closing
// a connection with unread input resets it, and the reset may overtake the answer.
func (l *lineReader) discard() {
	l.wire.SetReadDeadline(l.server.drain.bodyDeadline())
	io.CopyN(io.Discard, l.r, lingerSize*l.server.cfg.MaxBody) // its end does not matter
}

// buffered reports whether next has a line without waiting for the caller.
func (l *lineReader) buffered() bool {
	b, _ := l.r.Peek(l.r.Buffered())
	return bytes.IndexByte(b, '\n') >= 0
}

// next returns the next line without its end and without surrounding space; the
// slice is good until the call after. errLongLine means that the line was
// skipped, errNoMoreLines the end of the body.
func (l *lineReader) next() ([]byte, error) {
	if l.failed != nil && !errors.Is(l.failed, io.EOF) {
		return nil, l.server.bodyProblem(l.failed)
	}
	l.buf = l.buf[:0]
	long, any := false, false
	for {
		if l.r.Buffered() == 0 {
			l.wait()
		}
		part, err := l.r.ReadSlice('\n')
		any = any || len(part) > 0
		if long = long || int64(len(l.buf)+len(part)) > l.server.cfg.MaxBody; !long {
			l.buf = append(l.buf, part...)
		}
		if more := cap(l.buf) - maxPooled - l.held; more > 0 {
			if err := l.server.bodies.Take(l.key, more); err != nil {
				return nil, err
			}
			l.held += more
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case err == nil, errors.Is(err, io.EOF) && any:
		case errors.Is(err, io.EOF):
			return nil, errNoMoreLines
		default:
			return nil, l.server.bodyProblem(err)
		}
		if long {
			return nil, errLongLine
		}
		return bytes.Trim(l.buf, jsonSpace), nil
	}
}
