package history

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// storeDir is a small disk of its own, so that it can be filled; where nothing can
// be mounted, a directory.
func storeDir(t *testing.T, mib int) string {
	dir := t.TempDir()
	if os.Geteuid() != 0 {
		return dir
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%dm,mode=700", mib)); err != nil {
		t.Logf("the disk is never full, for no tmpfs can be mounted: %v", err)
		return dir
	}
	if err := os.Mkdir(filepath.Join(dir, "disk"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Errorf("unmount %s: %v", dir, err)
		}
	})
	return filepath.Join(dir, "disk")
}

// fill takes the disk's room but for left bytes, until free is called. On a disk
// that is not of the test's own it takes nothing.
func fill(t *testing.T, dir string, left uint64) (free func()) {
	if filepath.Base(dir) != "disk" {
		return func() {}
	}
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "ballast")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if room := st.Bavail * uint64(st.Bsize); room > left {
		if err := syscall.Fallocate(int(f.Fd()), 0, 0, int64(room-left)); err != nil {
			t.Logf("take %d of %d bytes: %v", room-left, room, err) // the gateway took some
		}
	}
	return func() { os.Remove(name) }
}
