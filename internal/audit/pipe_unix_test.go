//go:build unix

package audit

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A pipe that no program reads does not keep the start waiting; one that is read gets the
// lines.
func TestAPipe(t *testing.T) {
	name := filepath.Join(t.TempDir(), "audit")
	if err := syscall.Mkfifo(name, 0o600); err != nil {
		t.Fatal(err)
	}
	opened := make(chan error, 1)
	go func() {
		_, err := Open(name, slog.New(slog.DiscardHandler))
		opened <- err
	}()
	select {
	case err := <-opened:
		if err == nil || !strings.Contains(err.Error(), "no program reads") {
			t.Errorf("without a reader: %v", err)
		}
	case <-time.After(5 * time.Second):
		t.Error("the start waits for a reader")
		go os.OpenFile(name, os.O_RDWR, 0)
		return
	}
	reader, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	l, err := Open(name, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	l.Record(Entry{At: time.Now(), What: CreateKey, Result: OK})
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	b := make([]byte, 4096)
	n, err := reader.Read(b)
	if line := string(b[:n]); err != nil || !strings.Contains(line, CreateKey) {
		t.Errorf("read %q, %v", line, err)
	}
}
