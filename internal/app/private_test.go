//go:build unix

package app

import (
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/longwire/longwire/internal/apikey"
)

// What users other than the owner can reach is named at the start: each kind once,
// with the command that mends it.
func TestWidePrivateFilesAreNamedOnce(t *testing.T) {
	cfg := testConfig(filepath.Join(t.TempDir(), "data"))
	cfg.Audit.File = filepath.Join(t.TempDir(), "audit.log")
	named := func() (all []string) {
		t.Helper()
		a, log := startLogged(t, cfg)
		if err := a.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(log.String()) {
			var e struct{ Level, Msg, Kind, Path, Mode, Mend string }
			if err := json.Unmarshal([]byte(line), &e); err != nil {
				t.Fatal(err)
			}
			if strings.Contains(e.Msg, "private files") {
				all = append(all, strings.Join([]string{e.Level, e.Kind, e.Mode, e.Mend}, ", "))
			}
		}
		return all
	}
	if got := named(); got != nil {
		t.Fatalf("a new gateway names its own files: %q", got)
	}
	for name, mode := range map[string]os.FileMode{cfg.Data.Dir: 0o755, filepath.Join(cfg.Data.Dir, "db"): 0o755,
		filepath.Join(cfg.Data.Dir, "FORMAT"): 0o644, filepath.Join(cfg.Data.Dir, "LOCK"): 0o666, cfg.Audit.File: 0o640} {
		if err := os.Chmod(name, mode); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{
		"WARN, data directory, 0755, chmod -R go= " + cfg.Data.Dir,
		"WARN, files in the data directory, 0644, chmod -R go= " + cfg.Data.Dir,
		"WARN, audit log, 0640, chmod go= " + cfg.Audit.File,
	}
	if got := named(); strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("named %q, want %q", got, want)
	}
}

func TestKeysThatOthersCanWriteStopTheStart(t *testing.T) {
	cfg := testConfig(filepath.Join(t.TempDir(), "data"))
	ring, err := apikey.Open(cfg.APIKeyFile(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ring.Make(apikey.Request{Name: "x", Scopes: []string{"admin"}}, time.Now()); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(cfg.APIKeyFile(), 0o666); err != nil {
		t.Fatal(err)
	}
	_, err = New(cfg, slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), "run: chmod go-w "+cfg.APIKeyFile()) {
		t.Errorf("started with keys that others can write: %v", err)
	}
}
