package engine

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine/journaltest"
)

// heldTableFS holds the making of tables while hold is set, as a disk that is about to fail.
type heldTableFS struct {
	vfs.FS
	hold    atomic.Pointer[chan struct{}]
	waiting atomic.Int64
}

func (f *heldTableFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if hold := f.hold.Load(); hold != nil && strings.HasSuffix(name, ".sst") {
		f.waiting.Add(1)
		<-*hold
	}
	return f.FS.Create(name, c)
}

// A store is opened again only when the database before it has no change under way: that
// change would come behind the back of its successor, and the word of the old failure would
// come after the new database.
func TestReopeningWaitsForTheChangesUnderWay(t *testing.T) {
	fs := &heldTableFS{FS: vfs.NewMem()}
	e := openTest(t, Options{FS: fs, Dir: "data", SweepEvery: -1})
	accept(t, e, "a")
	hold := make(chan struct{})
	fs.hold.Store(&hold)
	old := e.view.Load().inst
	go old.DB.Flush()
	eventually(t, "a table to be made", func() bool { return fs.waiting.Load() == 1 })
	fs.hold.Store(nil)
	sealed := make(chan struct{})
	go func() {
		old.Seal(errFault)
		close(sealed)
	}()
	eventually(t, "the database to be sealed", func() bool { return old.Err() != nil })
	_, _, err := e.Register(context.Background(), gateway.Registration{Client: "b"})
	if gateway.CodeOf(err) != gateway.CodeUnavailable || e.view.Load().inst != old {
		t.Errorf("during a change of the old database a registration is answered with %v", err)
	}
	close(hold)
	<-sealed
	eventually(t, "the store to be opened again", func() bool { return e.view.Load().inst != old })
	eventually(t, "the store to accept", func() bool { return e.Health() == nil })
	accept(t, e, "a")
	verifyView(t, e)
}

// An idle follower of a shared journal opens a sealed state again, although no record comes.
func TestAnIdleFollowerOpensItsStateAgain(t *testing.T) {
	j := journaltest.NewLog("log", 1, journaltest.Faults{})
	e := openTest(t, Options{SweepEvery: -1, Journal: j})
	kept := accept(t, e, "a")
	e.view.Load().inst.Seal(errFault)
	eventually(t, "the store to accept", func() bool { return e.Health() == nil })
	caughtUp(t, e, j) // the state was not synced
	if _, err := e.Message(kept.ID); err != nil {
		t.Error(err)
	}
	accept(t, e, "a")
	verifyView(t, e)
}

// noProbeFS takes no probe while closed is true.
type noProbeFS struct {
	vfs.FS
	closed atomic.Bool
}

func (f *noProbeFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if f.closed.Load() && strings.HasSuffix(name, "probe.tmp") {
		return nil, syscall.EROFS
	}
	return f.FS.Create(name, c)
}

// Health says why the store is not opened again, which may differ from the first failure.
func TestHealthSaysWhyAStoreIsNotOpenedAgain(t *testing.T) {
	fs := &noProbeFS{FS: vfs.NewMem()}
	e := openTest(t, Options{FS: fs, Dir: "data", SweepEvery: -1})
	accept(t, e, "a")
	fs.closed.Store(true)
	e.view.Load().inst.Seal(errFault)
	eventually(t, "the failure of the probe", func() bool { return errors.Is(e.Health(), syscall.EROFS) })
	fs.closed.Store(false)
	eventually(t, "the store to accept", func() bool { return e.Health() == nil })
}
