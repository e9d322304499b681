package engine

import (
	"time"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine/disk"
)

// retryEvery is how often a failed store tries to open its directory again.
const retryEvery = 250 * time.Millisecond

// reopen replaces a database that was sealed for cause. While that does not
// succeed it returns why.
func (e *Engine) reopen(cause error) error {
	e.failure.CompareAndSwap(nil, &cause)
	if !e.inst.Quiet() {
		return cause // the disk has not finished a change, which would come behind the back of the new database
	}
	e.finishing.Wait()
	err := e.mark.Lost()
	if err == nil {
		err = disk.Probe(e.opt.disk())
	}
	if err == nil {
		err = e.openState()
	}
	if err != nil {
		e.failure.Store(&err)
		return err
	}
	e.tellRecovered()
	e.failure.Store(nil)
	e.opt.Logger.Info("the store takes writes again")
	return nil
}

// tellRecovered deals with the records whose outcome was unknown when the
// database was sealed. It passes those that recovery has found durable to the
// observer.
func (e *Engine) tellRecovered() {
	for _, f := range e.lost {
		if f.pos <= e.intact {
			e.tell(f.Feed)
		}
	}
	e.lost = nil
	if o := e.observer.Load(); o != nil {
		(*o).Changed([]gateway.Change{&gateway.Reopened{}})
	}
}
