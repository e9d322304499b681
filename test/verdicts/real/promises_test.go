package real

import (
	"fmt"
	"slices"

	"github.com/longwire/longwire/device"
	"github.com/longwire/longwire/gateway"
)

// Promises, as their failures read.
const (
	truth    = "a verdict that the device did not give"
	kept     = "the ledger was large enough"
	stays    = "was told as"
	once     = "was handled twice"
	inOrder  = "with a window of one"
	progress = "can never become final"
	patience = "unanswered transmissions"
	resumes  = "a good ledger was voided"
	upStored = "is acked and not stored"
	refused  = "a refused REGISTER changed the store"
)

func (w *world) fail(format string, args ...any) {
	w.x.mu.Lock()
	defer w.x.mu.Unlock()
	if w.broken == "" {
		w.broken = fmt.Sprintf(format, args...)
	}
}

// told checks a final state at the moment when a caller may see it.
func (w *world) told(d *gateway.Delivery) {
	m := uint64(d.Seq)
	now := fmt.Sprintf("%s %s %q", d.State, d.Reason, d.Result)
	old, before := w.ghost.told[m]
	if before && old != now {
		w.fail("%d was told as %s and is %s", m, old, now)
	}
	if before {
		return
	}
	w.ghost.told[m] = now
	w.cover("final: " + d.State.String() + " " + d.Reason)
	given := func(v verdict) bool { return slices.Contains(w.ghost.given[m], v) }
	ok := false
	switch code, answered := d.Verdict(); {
	case answered && code == gateway.AckNotKept:
		if ok = len(w.ghost.given[m]) > 0; w.cfg.sure {
			w.fail("%d is %s, and the ledger was large enough", m, now)
		}
	case answered && code == gateway.AckReject:
		ok = given(reject) && string(d.Result) == fmt.Sprint("reason ", m)
	case answered && len(d.Result) > 0:
		ok = given(result) && string(d.Result) == fmt.Sprint("result ", m)
	case answered:
		ok = given(plain)
	case d.State == gateway.Expired:
		ok = w.ghost.ahead && slices.Contains(w.cfg.ttl, int(m))
	case d.State == gateway.Canceled:
		ok = w.ghost.canceled
	case d.Reason == gateway.ReasonTooLargeForProtocol:
		w.mu.Lock()
		sent := w.ghost.silent[m] > 0
		w.mu.Unlock()
		ok = (int(m) == w.cfg.large || w.cfg.shrinks && m == 1) && sent == (d.State == gateway.Failed)
	case d.State == gateway.Failed && d.Reason == gateway.ReasonAttemptsUsedUp:
		w.mu.Lock()
		n := max(w.ghost.silent[m], w.ghost.before[m])
		w.mu.Unlock()
		if ok = true; n < w.cfg.attempts {
			w.fail("%d failed after %d unanswered transmissions of %d", m, n, w.cfg.attempts)
		}
	}
	if !ok {
		w.fail("%d is %s, a verdict that the device did not give (it gave %v)", m, now, w.ghost.given[m])
	}
}

// arrived checks a payload when the device reads it.
func (w *world) arrived(m uint64) {
	if !w.ghost.received[m] {
		for n := range w.ghost.received {
			if n > m {
				w.fail("%d came for the first time after a later one", m)
			}
		}
	}
	w.ghost.received[m] = true
}

// handled checks a decision of the device's handler, but not one whose delivery
// the ledger has forgotten.
func (w *world) handled(m uint64, v verdict, t device.Ticket) {
	if w.stale(t) {
		return
	}
	if w.ghost.handled[m] {
		w.fail("%d was handled twice", m)
	}
	strict := !slices.ContainsFunc(w.cfg.window, func(n int) bool { return n > 1 })
	final := slices.ContainsFunc(w.seen, func(d gateway.Delivery) bool { return uint64(d.Seq) == m && d.State.Final() })
	for n := range w.ghost.handled {
		if strict && !final && n > m {
			w.fail("%d was handled after a later one, with a window of one", m)
		}
	}
	w.ghost.handled[m] = true
	w.ghost.given[m] = append(w.ghost.given[m], v)
}

// epoch is that the ledger was voided, by the same log or another.
func (w *world) epoch(same bool) {
	if same && w.cfg.forged == 0 {
		w.fail("a good ledger was voided")
	}
	clear(w.ghost.handled)
	clear(w.ghost.received)
}

// checkUplinks finds uplinks that the device has an ack for and the store does
// not have.
func (w *world) checkUplinks() {
	for _, p := range w.ghost.acked {
		if !slices.Contains(w.stored, p) {
			w.fail("uplink %s is acked and not stored", p)
		}
	}
}
