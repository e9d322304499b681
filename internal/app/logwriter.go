package app

import (
	"bytes"
	"errors"
	"io"
	"sync"
	"time"
)

const (
	// maxLogBytes is how many bytes of log lines wait while the log takes none.
	maxLogBytes = 1 << 20
	// keptLogBytes is how large a buffer stays between lines.
	keptLogBytes = 64 << 10
	// logPatience is how long the end of the process waits for the log.
	logPatience = time.Second
)

// errLogFull is why a line was lost.
var errLogFull = errors.New("the log takes no lines, and too many wait")

// logWriter writes lines in its own goroutine. A disk may hang, and a pipe may have no
// reader: nothing waits for them. Beyond maxLogBytes, and on a disk that is full, lines are
// lost. The log then says how many.
type logWriter struct {
	out   io.Writer
	gap   func(out io.Writer, lost int) // writes the line that says so
	wake  chan struct{}                 // cap 1: there may be something to write
	ended chan struct{}                 // closed when the goroutine ends

	mu     sync.Mutex // guards all below
	lines  []byte
	lost   int
	err    error // of the last write; the next caller gets it
	closed bool
}

func newLogWriter(out io.Writer, gap func(out io.Writer, lost int)) *logWriter {
	w := &logWriter{out: out, gap: gap, wake: make(chan struct{}, 1), ended: make(chan struct{})}
	go w.run()
	return w
}

// Write queues a line. Its error is that the line is lost, or that of an earlier line.
func (w *logWriter) Write(line []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		select {
		case <-w.ended:
			return w.out.Write(line)
		default: // the log takes nothing
			return 0, errLogFull
		}
	}
	if len(w.lines)+len(line) > maxLogBytes {
		w.lost++
		return 0, errLogFull
	}
	w.lines = append(w.lines, line...)
	select {
	case w.wake <- struct{}{}:
	default:
	}
	err := w.err
	w.err = nil
	return len(line), err
}

// Close writes the lines that wait, for logPatience at most.
func (w *logWriter) Close() {
	w.mu.Lock()
	closed := w.closed
	w.closed = true
	w.mu.Unlock()
	if !closed {
		close(w.wake)
	}
	late := time.NewTimer(logPatience)
	defer late.Stop()
	select {
	case <-w.ended:
	case <-late.C:
	}
}

func (w *logWriter) run() {
	defer close(w.ended)
	var spare []byte
	for range w.wake {
		spare = w.flush(spare)
	}
	w.flush(spare)
}

// flush writes the lines that wait, and returns a buffer for later ones.
func (w *logWriter) flush(spare []byte) []byte {
	w.mu.Lock()
	lines, lost := w.lines, w.lost
	w.lines, w.lost = spare[:0], 0
	w.mu.Unlock()
	n, err := 0, error(nil)
	if len(lines) > 0 {
		n, err = w.out.Write(lines)
	}
	switch {
	case err != nil:
		w.mu.Lock()
		w.err, w.lost = err, w.lost+lost+bytes.Count(lines[n:], []byte("\n"))
		w.mu.Unlock()
	case lost > 0:
		w.gap(w.out, lost)
	}
	if cap(lines) > keptLogBytes {
		return nil
	}
	return lines
}
