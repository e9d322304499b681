//go:build unix

package apikey

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func chmod(t *testing.T, name string, mode fs.FileMode) {
	t.Helper()
	if err := os.Chmod(name, mode); err != nil {
		t.Fatal(err)
	}
}

// A user who can write the file, or replace it, can make keys. Such a file is
// refused at the start and changes nothing later.
func TestKeysThatOthersCanWriteAreRefused(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	path := filepath.Join(dir, "api-keys.json")
	r := open(t, path)
	_, secret := create(t, r, Spec{Name: "x", Scopes: Admin})
	for _, wide := range []struct {
		name string
		mode fs.FileMode // then
		safe fs.FileMode // before
	}{{path, 0o620, 0o600}, {path, 0o602, 0o600}, {dir, 0o702, 0o700}} {
		chmod(t, wide.name, wide.mode)
		_, err := Open(path, quiet)
		if err == nil || !strings.Contains(err.Error(), wide.name+" can be written by users other than its owner") ||
			!strings.Contains(err.Error(), "run: chmod go-w "+wide.name) {
			t.Errorf("%s with mode %o: %v, want it refused with the command that mends it", wide.name, wide.mode, err)
		}
		if _, _, err := r.Create(Spec{Name: "y", Scopes: Admin}, time.Now()); err == nil {
			t.Errorf("%s with mode %o: a key was added", wide.name, wide.mode)
		}
		if _, err := r.Authenticate(secret, time.Now()); err != nil {
			t.Errorf("%s with mode %o: the running gateway has lost its key: %v", wide.name, wide.mode, err)
		}
		chmod(t, wide.name, wide.safe)
	}
	chmod(t, path, 0o644)
	if _, err := Open(path, quiet); err != nil {
		t.Errorf("a file that others can read: %v", err)
	}
}

// The owner of the directory can replace the new state while root writes it. The
// keys do not go to the file that a link in its place names.
func TestALinkInPlaceOfTheNewStateIsNotFollowed(t *testing.T) {
	dir := t.TempDir()
	victim := filepath.Join(dir, "victim")
	if err := os.WriteFile(victim, []byte("untouched"), 0o600); err != nil {
		t.Fatal(err)
	}
	ks := open(t, filepath.Join(dir, "api-keys.json"))
	err := ks.change(func(keys []*Key) ([]*Key, error) {
		return keys, errors.Join(os.Remove(ks.file.next()), os.Symlink(victim, ks.file.next()))
	})
	if err == nil || !strings.Contains(err.Error(), "another process has removed the lock") {
		t.Errorf("the change returned %v", err)
	}
	if b, err := os.ReadFile(victim); err != nil || string(b) != "untouched" {
		t.Errorf("the file that the link names has %q, %v", b, err)
	}
}

// mountKeys makes version n of a mounted secret with the keys of r's file, and
// switches the link ..data to it, as Kubernetes does.
func mountKeys(t *testing.T, mount, version, keys string) {
	t.Helper()
	b, err := os.ReadFile(keys)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(mount, version)
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "api-keys.json"), b, 0o400); err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(mount, "..data")
	if err := os.Symlink(version, data+".new"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(data+".new", data); err != nil {
		t.Fatal(err)
	}
}

// The file of keys may be a link into a mounted secret: a running gateway sees that
// the link ..data was switched, and the file stays a link when uses are noted.
func TestMountedKeysAreFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		top := t.TempDir()
		mount, dir := filepath.Join(top, "mount"), filepath.Join(top, "data")
		for _, d := range []string{mount, dir} {
			if err := os.Mkdir(d, 0o700); err != nil {
				t.Fatal(err)
			}
		}
		source := filepath.Join(top, "source", "keys.json")
		_, first := create(t, open(t, source), Spec{Name: "first", Scopes: Admin})
		mountKeys(t, mount, "..1", source)
		path := filepath.Join(dir, "api-keys.json")
		for name, target := range map[string]string{path: filepath.Join(mount, "api-keys.json"), filepath.Join(mount, "api-keys.json"): "..data/api-keys.json"} {
			if err := os.Symlink(target, name); err != nil {
				t.Fatal(err)
			}
		}
		var log bytes.Buffer
		r, err := Open(path, slog.New(slog.NewTextHandler(&log, nil)))
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { r.Run(ctx) })
		if _, err := r.Authenticate(first, time.Now()); err != nil {
			t.Error(err)
		}
		time.Sleep(UsedEvery + time.Millisecond) // the use is noted
		synctest.Wait()
		if info, err := os.Lstat(path); err != nil || info.Mode()&fs.ModeSymlink == 0 {
			t.Errorf("the file of keys is a link no more: %v, %v", info.Mode(), err)
		}

		_, second := create(t, open(t, source), Spec{Name: "second", Scopes: Admin})
		mountKeys(t, mount, "..2", source)
		time.Sleep(reloadEvery + time.Millisecond)
		synctest.Wait()
		if _, err := r.Authenticate(second, time.Now()); err != nil {
			t.Errorf("a key of the switched secret: %v", err)
		}
		stop()
		running.Wait()
		if log.Len() > 0 {
			t.Errorf("log: %s", &log)
		}
	})
}

// Where no file can be made, as in a secret that is mounted read-only, uses cannot
// be written. That is logged once, and the keys are valid.
func TestUsesThatCannotBeWrittenAreLoggedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "keys.json")
		_, secret := create(t, open(t, path), Spec{Name: "x", Scopes: Admin})
		var log bytes.Buffer
		r, err := Open(path, slog.New(slog.NewTextHandler(&log, nil)))
		if err != nil {
			t.Fatal(err)
		}
		chmod(t, filepath.Dir(path), 0o707) // nothing may be made there
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { r.Run(ctx) })
		for range 3 {
			if _, err := r.Authenticate(secret, time.Now()); err != nil {
				t.Error(err)
			}
			time.Sleep(UsedEvery + time.Minute)
		}
		stop()
		running.Wait()
		if got := strings.Count(log.String(), "cannot be written"); got != 1 || strings.Contains(log.String(), "level=ERROR") {
			t.Errorf("told %d times, want once and no error:\n%s", got, &log)
		}
	})
}

func TestDataDirectoryThatIsAFile(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	if err := os.WriteFile(dir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	want := "API keys: " + dir + " is a file, not a directory"
	if _, err := Open(filepath.Join(dir, "api-keys.json"), quiet); err == nil || err.Error() != want {
		t.Errorf("opened with %v, want %s", err, want)
	}
}
