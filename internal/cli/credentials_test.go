package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A key that was revoked after the backup does not become valid again by a restore, unless
// that is asked for; then it is named.
func TestRestoreBringsBackNoRevokedKey(t *testing.T) {
	dir := madeStore(t)
	run := func(dir, args string) (out, errs string) {
		t.Helper()
		code, out, errs := inStore(t, dir, args)
		if code != exitOK {
			t.Fatalf("%s = %d\n%s%s", args, code, out, errs)
		}
		return out, errs
	}
	keys := filepath.Join(dir, "api-keys.json")
	had := `{"version":1,"keys":[{"id":"key_old","name":"old","scopes":["messages:write"],"created_at":"2026-11-01T00:00:00Z","sha256":"` + strings.Repeat("ab", 32) + `"}]}`
	if err := os.WriteFile(keys, []byte(had), 0o600); err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(t.TempDir(), "copy")
	run(dir, "backup "+copied)

	fresh := filepath.Join(t.TempDir(), "fresh")
	if _, errs := run(fresh, "restore "+copied); !strings.Contains(errs, "valid again: API key key_old old") {
		t.Errorf("restore into a directory without keys says %q", errs)
	}
	if b, err := os.ReadFile(filepath.Join(fresh, "api-keys.json")); err != nil || string(b) != had {
		t.Errorf("a directory without keys gets %s, %v", b, err)
	}

	revoked := `{"version":1,"keys":[]}`
	for _, c := range []struct{ flag, says, want string }{
		{"", "is unchanged", revoked},
		{" --with-keys", "valid again: API key key_old old", had},
	} {
		back := filepath.Join(t.TempDir(), "back")
		if err := os.Mkdir(back, 0o700); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(back, "api-keys.json")
		if err := os.WriteFile(file, []byte(revoked), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, errs := run(back, "restore "+copied+c.flag); !strings.Contains(errs, c.says) {
			t.Errorf("restore%s says %q, want %q", c.flag, errs, c.says)
		}
		if b, err := os.ReadFile(file); err != nil || string(b) != c.want {
			t.Errorf("restore%s leaves %s, %v, want %s", c.flag, b, err, c.want)
		}
	}
}

// A backup or a restore whose credentials cannot be copied is no store: a gateway would
// start from it without keys. After the cause is gone the command can be run again.
func TestCopiesAreNoStoreBeforeTheirCredentialsAreThere(t *testing.T) {
	dir := madeStore(t)
	keys := filepath.Join(dir, "api-keys.json")
	if err := os.Mkdir(keys, 0o700); err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(t.TempDir(), "copy")
	if code, out, errs := inStore(t, dir, "backup "+copied); code != exitFailed {
		t.Errorf("backup without its keys = %d\n%s%s", code, out, errs)
	}
	if _, err := os.Stat(copied); !os.IsNotExist(err) {
		t.Errorf("a backup without its keys is left behind: %v", err)
	}
	had := `{"version":1,"keys":[]}`
	if err := os.Remove(keys); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(keys, []byte(had), 0o600); err != nil {
		t.Fatal(err)
	}
	_ = os.RemoveAll(copied)
	if code, out, errs := inStore(t, dir, "backup "+copied); code != exitOK {
		t.Fatalf("backup = %d\n%s%s", code, out, errs)
	}

	back := filepath.Join(t.TempDir(), "back")
	keys = filepath.Join(back, "api-keys.json")
	if err := os.MkdirAll(keys, 0o700); err != nil {
		t.Fatal(err)
	}
	if code, out, errs := inStore(t, back, "restore "+copied); code != exitFailed {
		t.Errorf("restore without its keys = %d\n%s%s", code, out, errs)
	}
	if _, err := os.Stat(filepath.Join(back, "FORMAT")); !os.IsNotExist(err) {
		t.Errorf("a restore without its keys leaves a store: %v", err)
	}
	if err := os.Remove(keys); err != nil {
		t.Fatal(err)
	}
	if code, out, errs := inStore(t, back, "restore "+copied); code != exitOK {
		t.Errorf("the restore that is run again = %d\n%s%s", code, out, errs)
	}
	if b, err := os.ReadFile(keys); err != nil || string(b) != had {
		t.Errorf("the restored keys are %s, %v", b, err)
	}
}

// A damaged file of credentials makes a backup that no restore takes. The commands that
// verify a directory say so.
func TestVerifyNamesDamagedCredentials(t *testing.T) {
	for name, damaged := range map[string]string{"api-keys.json": `{"version":1,"keys":[{"id":"ke`, "device-tokens": "no token\n"} {
		dir := madeStore(t)
		if err := os.WriteFile(filepath.Join(dir, name), []byte(damaged), 0o600); err != nil {
			t.Fatal(err)
		}
		commands := []string{"verify"}
		if name == "api-keys.json" { // the place of the other file is a setting
			commands = append(commands, "backup "+filepath.Join(t.TempDir(), "copy"))
		}
		for _, args := range commands {
			code, out, errs := inStore(t, dir, args)
			if code == exitOK || !strings.Contains(out, name) {
				t.Errorf("%s with a damaged %s = %d\n%s%s", args, name, code, out, errs)
			}
		}
	}
}
