package disk

import (
	"errors"
	"slices"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// readOnlyFS takes no new file in one directory.
type readOnlyFS struct {
	vfs.FS
	dir string
}

func (f *readOnlyFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if f.PathDir(name) == f.dir {
		return nil, syscall.EROFS
	}
	return f.FS.Create(name, c)
}

// The database may be on another disk than the data directory: a probe asks both, and leaves
// no file.
func TestProbeAsksBothDisks(t *testing.T) {
	fs := &readOnlyFS{FS: vfs.NewMem()}
	o := &Options{Dir: "data", FS: fs}
	if err := MakeDir(fs, o.dbDir()); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{o.Dir, o.dbDir()} {
		fs.dir = dir
		if err := Probe(o); !errors.Is(err, syscall.EROFS) {
			t.Errorf("%s is read-only: %v", dir, err)
		}
	}
	fs.dir = ""
	if err := Probe(o); err != nil {
		t.Error(err)
	}
	names, err := fs.List(o.Dir)
	if left, listErr := fs.List(o.dbDir()); errors.Join(err, listErr) != nil || !slices.Equal(names, []string{nameDB}) || len(left) > 0 {
		t.Errorf("a probe leaves %v and %v", names, left)
	}
}

// The file of a probe that a kill has left is not in a copy.
func TestNoProbeInACopy(t *testing.T) {
	fs := vfs.NewMem()
	if err := MakeDir(fs, "from"); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"000001.sst", nameProbe} {
		if err := writeFile(fs, fs.PathJoin("from", name), []byte("content")); err != nil {
			t.Fatal(err)
		}
	}
	if err := copyDir(fs, "from", "to", vfs.Copy, func() error { return nil }); err != nil {
		t.Fatal(err)
	}
	if names, err := fs.List("to"); err != nil || !slices.Equal(names, []string{"000001.sst"}) {
		t.Errorf("the copy has %v, %v", names, err)
	}
}
