//go:build unix

package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The file may get API keys later, so only its owner reads it, whatever was there before.
func TestConfigInitReplacesAFileThatOthersRead(t *testing.T) {
	name := filepath.Join(t.TempDir(), "longwire.yaml")
	if err := os.WriteFile(name, []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	Main(t.Context(), Program{Out: &out, Err: &errs, In: strings.NewReader("")}, []string{"config", "init", "--force", name})
	info, err := os.Stat(name)
	if err != nil || info.Mode() != 0o600 || info.Size() < 1000 {
		t.Errorf("the file: %v of %d bytes, %v, want mode 0600: %s", info.Mode(), info.Size(), err, errs.String())
	}
}

// Text of the file moves no cursor.
func TestWrongSettingsArePrintable(t *testing.T) {
	name := filepath.Join(t.TempDir(), "longwire.yaml")
	if err := os.WriteFile(name, []byte("http:\n  adr: \"\x1b[2J\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	Main(t.Context(), Program{Out: &out, Err: &errs, In: strings.NewReader("")}, []string{"config", "check", name})
	if got := errs.String(); strings.Contains(got, "\x1b") || !strings.Contains(got, `adr: "\x1b[2J"`) {
		t.Errorf("the error is %q", got)
	}
}
