package engine

import (
	"context"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/longwire/longwire/gateway"
)

func registered(t *testing.T, e *Engine, c gateway.ClientID) gateway.Seq {
	t.Helper()
	_, given, err := e.Register(context.Background(), gateway.Registration{Client: c, At: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	return given
}

func uplinked(t *testing.T, e *Engine, c gateway.ClientID) uint64 {
	t.Helper()
	n, err := e.AppendUplink(context.Background(), gateway.Uplink{Client: c, At: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// A disk that loses the last second's records loses them unseen. No number in
// them is given again, and a device that has handled such a number is not taken
// for one of another log.
func TestNumbersOfALostTailAreNotGivenAgain(t *testing.T) {
	disk := vfs.NewCrashableMem()
	e := openTest(t, powerOptions(disk))
	accept(t, e, "a")
	early := disk.CrashClone(vfs.CrashCloneCfg{})
	var last gateway.Seq
	for range 100 {
		last = accept(t, e, "a").Seq
		uplinked(t, e, "a")
	}
	lastUplink := uplinked(t, e, "a")

	again := openTest(t, powerOptions(early))
	if given := registered(t, again, "a"); given < last {
		t.Errorf("Register says that numbers up to %d were given; a device has handled %d", given, last)
	}
	if seq := accept(t, again, "a").Seq; seq <= last {
		t.Errorf("a message gets the number %d, another one had %d", seq, last)
	}
	if n := uplinked(t, again, "a"); n <= lastUplink {
		t.Errorf("an uplink gets the number %d, another one had %d", n, lastUplink)
	}
}

// The numbers of events rise from start to start whatever the
// clock shows, also in a copy of the store.
func TestEventNumbersRiseFromStartToStart(t *testing.T) {
	disk := vfs.NewCrashableMem()
	now := time.Now()
	start := func(disk vfs.FS) (*Engine, uint64) {
		o := powerOptions(disk)
		o.Now = func() time.Time { return now }
		e := openTest(t, o)
		_, last, err := e.EventSpan()
		if err != nil {
			t.Fatal(err)
		}
		return e, last
	}
	_, first := start(disk)
	if first < uint64(now.UnixMicro()) {
		t.Errorf("events are numbered from %d, below the clock %d", first, now.UnixMicro())
	}
	now = now.AddDate(-3, 0, 0)
	e, second := start(disk.CrashClone(vfs.CrashCloneCfg{}))
	if second < first+eventBlock {
		t.Errorf("after a kill events are numbered from %d; the process before could give numbers up to %d", second, first+eventBlock)
	}
	if err := e.Backup(context.Background(), "copy", nil); err != nil {
		t.Fatal(err)
	}
	copied := powerOptions(e.opt.FS)
	copied.Dir, copied.Now = "copy", func() time.Time { return now }
	if _, third, err := openTest(t, copied).EventSpan(); err != nil || third < second+eventBranchGap {
		t.Errorf("in a copy events are numbered from %d, the store that was copied may be at %d", third, second+eventBlock)
	}
}

// The numbers that were reserved count after an orderly close too, also when
// nothing was written between the kill and the close.
func TestReservedNumbersOutliveAnOrderlyClose(t *testing.T) {
	disk := vfs.NewCrashableMem()
	e := openTest(t, powerOptions(disk))
	first := accept(t, e, "a").Seq
	early := disk.CrashClone(vfs.CrashCloneCfg{})
	last := accept(t, e, "a").Seq
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if seq := accept(t, openTest(t, powerOptions(disk)), "a").Seq; seq != last+1 {
		t.Errorf("after an orderly close a message gets %d, want %d", seq, last+1)
	}
	idle := openTest(t, powerOptions(early))
	if err := idle.Close(); err != nil {
		t.Fatal(err)
	}
	if seq := accept(t, openTest(t, powerOptions(early)), "a").Seq; seq <= last || seq < first+reserveBlock {
		t.Errorf("after a kill and an orderly close a message gets %d, want one above all that were reserved", seq)
	}
}

// No number is given before both slots of MARK reserve it. The block is asked for
// while half of the one before is left.
func TestNumbersAreReservedBeforeTheyAreGiven(t *testing.T) {
	disk := &faultFS{FS: vfs.NewCrashableMem(), fault: fault{file: "mark", op: "sync", mode: "full"}}
	e := openTest(t, powerOptions(disk))
	seq := accept(t, e, "a").Seq

	reserved := func() uint64 {
		m, _, err := readMark(disk, "data")
		if err != nil {
			t.Fatal(err)
		}
		return m.Reserved.Seq
	}
	// jump has the next message get the number that leaves so many.
	jump := func(left uint64) {
		drain(e)
		e.machine.State.Seq = gateway.Seq(reserved() - left - 1)
	}
	if reserved() < uint64(seq)+reserveBlock-1 {
		t.Errorf("MARK reserves up to %d, want a block behind %d", reserved(), seq)
	}
	before := reserved()
	jump(reserveBlock/2 - 1)
	accept(t, e, "a") // asks for a block
	seq = accept(t, e, "a").Seq
	eventually(t, "the next block", func() bool { return reserved() >= uint64(seq)+reserveBlock-2 })
	if reserved() == before {
		t.Error("no block was reserved")
	}

	jump(10) // the block is used up
	disk.armed.Store(true)
	if _, err := e.Accept(context.Background(), message("a")); gateway.CodeOf(err) != gateway.CodeUnavailable {
		t.Errorf("a message without a number = %v, want unavailable", err)
	}
	disk.armed.Store(false)
	eventually(t, "the store to heal", func() bool { return e.Health() == nil })
	if got := accept(t, e, "a").Seq; got != seq+1 {
		t.Errorf("the next message gets %d, want %d", got, seq+1)
	}
}

// MARK follows the log, is never ahead of stable storage, and says that a closed
// store was closed.
func TestMarkFollowsTheLog(t *testing.T) {
	disk := vfs.NewCrashableMem()
	e := openTest(t, powerOptions(disk))
	m, _, err := readMark(disk, "data")
	if err != nil || m.Orderly || m.Log != e.Log() || m.Boot == 0 {
		t.Fatalf("MARK of a running store: %+v, %v", m, err)
	}
	boot := m.Boot
	accept(t, e, "a")
	eventually(t, "MARK", func() bool {
		m, _, err = readMark(disk, "data")
		return err == nil && m.Pos == e.machine.State.Pos && len(m.Logs) > 0
	})
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if m, _, err = readMark(disk, "data"); err != nil || !m.Orderly || len(m.Logs) > 0 || m.Reserved.Seq != 1 || m.Boot != boot {
		t.Errorf("MARK of a closed store: %+v, %v", m, err)
	}
}

// A slot that is damaged leaves the other one.
func TestOneSlotOfMark(t *testing.T) {
	disk := vfs.NewMem()
	e := openTest(t, powerOptions(disk))
	log := e.Log()
	accept(t, e, "a")
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	for slot := range 2 {
		damaged := copyMem(t, disk)
		b, err := damaged.UnsafeGetFileDataBuffer("data/" + nameMark)
		if err != nil {
			t.Fatal(err)
		}
		b[slot*4096+12] ^= 1 // the first byte of the body
		e := openTest(t, powerOptions(damaged))
		if e.Log() != log || accept(t, e, "a").Seq < 2 {
			t.Errorf("with slot %d damaged the log is %s, want %s and higher numbers", slot, e.Log(), log)
		}
	}
}

func copyMem(t *testing.T, disk *vfs.MemFS) *vfs.MemFS {
	t.Helper()
	return treeOf(t, disk, "data").disk(t)
}
