package engine

import (
	"bytes"
	"context"
	"errors"
	"hash/crc32"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine/record"
	"github.com/longwire/longwire/internal/engine/state"
)

// memoryJournal keeps records outside the state, as a replicated log would.
type memoryJournal struct {
	mu      sync.Mutex
	records [][]byte
	fail    error
	trimmed uint64
}

func (j *memoryJournal) Append(r []byte) (uint64, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.fail != nil {
		return 0, j.fail
	}
	j.records = append(j.records, bytes.Clone(r))
	return uint64(len(j.records)), nil
}

func (j *memoryJournal) Replay(from uint64, fn func(uint64, []byte) error) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	for pos := from + 1; pos <= uint64(len(j.records)); pos++ {
		if err := fn(pos, j.records[pos-1]); err != nil {
			return err
		}
	}
	return nil
}

func (j *memoryJournal) Trim(upTo uint64) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.trimmed = upTo
	return nil
}

func (j *memoryJournal) Durable() bool { return true }

// checksum is the CRC of all rows but the log's name.
func checksum(t *testing.T, e *Engine) (sum uint32, rows int) {
	t.Helper()
	err := e.read(func(v *view) error {
		return eachRow(v, "", func(k, val []byte) {
			if string(k) != "!log" {
				sum = crc32.Update(crc32.Update(sum, record.Castagnoli, k), record.Castagnoli, val)
				rows++
			}
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return sum, rows
}

// recordLog runs load on an engine with a journal of its own and returns the
// records and the checksum of the state they lead to.
func recordLog(t *testing.T) (*memoryJournal, uint32) {
	t.Helper()
	j := &memoryJournal{}
	o := powerOptions(vfs.NewMem())
	o.Journal = j
	e := openTest(t, o)
	l := newLedger()
	stop := make(chan struct{})
	wait := load(e, l, 6, 0, stop, new(sync.RWMutex))
	eventually(t, "records", func() bool { return e.stats.records.Load() > uint64(tortured(300)) })
	close(stop)
	wait()
	if err := e.Expire(time.Now().Add(2 * time.Hour)); err != nil { // all of it expires
		t.Fatal(err)
	}
	if err := e.Expire(time.Now().Add(40 * 24 * time.Hour)); err != nil { // and is forgotten, in part
		t.Fatal(err)
	}
	drain(e)
	for _, f := range l.faults {
		t.Error(f)
	}
	sum, rows := checksum(t, e)
	if rows < 10 {
		t.Fatalf("only %d rows", rows)
	}
	return j, sum
}

// The same log gives the same rows, byte for byte: the events as they were
// applied first, the records as they are decoded again, and with power cuts and
// restarts at random points of the replay.
func TestDeterminism(t *testing.T) {
	j, want := recordLog(t)
	replayed := func(fs *vfs.MemFS, upTo int) *Engine {
		o := powerOptions(fs)
		o.Journal = &memoryJournal{records: j.records[:upTo]}
		return openTest(t, o)
	}
	if got, _ := checksum(t, replayed(vfs.NewMem(), len(j.records))); got != want {
		t.Errorf("replay gives the state %08x, want %08x", got, want)
	}
	rng := rand.New(rand.NewPCG(3, 4))
	for range tortured(3) {
		fs := vfs.NewCrashableMem()
		for at := 0; at < len(j.records); {
			at = min(len(j.records), at+1+rng.IntN(len(j.records)/4))
			e := replayed(fs, at)
			if at == len(j.records) {
				if got, _ := checksum(t, e); got != want {
					t.Errorf("replay with restarts gives the state %08x, want %08x", got, want)
				}
			}
			cut := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 50, RNG: rng})
			if err := e.Close(); err != nil {
				t.Fatal(err)
			}
			if rng.IntN(2) == 0 {
				fs = cut
			}
		}
	}
}

// The rows that the machine remembers are those that the database has: with room for
// none, for one and for all, replayed in one go and with restarts, a log leads to the
// same rows.
func TestRecentRowsAreInvisible(t *testing.T) {
	j, want := recordLog(t)
	for _, size := range []state.Caches{state.CachesEmpty, 1, state.CachesFull} {
		for _, step := range []int{len(j.records), len(j.records)/5 + 1} {
			o := powerOptions(vfs.NewMem())
			o.caches = size
			for at := 0; at < len(j.records); {
				at = min(len(j.records), at+step)
				o.Journal = &memoryJournal{records: j.records[:at]}
				e := openTest(t, o)
				if at == len(j.records) {
					if got, _ := checksum(t, e); got != want {
						t.Errorf("room for %d rows, %d records at a time: state %08x, want %08x", size, step, got, want)
					}
				}
				if err := e.Close(); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}

// What the journal is allowed to drop is on stable storage without it, and a
// journal that fails is an unavailable store until it works again.
func TestDurableJournal(t *testing.T) {
	fs, j := vfs.NewCrashableMem(), &memoryJournal{}
	o := powerOptions(fs)
	o.Journal = j
	e := openTest(t, o)
	kept := accept(t, e, "a")
	if err := e.trim(); err != nil || j.trimmed == 0 {
		t.Fatalf("trimmed to %d, %v", j.trimmed, err)
	}
	o.FS, o.Journal = fs.CrashClone(vfs.CrashCloneCfg{}), &memoryJournal{}
	if _, err := openTest(t, o).Message(kept.ID); err != nil {
		t.Errorf("after the trim and a power cut: %v", err)
	}
	j.mu.Lock()
	j.fail = errFault
	j.mu.Unlock()
	if _, err := e.Accept(context.Background(), message("a")); !errors.Is(err, gateway.ErrUnavailable) {
		t.Errorf("accept without a journal: %v, want ErrUnavailable", err)
	}
	j.mu.Lock()
	j.fail = nil
	j.mu.Unlock()
	eventually(t, "the store to heal", func() bool { return e.Health() == nil })
	accept(t, e, "a")
	verifyView(t, e)
}

// A record that comes twice, as after a publish whose answer was lost, changes
// nothing the second time.
func TestRepeatedRecordIsDropped(t *testing.T) {
	j, _ := recordLog(t)
	twice := &memoryJournal{}
	for _, r := range j.records {
		twice.records = append(twice.records, r, r)
	}
	o := powerOptions(vfs.NewMem())
	o.Journal = twice
	e := openTest(t, o)
	verifyView(t, e)
	o2 := powerOptions(vfs.NewMem())
	o2.Journal = j
	want := openTest(t, o2)
	if got, want := e.Stats(), want.Stats(); got.Messages != want.Messages || got.Clients != want.Clients || got.Queued != want.Queued {
		t.Errorf("state is %+v, want %+v", got, want)
	}
}

// Every bit of a record counts: flipped, it is found before anything of the
// record is looked at.
func TestRecordBitFlip(t *testing.T) {
	j, _ := recordLog(t)
	raw := bytes.Clone(j.records[len(j.records)/2])
	for i := range len(raw) * 8 {
		if i/8 == 1 {
			continue // reserved
		}
		raw[i/8] ^= 1 << (i % 8)
		if r, err := record.Decode(raw); err == nil {
			orig, _ := record.Decode(j.records[len(j.records)/2])
			if len(r.Events) != len(orig.Events) {
				t.Fatalf("bit %d flipped: the record is taken for one of %d events, not %d", i, len(r.Events), len(orig.Events))
			}
		}
		raw[i/8] ^= 1 << (i % 8)
	}
	o := powerOptions(vfs.NewMem())
	bad := append([][]byte(nil), j.records...)
	raw[len(raw)-1] ^= 1
	bad[len(bad)/2] = raw
	o.Journal = &memoryJournal{records: bad}
	if _, err := Open(o); !errors.Is(err, record.ErrSum) {
		t.Errorf("opening with a damaged record: %v, want %v", err, record.ErrSum)
	}
}
