package audit

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"os"
	"time"
)

// flushAt is how many bytes of lines are gathered at most before they are
// written.
const flushAt = 64 << 10

// lookEvery is how often the file's name is looked at: when it leads elsewhere,
// as after a rotation, the log goes on in a new file.
const lookEvery = time.Second

// fileWriter appends lines to a file. It is used by one goroutine.
type fileWriter struct {
	path   string
	file   *os.File
	out    io.Writer // file, but in tests
	looked time.Time

	buf  bytes.Buffer
	json slog.Handler // into buf
	torn bool         // the file ends in half a line
}

func openFile(path string) (*fileWriter, error) {
	w := &fileWriter{path: path, looked: time.Now()}
	w.json = slog.NewJSONHandler(&w.buf, nil)
	return w, w.open()
}

func (w *fileWriter) open() error {
	f, err := os.OpenFile(w.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	w.file, w.out, w.torn = f, f, false
	return nil
}

func (w *fileWriter) write(e Entry) {
	_ = w.json.Handle(context.Background(), e.record()) // a buffer takes everything
}

func (w *fileWriter) full() bool { return w.buf.Len() >= flushAt }

// flush writes what is gathered.
func (w *fileWriter) flush() error {
	defer w.buf.Reset()
	w.follow()
	b := w.buf.Bytes()
	if w.torn {
		b = append([]byte{'\n'}, b...)
	}
	n, err := w.out.Write(b)
	if n > 0 {
		w.torn = b[n-1] != '\n'
	}
	return err
}

// follow opens the file anew when its name leads elsewhere. Where that fails it
// goes on with the one it has.
func (w *fileWriter) follow() {
	now := time.Now()
	if now.Sub(w.looked) < lookEvery {
		return
	}
	w.looked = now
	named, err := os.Stat(w.path)
	if held, herr := w.file.Stat(); err == nil && herr == nil && os.SameFile(named, held) {
		return
	}
	old := w.file
	if w.open() == nil {
		old.Close()
	}
}

func (w *fileWriter) close() error { return w.file.Close() }
