package engine

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine/disk"
	"github.com/longwire/longwire/internal/engine/state"
)

// instance is one opened database with the views of it, which may be in use for a
// while after another one has replaced it.
type instance struct {
	*disk.Database
	views  sync.WaitGroup // views that are not released
	shared *state.Shared  // fixed before the first view that delivers
}

// view is what readers see: the state after a record that is durable.
type view struct {
	state.View
	inst *instance
	snap *pebble.Snapshot
	refs atomic.Int64 // one is the publisher's
}

func newView(inst *instance, state state.Standing) *view {
	v := &view{inst: inst, snap: inst.DB.NewSnapshot()}
	v.Rows, v.State, v.Shared = snapshot{v.snap}, state, inst.shared
	v.refs.Store(1)
	inst.views.Add(1)
	return v
}

// acquire reports whether the view can still be used.
func (v *view) acquire() bool {
	for {
		n := v.refs.Load()
		if n == 0 {
			return false
		}
		if v.refs.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

func (v *view) release() {
	if v.refs.Add(-1) == 0 {
		_ = v.snap.Close()
		v.inst.views.Done()
	}
}

// unavailable wraps a cause so that a caller sees ErrUnavailable.
func unavailable(cause error) error {
	return &gateway.Error{Code: gateway.CodeUnavailable, Message: gateway.ErrUnavailable.Message, Cause: cause}
}

// diskFull wraps why nothing is accepted.
func diskFull(cause error) error {
	return &gateway.Error{Code: gateway.CodeDiskFull, Cause: unavailable(cause), RetryAfter: 5 * time.Second,
		Message: "the disk of the gateway, or data.max_disk, is used up: nothing was stored"}
}
