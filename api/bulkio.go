package api

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"sync"
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

// bulkOutput collects answer lines and writes them from a goroutine of its own,
// so that a caller who sends its whole body before it reads anything does not
// stop the reading of that body. add waits only while bulkPending bytes wait.
type bulkOutput struct {
	w    http.ResponseWriter
	wire *http.ResponseController
	done chan struct{} // closed when the writer has ended

	mu      sync.Mutex
	changed sync.Cond // pending, urgent, closed or err has changed
	pending bytes.Buffer
	urgent  bool // write what is pending now
	closed  bool
	err     error // of the first failed write; later lines are dropped
}

// flushAt is when lines are written without being asked to.
const flushAt = 32 << 10

func newBulkOutput(w http.ResponseWriter) *bulkOutput {
	o := &bulkOutput{w: w, wire: http.NewResponseController(w), done: make(chan struct{})}
	o.changed.L = &o.mu
	return o
}

// start launches the writer, which ends in close.
func (o *bulkOutput) start() { go o.write() }

func (o *bulkOutput) add(v any) {
	e := encoders.Get().(*encoder)
	defer e.release()
	if err := e.json.Encode(v); err != nil {
		panic(err) // plain types only
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for o.pending.Len() >= bulkPending && o.err == nil {
		o.changed.Wait()
	}
	if o.err == nil {
		o.pending.Write(e.buf.Bytes())
	}
	if o.pending.Len() >= flushAt {
		o.changed.Broadcast()
	}
}

func (o *bulkOutput) flush() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.urgent = true
	o.changed.Broadcast()
}

// failed reports whether the caller can no longer be answered.
func (o *bulkOutput) failed() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.err != nil
}

// close writes what is pending, ends the writer and returns its error.
func (o *bulkOutput) close() error {
	o.mu.Lock()
	o.closed = true
	o.changed.Broadcast()
	o.mu.Unlock()
	<-o.done
	return o.err
}

func (o *bulkOutput) write() {
	defer close(o.done)
	var batch bytes.Buffer
	for o.take(&batch) {
		o.wire.SetWriteDeadline(time.Now().Add(bulkTimeout)) // writers in memory have none
		_, err := o.w.Write(batch.Bytes())
		if err == nil {
			err = o.wire.Flush()
		}
		if err != nil {
			o.fail(err)
		}
		batch.Reset()
	}
}

// take swaps what is pending into batch; false at the end.
func (o *bulkOutput) take(batch *bytes.Buffer) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	for !o.closed && o.pending.Len() < flushAt && !(o.urgent && o.pending.Len() > 0) {
		o.changed.Wait()
	}
	o.urgent = false
	if o.pending.Len() == 0 {
		return false // only when closed
	}
	o.pending, *batch = *batch, o.pending
	o.changed.Broadcast()
	return true
}

func (o *bulkOutput) fail(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.err = err
	o.pending.Reset()
	o.changed.Broadcast()
}
