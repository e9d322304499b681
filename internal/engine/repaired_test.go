package engine

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine/disk"
)

// wantToldOnce opens the store and wants one event store.repaired in its log.
func wantToldOnce(t *testing.T, fs vfs.FS, damage string) (told gateway.Event) {
	t.Helper()
	e := openTest(t, powerOptions(fs))
	defer e.Close()
	n := 0
	for after, more := uint64(0), true; more; {
		events, through, err := e.Events(after, 100, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, ev := range events {
			if ev.Type == gateway.EventStoreRepaired {
				n, told = n+1, ev
			}
		}
		more, after = through > after, through
	}
	if n != 1 || told.Reason != damage || told.Detail == "" || told.Repair == nil || told.At.IsZero() {
		t.Errorf("%d events tell of a repair, the last one is %+v, want one of %s", n, told, damage)
	}
	return told
}

// The event says from which event on something may be missing, and is behind all numbers
// that the lost events may have had.
func TestARepairTellsReadersOnce(t *testing.T) {
	killed := stores(t)["killed"]
	log := killed.files.largestLog()
	half := killed.files[log][:len(killed.files[log])/2]
	fs := killed.files.with(log, &half).disk(t)
	before, _, err := readMark(fs, "data")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Repair(powerOptions(fs), acceptLoss); err != nil {
		t.Fatal(err)
	}
	told := wantToldOnce(t, fs, gateway.DamageLog)
	if r := told.Repair; r.After == 0 || r.After >= before.Reserved.Event || told.Seq <= before.Reserved.Event || r.Since.IsZero() || !r.Since.Before(told.At) {
		t.Errorf("event %d tells of %+v; events up to %d may have been given", told.Seq, r, before.Reserved.Event)
	}
	e := openTest(t, powerOptions(fs))
	events, _, err := e.Events(told.Repair.After, 10, nil)
	if err != nil || len(events) == 0 || events[0].Seq > told.Seq {
		t.Errorf("behind the last event that is kept come %+v, %v", events, err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	wantToldOnce(t, fs, gateway.DamageLog) // not again

	// The next repair has its own event.
	mark := treeOf(t, fs, "data").with("data/"+nameMark, nil).disk(t)
	if _, err := Repair(powerOptions(mark), acceptLoss); err != nil {
		t.Fatal(err)
	}
	e = openTest(t, powerOptions(mark))
	defer e.Close()
	if events, _, err = e.Events(told.Seq, 100, nil); err != nil || len(events) == 0 || events[len(events)-1].Reason != gateway.DamageMark {
		t.Errorf("behind the first repair come %+v, %v", events, err)
	}
}

// A repair that was killed before its event is told by the next start, which may be cut
// short at any change of the disk.
func TestTellingOfARepairIsCutShort(t *testing.T) {
	killed := stores(t)["killed"]
	log := killed.files.largestLog()
	half := killed.files[log][:len(killed.files[log])/2]
	fs := killed.files.with(log, &half).disk(t)
	o := powerOptions(fs).withDefaults()
	if _, err := disk.Repair(o.disk(), acceptLoss); err != nil {
		t.Fatal(err)
	}
	files := treeOf(t, fs, "data")
	if files["data/"+nameRepaired] == "" {
		t.Fatal("the repair has left no note")
	}
	killEach(t, files, func(fs vfs.FS) error {
		e, err := Open(powerOptions(fs))
		if err != nil {
			return err
		}
		return e.Close()
	}, func(t *testing.T, fs *vfs.MemFS) {
		wantToldOnce(t, fs, gateway.DamageLog)
		if files := treeOf(t, fs, "data"); files["data/"+nameRepaired] != "" {
			t.Error("the note is left")
		}
	})
}
