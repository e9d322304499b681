package engine

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/longwire/longwire/gateway"
)

// copyFS is a disk on which a backup has to be copied byte by byte.
type copyFS struct {
	vfs.FS
	writes  atomic.Int64 // to files of the backup
	onWrite func(n int64)
}

var errOtherDisk = errors.New("another file system")

func (f *copyFS) Link(string, string) error { return errOtherDisk }

func (f *copyFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	file, err := f.FS.Create(name, c)
	if err == nil && strings.HasPrefix(name, "backup") {
		file = &copyFile{file, f}
	}
	return file, err
}

type copyFile struct {
	vfs.File
	fs *copyFS
}

func (f *copyFile) Write(p []byte) (int, error) {
	if n := f.fs.writes.Add(1); f.fs.onWrite != nil {
		f.fs.onWrite(n)
	}
	return f.File.Write(p)
}

// copyTest returns a store whose backup takes many writes.
func copyTest(t *testing.T) (*Engine, *copyFS) {
	t.Helper()
	fs := &copyFS{FS: vfs.NewMem()}
	e := openTest(t, powerOptions(fs))
	rng := rand.New(rand.NewPCG(5, 6))
	for range 8 {
		m := message("a")
		m.Payload = make([]byte, 128<<10)
		for i := range m.Payload {
			m.Payload[i] = byte(rng.Uint32())
		}
		if _, err := e.Accept(context.Background(), m); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.inst.DB.Flush(); err != nil {
		t.Fatal(err)
	}
	return e, fs
}

func wantNoBackup(t *testing.T, fs vfs.FS, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("backup returned %v, want %v", err, want)
	}
	if _, err := fs.Stat("backup"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("half a backup was left behind (%v)", err)
	}
}

// A backup whose context ends stops at the next write and leaves nothing; the
// one after it is whole.
func TestBackupStopsWithItsContext(t *testing.T) {
	e, fs := copyTest(t)
	ctx, cancel := context.WithCancel(t.Context())
	const at = 5
	fs.onWrite = func(n int64) {
		if n == at {
			cancel()
		}
	}
	err := e.Backup(ctx, "backup", nil)
	wantNoBackup(t, fs, err, context.Canceled)
	if n := fs.writes.Load(); n > at {
		t.Errorf("%d writes, want none after the %dth", n, at)
	}
	if err := e.Health(); err != nil {
		t.Errorf("the store after it: %v", err)
	}
	fs.onWrite = nil
	if err := e.Backup(t.Context(), "backup", nil); err != nil {
		t.Fatal(err)
	}
	if r, err := Verify(Options{FS: fs, Dir: "backup"}); err != nil || !r.OK() || r.Messages != 8 {
		t.Errorf("the next backup: %+v, %v", r, err)
	}
	if n := fs.writes.Load(); n < 20 {
		t.Errorf("a backup is only %d writes: too few to stop between", n)
	}
}

// A store that is closed does not wait for its backup.
func TestCloseEndsABackup(t *testing.T) {
	e, fs := copyTest(t)
	closed := make(chan error, 1)
	fs.onWrite = func(n int64) {
		if n == 5 {
			go func() { closed <- e.Close() }()
			<-e.ctx.Done()
		}
	}
	err := e.Backup(t.Context(), "backup", nil)
	wantNoBackup(t, fs, err, errClosed)
	if err := <-closed; err != nil {
		t.Errorf("close: %v", err)
	}
	if n := fs.writes.Load(); n > 5 {
		t.Errorf("%d writes, want none after the store was closed", n)
	}
	if err := e.Backup(t.Context(), "backup", nil); gateway.CodeOf(err) != gateway.CodeUnavailable && !errors.Is(err, errClosed) {
		t.Errorf("backup of a closed store: %v", err)
	}
}
