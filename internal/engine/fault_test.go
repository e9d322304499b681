package engine

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine/record"
)

// Whatever write or sync goes wrong, in whatever way: nobody is told what is not
// so, the store takes writes again once the disk does, and what was told is
// still there, also after a power cut.
func TestFaultMatrix(t *testing.T) {
	for file, ops := range map[string][]string{
		"log":      {"create", "write", "sync"},
		"manifest": {"write", "sync"}, // made when a store is opened: see TestFaultWhileOpening
		"table":    {"create", "write", "sync"},
		"dir":      {"sync"},
		"mark":     {"write", "sync"},
	} {
		for _, op := range ops {
			modes := []string{"fails", "applied", "full", "slow"}
			if op == "write" {
				modes = append(modes, "short")
			}
			if underRace { // the modes differ in what the disk does, and little in who meets whom
				modes = modes[:1]
			}
			for _, mode := range modes {
				f := fault{file: file, op: op, mode: mode}
				t.Run(fmt.Sprintf("%s %s %s", file, op, mode), func(t *testing.T) { runFault(t, f) })
			}
		}
	}
	modes := []string{"flaky", "eio"}
	if underRace {
		modes = modes[:1]
	}
	for _, mode := range modes {
		t.Run("table read "+mode, func(t *testing.T) { runReadFault(t, mode) })
	}
}

func runFault(t *testing.T, f fault) {
	disk := vfs.NewCrashableMem()
	fs, l := &faultFS{FS: disk, fault: f}, newLedger()
	o := powerOptions(fs)
	o.MemTableBytes, o.SweepEvery = 32<<10, time.Millisecond
	e := openTest(t, o)
	e.Observe(l)
	stop := make(chan struct{})
	end := sync.OnceFunc(func() { close(stop) })
	defer end()
	wait := load(e, l, 4, 2*time.Second, stop, new(sync.RWMutex))

	records := func() uint64 { return e.stats.records.Load() }
	eventually(t, "the load to begin", func() bool { return records() > 20 })
	fs.armed.Store(true)
	var flushing atomic.Bool
	eventually(t, "the fault to hit", func() bool {
		// Few files are made by themselves, and MARK is written once a second: a flush
		// makes all kinds. It waits while the disk is full.
		if flushing.CompareAndSwap(false, true) {
			go func() {
				if f.file == "mark" {
					_ = e.mark.Follow()
				} else {
					_ = e.read(func(v *view) error { return v.inst.DB.Flush() })
				}
				flushing.Store(false)
			}()
		}
		return fs.hits.Load() > 0
	})
	if f.mode == "full" && f.file == "log" {
		eventually(t, "the store to refuse", func() bool { return e.Health() != nil })
	}
	fs.armed.Store(false)
	eventually(t, "the last flush to end", func() bool { return !flushing.Load() })
	wantHealed(t, e, l, disk, func() { end(); wait() })
}

// wantHealed wants that a store under load goes on after a fault, and that what was
// told is there: now, after a power cut and after a restart.
func wantHealed(t *testing.T, e *Engine, l *ledger, disk *vfs.MemFS, end func()) {
	t.Helper()
	eventually(t, "the store to heal", func() bool { return e.Health() == nil })
	healed := e.stats.records.Load()
	eventually(t, "the load to go on", func() bool { return e.stats.records.Load() > healed+20 })
	end()
	drain(e)

	check := func(what string, e *Engine) {
		t.Helper()
		for _, s := range l.losses(t, e) {
			t.Errorf("%s: %s", what, s)
		}
		verifyView(t, e)
		verifyOrder(t, e)
	}
	check("after healing", e)
	for i := range e.undurable {
		if n, bytes := split(e.undurable[i].Load()); n != 0 || bytes != 0 {
			t.Errorf("%d outcomes with %d bytes count as undurable for ever", n, bytes)
		}
	}
	for _, s := range l.faults {
		t.Error(s)
	}
	check("after a power cut", openTest(t, powerOptions(disk.CrashClone(vfs.CrashCloneCfg{}))))
	if err := e.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	check("after a restart", openTest(t, powerOptions(disk)))
}

