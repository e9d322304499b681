package engine

import (
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/longwire/longwire/gateway"
)

// What is proposed for one client is written at once from half of its bound on,
// and so is a large result. Another client's outcomes wait for company.
func TestUndurableOutcomesForceAWrite(t *testing.T) {
	settle := func(e *Engine, client gateway.ClientID, result int) (urgent bool) {
		before := e.queue.urgent
		if err := e.Settle(gateway.Outcome{Client: client, State: gateway.Acked, Result: make([]byte, result)}, false); err != nil {
			t.Fatal(err)
		}
		return e.queue.urgent > before
	}
	for name, c := range map[string]struct{ lazy, result int }{
		"many":          {gateway.MaxUndurable/2 - 1, 0},
		"many bytes":    {gateway.MaxUndurableBytes/2/gateway.MaxLazyResult - 1, gateway.MaxLazyResult},
		"a long result": {0, gateway.MaxLazyResult + 1},
	} {
		e := &Engine{queue: newQueue()}
		other := gateway.ClientID("b")
		for e.undurable.slot(other) == e.undurable.slot("a") {
			other += "b"
		}
		for i := range c.lazy {
			if settle(e, "a", c.result) {
				t.Fatalf("%s: outcome %d is written at once", name, i+1)
			}
		}
		if !settle(e, "a", c.result) {
			t.Errorf("%s: outcome %d waits", name, c.lazy+1)
		}
		if settle(e, other, 0) {
			t.Errorf("%s: another client's outcome is written at once", name)
		}
		if n, bytes := e.Undurable("a"); n != c.lazy+1 || bytes != n*c.result {
			t.Errorf("%s: %d undurable with %d bytes", name, n, bytes)
		}
	}
}

// An outcome counts until its record is synced and the observer knows.
func TestUndurableUntilSynced(t *testing.T) {
	fs := &heldFS{FS: vfs.NewMem(), hold: make(chan struct{})}
	e := openTest(t, Options{FS: fs, Dir: "data", SweepEvery: -1})
	m := accept(t, e, "a")
	fs.held.Store(true)
	o := gateway.Outcome{Message: m.ID, Client: "a", Seq: m.Seq, State: gateway.Acked, Result: []byte("done"), At: time.Now()}
	if err := e.Settle(o, true); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the sync", func() bool { return fs.waiting.Load() > 0 })
	if n, bytes := e.Undurable("a"); n != 1 || bytes != 4 {
		t.Errorf("before the sync: %d undurable with %d bytes", n, bytes)
	}
	fs.held.Store(false)
	close(fs.hold)
	eventually(t, "the outcome to be durable", func() bool { n, _ := e.Undurable("a"); return n == 0 })
	if d, err := e.Delivery(m.ID, "a"); err != nil || d.State != gateway.Acked {
		t.Errorf("the delivery is %v, %v", d.State, err)
	}
}

// A client that registers finds its verdicts written, whoever took them.
func TestRegistrationMakesVerdictsDurable(t *testing.T) {
	disk := vfs.NewCrashableMem()
	e := openTest(t, Options{FS: disk, Dir: "data", SweepEvery: -1})
	m := accept(t, e, "a")
	o := gateway.Outcome{Message: m.ID, Client: "a", Seq: m.Seq, State: gateway.Rejected, Reason: gateway.ReasonDeviceRejected, At: time.Now()}
	if err := e.Settle(o, false); err != nil {
		t.Fatal(err)
	}
	if _, _, err := e.Register(t.Context(), gateway.Registration{Client: "a", At: time.Now()}); err != nil {
		t.Fatal(err)
	}
	crashed := openTest(t, Options{FS: disk.CrashClone(vfs.CrashCloneCfg{}), Dir: "data", SweepEvery: -1})
	if d, err := crashed.Delivery(m.ID, "a"); err != nil || d.State != gateway.Rejected {
		t.Errorf("after a crash the delivery is %v, %v", d.State, err)
	}
	if n, _ := e.Undurable("a"); n != 0 {
		t.Errorf("%d undurable", n)
	}
}
