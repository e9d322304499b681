package deviceauth

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/longwire/longwire/gateway"
)

// Bounds of an outage.
const (
	outageQuiet = time.Minute // without a device turned away: the outage is over, unless the breaker is open
	maxAway     = 10_000      // ids that are counted
)

// HookOutage is a time in which the hook gives no answer, or too few.
type HookOutage struct {
	Since         time.Time
	LastError     string           // of the last failed call, or why none was made
	Open          bool             // the breaker has seen failures in a row: no call has succeeded since
	Monitor       bool             // the hook only reports, so no device is turned away
	Devices       int              // different ids that were turned away; maxAway stands for itself and more
	Registrations uint64           // of them
	Client        gateway.ClientID // the last one, "" for none
}

// outage notes the devices that were turned away because the hook gave no answer, and
// the failed calls.
type outage struct {
	mu            sync.Mutex
	failing       time.Time // the first failed call since the last success; zero = none
	lastError     string    // of the last failed call
	first, last   time.Time // device turned away, in this outage
	busy          bool      // the last one: too many calls were under way
	away          map[gateway.ClientID]struct{}
	registrations uint64
	client        gateway.ClientID
}

// called notes the result of a call. A success ends an outage for which the breaker was
// open.
func (o *outage) called(err error, change breakerChange, now time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case err != nil:
		o.lastError = err.Error()
		if o.failing.IsZero() {
			o.failing = now
		}
		return
	case change == breakerClosed:
		o.beginLocked()
	}
	o.failing = time.Time{}
}

func (o *outage) beginLocked() {
	o.first, o.last, o.away, o.registrations, o.client = time.Time{}, time.Time{}, nil, 0, ""
}

// turnedAway notes a device that the gateway asks to come back, because the hook gave no answer.
func (o *outage) turnedAway(id gateway.ClientID, reason Reason, now time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if now.Sub(o.last) > outageQuiet && (o.failing.IsZero() || o.last.Before(o.failing)) {
		o.beginLocked() // the last one was of another outage
	}
	if o.away == nil {
		o.first, o.away = now, make(map[gateway.ClientID]struct{})
	}
	if len(o.away) < maxAway {
		o.away[id] = struct{}{}
	}
	o.last, o.busy, o.client = now, reason == ReasonHookBusy, id
	o.registrations++
}

// HookOutage returns the present outage of the hook; ok is false if it answers. There is
// one while the breaker is not closed, and while devices are turned away again and again.
func (a *Authenticator) HookOutage() (out HookOutage, ok bool) {
	if a.hook == nil {
		return out, false
	}
	now := time.Now()
	open := a.hook.breaker.state(now) != breakerIsClosed
	o := &a.hook.outage
	o.mu.Lock()
	defer o.mu.Unlock()
	if !open && (o.registrations < breakerFailures || now.Sub(o.last) > outageQuiet) {
		return out, false
	}
	out = HookOutage{Since: o.first, LastError: o.lastError, Open: open, Monitor: a.cfg.Hook.Monitor,
		Devices: len(o.away), Registrations: o.registrations, Client: o.client}
	if open && !o.failing.IsZero() && (out.Since.IsZero() || o.failing.Before(out.Since)) {
		out.Since = o.failing
	}
	if !open && o.busy {
		out.LastError = "more calls than auth.device_hook_concurrency allows"
	}
	return out, true
}

// plainly returns err in words for an operator.
func (k *hook) plainly(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return errors.New("no answer within " + k.cfg.Timeout.String())
	}
	return err
}
