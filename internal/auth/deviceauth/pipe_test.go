//go:build unix

package deviceauth

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A named pipe in the place of a file is an error, and nothing waits for its other end.
func TestANamedPipeIsNoFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tokens")
	if err := syscall.Mkfifo(file, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, open := range map[string]func() error{
		"tokens": func() error { _, err := New(Config{TokensFile: file}); return err },
		"keys":   func() error { _, err := New(Config{JWTKeys: file}); return err },
		"a list": func() error { _, err := ReadTokens(file); return err },
	} {
		done := make(chan error, 1)
		go func() { done <- open() }()
		select {
		case err := <-done:
			if err == nil || !strings.Contains(err.Error(), "is not a regular file") {
				t.Errorf("%s: %v", name, err)
			}
		case <-time.After(5 * time.Second):
			t.Errorf("%s: still waits after 5s", name)
			if w, err := os.OpenFile(file, os.O_WRONLY, 0); err == nil { // which ends the wait
				w.Close()
			}
			<-done
		}
	}
}
