package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/longwire/longwire/internal/private"
)

func TestDoctorShowsTheClockOfARunningGateway(t *testing.T) {
	for _, tt := range []struct{ name, said, status, value string }{
		{"it went on", `{"clock":{"jumps":0}}`, "ok", "no jump of more than an hour since it started"},
		{"it was set forwards", `{"clock":{"jumps":1,"last_jump":{"at":"2029-11-28T09:00:00.5Z","by_seconds":94608000}}}`,
			"warn", "jumps of more than an hour: 1, the last forwards by 26280h0m0s to 2029-11-28T09:00:00Z"},
		{"it was set backwards", `{"clock":{"jumps":2,"last_jump":{"at":"2026-11-28T09:00:00Z","by_seconds":-86400.2}}}`,
			"warn", "jumps of more than an hour: 2, the last backwards by 24h0m0s to 2026-11-28T09:00:00Z"},
	} {
		dir := t.TempDir()
		ln, err := net.Listen("unix", filepath.Join(dir, adminSocket))
		if err != nil {
			t.Fatal(err)
		}
		s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, tt.said) })}
		go s.Serve(ln)
		all := host{dataDir: dir}.gateway()
		s.Close()
		if len(all) != 1 || all[0].Status != tt.status || all[0].Value != tt.value {
			t.Errorf("%s: %+v, want %s: %s", tt.name, all, tt.status, tt.value)
		}
	}
	if all := (host{dataDir: t.TempDir()}).gateway(); len(all) != 0 {
		t.Errorf("without a gateway: %+v", all)
	}
}

// A file of API keys with which serve does not start is a bad finding.
func TestDoctorKnowsAFileOfKeysThatServeRefuses(t *testing.T) {
	dir := t.TempDir()
	keys := filepath.Join(dir, "api-keys.json")
	h := host{proc: "/proc", dataDir: dir, private: []private.Place{{Kind: "API keys", Path: keys, Key: true}}, syncs: 1}
	said := func() (got string) {
		for _, f := range h.examine() {
			if f.Check == "API keys" && f.Status == "bad" {
				got += f.Value
			}
		}
		return got
	}
	if got := said(); got != "" {
		t.Errorf("without a file: %q", got)
	}
	if err := os.WriteFile(keys, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := said(); !strings.Contains(got, "unexpected end") {
		t.Errorf("a damaged file: %q", got)
	}
	if err := errors.Join(os.Remove(keys), os.Mkdir(keys, 0o700)); err != nil {
		t.Fatal(err)
	}
	if got := said(); !strings.Contains(got, "not a regular file") {
		t.Errorf("a directory in its place: %q", got)
	}
}

// The database may be on another disk than the data directory: its free space counts.
func TestDoctorLooksAtTheDiskOfTheDatabase(t *testing.T) {
	dir := t.TempDir()
	db := filepath.Join(dir, "db")
	if err := os.Mkdir(db, 0o700); err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	Main(t.Context(), Program{Out: &out, Err: &errs, In: strings.NewReader(""), Env: []string{"LONGWIRE_DATA_DIR=" + dir}}, []string{"doctor", "--syncs", "1", "--json"})
	if want := " in " + db + `"`; !strings.Contains(out.String(), want) {
		t.Errorf("the doctor says\n%s%s, want free space%s", out.String(), errs.String(), want)
	}
}

// The doctor knows the setting data.min_free.
func TestDoctorKnowsTheMinimumOfFreeSpace(t *testing.T) {
	dir := t.TempDir()
	free, err := freeBytes(dir)
	if err != nil {
		t.Fatal(err)
	}
	for share, want := range map[float64]string{2: "bad", 0.75: "warn"} {
		minimum := fmt.Sprint(uint64(share * float64(free)))
		var out, errs bytes.Buffer
		Main(t.Context(), Program{Out: &out, Err: &errs, In: strings.NewReader(""), Env: []string{"LONGWIRE_DATA_MIN_FREE=" + minimum}},
			[]string{"doctor", "--syncs", "1", "--data-dir", dir, "--json"})
		if !strings.Contains(out.String(), `{"check":"free space","status":"`+want) {
			t.Errorf("with %s bytes free and data.min_free %s the doctor says\n%s%s, want %s", fmt.Sprint(free), minimum, out.String(), errs.String(), want)
		}
	}
}

// The doctor knows the setting data.max_disk.
func TestDoctorKnowsTheBoundOfTheStore(t *testing.T) {
	dir := t.TempDir()
	if err := errors.Join(os.Mkdir(filepath.Join(dir, "db"), 0o700), os.WriteFile(filepath.Join(dir, "db", "000001.sst"), make([]byte, 1_000_000), 0o600)); err != nil {
		t.Fatal(err)
	}
	for limit, want := range map[string]string{"900KB": "bad", "1050KB": "warn", "2MB": "ok", "1000000000GB": "warn", "0": ""} {
		var out, errs bytes.Buffer
		Main(t.Context(), Program{Out: &out, Err: &errs, In: strings.NewReader(""), Env: []string{"LONGWIRE_DATA_MAX_DISK=" + limit}},
			[]string{"doctor", "--syncs", "1", "--data-dir", dir, "--json"})
		_, said, _ := strings.Cut(out.String(), `{"check":"size of the store","status":"`)
		if got, _, _ := strings.Cut(said, `"`); got != want {
			t.Errorf("with data.max_disk %s the doctor says %q, want %q:\n%s%s", limit, got, want, out.String(), errs.String())
		}
	}
}

// A store that serve refuses is a bad finding.
func TestDoctorKnowsAStoreThatDoesNotOpen(t *testing.T) {
	for _, tt := range []struct{ name, file, text, value string }{
		{"no store", "notes", "", ""},
		{"of this version", "FORMAT", "longwire store, format 2\n", ""},
		{"of a newer version", "FORMAT", "longwire store, format 99\n", "use a newer program"},
		{"of another program", "FORMAT", "RocksDB\n", "does not say that this is a longwire store"},
		{"that lacks a file", "FORMAT", "longwire store, format 4\n", "missing: MARK"},
		{"whose restore was cut short", "RESTORING", "", "a restore was cut short"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, tt.file), []byte(tt.text), 0o600); err != nil {
				t.Fatal(err)
			}
			var got string
			for _, f := range (host{proc: "/proc", dataDir: dir, syncs: 1}).examine() {
				if f.Check == "store" && f.Status == "bad" {
					got += f.Value
				}
			}
			if (got == "") != (tt.value == "") || !strings.Contains(got, tt.value) {
				t.Errorf("the doctor says %q, want %q", got, tt.value)
			}
		})
	}
}