// runReadFault lets reads of tables fail for a while. A read answers with what is so
// or says that the store is unavailable, never that there is no such thing; a push
// that is repeated by its idempotency key makes no second message.
func runReadFault(t *testing.T, mode string) {
	disk := vfs.NewCrashableMem()
	fs, l := &faultFS{FS: disk, fault: fault{file: "table", op: "read", mode: mode}}, newLedger()
	o := powerOptions(fs)
	o.MemTableBytes, o.SweepEvery, o.CacheBytes = 32<<10, time.Millisecond, 1
	e := openTest(t, o)
	e.Observe(l)
	stop := make(chan struct{})
	end := sync.OnceFunc(func() { close(stop) })
	defer end()
	wait := load(e, l, 4, 2*time.Second, stop, new(sync.RWMutex))
	records, passes := uint64(300), 3
	if underRace { // each read of a table is slow then
		records, passes = 100, 1
	}
	eventually(t, "the load to begin", func() bool { return e.stats.records.Load() > records })
	if err := e.read(func(v *view) error { return v.inst.DB.Flush() }); err != nil {
		t.Fatal(err)
	}
	then := l.now()
	repeats := then.repeats(e)
	if len(repeats) < 3 {
		t.Fatalf("only %d pushes have a key", len(repeats))
	}

	fs.armed.Store(true)
	unavailable := func(err error) bool { return gateway.CodeOf(err) == gateway.CodeUnavailable }
	failed := 0
	for range passes {
		wrong, n := then.compare(e, unavailable)
		failed += n
		for _, a := range repeats {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			known, ok, err := e.Repeated(a)
			if err == nil && (!ok || known.Message.ID != gateway.MessageID(a.IdempotencyKey)) || err != nil && !unavailable(err) {
				wrong = append(wrong, fmt.Sprintf("the key %s is known: %t, %v", a.IdempotencyKey, ok, err))
			}
			a.ID = nextLoadID()
			r, err := e.Accept(ctx, a)
			cancel()
			if err == nil && !r.Replayed || err != nil && !unavailable(err) {
				wrong = append(wrong, fmt.Sprintf("a repeat of %s is answered %+v, %v", a.IdempotencyKey, r, err))
			}
		}
		for _, w := range wrong[:min(10, len(wrong))] {
			t.Error("while reads fail: ", w)
		}
	}
	if failed < 50 {
		t.Errorf("only %d reads have failed, of %d of the disk", failed, fs.hits.Load())
	}
	fs.armed.Store(false)
	t.Logf("%d reads of the store have failed, %d of the disk", failed, fs.hits.Load())
	wantHealed(t, e, l, disk, func() { end(); wait() })
}

// now returns the ledger as it stands.
func (l *ledger) now() *ledger {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.copy()
}

// repeats returns pushes that were accepted with a key, as a caller repeats them.
func (l *ledger) repeats(e *Engine) (all []gateway.Acceptance) {
	for id, m := range l.accepted {
		a := gateway.Acceptance{IdempotencyKey: string(id), Scope: "load", To: gateway.Audience{Client: m.client}, Payload: m.payload,
			CreatedAt: time.Now(), ExpiresAt: time.Now().Add(time.Hour), QueueUnknown: true}
		if _, ok, err := e.Repeated(a); err == nil && ok && m.client != "" && len(all) < 50 {
			all = append(all, a)
		}
	}
	return all
}

// A fault at any change that opening makes: Open says so, and the next one finds
// everything.
func TestFaultWhileOpening(t *testing.T) {
	disk, l := vfs.NewCrashableMem(), newLedger()
	e := openTest(t, powerOptions(disk))
	e.Observe(l)
	w := &worker{e: e, l: l, rng: rand.New(rand.NewPCG(1, 2)), clients: []gateway.ClientID{"a", "b"}}
	for range 100 {
		if err := w.step(); err != nil {
			t.Fatal(err)
		}
	}
	drain(e)
	l.mu.Lock()
	defer l.mu.Unlock()
	faults, stride := []fault{{mode: "fails"}, {mode: "fails", read: true}, {mode: "applied"}, {mode: "short"}, {mode: "full"}, {mode: "dies"}}, int64(1)
	if underRace { // one goroutine opens: the detector has little to see
		faults, stride = faults[:2], 8
	}
	for _, f := range faults {
		for f.at = 1; ; f.at += stride {
			cut := disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(1, uint64(f.at)))})
			fs := &faultFS{FS: cut, fault: f}
			fs.armed.Store(true)
			e, err := Open(powerOptions(fs))
			if err == nil {
				_ = e.Close()
			}
			if fs.hits.Load() == 0 {
				if f.at < 10 {
					t.Errorf("opening makes only %d changes or reads", f.at)
				}
				break
			}
			again, err := Open(powerOptions(cut))
			if err != nil {
				t.Errorf("%+v: %v", f, err)
				continue
			}
			for _, s := range l.losses(t, again) {
				t.Errorf("%+v: %s", f, s)
			}
			verifyView(t, again)
			_ = again.Close()
		}
	}
}

