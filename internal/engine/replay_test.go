package engine

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine/journal"
	"github.com/longwire/longwire/internal/engine/journaltest"
	"github.com/longwire/longwire/internal/engine/record"
	"github.com/longwire/longwire/internal/engine/state"
)

// replayed is a state that applies a log and writes nothing of its own.
type replayed struct {
	t      *testing.T
	db     *pebble.DB
	m      *state.Machine
	caches state.Caches
}

func replay(t *testing.T, caches state.Caches) *replayed {
	t.Helper()
	db, err := pebble.Open("db", &pebble.Options{FS: vfs.NewMem(), Logger: quiet{}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	r := &replayed{t: t, db: db, caches: caches}
	r.restart()
	return r
}

// restart forgets all but the rows.
func (r *replayed) restart() {
	r.t.Helper()
	m, err := state.NewMachine(written{r.db, func() {}}, r.caches)
	if err != nil {
		r.t.Fatal(err)
	}
	r.m = m
}

// apply takes the record at the next position.
func (r *replayed) apply(pos uint64, raw []byte) {
	r.t.Helper()
	c, err := record.Decode(raw)
	if err != nil {
		r.t.Fatal(err)
	}
	if r.m.Judge(c) != state.Next {
		return
	}
	a, err := r.m.ApplyAll(c, pos, make([]state.Result, len(c.Events)))
	if err != nil {
		r.t.Fatal(err)
	}
	b, err := batchOf(r.db, &a.Changes)
	if err == nil {
		err = r.db.Apply(b, pebble.NoSync)
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

// all applies a log from its start, with a restart after each step records.
func (r *replayed) all(j *journaltest.Log, step uint64) *replayed {
	r.t.Helper()
	for pos := uint64(1); pos <= j.End(); pos++ {
		r.apply(pos, j.At(pos))
		if pos%step == 0 {
			r.restart()
		}
	}
	return r
}

func (r *replayed) verify() {
	r.t.Helper()
	shared, err := state.NewShared(rows{r.db})
	if err != nil {
		r.t.Fatal(err)
	}
	var f state.Findings
	v := &state.View{Rows: rows{r.db}, State: r.m.State, Shared: shared}
	v.Check(&f)
	for _, p := range f.Problems {
		r.t.Error(p)
	}
}

// checksum is the CRC of all rows but those of the directory.
func checksum(t *testing.T, db pebble.Reader) (sum uint32, rows int) {
	t.Helper()
	it, err := db.NewIter(&pebble.IterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for ok := it.First(); ok; ok = it.Next() {
		if !ofDirectory(it.Key()) {
			sum = crc32.Update(crc32.Update(sum, record.Castagnoli, it.Key()), record.Castagnoli, it.Value())
			rows++
		}
	}
	if err := errors.Join(it.Error(), it.Close()); err != nil {
		t.Fatal(err)
	}
	return sum, rows
}

// ofDirectory reports whether a row is of the data directory, not of the log.
func ofDirectory(key []byte) bool {
	switch string(key) {
	case "!format", "!log", "!writer", "!journal":
		return true
	}
	return false
}

// quiet is a log of the database that is not kept.
type quiet struct{}

func (quiet) Infof(string, ...any)  {}
func (quiet) Errorf(string, ...any) {}
func (quiet) Fatalf(string, ...any) {}

// recordLog runs load on an engine over a journal and returns the journal and the
// checksum of the rows that it has led to.
func recordLog(t *testing.T) (*journaltest.Log, uint32) {
	t.Helper()
	j := journaltest.NewLog("log", 1, journaltest.Faults{})
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
	caughtUp(t, e, j)
	sum, rows := checksum(t, e.inst.DB)
	if rows < 10 {
		t.Fatalf("only %d rows", rows)
	}
	return j, sum
}

// caughtUp waits until the engine shows the end of the journal, where nothing is
// appended any more.
func caughtUp(t *testing.T, e *Engine, j *journaltest.Log) {
	t.Helper()
	eventually(t, "the end of the journal", func() bool {
		e.follow.mu.Lock()
		defer e.follow.mu.Unlock()
		return e.view.Load().State.Pos == j.End() && len(e.follow.ops) == 0
	})
}

// The same log gives the same rows, byte for byte: the records as they were applied
// first and as they are decoded again, in one go and with restarts after each, with
// caches of every size.
func TestDeterminism(t *testing.T) {
	j, want := recordLog(t)
	sizes := []state.Caches{state.CachesEmpty, 1, state.CachesFull}
	if underRace { // one goroutine replays: the detector has little to see
		sizes = sizes[:1]
	}
	for _, caches := range sizes {
		for _, step := range []uint64{1, 7, j.End()} {
			r := replay(t, caches).all(j, step)
			if got, _ := checksum(t, r.db); got != want {
				t.Errorf("caches of %d, restarts after %d records: the rows are %08x, want %08x", caches, step, got, want)
			}
			r.verify()
		}
	}
}

// An engine that follows a journal has the same rows after power cuts and restarts at
// any point: its state is not synced, and catches up.
func TestFollowerCatchesUp(t *testing.T) {
	j, _ := recordLog(t)
	rng := rand.New(rand.NewPCG(3, 4))
	for range tortured(3) {
		fs := vfs.NewCrashableMem()
		var last *Engine
		for range 5 {
			o := powerOptions(fs)
			o.Journal = j
			e := openTest(t, o)
			for range rng.IntN(20) {
				accept(t, e, "a")
			}
			cut := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 50, RNG: rng})
			if rng.IntN(2) == 0 {
				_ = e.Close()
			} else {
				fs = cut
				e.follow.stop(errClosed) // as if it were killed: its successor opens
			}
			last = e
		}
		_ = last.Close()
		o := powerOptions(fs)
		o.Journal = j
		e := openTest(t, o)
		caughtUp(t, e, j)
		verifyView(t, e)
		got, _ := checksum(t, e.inst.DB)
		if want, _ := checksum(t, replay(t, state.CachesFull).all(j, j.End()).db); got != want {
			t.Errorf("the rows are %08x, want %08x", got, want)
		}
		_ = e.Close()
	}
}

// What the journal is allowed to drop is on stable storage without it, and a
// journal that takes nothing holds callers up until it works again.
func TestJournalIsAway(t *testing.T) {
	fs, j := vfs.NewCrashableMem(), journaltest.NewLog("log", 1, journaltest.Faults{})
	o := powerOptions(fs)
	o.Journal = j
	e := openTest(t, o)
	kept := accept(t, e, "a")
	if err := e.trim(); err != nil {
		t.Fatal(err)
	}
	o.FS, o.Journal = fs.CrashClone(vfs.CrashCloneCfg{}), j
	after := openTest(t, o)
	if _, err := after.Message(kept.ID); err != nil {
		t.Errorf("after the trim and a power cut: %v", err)
	}
	select {
	case <-e.Fenced():
	case <-time.After(time.Minute):
		t.Fatal("the process before the power cut is not fenced")
	}
	if _, err := e.Accept(t.Context(), message("a")); !errors.Is(err, gateway.ErrUnavailable) || !errors.Is(err, ErrFenced) {
		t.Errorf("accept of a fenced process: %v, want ErrFenced", err)
	}

	conn := journaltest.NewLog("log", 1, journaltest.Faults{}).Connect()
	o.FS, o.Journal = vfs.NewMem(), conn
	e = openTest(t, o)
	conn.Break(errFault)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	late := message("b")
	if _, err := e.Accept(ctx, late); !errors.Is(err, gateway.ErrUnavailable) {
		t.Errorf("accept without a journal: %v, want ErrUnavailable", err)
	}
	conn.Break(nil)
	accept(t, e, "b")
	if _, err := e.Message(late.ID); err != nil {
		t.Errorf("what was handed over while the journal was away: %v", err)
	}
	verifyView(t, e)
}

// A record that comes twice changes nothing the second time.
func TestRepeatedRecordIsDropped(t *testing.T) {
	j, _ := recordLog(t)
	once, twice := replay(t, state.CachesFull), replay(t, state.CachesFull)
	for pos := uint64(1); pos <= j.End(); pos++ {
		once.apply(2*pos, j.At(pos))
		twice.apply(2*pos, j.At(pos))
		twice.apply(2*pos+1, j.At(pos))
	}
	want, _ := checksum(t, once.db)
	if got, _ := checksum(t, twice.db); got != want {
		t.Errorf("with every record twice the rows are %08x, want %08x", got, want)
	}
}

// A follower stops before a record that it cannot apply, and says so; it never goes on
// behind it.
func TestFollowerNeverSkips(t *testing.T) {
	unknown := (&record.Commit{Writer: 7, Boot: 7, N: 1, Events: []record.Event{&record.Probe{}}}).Encode()
	unknown[len(unknown)-2] = 200 // the kind of the event
	binary.BigEndian.PutUint32(unknown[4:], crc32.Checksum(unknown[8:], record.Castagnoli))
	flipped := (&record.Commit{Writer: 7, Boot: 7, N: 1}).Encode()
	flipped[len(flipped)-1] ^= 1
	for name, raw := range map[string][]byte{"a kind of event that is not known": unknown, "a damaged record": flipped} {
		j := journaltest.NewLog("log", 1, journaltest.Faults{})
		o := powerOptions(vfs.NewMem())
		o.Journal = j
		e := openTest(t, o)
		accept(t, e, "a")
		end := e.view.Load().State.Pos
		if err := j.Append(t.Context(), raw); err != nil {
			t.Fatal(err)
		}
		select {
		case <-e.Fenced():
		case <-time.After(time.Minute):
			t.Fatalf("%s: the follower goes on", name)
		}
		if err := e.Health(); !errors.Is(err, errUnreadable) {
			t.Errorf("%s: health is %v, want errUnreadable", name, err)
		}
		if got := e.view.Load().State.Pos; got != end {
			t.Errorf("%s: the state is at %d, want %d", name, got, end)
		}
		_ = e.Close()
		if _, err := Open(o); !errors.Is(err, errUnreadable) {
			t.Errorf("%s: opened again: %v, want errUnreadable", name, err)
		}
	}
}

// A journal that has lost its end, and one with another name, are of another history.
func TestOtherHistoryIsRefused(t *testing.T) {
	j := journaltest.NewLog("log", 1, journaltest.Faults{})
	o := powerOptions(vfs.NewMem())
	o.Journal = j
	e := openTest(t, o)
	accept(t, e, "a")
	accept(t, e, "a")
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	j.Cut(2)
	if _, err := Open(o); !errors.Is(err, journal.ErrEnds) {
		t.Errorf("a journal that ends before the state: %v, want ErrEnds", err)
	}
	o.Journal = journaltest.NewLog("another", 1, journaltest.Faults{})
	if _, err := Open(o); err == nil || !strings.Contains(err.Error(), `"log"`) {
		t.Errorf("another journal: %v, want a refusal with both names", err)
	}
	o.Journal = nil
	if e, err := Open(o); err != nil {
		t.Errorf("without a journal: %v", err)
	} else {
		_ = e.Close()
	}
}

// Two engines over one journal that loses, repeats and reorders have one state: each
// key one message, each answered message in both, whoever was killed.
func TestTwoEnginesOneLog(t *testing.T) {
	t.Parallel() // the journal is slow
	seeds := tortured(3)
	if underRace { // what the detector can see is in the first one
		seeds = tortured(1)
	}
	for seed := range uint64(seeds) {
		rng := rand.New(rand.NewPCG(seed, 5))
		j := journaltest.NewLog("log", seed, journaltest.Faults{Lose: 0.02, Repeat: 0.1, Delay: 2 * time.Millisecond})
		disks := []*vfs.MemFS{vfs.NewCrashableMem(), vfs.NewCrashableMem()}
		engines := make([]*Engine, 2)
		open := func(i int) {
			o := powerOptions(disks[i])
			o.Journal = j
			engines[i] = openTest(t, o)
		}
		var mu sync.Mutex
		told, keys := map[gateway.MessageID]bool{}, map[string]gateway.MessageID{}
		for i := range engines {
			open(i)
		}
		for round := range 4 {
			var wg sync.WaitGroup
			before := len(told)
			for i, e := range engines {
				for w := range 4 {
					wg.Go(func() {
						for n := range 15 {
							m := message(gateway.ClientID(fmt.Sprint("c", n%5)))
							m.IdempotencyKey, m.QueueUnknown = fmt.Sprint("key-", round, "-", w, "-", n), true
							r, err := e.Accept(t.Context(), m)
							if err != nil {
								continue // killed
							}
							mu.Lock()
							if first, ok := keys[m.IdempotencyKey]; ok && first != r.Message.ID {
								t.Errorf("engine %d: the key %s gave %s and %s", i, m.IdempotencyKey, first, r.Message.ID)
							}
							told[r.Message.ID], keys[m.IdempotencyKey] = true, r.Message.ID
							mu.Unlock()
							e.Settle(gateway.Outcome{Message: r.Message.ID, Client: m.To.Client, State: gateway.Acked, At: time.Now()}, true)
						}
					})
				}
			}
			if killed := rng.IntN(3); killed < 2 {
				answers := rng.IntN(40)
				eventually(t, "answers", func() bool {
					mu.Lock()
					defer mu.Unlock()
					return len(told) >= before+answers
				})
				cut := disks[killed].CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 50, RNG: rng})
				defer engines[killed].Close()
				disks[killed] = cut
				open(killed)
			}
			wg.Wait()
		}
		// A settlement that the journal has lost comes again later: the sums are of one position.
		var want *replayed
		sums := make([]uint32, len(engines))
		stands := func() bool {
			return !slices.ContainsFunc(engines, func(e *Engine) bool {
				at, err := state.ReadStanding(rows{e.inst.DB})
				if err != nil {
					t.Fatal(err)
				}
				return at.Pos != want.m.State.Pos
			})
		}
		eventually(t, "the end of the journal", func() bool {
			j.Settle()
			if want == nil || want.m.State.Pos != j.End() {
				want = replay(t, state.CachesEmpty).all(j, 3)
			}
			if !stands() {
				return false
			}
			for i, e := range engines {
				sums[i], _ = checksum(t, e.inst.DB)
			}
			return stands()
		})
		wantSum, _ := checksum(t, want.db)
		for i, e := range engines {
			verifyView(t, e)
			if sums[i] != wantSum {
				t.Errorf("seed %d: the rows of engine %d are %08x, want %08x", seed, i, sums[i], wantSum)
			}
			for id := range told {
				if _, err := e.Message(id); err != nil {
					t.Errorf("seed %d: engine %d does not know the answered message %s: %v", seed, i, id, err)
				}
			}
		}
		if len(told) < 100 {
			t.Errorf("only %d messages", len(told))
		}
	}
}

// Every bit of a record counts: flipped, it is found before anything of the
// record is looked at.
func TestRecordBitFlip(t *testing.T) {
	j, _ := recordLog(t)
	at := j.End() / 2
	raw := bytes.Clone(j.At(at))
	for i := range len(raw) * 8 {
		if i/8 == 1 {
			continue // reserved
		}
		raw[i/8] ^= 1 << (i % 8)
		if r, err := record.Decode(raw); err == nil {
			orig, _ := record.Decode(j.At(at))
			if len(r.Events) != len(orig.Events) {
				t.Fatalf("bit %d flipped: the record is taken for one of %d events, not %d", i, len(r.Events), len(orig.Events))
			}
		}
		raw[i/8] ^= 1 << (i % 8)
	}
}
