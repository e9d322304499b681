package engine

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/longwire/longwire/internal/engine/disk"
)

// operation changes files whose names say what a directory is.
type operation struct {
	files tree
	rows  string // of the store in data when it has succeeded
	do    func(*faultFS) error
	// again is what a user does after a failure; nil: do.
	again func(*faultFS) error
}

// operations are all that make, move or remove markers.
func operations(t *testing.T) map[string]operation {
	t.Helper()
	start := func(fs *faultFS) error {
		fs.armed.Store(true)
		e, err := Open(powerOptions(fs))
		if err != nil {
			return err
		}
		return e.Close()
	}
	all := map[string]operation{
		"first start": {tree{}, "", start, nil},
		"upgrade":     {oldStore(t, "format2/killed"), wantRows(t, "format2/killed"), start, nil},
	}
	kinds := stores(t)
	killed := kinds["killed"]
	all["start after a kill"] = operation{killed.files, killed.rows, start, nil}
	all["start of a copy"] = operation{kinds["backup"].files, kinds["backup"].rows, start, nil}
	log := killed.files.largestLog()
	half := killed.files[log][:len(killed.files[log])/2]
	cut := killed.files.with(log, &half)
	repair := func(fs *faultFS) error {
		fs.armed.Store(true)
		_, err := Repair(powerOptions(fs), acceptLoss)
		return err
	}
	once := cut.disk(t)
	if _, err := Repair(powerOptions(once), acceptLoss); err != nil {
		t.Fatal(err)
	}
	e := openTest(t, powerOptions(once))
	all["repair"] = operation{cut, rowsOf(t, e), repair, nil}

	copied := tree{"data/" + nameCreating: fmt.Sprintf(formatLine, disk.Format)} // a start was cut short
	for name, content := range kinds["backup"].files {
		copied["backup"+strings.TrimPrefix(name, "data")] = content
	}
	all["restore"] = operation{copied, kinds["backup"].rows, func(fs *faultFS) error {
		fs.armed.Store(true)
		return Restore("backup", powerOptions(fs), nil)
	}, func(fs *faultFS) error {
		err := Restore("backup", powerOptions(fs), nil)
		if err != nil && strings.Contains(err.Error(), "there is a store in") {
			err = nil // the copy is whole: a start goes on
		}
		return err
	}}
	all["backup"] = operation{kinds["clean"].files, kinds["clean"].rows, func(fs *faultFS) error {
		e, err := Open(powerOptions(fs))
		if err != nil {
			return err
		}
		fs.armed.Store(true)
		err = e.Backup(t.Context(), "backup", nil)
		fs.armed.Store(false)
		if r, bad := Verify(Options{FS: fs, Dir: "backup"}); err != nil && bad == nil && r.OK() {
			t.Errorf("the backup is there, although it failed: %v", err)
		}
		return errors.Join(err, e.Close())
	}, func(fs *faultFS) error {
		return errors.Join(fs.RemoveAll("backup"), backUp(t, fs))
	}}
	return all
}

// backUp makes a whole backup of the store.
func backUp(t *testing.T, fs *faultFS) error {
	e, err := Open(powerOptions(fs))
	if err != nil {
		return err
	}
	err = errors.Join(e.Backup(t.Context(), "backup", nil), e.Close())
	if r, bad := Verify(Options{FS: fs, Dir: "backup"}); bad != nil || !r.OK() {
		t.Errorf("a backup after a fault: %+v, %v", r, bad)
	}
	return err
}

// A file whose name says what a directory is cannot be made, written, synced, moved
// or removed: the operation fails and names the file. Whether the power is cut then
// or not, the operation succeeds when it is done again, and the store has everything.
func TestFaultsOfMarkers(t *testing.T) {
	alone(t)
	rows, all, ran := map[string]bool{}, operations(t), 0
	for name, op := range all {
		if underRace && name != "restore" { // one goroutine works: the detector has little to see
			continue
		}
		t.Run(name, func(t *testing.T) {
			ran++
			plain := &faultFS{FS: op.files.disk(t), fault: fault{mode: "fails", at: 1 << 30}}
			if err := op.do(plain); err != nil {
				t.Fatal(err)
			}
			op.want(t, name, plain)
			times := map[string]int{}
			for i, c := range plain.done {
				row := c.marker() + " " + c.op
				if times[row]++; c.marker() == "" || times[row] > tortured(1) {
					continue
				}
				modes := []string{"fails", "applied", "full", "dies"}
				if c.op == "write" {
					modes = append(modes, "short")
				}
				if underRace {
					modes = modes[:1]
				}
				for _, mode := range modes {
					if f := (fault{mode: mode, at: int64(i + 1)}); op.fails(t, fmt.Sprintf("%v %s", c, mode), f) {
						rows[row] = true
					}
				}
			}
		})
	}
	var want []string
	for _, name := range []string{nameCreating, nameRestoring, nameFormat, nameMark, "marker.format-version", "marker.manifest"} {
		for _, op := range []string{"create", "remove", "rename", "sync", "write"} {
			empty := strings.HasPrefix(name, "marker.") && (op == "rename" || op == "write")
			if !empty && (op != "remove" || name == nameCreating || strings.HasPrefix(name, "marker.")) {
				want = append(want, name+" "+op)
			}
		}
	}
	for _, row := range want {
		if !rows[row] && ran == len(all) {
			t.Errorf("no operation has the row %s", row)
		}
	}
}

// fails does the operation with a fault and then again. It reports whether the fault
// has hit a marker.
func (op *operation) fails(t *testing.T, what string, f fault) bool {
	t.Helper()
	disk := op.files.disk(t)
	fs := &faultFS{FS: disk, fault: f}
	err := op.do(fs)
	fs.armed.Store(false)
	kind := fs.hit.marker()
	switch {
	case kind == "":
		return false // files are not made in the same order each time
	case fs.hit.op == "remove" && strings.HasPrefix(kind, "marker."): // an older marker may stay, the newest counts
	case err == nil:
		t.Errorf("%s: done, as if nothing had been", what)
	case !strings.Contains(err.Error(), kind):
		t.Errorf("%s: the error names no %s: %v", what, kind, err)
	}
	rng := rand.New(rand.NewPCG(3, uint64(f.at)))
	disks := []*vfs.MemFS{disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 50, RNG: rng}), disk, disk.CrashClone(vfs.CrashCloneCfg{})}
	if underRace {
		disks = disks[:1]
	}
	for _, left := range disks {
		again := op.again
		if again == nil {
			again = op.do
		}
		healed := &faultFS{FS: left}
		if err := again(healed); err != nil {
			t.Errorf("%s, and again: %v", what, err)
			continue
		}
		op.want(t, what, healed)
	}
	return true
}

// want opens the store and wants its rows.
func (op *operation) want(t *testing.T, what string, fs *faultFS) {
	t.Helper()
	e, err := Open(powerOptions(fs))
	if err != nil {
		t.Errorf("%s, and a start: %v", what, err)
		return
	}
	defer e.Close()
	if got := rowsOf(t, e); got != op.rows {
		t.Errorf("%s: the rows are\n%swant\n%s", what, got, op.rows)
	}
	verifyView(t, e)
}
