//go:build unix

package config

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A backup does not wait for a named pipe in the place of the API keys.
func TestBackUpOfCredentialsThatAreNoFile(t *testing.T) {
	c := Default()
	c.Data.Dir = t.TempDir()
	if err := syscall.Mkfifo(filepath.Join(c.Data.Dir, "api-keys.json"), 0o600); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- c.BackUpCredentials(t.TempDir()) }()
	select {
	case err := <-done:
		if err == nil || !strings.Contains(err.Error(), "api-keys.json is not a regular file") {
			t.Errorf("the backup: %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Error("the backup hangs")
	}
}
