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

	mu   sync.Mutex
	open *flush // takes records

	syncing sync.Mutex // one flush at a time; guards the rest
	spare   []byte     // buffer of the last flush; the next one reuses it
	end     int64
	size    int64 // preallocated
}

// flush is one write with its sync.
type flush struct {
	led     bool // a caller writes it
	records []byte
	done    chan struct{}
	err     error // set before done is closed
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
	return &appendLog{file: f, open: &flush{done: make(chan struct{})}}, nil
}

// append returns when record is on stable storage. The first caller of a flush writes
// it for all, once the flush before it is done.
func (l *appendLog) append(record []byte) error {
	l.mu.Lock()
	mine := l.open
	first := !mine.led
	mine.led = true
	mine.records = append(mine.records, record...)
	l.mu.Unlock()
	if first {
		l.syncing.Lock()
		l.mu.Lock()
		l.open = &flush{records: l.spare[:0], done: make(chan struct{})}
		l.mu.Unlock()
		mine.err = l.write(mine.records)
		l.spare = mine.records
		l.syncing.Unlock()
		close(mine.done)
	}
	<-mine.done
	return mine.err
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
