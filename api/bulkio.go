package api

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"time"
)

var (
	errNoMoreLines = errors.New("no more lines")
	errLongLine    = errors.New("line too long")
)

// lineReader reads the lines of a body, each of at most max bytes.
type lineReader struct {
	r    *bufio.Reader
	wire *http.ResponseController
	max  int
	buf  []byte
}

func newLineReader(w http.ResponseWriter, r *http.Request, max int) *lineReader {
	wire := http.NewResponseController(w)
	wire.EnableFullDuplex() // HTTP/2 needs no leave; a writer in memory has none to give
	return &lineReader{r: bufio.NewReaderSize(r.Body, maxPooled), wire: wire, max: max}
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
	l.buf = l.buf[:0]
	long, any := false, false
	for {
		if l.r.Buffered() == 0 {
			l.wire.SetReadDeadline(time.Now().Add(bulkTimeout))
		}
		part, err := l.r.ReadSlice('\n')
		any = any || len(part) > 0
		if long = long || len(l.buf)+len(part) > l.max; !long {
			l.buf = append(l.buf, part...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case err == nil, errors.Is(err, io.EOF) && any:
		case errors.Is(err, io.EOF):
			return nil, errNoMoreLines
		default:
			return nil, bodyProblem(err)
		}
		if long {
			return nil, errLongLine
		}
		return bytes.TrimSpace(l.buf), nil
	}
}
