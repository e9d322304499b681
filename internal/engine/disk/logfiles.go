package disk

import (
	"cmp"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// logFiles lists the logs of an open database and its manifest, with how far each is
// on stable storage. Pebble writes and syncs each of them on one goroutine at a time.
type logFiles struct {
	mu       sync.Mutex
	files    map[uint32]*logFile
	manifest *logFile // the newest
	number   uint32   // of it
}

// logFile counts the bytes of one log or manifest. A log that is used again is
// written from its start.
type logFile struct {
	written atomic.Int64
	synced  atomic.Int64
}

// begun notes a log or manifest that was created, nil for another file.
func (l *logFiles) begun(name string) *logFile {
	manifest := manifestNumber(name)
	if manifest == 0 && !strings.HasSuffix(name, ".log") {
		return nil
	}
	f := &logFile{}
	l.mu.Lock()
	defer l.mu.Unlock()
	if manifest > 0 {
		l.manifest, l.number = f, manifest
		return f
	}
	if l.files == nil {
		l.files = map[uint32]*logFile{}
	}
	l.files[logNumber(name)] = f
	return f
}

// has reports whether a log is listed.
func (l *logFiles) has(number uint32) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.files[number] != nil
}

// gone notes, before it happens, that a log is removed or gets another name.
func (l *logFiles) gone(name string) {
	if strings.HasSuffix(name, ".log") {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.files, logNumber(name))
	}
}

// lengths returns the logs that have anything on stable storage, in order. Pebble
// syncs the directory before it writes to a log, so that these are there after
// a power cut too.
func (l *logFiles) lengths() (all []logLength) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for n, f := range l.files {
		if synced := f.synced.Load(); synced > 0 {
			all = append(all, logLength{n, synced})
		}
	}
	slices.SortFunc(all, func(a, b logLength) int { return cmp.Compare(a.number, b.number) })
	return all
}

// manifestLength returns the newest manifest.
func (l *logFiles) manifestLength() logLength {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.manifest == nil {
		return logLength{}
	}
	return logLength{l.number, l.manifest.synced.Load()}
}

// manifestNumber returns the number in the name or path of a manifest, 0 for another
// file.
func manifestNumber(name string) uint32 {
	s, _ := strings.CutPrefix(filepath.Base(name), "MANIFEST-")
	n, _ := strconv.ParseUint(s, 10, 32)
	return uint32(n)
}

// write writes to the file and counts the bytes.
func (l *logFile) write(f vfs.File, p []byte) (int, error) {
	n, err := f.Write(p)
	if l != nil && err == nil {
		l.written.Add(int64(n))
	}
	return n, err
}

// sync calls sync, which makes all that was written before it durable.
func (l *logFile) sync(sync func() error) error {
	if l == nil {
		return sync()
	}
	n := l.written.Load()
	err := sync()
	if err == nil {
		l.synced.Store(n)
	}
	return err
}
