package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/longwire/longwire/internal/private"
)

// flushAt is the number of bytes at which collected lines are written.
const flushAt = 64 << 10

// lookEvery is how often the file's name is checked. If it names another file, as
// after a rotation, the log continues in a new file.
const lookEvery = time.Second

// file is an *os.File, except in tests.
type file interface {
	io.WriteCloser
	Stat() (fs.FileInfo, error)
	Sync() error
}

// fileWriter appends lines to a file. One goroutine uses it; another one may call
// sync.
type fileWriter struct {
	path   string
	mu     sync.Mutex // guards file against sync
	file   file
	looked time.Time

	buf  bytes.Buffer
	json slog.Handler // writes into buf
	torn bool         // the file ends in the middle of a line

	// Guarded by mu.
	named bool  // the file's name is durable
	left  error // error of the last sync of earlier files
}

func openFile(path string) (*fileWriter, error) {
	w := &fileWriter{path: path, looked: time.Now()}
	w.json = slog.NewJSONHandler(&w.buf, nil)
	return w, w.open()
}

func (w *fileWriter) open() error {
	flags := os.O_CREATE | os.O_APPEND | os.O_WRONLY
	info, err := os.Stat(w.path)
	pipe := err == nil && info.Mode()&fs.ModeNamedPipe != 0
	if pipe {
		flags |= syscall.O_NONBLOCK // not to wait for a program that reads it
	}
	f, err := os.OpenFile(w.path, flags, private.FileMode)
	if pipe && errors.Is(err, syscall.ENXIO) {
		return fmt.Errorf("%w: no program reads this pipe; start one first", err)
	}
	if err != nil {
		return err
	}
	w.use(f)
	w.torn = endsTorn(w.path)
	return nil
}

func (w *fileWriter) use(f file) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.file, w.named, w.torn = f, false, false
}

// endsTorn reports whether a file ends in the middle of a line: the disk was full, or the
// machine lost its power. A file that cannot be read, and a pipe, are taken for whole.
func endsTorn(path string) bool {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() || info.Size() == 0 {
		return false
	}
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	var last [1]byte
	_, err = f.ReadAt(last[:], info.Size()-1)
	return err == nil && last[0] != '\n'
}

func (w *fileWriter) write(e Entry) {
	_ = w.json.Handle(context.Background(), e.record()) // a buffer accepts everything
}

func (w *fileWriter) full() bool { return w.buf.Len() >= flushAt }

// flush writes the collected lines.
func (w *fileWriter) flush() error {
	defer w.buf.Reset()
	w.follow()
	b := w.buf.Bytes()
	if w.torn {
		b = append([]byte{'\n'}, b...)
	}
	n, err := w.file.Write(b)
	if n > 0 {
		w.torn = b[n-1] != '\n'
	}
	return err
}

// follow reopens the file if its name leads to another one. If that fails, it
// keeps the current file.
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
	if w.open() != nil {
		return
	}
	err = errors.Join(syncFile(old), old.Close())
	w.mu.Lock()
	defer w.mu.Unlock()
	w.left = errors.Join(w.left, err)
}

// sync makes the lines durable, and the name of a new file.
func (w *fileWriter) sync() error {
	w.mu.Lock()
	f, named, left := w.file, w.named, w.left
	w.left = nil
	w.mu.Unlock()
	err := syncFile(f)
	if errors.Is(err, fs.ErrClosed) {
		err = nil // follow has synced it
	}
	if err = errors.Join(left, err); err != nil || named {
		return err
	}
	err = private.SyncDir(filepath.Dir(w.path))
	if err != nil && !errors.Is(err, fs.ErrPermission) { // a directory that may be used but not read
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.named = w.file == f
	return nil
}

// syncFile syncs a regular file. Others, such as a pipe, have no such call.
func syncFile(f file) error {
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return err
	}
	return f.Sync()
}

func (w *fileWriter) close() error { return errors.Join(w.sync(), w.file.Close()) }
