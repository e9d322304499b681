package engine

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine/disk"
)

// filled returns a disk with a store that was closed, and what it promised.
func filled(t *testing.T, steps int) (*vfs.MemFS, *ledger) {
	t.Helper()
	fs, l := vfs.NewCrashableMem(), newLedger()
	e := openTest(t, powerOptions(fs))
	e.Observe(l)
	w := &worker{e: e, l: l, rng: rand.New(rand.NewPCG(1, 2)), clients: []gateway.ClientID{"a", "b", "c"}}
	for range steps {
		if err := w.step(); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	return fs, l
}

func copyDisk(fs *vfs.MemFS) *vfs.MemFS {
	return fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(1, 1))})
}

func storedFiles(t *testing.T, fs vfs.FS) (names []string) {
	t.Helper()
	list, err := fs.List("data/" + nameDB)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range list {
		names = append(names, "data/"+nameDB+"/"+n)
	}
	return names
}

// flip changes one bit of a file.
func flip(t *testing.T, fs *vfs.MemFS, name string, rng *rand.Rand) (offset int) {
	t.Helper()
	b, err := fs.UnsafeGetFileDataBuffer(name)
	if err != nil {
		t.Fatal(err)
	}
	offset = rng.IntN(len(b))
	b[offset] ^= 1 << rng.IntN(8)
	return offset
}

// A flipped bit in any stored file is either found, or of no consequence: what
// is read is never wrong, and nothing is skipped in silence.
// An outcome that finds the queue full leaves no trace, and nobody waits.
func TestNoRoomForAnOutcome(t *testing.T) {
	e := &Engine{queue: newQueue()}
	o := gateway.Outcome{Message: "msg_1", State: gateway.Acked, Result: []byte("done")}
	for n := range maxWaitingEvents {
		o.Client = gateway.ClientID(fmt.Sprint(n))
		if !e.TrySettle(o, false) {
			t.Fatalf("the queue is full with %d events, not %d", n, maxWaitingEvents)
		}
	}
	n, bytes := e.Undurable(o.Client)
	if e.TrySettle(o, true) || len(e.queue.ops) != maxWaitingEvents || e.queue.urgent != 0 {
		t.Errorf("a full queue holds %d events, %d of them urgent", len(e.queue.ops), e.queue.urgent)
	}
	if n2, bytes2 := e.Undurable(o.Client); n2 != n || bytes2 != bytes {
		t.Errorf("%d outcomes with %d bytes are counted, want %d with %d", n2, bytes2, n, bytes)
	}
}

func TestBitFlipIsFound(t *testing.T) {
	alone(t)
	disk, l := filled(t, 400)
	rng := rand.New(rand.NewPCG(5, 6))
	found := 0
	for i := range tortured(60) {
		names := storedFiles(t, disk)
		name := names[i%len(names)]
		fs := copyDisk(disk)
		if info, err := fs.Stat(name); err != nil || info.Size() == 0 {
			continue
		}
		offset := flip(t, fs, name, rng)
		where := fmt.Sprintf("%s offset %d", name, offset)
		r, err := Verify(powerOptions(fs))
		if err != nil || !r.OK() {
			found++
			if strings.HasSuffix(name, ".sst") && err == nil && !strings.Contains(strings.Join(r.Problems, " "), name[len("data/db/"):len(name)-4]) {
				t.Errorf("%s: the file is not named: %v", where, r.Problems)
			}
			continue
		}
		e, err := Open(powerOptions(fs))
		if err != nil {
			t.Errorf("%s: Verify finds nothing, Open fails: %v", where, err)
			continue
		}
		for _, s := range l.losses(t, e) {
			t.Errorf("%s: Verify finds nothing, yet %s", where, s)
		}
		_ = e.Close()
	}
	if found == 0 {
		t.Error("no flipped bit was found")
	}
}

// A running store that meets a damaged table says so and never hands out a
// wrong payload.
func TestBitFlipWhileReading(t *testing.T) {
	disk, l := filled(t, 400)
	rng := rand.New(rand.NewPCG(8, 9))
	refused := 0
	for range tortured(20) {
		fs := copyDisk(disk)
		for _, name := range storedFiles(t, fs) {
			if strings.HasSuffix(name, ".sst") {
				flip(t, fs, name, rng)
			}
		}
		e, err := Open(powerOptions(fs))
		if err != nil {
			refused++
			continue
		}
		for id, want := range l.accepted {
			got, err := e.Message(id)
			switch {
			case err != nil && gateway.CodeOf(err) != gateway.CodeUnavailable:
				t.Errorf("message %s: %v, want it or unavailable", id, err)
			case err != nil:
				refused++
				if e.Health() == nil {
					t.Error("a damaged row was met and the store is healthy")
				}
			case string(got.Payload) != string(want.payload):
				t.Errorf("message %s has a wrong payload", id)
			}
		}
		_ = e.Close()
	}
	if refused == 0 {
		t.Error("no damage was met")
	}
}

