package tcpserver

import (
	"bytes"
	"crypto/tls"
	"errors"
	"reflect"
	"unsafe"
)

// readTLS is the read loop of a TLS connection. It waits on the bare socket,
// with the small stack of a new goroutine; when there is something it decrypts
// until there is nothing, for which the stack grows, and leaves the next wait
// to a new goroutine.
func (s *stream) readTLS(t *tls.Conn, u *underTLS) {
	if u.drained && !u.waitReadable() {
		u.drained = false // the socket is closed: the read says so
	}
	if s.decrypt(t, u) {
		s.c.srv.tasks.Go(s.readLoop)
		return
	}
	s.stopReading()
}

// decrypt moves what has come into the inbox. It reports whether reading goes
// on, which is when more has to come.
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
			last := in.err != nil // in is not ours after put
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

// errWouldWait is what a read below TLS returns where it would have to wait.
// It looks like a timeout, after which a TLS connection can be read again.
var errWouldWait error = wouldWait{}

type wouldWait struct{}

func (wouldWait) Error() string   { return "nothing to read now" }
func (wouldWait) Timeout() bool   { return true }
func (wouldWait) Temporary() bool { return true }

// Where a tls.Conn keeps what it has read and not handled; -1 where this
// version of package tls keeps it otherwise.
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

// dropBuffers lets go of the buffers of a TLS connection that has nothing in
// them. Package tls keeps them for ever, as large as the largest record that
// came: 4 KB after a hello with a key share that is safe from quantum computers,
// 17 KB after a long message; that is more than all the rest of an idle
// connection. They are private to package tls; to a Go version in which they
// are no such fields this does nothing. t must have been read until it would
// wait, and nobody else may read it.
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
