package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// safeBuffer is a log that several goroutines write and read.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}
func (s *safeBuffer) String() string { s.mu.Lock(); defer s.mu.Unlock(); return s.b.String() }

func begin(t *testing.T, path string) (*Log, *safeBuffer) {
	t.Helper()
	own := &safeBuffer{}
	l, err := Open(path, slog.New(slog.NewTextHandler(own, nil)))
	if err != nil {
		t.Fatal(err)
	}
	return l, own
}

func push(target string) Entry {
	return Entry{At: time.Unix(1_800_000_000, 0).UTC(), Who: "key_1", What: Push, Target: target, From: "192.0.2.1:1", Result: OK}
}

func lines(t *testing.T, path string) []map[string]any {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var all []map[string]any
	for line := range strings.Lines(string(b)) {
		var e map[string]any
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		all = append(all, e)
	}
	return all
}

func TestEntriesAreLinesOfJSON(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	l, own := begin(t, path)
	l.Record(push("a\nb"))
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	all := lines(t, path)
	if len(all) != 1 || all[0]["audit"] != true || all[0]["msg"] != "push" || all[0]["target"] != "a\nb" || all[0]["who"] != "key_1" || all[0]["from"] != "192.0.2.1:1" ||
		all[0]["result"] != "ok" || all[0]["time"] != "2027-01-15T08:00:00Z" {
		t.Errorf("got %v", all)
	}
	if _, there := all[0]["message_id"]; there || own.String() != "" {
		t.Errorf("an empty member is shown, or the log has %q", own)
	}
	if info, _ := os.Stat(path); info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, want 0600", info.Mode())
	}
	l, _ = begin(t, path)
	l.Record(push("c"))
	l.Close()
	if all := lines(t, path); len(all) != 2 {
		t.Errorf("%d lines after a restart, want 2", len(all))
	}
}

func TestWithoutAFile(t *testing.T) {
	l, own := begin(t, "")
	l.Record(push("a"))
	l.Record(Entry{What: CreateKey, Target: "key_2"})
	l.Close()
	if got := own.String(); strings.Contains(got, "msg=push") || !strings.Contains(got, "msg=key.create audit=true target=key_2") {
		t.Errorf("log %q, want all but pushes", got)
	}
	l, own = begin(t, ToLog)
	l.Record(push("a"))
	l.Close()
	if got := own.String(); !strings.Contains(got, "msg=push audit=true") {
		t.Errorf("log %q, want pushes too", got)
	}
	var none *Log
	none.Record(push("a"))
	if none.Wants(CreateKey) || none.Close() != nil || none.Lost() != 0 {
		t.Error("no log wants something")
	}
	if _, err := Open(filepath.Join(t.TempDir(), "none", "audit.log"), slog.Default()); err == nil {
		t.Error("a file that cannot be made is no error")
	}
}

