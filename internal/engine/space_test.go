package engine

import (
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/longwire/longwire/gateway"
)

// The database may be on another disk than the data directory: its room counts.
func TestTheDiskOfTheDatabaseIsNearlyFull(t *testing.T) {
	fs := &twoDisks{FS: vfs.NewMem()}
	fs.avail.Store(1 << 30)
	e := openTest(t, Options{FS: fs, Dir: "data", SweepEvery: time.Millisecond})
	accept(t, e, "a")
	fs.avail.Store(1 << 20)
	eventually(t, "messages to be refused", func() bool { return gateway.CodeOf(e.Health()) == gateway.CodeDiskFull })
	if s := e.Stats(); s.DiskFree != 1<<20 {
		t.Errorf("the store says that %d bytes are free", s.DiskFree)
	}
}

// twoDisks is a file system with db on a disk of its own, and much room elsewhere.
type twoDisks struct {
	vfs.FS
	avail atomic.Uint64 // in db
}

func (d *twoDisks) GetDiskUsage(name string) (vfs.DiskUsage, error) {
	if filepath.Base(name) == nameDB {
		return vfs.DiskUsage{AvailBytes: d.avail.Load(), TotalBytes: 1 << 31}, nil
	}
	return vfs.DiskUsage{AvailBytes: 1 << 40, TotalBytes: 1 << 40}, nil
}
