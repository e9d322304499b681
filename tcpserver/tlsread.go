package tcpserver

import (
	"bytes"
	"crypto/tls"
	"errors"
	"reflect"
	"unsafe"
)

// readTLS is the read loop of a TLS connection. It waits on the bare socket with
// the small stack of a new goroutine. When input comes it decrypts all of it, which
// grows the stack, and leaves the next wait to a new goroutine.
func (s *stream) readTLS(t *tls.Conn, u *underTLS) {
	if u.drained && !u.waitReadable() {
		u.drained = false // the socket is closed, and the read returns the error
	}
	if s.decrypt(t, u) {
		s.c.srv.tasks.Go(s.readLoop)
		return
	}
	s.stopReading()
}

// decrypt moves the available input into the inbox. It reports whether reading
// continues when more input comes.
func (s *stream) decrypt(t *tls.Conn, u *underTLS) bool {
	u.drained = false
	for !s.mustPause() {
		in := takeLarge()
		n, err := t.Read(in.buf)
		waits := errors.Is(err, errWouldWait)
		if in.n = n; err != nil && !waits {
			in.err = err
		}
		if in.n == 0 && in.err == nil {
			in.release()
		} else {
			in = in.fitted()
			last := in.err != nil // put passes in on
			s.put(in)
			if last {
				return false
			}
			s.c.wantTurn()
		}
		if waits {
			u.drained = true
			dropBuffers(t)
			return true
		}
	}
	return false
}

// errWouldWait is the result of a read below TLS that would have to wait. It looks
// like a timeout, after which a TLS connection can be read again.
var errWouldWait error = wouldWait{}

type wouldWait struct{}

func (wouldWait) Error() string   { return "nothing to read now" }
func (wouldWait) Timeout() bool   { return true }
func (wouldWait) Temporary() bool { return true }

// Offsets of the fields in which a tls.Conn keeps input that it has not handled; -1
// if this version of package tls has no such fields.
var (
	rawInput  = bufferIn("rawInput")
	handshake = bufferIn("hand")
)

func bufferIn(field string) int {
	f, ok := reflect.TypeFor[tls.Conn]().FieldByName(field)
	if !ok || f.Type != reflect.TypeFor[bytes.Buffer]() {
		return -1
	}
	return int(f.Offset)
}

// dropBuffers releases the empty buffers of a TLS connection. Package tls keeps
// them for ever, as large as the largest record: 4 KB after a hello with a
// post-quantum key share, 17 KB after a long message. That is more than the rest of
// an idle connection. The fields are private to package tls; with a Go version
// without such fields this function does nothing. The caller must have read t until
// it would wait, and no other goroutine may read it.
func dropBuffers(t *tls.Conn) {
	for _, offset := range [...]int{rawInput, handshake} {
		if offset < 0 {
			continue
		}
		if b := (*bytes.Buffer)(unsafe.Add(unsafe.Pointer(t), offset)); b.Len() == 0 && b.Cap() > 0 {
			*b = bytes.Buffer{}
		}
	}
}