// eventually waits until cond holds.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	timeout := time.After(time.Minute)
	for !cond() {
		select {
		case <-timeout:
			t.Fatalf("waited in vain for %s", what)
		default:
			pause()
		}
	}
}

// takesNoTable returns an engine with a client, whose disk takes no table once fs is armed.
func takesNoTable(t *testing.T) (e *Engine, fs *faultFS) {
	fs = &faultFS{FS: vfs.NewCrashableMem(), fault: fault{file: "table", op: "write", mode: "full"}}
	o := powerOptions(fs)
	o.MemTableBytes, o.SweepEvery = 32<<10, time.Millisecond
	e = openTest(t, o)
	accept(t, e, "a")
	return e, fs
}

// While no write gets through, because the memtables are full and the disk takes no
// table, every caller is answered. What it handed in may be stored later.
func TestNobodyWaitsForADiskThatTakesNothing(t *testing.T) {
	e, fs := takesNoTable(t)
	fs.armed.Store(true)
	defer fs.armed.Store(false)

	var answered atomic.Int64
	var accepted sync.Map
	note := func(m gateway.MessageID, err error) {
		if answered.Add(1); err == nil {
			accepted.Store(m, true)
		}
	}
	const callers = 64
	for range callers {
		waits, told := message("a"), message("a")
		waits.Payload, told.Payload = make([]byte, 8<<10), make([]byte, 8<<10)
		go func() {
			_, err := e.Accept(context.Background(), waits)
			note(waits.ID, err)
		}()
		go e.StartAccept(told, func(_ gateway.Receipt, err error) { note(told.ID, err) })
	}
	eventually(t, "every caller to be answered", func() bool { return answered.Load() == 2*callers })
	if e.inst.Stuck() == nil {
		t.Error("the database takes writes: nothing was tried")
	}
	fs.armed.Store(false)
	eventually(t, "the store to heal", func() bool { return e.Health() == nil })
	accept(t, e, "a")
	drain(e)
	for m := range accepted.Range {
		if _, err := e.Message(m.(gateway.MessageID)); err != nil {
			t.Errorf("%s was accepted: %v", m, err)
		}
	}
	if n := answered.Load(); n != 2*callers {
		t.Errorf("%d answers to %d callers", n, 2*callers)
	}
	verifyView(t, e)
}

// Callers are also answered while a sweep waits for such a disk.
func TestNobodyWaitsForASweepThatWaitsForTheDisk(t *testing.T) {
	e, fs := takesNoTable(t)
	e.sweepMu.Lock() // as a sweep does that waits
	defer e.sweepMu.Unlock()
	fs.armed.Store(true)
	defer fs.armed.Store(false)

	const callers = 64
	var answered atomic.Int64
	for range callers {
		m := message("a")
		m.Payload = make([]byte, 8<<10)
		go func() {
			_, _ = e.Accept(context.Background(), m)
			answered.Add(1)
		}()
	}
	eventually(t, "every caller to be answered", func() bool { return answered.Load() == callers })
}

// Close does not wait for a disk that takes no table. The records are in the log.
func TestCloseDoesNotWaitForADiskThatTakesNothing(t *testing.T) {
	e, fs := takesNoTable(t)
	fs.armed.Store(true)
	defer fs.armed.Store(false)
	eventually(t, "the database to be stuck", func() bool {
		entries := []gateway.Entry{{Key: "key", Value: make([]byte, 8<<10)}}
		if err := e.queue.push(t.Context(), lazy(&record.Put{Entries: entries}, true)); err != nil {
			t.Fatal(err)
		}
		return e.view.Load().inst.Stuck() != nil
	})
	closed := make(chan error, 1)
	go func() { closed <- e.Close() }()
	select {
	case err := <-closed:
		if !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("Close says %v, want that the disk is full", err)
		}
	case <-time.After(20 * time.Second):
		t.Error("Close waits")
	}
}