// TestRotation: when the file is renamed, the log continues in a new file with
// the old name.
func TestRotation(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	w, err := openFile(path)
	if err != nil {
		t.Fatal(err)
	}
	defer w.close()
	say := func(target string) {
		t.Helper()
		w.write(push(target))
		w.looked = time.Time{}
		if err := w.flush(); err != nil {
			t.Fatal(err)
		}
	}
	say("before")
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	say("after")
	if old, now := lines(t, path+".1"), lines(t, path); len(old) != 1 || len(now) != 1 || now[0]["target"] != "after" {
		t.Errorf("old %v, new %v", old, now)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	say("removed")
	if now := lines(t, path); len(now) != 1 || now[0]["target"] != "removed" {
		t.Errorf("after a removal %v", now)
	}
}

// disk fails, and takes half a line first, while it is full.
type disk struct {
	file
	mu   sync.Mutex
	full bool
	out  io.Writer
	held chan struct{} // not nil: a write waits
	most int           // bytes in one write
}

func (d *disk) Write(b []byte) (int, error) {
	if d.held != nil {
		<-d.held
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.most = max(d.most, len(b))
	if d.full {
		n, _ := d.out.Write(b[:len(b)/2])
		return n, errors.New("no space left on device")
	}
	return d.out.Write(b)
}

// TestAFullDiskHoldsNobodyUp: entries are lost, that is said, and later ones are
// whole lines again.
func TestAFullDiskHoldsNobodyUp(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	w, err := openFile(path)
	if err != nil {
		t.Fatal(err)
	}
	d := &disk{file: w.file, full: true, out: w.file}
	w.file, w.looked = d, time.Now().Add(time.Hour) // no reopening
	own := &safeBuffer{}
	l := newLog(w, true, slog.New(slog.NewTextHandler(own, nil)))
	l.start()
	for i := range uint64(3) {
		l.Record(push("lost"))
		for l.Lost() <= i { // until the writer has tried
			runtime.Gosched()
		}
	}
	d.mu.Lock()
	d.full = false
	d.mu.Unlock()
	l.Record(push("kept"))
	l.Record(push("and more"))
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	b, _ := os.ReadFile(path)
	var targets []string // of whole lines
	for line := range strings.Lines(string(b)) {
		var e struct{ Target string }
		if json.Unmarshal([]byte(line), &e) == nil {
			targets = append(targets, e.Target)
		}
	}
	want := []string{"up to 3 entries since the start", "kept", "and more"}
	if n := len(targets); n < 3 || !slices.Equal(targets[n-3:], want) || !bytes.HasSuffix(b, []byte("}\n")) {
		t.Errorf("file %q, want the loss and what follows it, once each, on lines of their own in the end", b)
	}
	if got := strings.Count(own.String(), "no space left"); got != 1 {
		t.Errorf("told %d times, want once a minute:\n%s", got, own)
	}
}

// TestALogThatCannotBeWrittenLosesEntries, also if the record is the ordinary
// log.
func TestALogThatCannotBeWrittenLosesEntries(t *testing.T) {
	own := &safeBuffer{}
	d := &disk{full: true, out: own}
	l, err := Open(ToLog, slog.New(slog.NewJSONHandler(d, nil)))
	if err != nil {
		t.Fatal(err)
	}
	l.Record(push("lost"))
	l.Record(push("lost"))
	for l.Lost() < 2 { // until the writer has tried
		runtime.Gosched()
	}
	d.mu.Lock()
	d.full = false
	d.mu.Unlock()
	l.Record(push("kept"))
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if got := own.String(); l.Lost() != 2 || !strings.Contains(got, `"target":"up to 2 entries since the start"`) || !strings.Contains(got, `"target":"kept"`) {
		t.Errorf("lost %d, log %q, want 2 lost and told", l.Lost(), got)
	}
}

// TestASlowDiskHoldsNobodyUp: when the queue is full entries are lost.
func TestASlowDiskHoldsNobodyUp(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	w, err := openFile(path)
	if err != nil {
		t.Fatal(err)
	}
	d := &disk{file: w.file, out: w.file, held: make(chan struct{})}
	w.file = d
	l := newLog(w, true, slog.New(slog.DiscardHandler))
	l.start()
	done := make(chan struct{})
	go func() {
		for i := range 2*queueLen + 1000 {
			l.Record(push(fmt.Sprint(i)))
		}
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Fatal("a writer waits for the disk")
	}
	if l.Lost() == 0 {
		t.Error("nothing was lost: the queue has no bound")
	}
	close(d.held)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if d.most < flushAt || d.most > flushAt+1000 {
		t.Errorf("up to %d bytes were gathered, want no more than %d and a line", d.most, flushAt)
	}
}

// heldWriter takes entries and never has them on the disk.
type heldWriter struct {
	held chan struct{}
}

func (w *heldWriter) write(Entry)  {}
func (w *heldWriter) full() bool   { return true }
func (w *heldWriter) flush() error { <-w.held; return nil }
func (w *heldWriter) sync() error  { <-w.held; return nil }
func (w *heldWriter) close() error { return nil }

// TestADiskThatHangsHoldsUpNoEnd: a process that stops does not wait for it for ever.
func TestADiskThatHangsHoldsUpNoEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &heldWriter{held: make(chan struct{})}
		l := newLog(w, true, slog.New(slog.DiscardHandler))
		l.start()
		l.Record(push("a"))
		l.Record(push("b"))
		synctest.Wait()
		release := time.AfterFunc(time.Minute, func() { close(w.held) })
		begun := time.Now()
		err := l.Close()
		if waited := time.Since(begun); err == nil || waited >= time.Minute {
			t.Errorf("after %v: %v, want an error sooner", waited, err)
		}
		if release.Stop() {
			close(w.held)
		}
	})
}

// TestALogThatTakesNothingIsLogged: its entries are lost when the queue is full, and the
// ordinary log says so while the disk hangs.
func TestALogThatTakesNothingIsLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		own := &safeBuffer{}
		w := &heldWriter{held: make(chan struct{})}
		l := newLog(w, true, slog.New(slog.NewTextHandler(own, nil)))
		l.start()
		for range queueLen + 3 {
			l.Record(push("x"))
			synctest.Wait()
		}
		if got := own.String(); l.Lost() != 2 || strings.Count(got, "\n") != 1 || !strings.Contains(got, "lost=1") {
			t.Errorf("%d entries are lost, and the log has %q, want 2, and a line about the first", l.Lost(), got)
		}
		close(w.held)
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
}

// TestAnEntryAfterTheEndIsDropped: a call that the end of the process has cut off may still
// run.
func TestAnEntryAfterTheEndIsDropped(t *testing.T) {
	l, err := Open(filepath.Join(t.TempDir(), "audit.log"), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if cause := recover(); cause != nil {
			t.Errorf("a late entry panics: %v", cause)
		}
	}()
	l.Record(push("late"))
}
