//go:build unix

package test

import (
	"io/fs"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// Everything that the programs write is their owner's alone, whatever the umask:
// the data directory and its parents, the store, keys, tokens, settings, the audit
// log, the socket, backups and restored stores.
func TestWhatIsWrittenIsTheOwnersAlone(t *testing.T) {
	for _, umask := range []string{"000", "077"} {
		t.Run(umask, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			in := func(name ...string) string { return filepath.Join(append([]string{dir}, name...)...) }
			shell := []string{"/bin/sh", "-c", "umask " + umask + ` && exec "$0" "$@"`}
			do := func(args ...string) {
				t.Helper()
				cmd := exec.Command(shell[0], append(append(shell[1:3:3], longwire(t)), args...)...)
				cmd.Env = withoutSettings(cmd.Environ())
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Fatalf("longwire %q: %v\n%s", args, err, out)
				}
			}
			data := in("srv", "longwire", "data")
			do("config", "init", in("longwire.yaml"))
			do("keys", "create", "--name", "x", "--scopes", "admin", "--data-dir", data)
			do("devices", "token", "create", "--file", in("tokens"), "--client", "m")
			do("keys", "create", "--name", "y", "--scopes", "admin", "--data-dir", in("keys-first"))
			s := serveUnder(t, shell, "", in("data"), "--audit-file", in("audit.log"), "--auth-device-tokens-file", in("tokens"))
			if p := s.push("m", "?on_unknown=queue", "x"); p.code != 202 {
				t.Fatalf("push: %+v", p)
			}
			do("store", "backup", in("backups", "one"), "--data-dir", in("data"))
			wantPrivate(t, dir, "admin.sock", "audit.log", "api-keys.json", "tokens", "longwire.yaml", "LOCK", "FORMAT", "one", "srv")
			s.signal(t, syscall.SIGTERM)
			if code := s.exit(t, time.Minute); code != 0 {
				t.Fatalf("exit code %d", code)
			}
			do("store", "restore", in("backups", "one"), "--data-dir", in("restored", "data"))
			do("store", "repair", "--data-dir", in("restored", "data"))
			wantPrivate(t, dir, "restored")
		})
	}
}

// wantPrivate checks the mode of each file below dir, and that there are those
// with the names.
func wantPrivate(t *testing.T, dir string, names ...string) {
	t.Helper()
	found := map[string]bool{}
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || name == dir {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return nil // gone: the store works meanwhile
		}
		want := fs.FileMode(0o600)
		if d.IsDir() {
			want = 0o700
		}
		if info.Mode().Perm() != want {
			t.Errorf("%s has mode %v, want %04o", name, info.Mode(), want)
		}
		found[filepath.Base(name)] = true
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if !found[name] {
			t.Errorf("there is no %s: the test does not see it", name)
		}
	}
}
