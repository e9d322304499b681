package bench

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
)

// appendLog is a file whose appends are durable when they return. All appends that
// wait while a sync runs share the next one.
type appendLog struct {
	file *os.File

	mu      sync.Mutex
	pending []byte
	waiting *flush // of pending; nil = nothing is pending
	syncing bool   // a goroutine is syncing and then takes pending
	end     int64  // owned by the syncing goroutine
	size    int64  // preallocated; owned by the syncing goroutine
}

// flush is one write with its sync.
type flush struct {
	done chan struct{}
	err  error // set before done is closed
}

// extent is the size of one preallocation, in bytes.
const extent = 64 << 20

func openAppendLog(dir string) (*appendLog, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	f, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return nil, err
	}
	return &appendLog{file: f}, nil
}

// append returns when record is on stable storage. A caller that finds no sync
// running starts one for all callers; it runs until nothing is pending.
func (l *appendLog) append(record []byte) error {
	l.mu.Lock()
	l.pending = append(l.pending, record...)
	if l.waiting == nil {
		l.waiting = &flush{done: make(chan struct{})}
	}
	mine, lead := l.waiting, !l.syncing
	l.syncing = true
	l.mu.Unlock()
	if lead {
		go l.sync() // ends when nothing is pending: at the latest when its callers have stopped
	}
	<-mine.done
	return mine.err
}

// sync writes and syncs pending until it is empty.
func (l *appendLog) sync() {
	var spare []byte
	for {
		l.mu.Lock()
		batch, f := l.pending, l.waiting
		if f == nil {
			l.syncing = false
			l.mu.Unlock()
			return
		}
		l.pending, l.waiting = spare[:0], nil
		l.mu.Unlock()
		f.err = l.write(batch)
		close(f.done)
		spare = batch
	}
}

func (l *appendLog) write(b []byte) error {
	if l.end+int64(len(b)) > l.size {
		l.size += extent
		_ = preallocate(l.file, l.size) // speeds up syncs on file systems that support it
	}
	if _, err := l.file.WriteAt(b, l.end); err != nil {
		return err
	}
	l.end += int64(len(b))
	return syncData(l.file)
}

func (l *appendLog) close() error { return errors.Join(l.file.Close(), os.Remove(l.file.Name())) }
