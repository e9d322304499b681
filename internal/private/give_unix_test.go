//go:build unix

package private

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// wantOwner compares the owner of the name itself, which may be a link.
func wantOwner(t *testing.T, name string, want uint32) {
	t.Helper()
	info, err := os.Lstat(name)
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Sys().(*syscall.Stat_t); got.Uid != want || got.Gid != want {
		t.Errorf("%s belongs to %d:%d, want %d", name, got.Uid, got.Gid, want)
	}
}

// Needs root, as CI has.
func TestFilesThatRootMakesBelongToTheOwnerOfTheDirectory(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("root alone gives files away")
	}
	const user = 4242
	top := t.TempDir()
	theirs, link, ours := filepath.Join(top, "theirs"), filepath.Join(top, "link"), filepath.Join(top, "ours")
	for _, err := range []error{os.Mkdir(theirs, 0o700), os.Chown(theirs, user, user), os.Symlink(theirs, link)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for dir, want := range map[string]uint32{theirs: user, link: user, ours: 0} {
		if err := MakeDirs(filepath.Join(dir, "of "+filepath.Base(dir), "deep")); err != nil {
			t.Fatal(err)
		}
		name := filepath.Join(dir, "of "+filepath.Base(dir), "deep", "file")
		w, err := MakeFile(name)
		if err != nil {
			t.Fatal(err)
		}
		w.Close()
		for ; name != dir; name = filepath.Dir(name) {
			wantOwner(t, name, want)
		}
	}
}

// The owner of a directory can put a link in the place of a new file or directory at
// any moment. The target of the link stays root's.
func TestRootGivesNothingThatALinkNames(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("root alone gives files away")
	}
	const user = 4242
	theirs, secret := t.TempDir(), t.TempDir()
	file := filepath.Join(secret, "file")
	for _, err := range []error{os.Chown(theirs, user, user), os.WriteFile(file, nil, 0o600)} {
		if err != nil {
			t.Fatal(err)
		}
	}

	w, err := os.Create(filepath.Join(theirs, "new"))
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if err := errors.Join(os.Remove(w.Name()), os.Symlink(file, w.Name())); err != nil {
		t.Fatal(err)
	}
	give(w)
	wantOwner(t, file, 0)
	if _, err := MakeFile(w.Name()); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a link in the place of the file: %v, want it refused", err)
	}

	for name, make := range map[string]func(name string) error{
		"link to a directory": func(name string) error { return os.Symlink(secret, name) },
		"link to a file":      func(name string) error { return os.Symlink(file, name) },
		"second name":         func(name string) error { return os.Link(file, name) },
		"pipe":                func(name string) error { return syscall.Mkfifo(name, 0o600) },
	} {
		name := filepath.Join(theirs, name)
		if err := make(name); err != nil {
			t.Fatal(err)
		}
		giveDir(name)
		wantOwner(t, name, 0)
	}
	wantOwner(t, secret, 0)
	wantOwner(t, file, 0)
}
