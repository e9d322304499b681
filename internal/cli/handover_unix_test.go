//go:build unix

package cli

import (
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// owners returns the user of each file in dir and of dir itself.
func owners(t *testing.T, dir string) map[string]uint32 {
	t.Helper()
	all := make(map[string]uint32)
	err := filepath.WalkDir(dir, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err == nil {
			all[name] = info.Sys().(*syscall.Stat_t).Uid
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// The gateway's user can open the store after root has worked on it without a
// gateway. Needs root, as CI has.
func TestTheStoreStaysItsOwners(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("root alone works on the store of another user")
	}
	const user = 4242
	give := func(dir string) string {
		t.Helper()
		for name := range owners(t, dir) {
			if err := os.Chown(name, user, user); err != nil {
				t.Fatal(err)
			}
		}
		return dir
	}
	backup := filepath.Join(t.TempDir(), "backup")
	if code, out, errs := inStore(t, madeStore(t), "backup "+backup); code != exitOK {
		t.Fatalf("backup: %s%s", out, errs)
	}
	for _, c := range []struct {
		args string
		dir  string
	}{
		{"backup " + filepath.Join(t.TempDir(), "second"), give(killedStore(t))},
		{"restore " + backup, give(t.TempDir())},
		{"repair", give(killedStore(t))},
		{"verify", give(madeStore(t))},
		{"stats", give(madeStore(t))},
	} {
		if code, out, errs := inStore(t, c.dir, c.args); code != exitOK {
			t.Errorf("%s: %s%s", c.args, out, errs)
		}
		for name, uid := range owners(t, c.dir) {
			if uid != user {
				t.Errorf("%s: %s belongs to %d, want %d", c.args, name, uid, user)
			}
		}
	}

	// A check changes nothing.
	sound := give(madeStore(t))
	mark := filepath.Join(sound, "MARK")
	if err := os.Chown(mark, 0, 0); err != nil {
		t.Fatal(err)
	}
	if code, out, errs := inStore(t, sound, "verify"); code != exitOK {
		t.Errorf("verify: %s%s", out, errs)
	}
	if uid := owners(t, sound)[mark]; uid != 0 {
		t.Errorf("verify has given MARK to %d", uid)
	}
}
