package audit

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// cachedFile counts the bytes that a power cut would spare.
type cachedFile struct {
	file
	mu      sync.Mutex
	written int
	synced  int // of written
	syncs   int
	fail    error // of a sync
	closed  bool
}

func (f *cachedFile) Write(b []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, err := f.file.Write(b)
	f.written += n
	return n, err
}

func (f *cachedFile) Sync() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.syncs++
	if f.fail == nil {
		f.synced = f.written
	}
	return f.fail
}

func (f *cachedFile) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	return f.file.Close()
}

// want checks how often the file was synced and whether all of it is durable.
func (f *cachedFile) want(t *testing.T, when string, syncs int, all bool) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.syncs != syncs || (f.synced == f.written) != all {
		t.Errorf("%s: %d syncs, %d of %d bytes durable; want %d syncs, all durable: %t", when, f.syncs, f.synced, f.written, syncs, all)
	}
}

// cached starts a log on a file with a cache.
func cached(t *testing.T) (*Log, *cachedFile, *safeBuffer) {
	t.Helper()
	w, err := openFile(filepath.Join(t.TempDir(), "audit.log"))
	if err != nil {
		t.Fatal(err)
	}
	f, own := &cachedFile{file: w.file}, &safeBuffer{}
	w.use(f)
	w.looked = time.Now().Add(time.Hour) // no reopening
	l := newLog(w, true, slog.New(slog.NewTextHandler(own, nil)))
	l.start()
	return l, f, own
}

func TestSyncedEachSecondWhileThereIsSomethingNew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, f, _ := cached(t)
		l.Record(push("a"))
		synctest.Wait()
		f.want(t, "at once", 0, false)
		time.Sleep(syncEvery + 1)
		synctest.Wait()
		f.want(t, "after a second", 1, true)
		time.Sleep(10 * syncEvery)
		synctest.Wait()
		f.want(t, "with nothing new", 1, true)
		for range 3 {
			l.Record(push("b"))
			time.Sleep(syncEvery)
		}
		synctest.Wait()
		f.want(t, "with an entry each second", 4, true)
		l.Record(push("c"))
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		f.want(t, "at the end", 5, true)
		if !f.closed {
			t.Error("the file is open after Close")
		}
	})
}

// A failed sync may have lost its lines: the entries are counted and logged, and
// the record says so.
func TestFailedSyncIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, f, own := cached(t)
		f.fail = errors.New("no medium found")
		l.Record(push("a"))
		l.Record(push("b"))
		time.Sleep(syncEvery + 1)
		synctest.Wait()
		if got := own.String(); l.Lost() != 2 || strings.Count(got, "no medium found") != 1 {
			t.Errorf("%d lost, told: %s; want 2, and the cause once", l.Lost(), got)
		}
		f.mu.Lock()
		f.fail = nil
		f.mu.Unlock()
		l.Record(push("c"))
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		f.want(t, "at the end", 2, true)
	})
}

// A file that a rotation has renamed is synced before it is closed. The next sync
// reports a failure of that one.
func TestRotatedFileIsSynced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	w, err := openFile(path)
	if err != nil {
		t.Fatal(err)
	}
	f := &cachedFile{file: w.file, fail: errors.New("no medium found")}
	w.use(f)
	w.write(push("before"))
	if err := w.flush(); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	w.looked = time.Time{}
	w.write(push("after"))
	if err := w.flush(); err != nil {
		t.Fatal(err)
	}
	if f.want(t, "after the rotation", 1, false); !f.closed {
		t.Error("the renamed file is open")
	}
	if err := w.sync(); !errors.Is(err, f.fail) {
		t.Errorf("the next sync: %v, want %v", err, f.fail)
	}
	if err := w.close(); err != nil {
		t.Errorf("close: %v", err)
	}
}

// A pipe or a terminal has nothing to sync.
func TestOnlyRegularFilesAreSynced(t *testing.T) {
	w, err := openFile(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	w.write(push("a"))
	if err := errors.Join(w.flush(), w.sync(), w.close()); err != nil {
		t.Error(err)
	}
}
