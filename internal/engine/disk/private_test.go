//go:build unix

package disk

import (
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/longwire/longwire/internal/private"
)

// A file that is made over another one gets a new inode and the owner's mode.
func TestPrivateCreateReplaces(t *testing.T) {
	dir := t.TempDir()
	name, other := filepath.Join(dir, "name"), filepath.Join(dir, "other")
	if err := os.WriteFile(name, []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(name, other); err != nil {
		t.Fatal(err)
	}
	f, err := privateFS{vfs.Default}.Create(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := io.WriteString(f, "new"); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(name); err != nil || info.Mode() != private.FileMode || info.Size() != 3 {
		t.Errorf("the new file: %v, %v; want mode 0600 and 3 bytes", info, err)
	}
	if old, err := os.ReadFile(other); err != nil || string(old) != "old" {
		t.Errorf("the other link holds %q, %v; want the old file", old, err)
	}
}
