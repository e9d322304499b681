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
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine/disk"
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

// madeStore returns a data directory with one message, which no process has open.
func madeStore(t *testing.T) (dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "made")
	e, err := Open(Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	accept(t, e, "a")
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

// Each small file of a data directory may be replaced by something that is no file. A named
// pipe held the start up for ever, a device without an end used up the memory.
func TestSmallFilesThatAreNone(t *testing.T) {
	made := madeStore(t)
	for _, name := range []string{nameFormat, nameMark, nameLock, nameRepaired, "db/other"} {
		for what, make := range map[string]func(name string) error{
			"a named pipe": func(name string) error { return syscall.Mkfifo(name, 0o600) },
			"a directory":  func(name string) error { return os.Mkdir(name, 0o700) },
			"a device":     func(name string) error { return os.Symlink("/dev/zero", name) },
		} {
			t.Run(name+" is "+what, func(t *testing.T) {
				o := Options{Dir: filepath.Join(t.TempDir(), "data")}
				if err := os.CopyFS(o.Dir, os.DirFS(made)); err != nil {
					t.Fatal(err)
				}
				name := filepath.Join(o.Dir, name)
				if err := errors.Join(os.RemoveAll(name), make(name)); err != nil {
					t.Fatal(err)
				}
				refused := func(what string, do func() error) {
					t.Helper()
					done := goErr(do)
					select {
					case err := <-done:
						if err == nil || !strings.Contains(err.Error(), name+": it is a") {
							t.Errorf("%s: %v, want it to say that %s is no file", what, err, name)
						}
					case <-time.After(10 * time.Second):
						t.Errorf("%s hangs", what)
					}
				}
				switch filepath.Base(name) {
				case "other": // only a copy or a check of all files looks at it
					refused("verify", func() error { r, err := Verify(o); return errors.Join(err, errors.New(strings.Join(r.Problems, "\n"))) })
					refused("backup", func() error { return BackupStored(t.Context(), o.Dir+".copy", o, nil) })
				case nameRepaired: // only a start needs it
					refused("a start", func() error { _, err := Open(o); return err })
				default:
					refused("a start", func() error { _, err := Open(o); return err })
					refused("stats", func() error { _, err := StatsOf(o); return err })
				}
			})
		}
	}
}

func goErr(do func() error) <-chan error {
	done := make(chan error, 1)
	go func() { done <- do() }()
	return done
}

// One database has one writer, also if two data directories have it by a link.
func TestOneDatabaseInTwoDataDirectories(t *testing.T) {
	top := t.TempDir()
	first, second := Options{Dir: filepath.Join(top, "first")}, Options{Dir: filepath.Join(top, "second")}
	e, err := Open(first)
	if err != nil {
		t.Fatal(err)
	}
	accept(t, e, "a")
	if err := os.Mkdir(second.Dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{nameFormat, nameMark} {
		b, err := os.ReadFile(filepath.Join(first.Dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(second.Dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(filepath.Join(first.Dir, "db"), filepath.Join(second.Dir, "db")); err != nil {
		t.Fatal(err)
	}
	other, err := Open(second)
	if err == nil {
		_ = other.Close()
	}
	if !errors.Is(err, ErrLocked) {
		t.Errorf("the second start: %v, want %v", err, ErrLocked)
	}
	if _, err := Verify(second); !errors.Is(err, ErrLocked) {
		t.Errorf("verify: %v, want %v", err, ErrLocked)
	}
	accept(t, e, "a")
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	if r, err := Verify(first); err != nil || !r.OK() {
		t.Errorf("the store: %+v, %v", r, err)
	}
}

// A link db that was there before the store stays: it leads to another disk.
func TestTheDatabaseIsMadeBehindALink(t *testing.T) {
	top := t.TempDir()
	o := Options{Dir: filepath.Join(top, "data")}
	db, far := filepath.Join(o.Dir, "db"), filepath.Join(top, "far")
	if err := errors.Join(os.Mkdir(o.Dir, 0o700), os.Mkdir(far, 0o700), os.Symlink(far, db)); err != nil {
		t.Fatal(err)
	}
	e, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	accept(t, e, "a")
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	if there, err := os.ReadDir(far); err != nil || len(there) == 0 {
		t.Errorf("%d files behind the link, %v", len(there), err)
	}
}

// A start that fails at any change or read gives everything back: a database that stays
// open could write to the directory when another process has it.
func TestAStartThatFailsKeepsNoFileOpen(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the open files are counted in /proc")
	}
	made := madeStore(t)
	for at := int64(1); ; at++ {
		dir := filepath.Join(t.TempDir(), "data")
		if err := os.CopyFS(dir, os.DirFS(made)); err != nil {
			t.Fatal(err)
		}
		fs := &faultFS{FS: disk.OwnersFS(), fault: fault{at: at, mode: "dies"}}
		fs.armed.Store(true)
		e, err := Open(Options{Dir: dir, FS: fs, SweepEvery: -1})
		if err == nil {
			_ = e.Close()
		}
		if fs.hits.Load() == 0 {
			break
		}
		open, err := filepath.Glob("/proc/self/fd/*")
		if err != nil {
			t.Fatal(err)
		}
		for _, fd := range open {
			if name, err := os.Readlink(fd); err == nil && strings.HasPrefix(name, dir) && filepath.Ext(name) != ".sst" { // the database leaves those open
				t.Errorf("a failure of change %d (%+v): %s is open", at, fs.hit, name)
			}
		}
	}
}

// The first start of a directory bounds uplinks by the disk, as each later one.
func TestANewDirectoryHasABoundForUplinks(t *testing.T) {
	o := Options{Dir: filepath.Join(t.TempDir(), "new", "data"), SweepEvery: -1}
	e := openTest(t, Options{FS: disk.OwnersFS(), Dir: o.Dir, SweepEvery: -1})
	first := e.opt.bounds().MaxUplinkBytes
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	e, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if again := e.opt.bounds().MaxUplinkBytes; first == 0 || first != again {
		t.Errorf("uplinks are bounded by %d bytes at the first start, by %d at the next", first, again)
	}
}

// A backup in the place that a link db leads to would be a part of the store.
func TestABackupBehindTheLinkIsRefused(t *testing.T) {
	top := t.TempDir()
	o := Options{Dir: filepath.Join(top, "data"), SweepEvery: -1}
	far := filepath.Join(top, "far")
	if err := errors.Join(os.Mkdir(o.Dir, 0o700), os.Mkdir(far, 0o700), os.Symlink(far, filepath.Join(o.Dir, "db"))); err != nil {
		t.Fatal(err)
	}
	e, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if err := e.Backup(t.Context(), filepath.Join(far, "backup"), nil); !errors.Is(err, ErrPlace) {
		t.Errorf("a backup in the database: %v, want %v", err, ErrPlace)
	}
}

// A file without which no start opens the store is missed while the gateway runs: it
// accepts nothing until the file is back.
func TestAFileIsTakenAway(t *testing.T) {
	for _, pattern := range []string{"*.sst", "MANIFEST-*", "marker.manifest.*", "marker.format-version.*"} {
		t.Run(pattern, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "data")
			e := openTest(t, Options{FS: disk.OwnersFS(), Dir: dir, SweepEvery: time.Millisecond})
			accept(t, e, "a")
			if err := e.view.Load().inst.DB.Flush(); err != nil {
				t.Fatal(err)
			}
			files, err := filepath.Glob(filepath.Join(dir, "db", pattern))
			if err != nil || len(files) == 0 {
				t.Fatalf("files %v, %v", files, err)
			}
			file := files[len(files)-1]
			if err := os.Rename(file, dir+".away"); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the store to miss it", func() bool { return e.Health() != nil })
			if _, err := e.Accept(t.Context(), message("a")); gateway.CodeOf(err) != gateway.CodeUnavailable {
				t.Errorf("a message is answered with %v", err)
			}
			if err := os.Rename(dir+".away", file); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the store to find it", func() bool { return e.Health() == nil })
			accept(t, e, "a")
		})
	}
}

// Tables come and go all the time, and the look never takes that for a loss.
func TestNoFileIsMissedUnderLoad(t *testing.T) {
	e := openTest(t, Options{FS: disk.OwnersFS(), Dir: filepath.Join(t.TempDir(), "data"), SweepEvery: -1, MemTableBytes: 32 << 10})
	stop, looks := make(chan struct{}), 0
	var looking sync.WaitGroup
	looking.Go(func() {
		for ; ; looks++ {
			select {
			case <-stop:
				return
			default:
			}
			if e.checkFiles(); e.missing.Load() != nil {
				t.Error(*e.missing.Load())
				return
			}
		}
	})
	for range 300 {
		m := message("a")
		m.Payload = make([]byte, 8<<10)
		if _, err := e.Accept(t.Context(), m); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	looking.Wait()
	t.Logf("%d looks, %d flushes, %d merges", looks, e.inst.DB.Metrics().Flush.Count, e.inst.DB.Metrics().Compact.Count)
}
