//go:build unix

package engine

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/longwire/longwire/internal/private"
)

// umaskOfChild is set in a process that TestFilesAreTheOwnersAlone starts: the
// umask, and the directory to fill.
const umaskOfChild = "ENGINE_TEST_UMASK"

// The engine as a package makes everything for its owner alone, whatever the umask
// of the process: the data directory, its missing parents, Pebble's files, backups,
// restored stores and the quarantine.
func TestFilesAreTheOwnersAlone(t *testing.T) {
	if mask, dir, ok := strings.Cut(os.Getenv(umaskOfChild), " "); ok {
		n, err := strconv.ParseInt(mask, 8, 0)
		if err != nil {
			t.Fatal(err)
		}
		syscall.Umask(int(n))
		fillPrivately(t, dir)
		return
	}
	for _, mask := range []string{"000", "022", "077"} {
		t.Run(mask, func(t *testing.T) {
			dir := t.TempDir()
			child := exec.Command(os.Args[0], "-test.run=^TestFilesAreTheOwnersAlone$")
			child.Env = append(os.Environ(), umaskOfChild+"="+mask+" "+dir)
			if out, err := child.CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			found := map[string]bool{}
			err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
				if err != nil || name == dir {
					return err
				}
				info, err := d.Info()
				want := private.FileMode
				if d.IsDir() {
					want = fs.ModeDir | private.DirMode
				}
				if err == nil && info.Mode() != want {
					t.Errorf("%s has mode %v, want %v", name, info.Mode(), want)
				}
				found[filepath.Base(name)], found[filepath.Ext(name)] = true, true
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range []string{"srv", "data", "backup", "restored", "quarantine", nameFormat, nameLock, ".log", ".sst"} {
				if !found[want] {
					t.Errorf("there is no %s: the test does not see it", want)
				}
			}
		})
	}
}

// fillPrivately has a store write every kind of file that it has.
func fillPrivately(t *testing.T, dir string) {
	t.Helper()
	o := Options{Dir: filepath.Join(dir, "srv", "data"), SweepEvery: -1}
	e, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 { // log files are used again
		if _, err := e.Accept(context.Background(), message("a")); err != nil {
			t.Fatal(err)
		}
		if err := e.inst.DB.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	backup := filepath.Join(dir, "backups", "backup")
	if err := e.Backup(context.Background(), backup, nil); err != nil {
		t.Fatal(err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if err := Restore(backup, Options{Dir: filepath.Join(dir, "restored")}, nil); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(o.Dir, nameMark)); err != nil {
		t.Fatal(err)
	}
	if _, err := Repair(o, acceptLoss); err != nil {
		t.Fatal(err)
	}
}

// A data directory that cannot be used is named in one line with the reason.
func TestDataDirectoryThatIsNone(t *testing.T) {
	top := t.TempDir()
	file, dangling := filepath.Join(top, "file"), filepath.Join(top, "dangling")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(top, "nowhere"), dangling); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, dir, want string }{
		{"a file", file, file + " is a file, not a directory"},
		{"below a file", filepath.Join(file, "data"), file + " is a file, not a directory"},
		{"a dangling link", dangling, dangling + " is a symbolic link to " + filepath.Join(top, "nowhere") + ", which is not a directory"},
		{"below a dangling link", filepath.Join(dangling, "data"), dangling + " is a symbolic link to "},
	} {
		_, err := Open(Options{Dir: tt.dir})
		if err == nil {
			t.Fatalf("%s was opened", tt.name)
		}
		if !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") || errors.Is(err, ErrLocked) {
			t.Errorf("%s: %v, want one line with: %s", tt.name, err, tt.want)
		}
	}
}

// closedFS is a directory in which this process may make no file.
type closedFS struct{ vfs.FS }

func (f closedFS) Lock(name string) (io.Closer, error) {
	return nil, &os.PathError{Op: "open", Path: name, Err: syscall.EACCES}
}

func TestDataDirectoryThatCannotBeWritten(t *testing.T) {
	_, err := Open(Options{Dir: "data", FS: closedFS{vfs.NewMem()}})
	const want = "data directory data cannot be written: open data/LOCK: permission denied"
	if err == nil || err.Error() != want || errors.Is(err, ErrLocked) {
		t.Errorf("opened with %v, want %s", err, want)
	}
}