// A damaged record in the middle of the log stops the start, with file, offset
// and what to do; repair keeps the damaged file and everything before it.
// provenSync returns the highest offset up to which a chunk of a log says that it was
// synced when the chunk was written.
func provenSync(log []byte) (offset int) {
	const block, header = 32 << 10, 19
	for base := 0; base < len(log); base += block {
		b := log[base:min(len(log), base+block)]
		for len(b) >= header && b[6] != 0 {
			offset = max(offset, int(binary.LittleEndian.Uint64(b[11:])))
			b = b[min(len(b), header+int(binary.LittleEndian.Uint16(b[4:]))):]
		}
	}
	return offset
}

func TestDamagedLog(t *testing.T) {
	fs, l := vfs.NewCrashableMem(), newLedger()
	o := powerOptions(fs)
	o.MemTableBytes = 8 << 20 // all in one log
	e := openTest(t, o)
	e.Observe(l)
	w := &worker{e: e, l: l, rng: rand.New(rand.NewPCG(1, 2)), clients: []gateway.ClientID{"a", "b", "c"}}
	var early *ledger
	for i := range 300 {
		if err := w.step(); err != nil {
			t.Fatal(err)
		}
		if i == 20 {
			drain(e)
			early = l.copy()
		}
	}
	for range 40 { // damage in the last writes looks like a torn end: let them be small
		if _, err := e.AppendUplink(t.Context(), gateway.Uplink{Client: "a", At: time.Now(), Payload: []byte("small")}); err != nil {
			t.Fatal(err)
		}
	}
	cut, _ := cutPower(fs, l, 0, w.rng)
	var log string // the largest
	size := int64(0)
	for _, name := range storedFiles(t, cut) {
		if info, err := cut.Stat(name); err == nil && strings.HasSuffix(name, ".log") && info.Size() > size {
			log, size = name, info.Size()
		}
	}
	o.FS = copyDisk(cut)
	if e, err := Open(o); err != nil {
		t.Fatalf("a log that a power cut has left is taken for damaged: %v", err)
	} else if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := cut.UnsafeGetFileDataBuffer(log)
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []int{0, 5, len(b) / 3, provenSync(b) - 1} { // the last is in the last block
		b[at] ^= 4
		o.FS = copyDisk(cut)
		if e, err := Open(o); err == nil {
			_ = e.Close()
			t.Errorf("a log that is damaged at %d of %d was opened", at, len(b))
		}
		b[at] ^= 4
	}
	b[len(b)/2] ^= 4
	o.FS = cut
	_, err = Open(o)
	if err == nil {
		t.Fatal("a damaged log was opened")
	}
	for _, want := range []string{log, "offset", "repair", nameQuarantine} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not name %q: %v", want, err)
		}
	}
	if _, err := Repair(o, acceptLoss); err != nil {
		t.Fatalf("repair: %v", err)
	}
	again, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	early.finals = nil
	for _, s := range early.losses(t, again) {
		t.Errorf("repair loses what was before the damage: %s", s)
	}
	verifyView(t, again)
	if kept, err := cut.List("data/" + nameQuarantine); err != nil || len(kept) == 0 {
		t.Errorf("quarantine holds %v, %v", kept, err)
	}
}

func acceptLoss(*Loss) error { return nil }

