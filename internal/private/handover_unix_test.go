//go:build unix

package private

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// What root makes in the directory of another user belongs to that user, but for
// what has a name elsewhere. Needs root, as CI has.
func TestWhatRootMakesIsGivenToTheOwnerOfTheDirectory(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("root alone gives files away")
	}
	outside, dir := t.TempDir(), filepath.Join(t.TempDir(), "data")
	secret := filepath.Join(outside, "secret")
	for _, d := range []string{dir, filepath.Join(dir, "db")} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range []string{secret, filepath.Join(dir, "MARK"), filepath.Join(dir, "db", "1.sst"), filepath.Join(dir, "other")} {
		if err := os.WriteFile(f, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, err := range []error{os.Chown(dir, 4242, 4343), os.Chown(filepath.Join(dir, "other"), 99, 99),
		os.Link(secret, filepath.Join(dir, "linked")), os.Symlink(secret, filepath.Join(dir, "symlink"))} {
		if err != nil {
			t.Fatal(err)
		}
	}
	w, err := os.Create(filepath.Join(dir, "api-keys.json"))
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if err := Give(w); err != nil {
		t.Fatal(err)
	}
	want := func(when string, owners map[string]uint32) {
		t.Helper()
		for name, uid := range owners {
			info, err := os.Stat(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			if got := info.Sys().(*syscall.Stat_t).Uid; got != uid {
				t.Errorf("%s: %s belongs to %d, want %d", when, name, got, uid)
			}
		}
	}
	want("given", map[string]uint32{"api-keys.json": 4242, "MARK": 0})
	if err := GiveAll(dir); err != nil {
		t.Fatal(err)
	}
	want("all given", map[string]uint32{"MARK": 4242, "db": 4242, "db/1.sst": 4242, "other": 99, "linked": 0, "symlink": 0})
	if err := GiveAll(outside); err != nil {
		t.Fatal(err)
	}
	if info, _ := os.Stat(secret); info.Sys().(*syscall.Stat_t).Uid != 0 {
		t.Error("a directory of root's own has changed hands")
	}
}
