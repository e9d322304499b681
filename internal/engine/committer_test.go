package engine

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/longwire/longwire/gateway"
)

// acceptAll accepts messages at once and returns a function that waits for the
// answers; when it returns, all have their place in the queue.
func acceptAll(e *Engine, to []gateway.ClientID) (answers func() []error) {
	errs := make([]error, len(to))
	var answered sync.WaitGroup
	answered.Add(len(to))
	for i, id := range to {
		e.StartAccept(message(id), func(_ gateway.Receipt, err error) {
			errs[i] = err
			answered.Done()
		})
	}
	return func() []error { answered.Wait(); return errs }
}

// What comes while a record is synced goes into the next one, up to a record's
// bounds; nobody waits for a third sync who came during the first.
func TestRecordTakesWhatComesDuringASync(t *testing.T) {
	fs := &heldFS{FS: vfs.NewMem(), hold: make(chan struct{})}
	e := openTest(t, Options{FS: fs, Dir: "data", SweepEvery: -1})
	accept(t, e, "a")
	before := e.stats.records.Load()
	fs.held.Store(true)
	first := acceptAll(e, []gateway.ClientID{"a"})
	eventually(t, "the sync", func() bool { return fs.waiting.Load() > 0 })

	to := make([]gateway.ClientID, maxRecordEvents+88)
	for i := range to {
		to[i] = gateway.ClientID("abcdefgh"[i%8 : i%8+1])
	}
	rest := acceptAll(e, to)
	eventually(t, "all to be applied", func() bool { return e.queue.depth.Load() == 0 })
	fs.held.Store(false)
	close(fs.hold)
	for _, err := range append(first(), rest()...) {
		if err != nil {
			t.Fatal(err)
		}
	}
	if got := e.stats.records.Load() - before; got != 3 {
		t.Errorf("%d records, want 3: the first, a full one, and the rest", got)
	}
	verifyView(t, e)
	verifyOrder(t, e)
}

// A caller who gives up leaves an event behind that is nobody else's: it is
// stored as it was handed in, although others accept meanwhile.
func TestGivenUpAcceptIsStoredAsItWas(t *testing.T) {
	fs := &heldFS{FS: vfs.NewMem(), hold: make(chan struct{})}
	e := openTest(t, Options{FS: fs, Dir: "data", SweepEvery: -1})
	accept(t, e, "a")
	fs.held.Store(true)
	first := acceptAll(e, []gateway.ClientID{"a"})
	eventually(t, "the sync", func() bool { return fs.waiting.Load() > 0 })
	to := make([]gateway.ClientID, 2*maxRecordEvents+1)
	for i := range to {
		to[i] = "a"
	}
	rest := acceptAll(e, to)
	// One record is synced, one waits for that, one for the writer.
	eventually(t, "the committer to be held up", func() bool { return e.queue.depth.Load() == 1 })

	ctx, giveUp := context.WithCancel(t.Context())
	m := message("b")
	m.Payload = []byte("as it was")
	left := make(chan error, 1)
	go func() {
		_, err := e.Accept(ctx, m)
		left <- err
	}()
	eventually(t, "it to have its place", func() bool { return e.queue.depth.Load() == 2 })
	giveUp()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Errorf("given up: %v", err)
	}
	others := acceptAll(e, to[:50])
	fs.held.Store(false)
	close(fs.hold)
	for _, err := range append(append(first(), rest()...), others()...) {
		if err != nil {
			t.Fatal(err)
		}
	}
	if got, err := e.Message(m.ID); err != nil || got.Client != "b" || string(got.Payload) != "as it was" {
		t.Errorf("stored as %q for %q, %v", got.Payload, got.Client, err)
	}
	verifyView(t, e)
}

// An event that meets a damaged row is refused; those before and behind it in
// the same record are stored as if it had not been there.
func TestDamagedRowSparesTheRestOfTheRecord(t *testing.T) {
	disk := vfs.NewMem()
	e := openTest(t, powerOptions(disk))
	for _, id := range []gateway.ClientID{"a", "b", "damaged"} {
		accept(t, e, id)
	}
	if err := e.inst.DB.Set([]byte("cdamaged"), []byte("not a row"), pebble.Sync); err != nil {
		t.Fatal(err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	fs := &heldFS{FS: disk, hold: make(chan struct{})}
	e = openTest(t, powerOptions(fs))
	fs.held.Store(true)
	first := acceptAll(e, []gateway.ClientID{"a"})
	eventually(t, "the sync", func() bool { return fs.waiting.Load() > 0 })
	var rest []func() []error // one after the other, all into the record that is open
	for _, id := range []gateway.ClientID{"a", "b", "damaged", "b", "a"} {
		rest = append(rest, acceptAll(e, []gateway.ClientID{id}))
	}
	fs.held.Store(false)
	close(fs.hold)
	if err := first()[0]; err != nil {
		t.Error(err)
	}
	for i, answers := range rest {
		if err := answers()[0]; i == 2 && !errors.Is(err, gateway.ErrUnavailable) || i != 2 && err != nil {
			t.Errorf("accept %d: %v", i, err)
		}
	}
	for _, id := range []gateway.ClientID{"a", "b"} {
		ps, _, err := e.Next(gateway.TransmissionQuery{Client: id, Max: 100, MaxBytes: 1 << 20}, nil)
		if want := map[gateway.ClientID]int{"a": 4, "b": 3}[id]; err != nil || len(ps) != want {
			t.Errorf("%s has %d transmissions, %v, want %d", id, len(ps), err, want)
		}
	}
}
