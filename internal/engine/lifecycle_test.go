package engine

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine/disk"
	"github.com/longwire/longwire/internal/engine/record"
)

// killEach runs do on copies of the files, each time on a disk that dies at
// another change, and gives check what a power cut then leaves.
func killEach(t *testing.T, files tree, do func(disk vfs.FS) error, check func(t *testing.T, disk *vfs.MemFS)) {
	t.Helper()
	modes := []string{"dies", "fails"}
	if underRace {
		modes = modes[:1]
	}
	for _, n := range changesOf(t, files, do) {
		for _, mode := range modes {
			disk := files.disk(t)
			f := &faultFS{FS: disk, fault: fault{mode: mode, at: n}}
			f.armed.Store(true)
			_ = do(f)
			cfg := vfs.CrashCloneCfg{UnsyncedDataPercent: []int{0, 50, 100}[n%3], RNG: rand.New(rand.NewPCG(7, uint64(n)))}
			check(t, disk.CrashClone(cfg))
			if t.Failed() {
				t.Fatalf("%s at change %d", mode, n)
			}
		}
	}
}

// changesOf runs do on a copy of the files and returns the numbers of its changes at
// which a test cuts it short: the first and the last of each operation on each kind of
// file, in the long form many more. Under the race detector it is the first of each
// operation.
func changesOf(t *testing.T, files tree, do func(disk vfs.FS) error) (chosen []int64) {
	t.Helper()
	fs := &faultFS{FS: files.disk(t), fault: fault{mode: "fails", at: 1 << 30}}
	if err := do(fs); err != nil {
		t.Fatalf("without a fault: %v", err)
	}
	if len(fs.done) < 10 {
		t.Fatalf("only %d changes are made", len(fs.done))
	}
	of := func(c change) change {
		if underRace { // one goroutine works: the detector has little to see
			return change{op: c.op}
		}
		return change{c.op, cmp.Or(c.marker(), fileKind(c.name))}
	}
	last := map[change]int{}
	for i, c := range fs.done {
		last[of(c)] = i
	}
	times := map[change]int{}
	for i, c := range fs.done {
		times[of(c)]++
		if times[of(c)] <= tortured(1) || i == last[of(c)] && !underRace {
			chosen = append(chosen, int64(i+1))
		}
	}
	return chosen
}

// A store whose making was cut short at any change is made anew by the next
// start.
func TestCreateIsCutShort(t *testing.T) {
	open := func(disk vfs.FS) error {
		e, err := Open(powerOptions(disk))
		if err == nil {
			err = e.Close()
		}
		return err
	}
	killEach(t, tree{}, open, func(t *testing.T, disk *vfs.MemFS) {
		e := openTest(t, powerOptions(disk))
		accept(t, e, "a")
		if err := e.Close(); err != nil {
			t.Error(err)
		}
		if r, err := Verify(powerOptions(disk)); err != nil || !r.OK() || r.Messages != 1 {
			t.Errorf("%+v, %v", r, err)
		}
	})
}