func TestSecondProcessIsRefused(t *testing.T) {
	dir := t.TempDir()
	e, err := Open(Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Options{Dir: dir}); !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), dir) {
		t.Errorf("second open: %v, want one that wraps ErrLocked and names %s", err, dir)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if e, err = Open(Options{Dir: dir}); err != nil {
		t.Fatalf("open after close: %v", err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
}

// What doctor asks, beside a running gateway too: the files that are small say why a start
// would be refused.
func TestSmallFilesSayWhyAStartIsRefused(t *testing.T) {
	for name, damage := range map[string]func(dir string) error{
		"sound": func(string) error { return nil },
		"MARK":  func(dir string) error { return os.WriteFile(filepath.Join(dir, "MARK"), make([]byte, 9000), 0o600) },
		"a marker": func(dir string) error {
			markers, err := filepath.Glob(filepath.Join(dir, "db", "marker.manifest.*"))
			for _, m := range markers {
				err = errors.Join(err, os.Remove(m))
			}
			return err
		},
		"the manifest": func(dir string) error {
			manifests, err := filepath.Glob(filepath.Join(dir, "db", "MANIFEST-*"))
			for _, m := range manifests {
				err = errors.Join(err, os.Remove(m))
			}
			return err
		},
	} {
		o := Options{FS: disk.OwnersFS(), Dir: filepath.Join(t.TempDir(), "data")}
		e, err := Open(o)
		if err != nil {
			t.Fatal(err)
		}
		accept(t, e, "a")
		if err := Refused(o); err != nil {
			t.Errorf("%s: while it is open: %v", name, err)
		}
		if err := errors.Join(e.Close(), damage(o.Dir)); err != nil {
			t.Fatal(err)
		}
		said := Refused(o)
		again, err := Open(o)
		if err == nil {
			err = again.Close()
		}
		if (said == nil) != (err == nil) || (err == nil) != (name == "sound") {
			t.Errorf("%s is damaged: the files say %v, a start %v", name, said, err)
		}
	}
}

func TestForeignFormatIsRefused(t *testing.T) {
	for format, want := range map[int]string{disk.Format + 1: "newer program", 1: "the version that wrote it"} {
		fs, _ := filled(t, 10)
		f, err := fs.Create("data/"+nameFormat, vfs.WriteCategoryUnspecified)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = fmt.Fprintf(f, formatLine, format)
		_ = f.Close()
		if _, err := Open(powerOptions(fs)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("opening format %d: %v", format, err)
		}
	}
}

// A backup that was taken under load restores to what had been answered before
// it, in a log of another name.
func TestBackupAndRestore(t *testing.T) {
	fs, l := vfs.NewMem(), newLedger()
	e := openTest(t, powerOptions(fs))
	e.Observe(l)
	stop := make(chan struct{})
	wait := load(e, l, 4, 0, stop, new(sync.RWMutex))
	eventually(t, "records", func() bool { return e.stats.records.Load() > 200 })
	l.mu.Lock()
	before := l.copy()
	l.mu.Unlock()
	if err := e.Backup(t.Context(), "backup", nil); err != nil {
		t.Fatal(err)
	}
	if err := e.Backup(t.Context(), "backup", nil); err == nil {
		t.Error("a backup overwrites another")
	}
	close(stop)
	wait()
	o := powerOptions(fs)
	o.Dir = "restored"
	if err := Restore("backup", o, nil); err != nil {
		t.Fatal(err)
	}
	if err := Restore("backup", o, nil); err == nil {
		t.Error("a restore overwrites a store")
	}
	r := openTest(t, o)
	if r.Log() == e.Log() {
		t.Error("the restored store has the log of the old one")
	}
	before.finals = nil // more may have become final until the backup was taken
	for _, s := range before.losses(t, r) {
		t.Error(s)
	}
	verifyView(t, r)
}

// A full disk is refused with store-unavailable before anything fails, acks are
// still written, and the store heals when there is room.
func TestDiskNearlyFull(t *testing.T) {
	fs := &smallDisk{FS: vfs.NewMem()}
	fs.avail.Store(1 << 30)
	e := openTest(t, Options{FS: fs, Dir: "data", SweepEvery: time.Millisecond})
	m := accept(t, e, "a")
	fs.avail.Store(1 << 20)
	eventually(t, "the store to refuse", func() bool { return e.Health() != nil })
	if _, err := e.Accept(context.Background(), message("a")); !errors.Is(err, gateway.ErrUnavailable) {
		t.Errorf("accept on a full disk: %v, want ErrUnavailable", err)
	}
	if err := e.Settle(gateway.Outcome{Message: m.ID, Client: "a", Seq: m.Seq, State: gateway.Acked, At: time.Now()}, true); err != nil {
		t.Errorf("ack on a full disk: %v", err)
	}
	drain(e)
	if got, err := e.Message(m.ID); err != nil || !got.Completed() {
		t.Errorf("message is %+v, %v, want it acked", got.Counts, err)
	}
	fs.avail.Store(1 << 30)
	eventually(t, "the store to heal", func() bool { return e.Health() == nil })
	accept(t, e, "a")
}

// Above its budget a store refuses messages and says why, loses nothing and
// takes acks; when what is acked has been forgotten it accepts again, by itself.
func TestDiskBudget(t *testing.T) {
	o := powerOptions(vfs.NewMem())
	o.MaxDiskBytes, o.SweepEvery, o.StatusRetention = 5<<20, time.Millisecond, time.Millisecond
	o.MemTableBytes = 1 << 20 // a few tables, so that none has to be merged for the others' sake
	e := openTest(t, o)
	rng := rand.New(rand.NewPCG(1, 9))
	var stored []gateway.Message
	eventually(t, "the store to refuse", func() bool {
		m := message("a")
		m.Payload = make([]byte, 64<<10)
		for i := range m.Payload {
			m.Payload[i] = byte(rng.Uint32())
		}
		r, err := e.Accept(context.Background(), m)
		if err == nil {
			stored = append(stored, r.Message)
			return false
		}
		if gateway.CodeOf(err) != gateway.CodeDiskFull || !errors.Is(err, errBudget) || !errors.Is(err, gateway.ErrUnavailable) {
			t.Fatalf("refused with %v, want disk-full for the budget", err)
		}
		return true
	})
	if len(stored) < 10 {
		t.Errorf("refused after %d messages of 64 KiB", len(stored))
	}
	for _, m := range stored {
		if got, err := e.Message(m.ID); err != nil || len(got.Payload) != 64<<10 {
			t.Fatalf("%s reads %d bytes, %v", m.ID, len(got.Payload), err)
		}
	}
	verifyView(t, e)
	for _, m := range stored {
		if err := e.Settle(gateway.Outcome{Message: m.ID, Client: "a", Seq: m.Seq, State: gateway.Acked, At: time.Now()}, true); err != nil {
			t.Fatalf("ack above the budget: %v", err)
		}
	}
	eventually(t, "the store to heal", func() bool { return e.Health() == nil })
	accept(t, e, "a")
	verifyView(t, e)
}

// Above nine tenths of its budget a store refuses unknown clients; when what is acked has been
// forgotten it takes them again, by itself, also if it has always taken messages.
func TestStrangersHaveRoomAgain(t *testing.T) {
	o := powerOptions(vfs.NewMem())
	o.MaxDiskBytes, o.SweepEvery, o.StatusRetention, o.MemTableBytes = 5<<20, time.Millisecond, time.Millisecond, 1<<20
	e := openTest(t, o)
	rng := rand.New(rand.NewPCG(1, 9))
	var stored []gateway.Message
	create := func(id gateway.ClientID) error {
		_, err := e.CreateClient(context.Background(), id, time.Now(), "", gateway.ClientChange{})
		return err
	}
	full := o.MaxDiskBytes / 100 * 98
	early := 0
	eventually(t, "a stranger to be refused", func() bool {
		for e.diskBytes() <= full {
			m := message("a")
			m.Payload = make([]byte, 64<<10)
			for i := range m.Payload {
				m.Payload[i] = byte(rng.Uint32())
			}
			r, err := e.Accept(context.Background(), m)
			if err != nil {
				break // a flush takes room twice for a moment
			}
			stored = append(stored, r.Message)
		}
		early++ // one that was created in time is no stranger any more
		return gateway.CodeOf(create(gateway.ClientID(fmt.Sprint("early", early)))) == gateway.CodeDiskFull
	})
	for _, m := range stored {
		if err := e.Settle(gateway.Outcome{Message: m.ID, Client: "a", Seq: m.Seq, State: gateway.Acked, At: time.Now()}, true); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "room for a stranger", func() bool { return create("late") == nil })
}

// Devices with new ids that register without end leave room for messages, and the budget of
// the disk holds for them too. Known devices still register.
func TestStrangersLeaveRoomForMessages(t *testing.T) {
	o := powerOptions(vfs.NewMem())
	o.MaxDiskBytes, o.SweepEvery, o.MemTableBytes = 20<<20, time.Millisecond, 1<<20
	e := openTest(t, o)
	accept(t, e, "a")
	rng := rand.New(rand.NewPCG(1, 9))
	register := func(id gateway.ClientID) error {
		r := gateway.Registration{Client: id, At: time.Now(), Reported: map[string]string{}}
		for i := range gateway.MaxLabels {
			b := make([]byte, 100)
			for j := range b {
				b[j] = byte(rng.Uint32())
			}
			r.Reported[fmt.Sprint("k", i)] = hex.EncodeToString(b)
		}
		_, _, err := e.Register(context.Background(), r)
		return err
	}
	var refused error
	known := 0
	for ; known < 20_000 && refused == nil; known++ {
		refused = register(gateway.ClientID(fmt.Sprint("stranger-", known)))
	}
	if gateway.CodeOf(refused) != gateway.CodeDiskFull || !errors.Is(refused, gateway.ErrUnavailable) {
		t.Fatalf("after %d registrations a stranger gets %v, want disk-full", known, refused)
	}
	if used := e.diskBytes(); used > o.MaxDiskBytes+o.MaxDiskBytes/2 {
		t.Errorf("the store has %s on disk", mib(used))
	}
	if err := register("stranger-0"); err != nil {
		t.Errorf("a known device gets %v", err)
	}
	eventually(t, "the creation of a client to be refused", func() bool { // a merge may make room first
		known++
		_ = register(gateway.ClientID(fmt.Sprint("stranger-", known)))
		_, err := e.CreateClient(context.Background(), gateway.ClientID(fmt.Sprint("new-", known)), time.Now(), "", gateway.ClientChange{})
		return gateway.CodeOf(err) == gateway.CodeDiskFull
	})
	eventually(t, "messages to be accepted", func() bool { return e.Health() == nil })
	accept(t, e, "a")
	verifyView(t, e)
}

// TestUplinksOfOneDeviceStopNoPush: one device sends four times what the disk may have,
// and all pushes beside it are accepted, as are the uplinks of another device. Uplinks
// that were stored stay.
func TestUplinksOfOneDeviceStopNoPush(t *testing.T) {
	e := openTest(t, Options{FS: vfs.NewMem(), Dir: "data", MaxDiskBytes: 32 << 20, SweepEvery: time.Millisecond})
	for _, id := range []gateway.ClientID{"hoarder", "other"} {
		if _, _, err := e.Register(t.Context(), gateway.Registration{Client: id, At: time.Now()}); err != nil {
			t.Fatal(err)
		}
	}
	rng := rand.New(rand.NewPCG(3, 9))
	payload := make([]byte, 64<<10)
	stored, refused := 0, 0
	for i := range 128 << 20 / len(payload) {
		for i := range payload {
			payload[i] = byte(rng.Uint32())
		}
		_, err := e.AppendUplink(t.Context(), gateway.Uplink{Client: "hoarder", At: time.Now(), Payload: payload})
		switch gateway.CodeOf(err) {
		case "":
			stored++
		case "queue-full":
			refused++
		default:
			t.Fatalf("uplink %d: %v", i, err)
		}
		if i%8 == 0 {
			if err := e.Health(); err != nil {
				t.Fatalf("after %d uplinks of 64 KiB: %v", i, err)
			}
			accept(t, e, "other")
		}
	}
	if stored < 16 || refused == 0 {
		t.Errorf("%d uplinks are stored and %d refused, want some of both", stored, refused)
	}
	if _, err := e.AppendUplink(t.Context(), gateway.Uplink{Client: "other", At: time.Now(), Payload: payload}); err != nil {
		t.Errorf("an uplink of another device: %v", err)
	}
	page, err := e.Uplinks("hoarder", 0, 10_000)
	if err != nil || len(page.Items) != stored {
		t.Errorf("%d uplinks can be read, %v; want %d", len(page.Items), err, stored)
	}
	verifyView(t, e)
}

// A memtable, and with it each log file, is small where there is little room.
func TestMemTableFitsTheDisk(t *testing.T) {
	for _, c := range []struct {
		disk   uint64
		budget int64
		want   int
	}{
		{1 << 40, 0, 16 << 20}, {512 << 20, 0, 8 << 20}, {256 << 20, 0, 4 << 20}, {16 << 20, 0, 1 << 20},
		{1 << 40, 512 << 20, 8 << 20}, {256 << 20, 1 << 40, 4 << 20},
	} {
		fs := vfs.NewMem()
		fs.TestingSetDiskUsage(vfs.DiskUsage{TotalBytes: c.disk, AvailBytes: c.disk})
		o := Options{FS: fs, MaxDiskBytes: c.budget}
		if got := o.memTableBytes(); got != c.want {
			t.Errorf("disk of %d, budget %d: memtable of %d bytes, want %d", c.disk, c.budget, got, c.want)
		}
	}
}

// smallDisk says how much room it has.
type smallDisk struct {
	vfs.FS
	avail atomic.Uint64
}

func (d *smallDisk) GetDiskUsage(string) (vfs.DiskUsage, error) {
	return vfs.DiskUsage{AvailBytes: d.avail.Load(), TotalBytes: 1 << 31}, nil
}

func message(to gateway.ClientID) gateway.Acceptance {
	return gateway.Acceptance{ID: nextLoadID(), To: gateway.Audience{Client: to}, Payload: []byte("x"),
		CreatedAt: time.Now(), ExpiresAt: time.Now().Add(time.Hour), QueueUnknown: true}
}

func accept(t *testing.T, e *Engine, to gateway.ClientID) gateway.Message {
	t.Helper()
	r, err := e.Accept(context.Background(), message(to))
	if err != nil {
		t.Fatal(err)
	}
	return r.Message
}

// A 202 is behind a sync: while the log cannot be synced, nothing is answered
// and nothing can be read of it.
func TestAcceptWaitsForTheSync(t *testing.T) {
	fs := &heldFS{FS: vfs.NewMem(), hold: make(chan struct{})}
	e := openTest(t, Options{FS: fs, Dir: "data", SweepEvery: -1})
	accept(t, e, "a")
	fs.held.Store(true)
	m := message("a")
	answered := make(chan error, 1)
	go func() {
		_, err := e.Accept(context.Background(), m)
		answered <- err
	}()
	eventually(t, "the sync", func() bool { return fs.waiting.Load() > 0 })
	if _, err := e.Message(m.ID); gateway.CodeOf(err) != gateway.CodeMessageNotFound {
		t.Errorf("a message that is not durable reads as %v", err)
	}
	if ps, _, _ := e.Next(gateway.TransmissionQuery{Client: "a", Max: 10, MaxBytes: 1 << 20}, nil); len(ps) != 1 {
		t.Errorf("Next gives %d transmissions, want the one that is durable", len(ps))
	}
	select {
	case err := <-answered:
		t.Errorf("answered %v before the sync", err)
	default:
	}
	fs.held.Store(false)
	close(fs.hold)
	if err := <-answered; err != nil {
		t.Error(err)
	}
	if _, err := e.Message(m.ID); err != nil {
		t.Error(err)
	}
}

// heldFS holds the syncs of logs.
type heldFS struct {
	vfs.FS
	held    atomic.Bool
	waiting atomic.Int64
	hold    chan struct{}
}

type heldFile struct {
	vfs.File
	fs *heldFS
}

func (f *heldFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	file, err := f.FS.Create(name, c)
	if err == nil && fileKind(name) == "log" {
		file = &heldFile{file, f}
	}
	return file, err
}

func (f *heldFile) wait() {
	if f.fs.held.Load() {
		f.fs.waiting.Add(1)
		<-f.fs.hold
	}
}

func (f *heldFile) Sync() error     { f.wait(); return f.File.Sync() }
func (f *heldFile) SyncData() error { f.wait(); return f.File.SyncData() }

// While a sweep waits for the disk, the numbers of the store can still be read.
func TestStatsDoNotWaitForASweep(t *testing.T) {
	fs := &heldFS{FS: vfs.NewMem(), hold: make(chan struct{})}
	e := openTest(t, Options{FS: fs, Dir: "data", SweepEvery: -1})
	for range 2 {
		accept(t, e, "a")
	}
	fs.held.Store(true)
	swept, stats := make(chan error, 1), make(chan gateway.StoreStats, 1)
	go func() { swept <- e.Expire(time.Now().Add(2 * time.Hour)) }()
	eventually(t, "the sweep's sync", func() bool { return fs.waiting.Load() > 0 })
	go func() { stats <- e.Stats() }()
	select {
	case s := <-stats:
		if s.Queued != 2 || s.OldestAt.IsZero() {
			t.Errorf("%d are queued, the oldest since %v; want the 2 that are durable", s.Queued, s.OldestAt)
		}
	case <-time.After(10 * time.Second):
		t.Error("Stats waits for the sweep, which waits for the disk")
	}
	fs.held.Store(false)
	close(fs.hold)
	if err := <-swept; err != nil {
		t.Error(err)
	}
}

// A store whose directory is moved away or replaced accepts nothing: nobody would find the
// files. It goes on when the directory is back.
func TestDirectoryThatIsMovedAway(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	e := openTest(t, Options{FS: disk.OwnersFS(), Dir: dir, SweepEvery: time.Millisecond})
	refused := func(what string) {
		t.Helper()
		eventually(t, what, func() bool { return e.Health() != nil })
		if _, err := e.Accept(context.Background(), message("a")); gateway.CodeOf(err) != gateway.CodeUnavailable {
			t.Errorf("%s: a message is answered with %v", what, err)
		}
	}
	accept(t, e, "a")
	away := dir + ".away"
	if err := os.Rename(dir, away); err != nil {
		t.Fatal(err)
	}
	refused("the directory was moved away")

	other, err := Open(Options{Dir: dir + ".other"})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(other.Close(), os.Rename(dir+".other", dir)); err != nil {
		t.Fatal(err)
	}
	refused("another store is in its place")
	if err := errors.Join(os.RemoveAll(dir), os.Rename(away, dir)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the directory is back", func() bool { return e.Health() == nil })
	accept(t, e, "a")
	if got := e.Stats().Messages; got != 2 {
		t.Errorf("%d messages are stored, want the 2 that were accepted", got)
	}
}

// A directory db that was moved or replaced on its own is one that no start finds.
func TestTheDatabaseIsMovedAway(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	e := openTest(t, Options{FS: disk.OwnersFS(), Dir: dir, SweepEvery: time.Millisecond})
	accept(t, e, "a")
	db, away := filepath.Join(dir, "db"), filepath.Join(dir, "away")
	if err := os.Rename(db, away); err != nil {
		t.Fatal(err)
	}
	eventually(t, "db was moved away", func() bool { return e.Health() != nil })
	if err := os.CopyFS(db, os.DirFS(away)); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Accept(context.Background(), message("a")); gateway.CodeOf(err) != gateway.CodeUnavailable {
		t.Errorf("with a copy of db in its place a message is answered with %v", err)
	}
	if err := errors.Join(os.RemoveAll(db), os.Rename(away, db)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "db is back", func() bool { return e.Health() == nil })
	accept(t, e, "a")
}

// A program that removes or cuts old *.log files may take the logs of the store. The
// records are in memory too, so a process that notices it loses none.
func TestALogIsTakenAway(t *testing.T) {
	for name, take := range map[string]func(string) error{
		"removed": os.Remove,
		"renamed": func(log string) error { return os.Rename(log, log+".1") },
		"cut":     func(log string) error { return os.Truncate(log, 0) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "data")
			e := openTest(t, Options{FS: disk.OwnersFS(), Dir: dir, SweepEvery: time.Millisecond})
			accept(t, e, "a")
			logs, err := filepath.Glob(filepath.Join(dir, "db", "*.log"))
			if err != nil || len(logs) == 0 {
				t.Fatalf("logs %v, %v", logs, err)
			}
			for _, log := range logs {
				if err := take(log); err != nil {
					t.Fatal(err)
				}
			}
			eventually(t, "a start after a kill would find the message", func() bool {
				killed := filepath.Join(t.TempDir(), "killed")
				if err := os.CopyFS(killed, os.DirFS(dir)); err != nil {
					return false // a file was removed meanwhile
				}
				again, err := Open(Options{FS: disk.OwnersFS(), Dir: killed})
				if err != nil {
					return false
				}
				found := again.Stats().Messages
				return again.Close() == nil && found == 1
			})
			accept(t, e, "a")
		})
	}
}

// Without LOCK another process can open the directory: the one that has lost it accepts
// nothing more, or messages of one of them would be lost.
func TestTheLockIsRemoved(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	o := Options{FS: disk.OwnersFS(), Dir: dir, SweepEvery: time.Millisecond}
	first := openTest(t, o)
	accept(t, first, "a")
	if err := os.Remove(filepath.Join(dir, "LOCK")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the first process to refuse messages", func() bool { return first.Health() != nil })

	other := o
	other.Dir = dir + ".link" // one process takes a path once
	if err := os.Symlink(dir, other.Dir); err != nil {
		t.Skip(err)
	}
	if second, err := Open(other); err == nil { // on a system without locks for directories
		accept(t, second, "a")
		if err := second.Close(); err != nil {
			t.Error(err)
		}
	} else if !errors.Is(err, ErrLocked) {
		t.Error(err)
	}
	if _, err := first.Accept(context.Background(), message("a")); gateway.CodeOf(err) != gateway.CodeUnavailable {
		t.Errorf("a message to the first process is answered with %v", err)
	}
	_ = first.Close()
	third := openTest(t, o)
	accept(t, third, "a")
	if got := third.Stats().Messages; got < 2 {
		t.Errorf("%d messages are stored, want all that were accepted", got)
	}
	verifyView(t, third)
}

// compactionFS counts the tables that compactions make.
type compactionFS struct {
	vfs.FS
	made atomic.Int64
}

func (f *compactionFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if c == "pebble-compaction" {
		f.made.Add(1)
	}
	return f.FS.Create(name, c)
}

// A compaction that meets a damaged table is tried again without end, but seldom: it
// would wear out the disk and take a processor.
func TestCompactionOfADamagedTableIsTriedSeldom(t *testing.T) {
	fs := &compactionFS{FS: vfs.NewMem()}
	e := openTest(t, Options{FS: fs, Dir: "data", SweepEvery: -1})
	rng := rand.New(rand.NewPCG(3, 1))
	flushed := func() {
		t.Helper()
		for range 16 {
			m := message("a")
			m.Payload = make([]byte, 3<<10)
			for i := range m.Payload {
				m.Payload[i] = byte(rng.Uint32())
			}
			if _, err := e.Accept(context.Background(), m); gateway.CodeOf(err) == gateway.CodeUnavailable {
				return
			}
		}
		if err := e.inst.DB.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	flushed()
	var damaged string
	for _, name := range storedFiles(t, fs) {
		if info, err := fs.Stat(name); err == nil && strings.HasSuffix(name, ".sst") && info.Size() > 32<<10 {
			damaged = name
		}
	}
	b, err := fs.FS.(*vfs.MemFS).UnsafeGetFileDataBuffer(damaged)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 4
	for range 20 {
		flushed()
	}
	eventually(t, "a compaction meets the damage", func() bool { return e.Health() != nil })
	before := fs.made.Load()
	for end := time.After(time.Second); fs.made.Load() < before+20; {
		select {
		case <-end:
			return
		case <-time.After(time.Millisecond):
		}
	}
	t.Errorf("%d tables were made within a second", fs.made.Load()-before)
}

// readOnlyFS is a file system whose directory of the database takes no new file but a probe
// while closed is true: the disk behind it fails as soon as the database writes.
type readOnlyFS struct {
	vfs.FS
	closed atomic.Bool
	tables atomic.Int64 // that could not be made
}

func (f *readOnlyFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if f.closed.Load() && filepath.Base(filepath.Dir(name)) == nameDB && filepath.Ext(name) != ".tmp" {
		if strings.HasSuffix(name, ".sst") {
			f.tables.Add(1)
		}
		return nil, &os.PathError{Op: "create", Path: name, Err: syscall.EROFS}
	}
	return f.FS.Create(name, c)
}

// lineCount is a handler of a log that counts the lines.
type lineCount struct {
	slog.Handler
	n atomic.Int64
}

func (c *lineCount) Handle(context.Context, slog.Record) error {
	c.n.Add(1)
	return nil
}

// A store that cannot be opened again is tried four times a second, however many callers
// come, and does not fill the log.
func TestAStoreThatCannotBeOpenedAgainIsTriedSeldom(t *testing.T) {
	fs, lines := &readOnlyFS{FS: vfs.NewMem()}, &lineCount{Handler: slog.DiscardHandler}
	e := openTest(t, Options{FS: fs, Dir: "data", SweepEvery: -1, Logger: slog.New(lines)})
	accept(t, e, "a")
	fs.closed.Store(true)
	go e.inst.DB.Flush() // it begins a log
	eventually(t, "the store is opened again in vain", func() bool { return fs.tables.Load() > 0 })
	before := fs.tables.Load()
	for end := time.Now().Add(4 * retryEvery); time.Now().Before(end); {
		ctx, cancel := context.WithTimeout(t.Context(), 10*retryEvery)
		_, _, err := e.Register(ctx, gateway.Registration{Client: "b", At: time.Now()})
		if gateway.CodeOf(err) != gateway.CodeUnavailable || ctx.Err() != nil {
			t.Errorf("a device that registers is answered with %v", err)
		}
		cancel()
	}
	if n := fs.tables.Load() - before; n > 5 {
		t.Errorf("it was opened %d times within a second, want 4", n)
	}
	if n := lines.n.Load(); n > 3 {
		t.Errorf("the log has %d lines more", n)
	}
	fs.closed.Store(false)
	eventually(t, "the store takes writes again", func() bool { return e.Health() == nil })
	accept(t, e, "a")
	verifyView(t, e)
}

// While the disk hangs, the store says so, and who comes then does not wait.
func TestDiskThatHangs(t *testing.T) {
	fs := &heldFS{FS: vfs.NewMem(), hold: make(chan struct{})}
	e := openTest(t, Options{FS: fs, Dir: "data", SweepEvery: -1, hungAfter: 30 * time.Millisecond})
	accept(t, e, "a")
	e.progress.Store(-int64(time.Hour)) // it has been idle since
	if err := e.Health(); err != nil {
		t.Error(err)
	}
	fs.held.Store(true)
	first := make(chan error, 1)
	go func() {
		_, err := e.Accept(context.Background(), message("a"))
		first <- err
	}()
	eventually(t, "the store says that the disk hangs", func() bool {
		err := e.Health()
		return err != nil && strings.Contains(err.Error(), "has not finished a write for")
	})
	if _, err := e.Accept(context.Background(), message("a")); gateway.CodeOf(err) != gateway.CodeUnavailable {
		t.Errorf("a message is answered with %v", err)
	}
	fs.held.Store(false)
	close(fs.hold)
	if err := <-first; err != nil {
		t.Errorf("the message that waited: %v", err)
	}
	accept(t, e, "a")
}

// A start on a disk without any room says what to do, and each command that only reads
// works there.
func TestStartOnAFullDisk(t *testing.T) {
	s := stores(t)["killed"]
	fs := &faultFS{FS: s.files.disk(t), fault: fault{file: "table", op: "write", mode: "full"}}
	fs.armed.Store(true)
	o := powerOptions(fs)
	_, err := Open(o)
	if err == nil || !strings.Contains(err.Error(), "make some room") || strings.Count(err.Error(), ".sst") != 1 {
		t.Errorf("a start says %v; want the file once, and what to do", err)
	}
	if r, err := Verify(o); err != nil || !r.OK() {
		t.Errorf("verify says %+v, %v", r, err)
	}
	if err := BackupStored(t.Context(), "elsewhere", o, nil); err != nil {
		t.Errorf("backup says %v", err)
	}
	if r, err := Verify(Options{FS: fs.FS, Dir: "elsewhere"}); err != nil || !r.OK() {
		t.Errorf("the backup: %+v, %v", r, err)
	}
}

// askedFS counts the questions after the room on the disk.
type askedFS struct {
	vfs.FS
	asked atomic.Int64
}

func (f *askedFS) GetDiskUsage(string) (vfs.DiskUsage, error) {
	f.asked.Add(1)
	return vfs.DiskUsage{AvailBytes: 1 << 40, TotalBytes: 1 << 40}, nil
}

func TestALookAtTheDiskAsksOnce(t *testing.T) {
	fs := &askedFS{FS: vfs.NewMem()}
	e := openTest(t, Options{FS: fs, Dir: "data", SweepEvery: -1, MaxDiskBytes: 1 << 30})
	fs.asked.Store(0)
	e.checkStuck()
	e.checkDirectory()
	e.checkDisk()
	if n := fs.asked.Load(); n != 1 {
		t.Errorf("one round asks the file system %d times, want once", n)
	}
}

// The driver works before the gateway has set its observer. The race detector saw both.
func TestObserverOfAStoreAtWork(t *testing.T) {
	fs := vfs.NewMem()
	o := Options{FS: fs, Dir: "data", SweepEvery: -1}
	e := openTest(t, o)
	for range 100 {
		accept(t, e, "a")
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	o.SweepEvery, o.Now = time.Millisecond, func() time.Time { return time.Now().Add(2 * time.Hour) }
	e = openTest(t, o)
	time.Sleep(20 * time.Millisecond) // to wait for the driver in another way would order the two
	e.Observe(newLedger())
	eventually(t, "the messages to expire", func() bool { return e.Stats().Queued == 0 })
}

// One sweep removes all uplinks that are past their time. It removed 512, so that a fleet
// that sends more than 2,560 in a second filled the disk.
func TestASweepRemovesAllOldUplinks(t *testing.T) {
	e := openTest(t, Options{FS: vfs.NewMem(), Dir: "data", SweepEvery: -1})
	now := time.Now()
	var sent sync.WaitGroup
	const count = 3 * maxRecordEvents
	for range count {
		sent.Go(func() {
			if _, err := e.AppendUplink(t.Context(), gateway.Uplink{Client: "a", At: now, Payload: []byte("x")}); err != nil {
				t.Error(err)
			}
		})
	}
	sent.Wait()
	if err := e.Expire(now.Add(e.opt.UplinkRetention + time.Hour)); err != nil {
		t.Fatal(err)
	}
	if page, err := e.Uplinks("", 0, count); err != nil || len(page.Items) > 0 {
		t.Errorf("%d of %d uplinks are left, %v", len(page.Items), count, err)
	}
}

// The largest entry of the gateway's own is kept over a start, and one more byte is refused.
func TestTheLargestEntry(t *testing.T) {
	o := powerOptions(vfs.NewMem())
	e := openTest(t, o)
	large := bytes.Repeat([]byte("x"), gateway.MaxEntryValue)
	if err := e.Put(t.Context(), []gateway.Entry{{Key: "large", Value: append(large, 'x')}}); err == nil {
		t.Error("a larger entry is taken")
	}
	if err := e.Put(t.Context(), []gateway.Entry{{Key: "large", Value: large}, {Key: "small", Value: []byte("y")}}); err != nil {
		t.Fatal(err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	e = openTest(t, o)
	p, err := e.Entries("", "", 10)
	if err != nil || len(p.Items) != 2 || !bytes.Equal(p.Items[0].Value, large) {
		t.Errorf("%d entries after a start, %v", len(p.Items), err)
	}
	verifyView(t, e)
}
