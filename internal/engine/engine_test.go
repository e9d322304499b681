package engine

import (
	"context"
	"flag"
	"os"
	"strconv"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine/enginetest"
	"github.com/longwire/longwire/internal/engine/memstore"
	"github.com/longwire/longwire/internal/engine/record"
)

// reopenable is an engine that the suite can close and open again.
type reopenable struct {
	*Engine
	opt Options
}

func (r *reopenable) Reopen() (gateway.Store, error) {
	if err := r.Close(); err != nil {
		return nil, err
	}
	e, err := Open(r.opt)
	if err != nil {
		return nil, err
	}
	return &reopenable{e, r.opt}, nil
}

// Clients is the first thing that the suite reads before it reopens a store:
// what was settled without haste is to be in it.
func (r *reopenable) Clients(q gateway.ClientQuery) (gateway.Page[gateway.ClientRecord, gateway.ClientID], error) {
	drain(r.Engine)
	return r.Engine.Clients(q)
}

// drain waits until everything before it in the queue is durable.
func drain(e *Engine) { _, _ = e.do(context.Background(), &record.Probe{}) }

func openTest(t *testing.T, o Options) *Engine {
	t.Helper()
	if o.FS == nil {
		o.FS = vfs.NewMem()
	}
	if o.Dir == "" {
		o.Dir = "data"
	}
	e, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	return e
}

// opener opens engines for the suite, on a file system in memory.
func opener(bitmaps bool) func(t *testing.T, o enginetest.Options) gateway.Store {
	return func(t *testing.T, o enginetest.Options) gateway.Store {
		opt := Options{FS: vfs.NewMem(), Dir: "data", Now: o.Now, StatusRetention: o.StatusRetention, ForgetAfter: o.ForgetAfter,
			MaxQueued: o.QueueLen, MaxQueuedBytes: o.QueueBytes, MaxClients: o.MaxClients, SweepEvery: -1, MemTableBytes: 1 << 20, bitmapsOnly: bitmaps}
		return &reopenable{openTest(t, opt), opt}
	}
}

func TestConformance(t *testing.T) {
	t.Run("rows", func(t *testing.T) { enginetest.Run(t, opener(false)) })
	t.Run("bitmaps", func(t *testing.T) { enginetest.Run(t, opener(true)) })
}

// TestModel compares the engine with the store in memory under random
// operations, reopening it now and then.
func TestModel(t *testing.T) {
	inMemory := func(t *testing.T, o enginetest.Options) gateway.Store {
		return memstore.New(memstore.Options{Now: o.Now, StatusRetention: o.StatusRetention, ForgetAfter: o.ForgetAfter,
			QueueLen: o.QueueLen, QueueBytes: o.QueueBytes, MaxClients: o.MaxClients})
	}
	t.Run("rows", func(t *testing.T) { enginetest.RunModel(t, opener(false), inMemory) })
	// Bits do not count against a queue's bounds, so there are none.
	unbounded := func(open enginetest.Open) enginetest.Open {
		return func(t *testing.T, o enginetest.Options) gateway.Store {
			o.QueueLen, o.QueueBytes = 0, 0
			return open(t, o)
		}
	}
	t.Run("bitmaps", func(t *testing.T) { enginetest.RunModel(t, unbounded(opener(true)), unbounded(inMemory)) })
}

// TestMain bounds the random tests in the short form; -rapid.checks and
// LONGWIRE_TORTURE make them longer.
func TestMain(m *testing.M) {
	flag.Parse()
	set := false
	flag.Visit(func(f *flag.Flag) { set = set || f.Name == "rapid.checks" })
	checks := 20
	if underRace { // one goroutine makes the calls: the detector has little to see
		checks = 3
	}
	if !set {
		_ = flag.Set("rapid.checks", strconv.Itoa(tortured(checks)))
	}
	_ = flag.Set("rapid.nofailfile", "true")
	os.Exit(m.Run())
}

// tortured returns n, or in the long form a hundred times as much; as many times
// as LONGWIRE_TORTURE says, if that is more than 1.
func tortured(n int) int {
	v := os.Getenv("LONGWIRE_TORTURE")
	if v == "" {
		return n
	}
	if times, err := strconv.Atoi(v); err == nil && times > 1 {
		return times * n
	}
	return 100 * n
}

// alone skips a test that calls the engine from one goroutine when the race detector is
// on: it sees the engine's own goroutines in others, and makes these ten times as slow.
func alone(t *testing.T) {
	t.Helper()
	if underRace {
		t.Skip("one goroutine calls the engine: the race detector sees the same in other tests")
	}
}
