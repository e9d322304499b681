package engine

import (
	"archive/tar"
	"compress/gzip"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/longwire/longwire/gateway"
)

// tree is a data directory's files by their paths.
type tree map[string]string

// treeOf reads a directory of a disk.
func treeOf(t *testing.T, disk vfs.FS, dir string) tree {
	t.Helper()
	files := tree{}
	names, err := disk.List(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		name := disk.PathJoin(dir, n)
		info, err := disk.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if !info.IsDir() {
			b, err := readFile(disk, name)
			if err != nil {
				t.Fatal(err)
			}
			files[name] = string(b)
			continue
		}
		for k, v := range treeOf(t, disk, name) {
			files[k] = v
		}
	}
	return files
}

// disk returns a new disk with the files, on stable storage.
func (files tree) disk(t *testing.T) *vfs.MemFS {
	t.Helper()
	disk := vfs.NewCrashableMem()
	for name, content := range files {
		dir := disk.PathDir(name)
		if err := makeDir(disk, dir); err != nil {
			t.Fatal(err)
		}
		if err := storeFile(disk, name, content); err != nil {
			t.Fatal(err)
		}
	}
	return disk
}

func readFile(disk vfs.FS, name string) ([]byte, error) {
	f, err := disk.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(f)
}

// storeFile writes a file to stable storage.
func storeFile(disk vfs.FS, name, content string) error {
	f, err := disk.Create(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = io.WriteString(f, content)
	d, dirErr := disk.OpenDir(disk.PathDir(name))
	if err := errors.Join(err, f.Sync(), f.Close(), dirErr); err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// with returns the files with one of them changed; nil removes it.
func (files tree) with(name string, content *string) tree {
	changed := tree{}
	for k, v := range files {
		changed[k] = v
	}
	delete(changed, name)
	if content != nil {
		changed[name] = *content
	}
	return changed
}

// wantSame reports files that are not as they were. LOCK may have come: it has
// no content.
func (files tree) wantSame(t *testing.T, what string, disk vfs.FS, dir string) {
	t.Helper()
	now := treeOf(t, disk, dir)
	for name, content := range files {
		if got, ok := now[name]; !ok || got != content {
			t.Errorf("%s: a refusal has changed %s (there: %t)", what, name, ok)
		}
		delete(now, name)
	}
	delete(now, disk.PathJoin(dir, nameLock))
	for name := range now {
		t.Errorf("%s: a refusal has made %s", what, name)
	}
}

// rowsOf returns how many rows of each kind a store has, with a checksum of them.
// What differs from start to start is left out.
func rowsOf(t *testing.T, e *Engine) string {
	t.Helper()
	var b strings.Builder
	err := e.read(func(v *view) error {
		kind, rows, h := byte(0), 0, sha256.New()
		end := func() {
			if rows > 0 {
				fmt.Fprintf(&b, "%c %d %x\n", kind, rows, h.Sum(nil)[:8])
			}
			rows, h = 0, sha256.New()
		}
		err := eachRow(v, "\"", func(k, val []byte) {
			switch k[0] {
			case 'W', 'T', 'i', 'E': // each opening writes them: the writer, the end of the era before, its clients that are online, and events
				return
			}
			if k[0] != kind {
				end()
				kind = k[0]
			}
			rows++
			fmt.Fprintf(h, "%d %d %s%s", len(k), len(val), k, val)
		})
		end()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// eachRow calls fn with the rows of a view from a key on.
func eachRow(v *view, from string, fn func(k, val []byte)) error {
	it, err := v.Rows.Iter([]byte(max(from, "\x00")), []byte{0xff}) // no bound is empty
	if err != nil {
		return err
	}
	for ok := it.First(); ok; ok = it.Next() {
		val, _ := it.ValueAndErr() // Error has the same error
		fn(it.Key(), val)
	}
	return errors.Join(it.Error(), it.Close())
}

// oldStores are stores that programs of older formats have written: testdata has them,
// and says how they were made.
var oldStores = []string{"format2/clean", "format2/killed", "format3/clean", "format3/killed"}

// oldStore unpacks one of oldStores.
func oldStore(t *testing.T, name string) tree {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", name+".tar.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	files := tree{}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.FileInfo().Mode().IsRegular() {
			b, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			files["data/"+h.Name] = string(b)
		}
	}
}

func wantRows(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name+".rows"))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// A store of an older format has the same rows after its migration: those that the
// program that wrote it has counted. It may be cut short at any change.
func TestMigration(t *testing.T) {
	alone(t)
	for _, name := range oldStores {
		t.Run(name, func(t *testing.T) {
			files, want := oldStore(t, name), wantRows(t, name)
			open := func(disk vfs.FS) error {
				e, err := Open(powerOptions(disk))
				if err == nil {
					err = e.Close()
				}
				return err
			}
			changes := changesOf(t, files, open)
			for _, n := range append(changes, 1<<30) { // the last is not cut short
				disk := files.disk(t)
				f := &faultFS{FS: disk, fault: fault{mode: "fails", at: n}}
				f.armed.Store(true)
				_ = open(f)
				e, err := Open(powerOptions(disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 50, RNG: rand.New(rand.NewPCG(9, uint64(n)))})))
				if err != nil {
					t.Fatalf("after a fault at change %d: %v", n, err)
				}
				if got := rowsOf(t, e); got != want {
					t.Fatalf("after a fault at change %d the rows are\n%swant\n%s", n, got, want)
				}
				verifyView(t, e)
				_ = e.Close()
			}
		})
	}
}

// A client that was connected when the program of an older format was killed reads so.
func TestPresenceInOldStores(t *testing.T) {
	for _, name := range oldStores {
		e := openTest(t, powerOptions(oldStore(t, name).disk(t)))
		p, err := e.Clients(gateway.ClientQuery{QueuedGT: -1, Limit: 1000})
		if err != nil || len(p.Items) < 300 {
			t.Fatalf("%s: %d clients, %v", name, len(p.Items), err)
		}
		killed := 0
		for _, c := range p.Items {
			switch {
			case c.LastClose == gateway.ReasonServerStopped:
				killed++
			case c.LastClose == "" && !c.LastSeenAt.IsZero():
				t.Errorf("%s: client %s has no last close", name, c.ID)
			}
		}
		if killed == 0 {
			t.Errorf("%s: no client was connected when the program was killed", name)
		}
		_ = e.Close()
	}
}

// stores are one of each kind that a start may find, as files of a directory
// named data, with the rows that they have.
func stores(t *testing.T) map[string]stored {
	t.Helper()
	all := map[string]stored{}
	add := func(name string, files tree) {
		t.Helper()
		e := openTest(t, powerOptions(files.disk(t)))
		all[name] = stored{files, rowsOf(t, e)}
		_ = e.Close()
	}
	disk, _ := filled(t, 150)
	add("clean", treeOf(t, disk, "data"))

	e := openTest(t, powerOptions(disk))
	w := &worker{e: e, l: newLedger(), rng: rand.New(rand.NewPCG(3, 4)), clients: []gateway.ClientID{"a", "b", "c"}}
	for range 250 {
		if err := w.step(); err != nil {
			t.Fatal(err)
		}
	}
	drain(e)
	if err := e.mark.Follow(); err != nil {
		t.Fatal(err)
	}
	add("killed", treeOf(t, disk.CrashClone(vfs.CrashCloneCfg{}), "data"))

	if err := e.Backup(t.Context(), "backup", nil); err != nil {
		t.Fatal(err)
	}
	copied := tree{}
	for name, content := range treeOf(t, disk, "backup") {
		copied["data"+strings.TrimPrefix(name, "backup")] = content
	}
	add("backup", copied)

	old := oldStore(t, "format2/killed").disk(t)
	o, err := Open(powerOptions(old))
	if err != nil {
		t.Fatal(err)
	}
	_ = o.mark.Follow()
	add("migrated", treeOf(t, old.CrashClone(vfs.CrashCloneCfg{}), "data"))
	_ = o.Close()
	return all
}

type stored struct {
	files tree
	rows  string
}

// damages are a file as a bad copy or a bad disk leaves it.
func damages(name, content string) map[string]*string {
	cut := func(n int) *string { s := content[:n]; return &s }
	all := map[string]*string{"missing": nil}
	if len(content) == 0 {
		return all
	}
	all["emptied"], all["halved"] = cut(0), cut(len(content)/2)
	all["short by one"] = cut(len(content) - 1)
	zeroed := content[:len(content)/2] + strings.Repeat("\x00", len(content)-len(content)/2)
	all["zeroed from the middle"] = &zeroed
	step := max(1, len(content)/16)
	if strings.HasSuffix(name, ".log") {
		step = 0
		chunks := chunksOf(name, content)
		each := max(1, len(chunks)/tortured(24))
		for i, at := range chunks {
			if i%each > 0 && i < len(chunks)-4 {
				continue
			}
			all[fmt.Sprintf("cut at record %d", at)] = cut(at)
		}
	}
	for at := step; step > 0 && at < len(content); at += step {
		all[fmt.Sprintf("cut at %d", at)] = cut(at)
	}
	return all
}

// chunksOf returns where the chunks of a log begin: CRC u32, length u16, type u8 and the
// number of the log u32, in a header of 19 bytes. None crosses a block of 32 KiB.
func chunksOf(name, log string) (all []int) {
	const header, block = 19, 32 << 10
	number, err := strconv.ParseUint(strings.TrimSuffix(filepath.Base(name), ".log"), 10, 32)
	if err != nil {
		return nil
	}
	for at := 0; at+header <= len(log); {
		end := min(len(log), (at/block+1)*block)
		h := []byte(log[at:min(at+header, end)])
		size := 0
		if len(h) == header && h[6] >= 9 && h[6] <= 12 && uint64(binary.LittleEndian.Uint32(h[7:])) == number {
			size = header + int(binary.LittleEndian.Uint16(h[4:]))
		}
		if size == 0 || at+size > end {
			at++
			continue
		}
		all = append(all, at)
		at += size
	}
	return all
}

// A store that lacks a file, or a part of one, is refused with the name of the
// file or opens with the same rows. A refusal changes nothing, and Verify and
// Open judge alike.
func TestDamageMatrix(t *testing.T) {
	alone(t)
	for kind, s := range stores(t) {
		if underRace && kind != "killed" { // one goroutine works: the detector has little to see
			continue
		}
		t.Run(kind, func(t *testing.T) {
			refused, opened := 0, 0
			for name, content := range s.files {
				for what, changed := range damages(name, content) {
					if filepath.Base(name) == nameLock {
						continue // it has no content and is made when it is missing
					}
					what = name + " " + what
					if s.damaged(t, what, name, changed) {
						refused++
					} else {
						opened++
					}
				}
			}
			t.Logf("%d refused, %d opened with the same rows", refused, opened)
			if refused < 20 {
				t.Errorf("only %d damages are refused", refused)
			}
		})
	}
}

// damaged tries one damage and reports whether it is refused.
func (s stored) damaged(t *testing.T, what, name string, changed *string) bool {
	t.Helper()
	files := s.files.with(name, changed)
	disk := files.disk(t)
	o := powerOptions(disk)
	r, verifyErr := Verify(o)
	files.wantSame(t, "verify, "+what, disk, "data")
	e, err := Open(o)
	if err != nil {
		files.wantSame(t, what, disk, "data")
		if verifyErr == nil && r.OK() {
			t.Errorf("%s: refused (%v), but verified", what, err)
		}
		if strings.HasPrefix(filepath.Base(name), "OPTIONS-") {
			t.Errorf("%s: refused for a file that each start makes: %v", what, err)
		}
		if !strings.Contains(err.Error(), filepath.Base(name)) && !strings.Contains(err.Error(), nameDB) && !strings.Contains(err.Error(), nameFormat) {
			t.Errorf("%s: the refusal names no file: %v", what, err)
		}
		if !strings.Contains(err.Error(), "longwire store") && !strings.Contains(err.Error(), "restore a backup") {
			t.Errorf("%s: the refusal names no remedy: %v", what, err)
		}
		return true
	}
	defer e.Close()
	if got := rowsOf(t, e); got != s.rows {
		t.Errorf("%s: opened with other rows:\n%swant\n%s", what, got, s.rows)
	}
	if verifyErr != nil || !r.OK() {
		t.Errorf("%s: opened, but Verify says %v, %+v", what, verifyErr, r)
	}
	return false
}

// A process that cannot open its database again keeps the log's name, which devices and
// callers read all the time. The name became empty.
func TestTheLogKeepsItsName(t *testing.T) {
	e := openTest(t, powerOptions(vfs.NewMem()))
	inst, log := e.view.Load().inst, e.Log()
	if err := inst.DB.Set([]byte("!log"), []byte("damaged"), pebble.Sync); err != nil {
		t.Fatal(err)
	}
	inst.Seal(errFault)
	eventually(t, "the database to fail to open", func() bool {
		p := e.failure.Load()
		return p != nil && !errors.Is(*p, errFault)
	})
	if got := e.Log(); got != log {
		t.Errorf("the log has the name %q, it had %q", got, log)
	}
}