// A directory that has something of a store is not taken for a new one.
func TestOnlyAnEmptyDirectoryIsNew(t *testing.T) {
	for name, says := range map[string]string{
		"data/MARK":            "FORMAT",
		"data/db/000004.log":   "FORMAT",
		"data/RESTORING":       "restore was cut short",
		"data/db/000005.sst":   "FORMAT",
		"data/api-keys.json":   "",
		"data/quarantine/kept": "",
	} {
		files := tree{name: "content"}
		disk := files.disk(t)
		e, err := Open(powerOptions(disk))
		if says == "" {
			if err != nil {
				t.Errorf("beside %s no store can be made: %v", name, err)
			} else {
				_ = e.Close()
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("a directory with %s = %v, want a refusal that names %s", name, err, says)
		}
		files.wantSame(t, name, disk, "data")
	}
}

// A restore that was cut short leaves no store, or the whole one, and succeeds
// when it is run again. The numbers rise beyond all that may have been given.
func TestRestoreIsCutShort(t *testing.T) {
	s := stores(t)["backup"]
	files := tree{}
	for name, content := range s.files {
		files["backup"+strings.TrimPrefix(name, "data")] = content
	}
	o := powerOptions(nil)
	restoreTo := func(disk vfs.FS) error {
		o := o
		o.FS = disk
		return Restore("backup", o, nil)
	}
	before, _, err := readMark(files.disk(t), "backup")
	if err != nil || !before.Branched || !before.Orderly {
		t.Fatalf("MARK of a backup: %+v, %v", before, err)
	}
	killEach(t, files, restoreTo, func(t *testing.T, disk *vfs.MemFS) {
		o := o
		o.FS = disk
		if _, err := disk.Stat("data/" + nameFormat); err == nil {
			s.wantBranched(t, disk, &before)
			return
		}
		if err := restoreTo(disk); err != nil {
			t.Error(err)
			return
		}
		s.wantBranched(t, disk, &before)
	})
}

// wantBranched opens the store and wants its rows, with a new log and numbers
// that have risen.
func (s stored) wantBranched(t *testing.T, disk vfs.FS, before *mark) {
	t.Helper()
	e := openTest(t, powerOptions(disk))
	defer e.Close()
	if got := rowsOf(t, e); s.rows != "" && got != s.rows {
		t.Errorf("rows are\n%swant\n%s", got, s.rows)
	}
	verifyView(t, e)
	if e.Log() == before.Log {
		t.Errorf("the log is still %s", e.Log())
	}
	if seq := accept(t, e, "a").Seq; uint64(seq) < before.Reserved.Seq+branchGap {
		t.Errorf("a message gets the number %d; up to %d may have been given", seq, before.Reserved.Seq)
	}
	if n := uplinked(t, e, "a"); n < before.Reserved.Useq+branchGap {
		t.Errorf("an uplink gets the number %d; up to %d may have been given", n, before.Reserved.Useq)
	}
}

// A repair that is cut short at any change can be run again, and has the same
// result as one that is not.
func TestRepairIsCutShort(t *testing.T) {
	alone(t)
	killed := stores(t)["killed"]
	log := killed.files.largestLog()
	half := killed.files[log][:len(killed.files[log])/2]
	bad := []byte(killed.files[log])
	bad[len(bad)/3] ^= 4
	flipped := string(bad)
	for name, damaged := range map[string]struct {
		files  tree
		damage string
	}{
		"log cut short": {killed.files.with(log, &half), gateway.DamageLog},
		"log damaged":   {killed.files.with(log, &flipped), gateway.DamageLog},
		"log missing":   {killed.files.with(log, nil), gateway.DamageLogMissing},
		"no MARK":       {killed.files.with("data/"+nameMark, nil), gateway.DamageMark},
		"no FORMAT":     {killed.files.with("data/"+nameFormat, nil), gateway.DamageMark},
	} {
		files, damage := damaged.files, damaged.damage
		t.Run(name, func(t *testing.T) {
			repair := func(disk vfs.FS) error {
				_, err := Repair(powerOptions(disk), acceptLoss)
				return err
			}
			before, _, err := readMark(killed.files.disk(t), "data")
			if err != nil {
				t.Fatal(err)
			}
			if name == "no MARK" {
				before.Reserved = disk.Numbers{} // it is not known
			}
			want := stored{}
			once := files.disk(t)
			if err := repair(once); err != nil {
				t.Fatal(err)
			}
			e := openTest(t, powerOptions(once))
			want.rows = rowsOf(t, e)
			_ = e.Close()
			killEach(t, files, repair, func(t *testing.T, disk *vfs.MemFS) {
				if err := repair(disk); err != nil {
					t.Error(err)
					return
				}
				want.wantBranched(t, disk, &before)
				wantToldOnce(t, disk, damage)
				for n, content := range files {
					if name == "no MARK" || name == "no FORMAT" {
						break // no log is touched
					}
					if (strings.HasSuffix(n, ".log") && n == log || n == "data/"+nameMark) && !kept(t, disk, content) {
						t.Errorf("%s is not in quarantine", n)
					}
				}
			})
		})
	}
}

func (files tree) largestLog() (log string) {
	for name, content := range files {
		if strings.HasSuffix(name, ".log") && len(content) > len(files[log]) {
			log = name
		}
	}
	return log
}

// kept reports whether a file with the content is in quarantine.
func kept(t *testing.T, disk vfs.FS, content string) bool {
	t.Helper()
	for name, c := range treeOf(t, disk, "data") {
		if c == content && strings.Contains(name, nameQuarantine) {
			return true
		}
	}
	return false
}

// A repair that is not accepted changes nothing, and says what would be lost.
func TestRepairAsksFirst(t *testing.T) {
	killed := stores(t)["killed"]
	log := killed.files.largestLog()
	half := killed.files[log][:len(killed.files[log])/2]
	files := killed.files.with(log, &half)
	disk := files.disk(t)
	loss, err := Repair(powerOptions(disk), func(l *Loss) error {
		if l.Records <= 0 || l.After.IsZero() || l.Before.Before(l.After) || len(l.Files) < 3 {
			t.Errorf("the loss is %+v, want records, times and files", l)
		}
		return errFault
	})
	if err == nil || loss != nil {
		t.Errorf("repair = %+v, %v", loss, err)
	}
	files.wantSame(t, "a repair that was not accepted", disk, "data")
}

// A backup that is copied into place by hand is no store of the old log either.
func TestBackupInPlaceIsBranched(t *testing.T) {
	s := stores(t)["backup"]
	disk := s.files.disk(t)
	before, _, err := readMark(disk, "data")
	if err != nil {
		t.Fatal(err)
	}
	s.wantBranched(t, disk, &before)
}

// MARK and db/ of different times are refused: neither may be put back alone.
func TestPartsOfDifferentTimesAreRefused(t *testing.T) {
	disk, _ := filled(t, 50)
	early := treeOf(t, disk, "data")
	e := openTest(t, powerOptions(disk))
	for range 10 {
		accept(t, e, "a")
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	late := treeOf(t, disk, "data")
	other, _ := filled(t, 50)
	for what, c := range map[string]struct {
		db, mark tree
		says     string
	}{
		"an older db":     {early, late, "MARK says that record"},
		"an older MARK":   {late, early, "MARK is older than the database"},
		"another store's": {late, treeOf(t, other, "data"), "the database has the log"},
	} {
		mark := c.mark["data/"+nameMark]
		files := c.db.with("data/"+nameMark, &mark)
		disk := files.disk(t)
		if _, err := Open(powerOptions(disk)); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q", what, err, c.says)
		}
		files.wantSame(t, what, disk, "data")
	}
}

// A log that is missing between two others is found by the numbers of its rows,
// although MARK does not list it.
func TestMissingLogInTheMiddle(t *testing.T) {
	disk := vfs.NewCrashableMem()
	full := &faultFS{FS: disk, fault: fault{file: "table", op: "create", mode: "full"}}
	o := powerOptions(full)
	o.MemTableBytes = 64 << 10
	e := openTest(t, o)
	full.armed.Store(true) // no flush ends, so that logs stay
	logs := func() (names []string) {
		for _, name := range storedFiles(t, disk) {
			if strings.HasSuffix(name, ".log") {
				names = append(names, name)
			}
		}
		slices.Sort(names)
		return names
	}
	names := logs()
	first := names[len(names)-1]
	records := func() (with []string) { // the logs that have any
		for _, name := range logs() {
			b, err := readFile(disk, name)
			if err == nil && len(chunksOf(name, string(b))) > 0 && name > first {
				with = append(with, name)
			}
		}
		return with
	}
	for len(records()) < 3 {
		m := message("a")
		m.Payload = make([]byte, 4<<10)
		// Accept would refuse, for the disk is full.
		if _, err := e.do(t.Context(), record.NewAccept(m)); err != nil {
			t.Fatal(err)
		}
	}
	files := treeOf(t, disk.CrashClone(vfs.CrashCloneCfg{}), "data")
	full.armed.Store(false)
	with := records()
	m, _, err := readMark(files.disk(t), "data")
	if err != nil {
		t.Fatal(err)
	}
	m.Logs = nil // as if all were younger than MARK
	slot := string(m.Encode())
	both := slot + slot
	files = files.with("data/"+nameMark, &both)
	if e, err := Open(powerOptions(files.disk(t))); err != nil {
		t.Fatal(err)
	} else {
		_ = e.Close()
	}
	middle := files.with(with[1], nil)
	if _, err := Open(powerOptions(middle.disk(t))); err == nil || !strings.Contains(err.Error(), "does not continue") {
		t.Errorf("without %s: %v, want the gap named", with[1], err)
	}
}

// A backup that a program of an older format has made can be restored.
func TestRestoreOfAnOldBackup(t *testing.T) {
	alone(t)
	loadIDs.Lock()
	loadIDs.n += 10_000 // the old stores have the first ids
	loadIDs.Unlock()
	for _, name := range oldStores {
		files := tree{}
		for file, content := range oldStore(t, name) {
			files["backup"+strings.TrimPrefix(file, "data")] = content
		}
		disk := files.disk(t)
		if err := Restore("backup", powerOptions(disk), nil); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		stored{rows: wantRows(t, name)}.wantBranched(t, disk, &mark{})
	}
}
