package disk

import (
	"slices"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// trialFS shows the directory dir as a repair will leave it.
type trialFS struct {
	vfs.FS
	dir        string
	made, gone []string     // names of files
	cut        *DamageError // of the log that is cut, nil for none
}

func (f *trialFS) List(dir string) ([]string, error) {
	names, err := f.FS.List(dir)
	if dir == f.dir {
		names = slices.DeleteFunc(append(names, f.made...), func(n string) bool { return slices.Contains(f.gone, n) })
	}
	return names, err
}

func (f *trialFS) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	if f.cut == nil || name != f.cut.File {
		return f.FS.Open(name, opts...)
	}
	b, err := readAll(f.FS, name)
	if err != nil {
		return nil, err
	}
	return vfs.NewMemFile(b[:min(f.cut.Offset, int64(len(b)))]), nil
}

func (f *trialFS) Unwrap() vfs.FS { return f.FS }
