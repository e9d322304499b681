package engine

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/longwire/longwire/gateway"
)

// checkDisk refuses messages before the disk is really full, so that acks can
// still be written.
func (e *Engine) checkDisk() {
	disk, used := e.opt.diskUsage(), int64(0)
	if e.opt.MaxDiskBytes > 0 {
		used = e.diskBytes()
	}
	narrow := e.opt.diskTrouble(disk, used, true)
	if narrow == nil {
		e.narrow.Store(nil)
	} else {
		e.narrow.Store(&narrow)
	}
	if err := e.opt.diskTrouble(disk, used, false); err == nil {
		if e.refusal.Swap(nil) != nil {
			e.opt.Logger.Info("there is room on the disk again")
		}
	} else if e.refusal.Swap(&err) == nil {
		e.opt.Logger.Error("nothing is accepted", "error", err)
	}
	if errors.Is(narrow, errBudget) {
		e.reclaim()
	}
}

// checkDirectory seals the database if its directory was moved or removed: no start would
// find later writes. The records of a log that was removed or cut go into tables.
func (e *Engine) checkDirectory() {
	lost := e.mark.Lost()
	var inst *instance
	var logs []string
	_ = e.read(func(v *view) error {
		if inst = v.inst; lost == nil {
			logs = inst.LostLogs()
		} else {
			inst.Seal(lost)
		}
		return nil
	})
	if logs == nil || !e.saving.CompareAndSwap(false, true) {
		return
	}
	e.opt.Logger.Error("a log was removed or cut under this process; its records are written again", "files", logs)
	e.wg.Go(func() {
		defer e.saving.Store(false)
		err := e.read(func(v *view) error {
			if v.inst != inst {
				return nil // it was opened again, and has read its logs
			}
			return inst.SaveLost(logs)
		})
		if err != nil {
			e.opt.Logger.Error("the records of a log that was removed or cut are only in memory", "files", logs, "error", err)
		}
	})
}

// checkFiles refuses messages while a file is missing without which no start opens the
// store. The files that are open can still be read.
func (e *Engine) checkFiles() {
	lost, _ := read(e, func(v *view) ([]string, error) { return v.inst.LostFiles(), nil })
	if len(lost) == 0 {
		if e.missing.Swap(nil) != nil {
			e.opt.Logger.Info("all files of the store are there again")
		}
		return
	}
	err := fmt.Errorf("%d files of the store were removed under this process, the first is %s in %s: put them back, or restore a backup",
		len(lost), lost[0], e.opt.FS.PathJoin(e.opt.Dir, "db"))
	if e.missing.Swap(&err) == nil {
		e.opt.Logger.Error("nothing is accepted", "error", err)
	}
}

// mib formats bytes for a person.
func mib(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }

// errBudget is wrapped by the refusal of a store that is above its budget.
var errBudget = errors.New("disk budget is used up")

// diskTrouble returns why there is no room for a message or, with stranger set, for a client
// that is not known. The latter needs more room, so that devices that register without end
// leave some for messages.
func (o *Options) diskTrouble(disk usage, used int64, stranger bool) error {
	whose, low, most := "", o.MinFreeBytes, o.MaxDiskBytes
	if low == 0 {
		low = min(64<<20, disk.total/10)
	}
	if stranger {
		whose, low, most = " for clients that are not known", 2*low, most/10*9
	}
	switch {
	case disk.total > 0 && disk.free < low:
		return fmt.Errorf("disk has %s free, the minimum%s is %s", mib(disk.free), whose, mib(low))
	case o.MaxDiskBytes > 0 && used > most:
		return fmt.Errorf("%w: store has %s on disk, the budget%s is %s", errBudget, mib(used), whose, mib(most))
	}
	return nil
}

// roomForStranger returns why there is no room for a client, nil if there is or if the
// client is known.
func (e *Engine) roomForStranger(id gateway.ClientID) error {
	cause := e.narrow.Load()
	if cause == nil {
		return nil
	}
	if _, err := e.Client(id); gateway.CodeOf(err) != gateway.CodeClientNotFound {
		return nil
	}
	return diskFull(*cause)
}

// reclaimer gathers the space of removed rows, in the background, half of the
// time at most, and a tenth while only unknown clients are refused. Tables are merged
// because new ones come, and while the store refuses messages hardly any come: the space
// of acked and forgotten messages would stay taken. It is not for a disk that is full in
// fact, on which merging needs room first.
type reclaimer struct {
	removed atomic.Bool // rows, since it last began
	busy    atomic.Bool
	ended   time.Time     // when it was last done; of the goroutine that has set busy
	took    time.Duration // likewise
}

func (e *Engine) reclaim() {
	r := &e.reclaimer
	if !r.removed.Load() || !r.busy.CompareAndSwap(false, true) {
		return
	}
	pause := r.took
	if e.refusal.Load() == nil {
		pause *= 9
	}
	if time.Since(r.ended) < pause {
		r.busy.Store(false)
		return
	}
	e.wg.Go(func() {
		defer r.busy.Store(false)
		begun := time.Now()
		r.removed.Store(false)
		err := e.read(func(v *view) error { return v.inst.DB.Compact(e.ctx, []byte{0}, []byte{0xff}, false) })
		if err != nil && !errors.Is(err, context.Canceled) {
			e.opt.Logger.Warn("gather space", "error", err)
		}
		r.ended, r.took = time.Now(), time.Since(begun)
	})
}
