package tenant

import (
	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/audit"
)

// StartOnline is PushOnline for a caller that does not block: w gets the result. See
// gateway.Gateway.StartOnline.
func (v *View) StartOnline(c *gateway.OnlineCall, r gateway.OnlineRequest, w gateway.OnlineWaiter, b *gateway.OnlineBatch) (err error) {
	r.Owner = v.key.Limit.Owner()
	if err = v.reach(r.Client); err == nil {
		if v.shared.log.Wants(audit.Push) {
			w = &recordedCall{v, r.Client, w}
		}
		err = v.hide(v.shared.gateway.StartOnline(c, r, w, b), r.Client, "")
	}
	if err != nil {
		v.pushed(string(r.Client), "", false, "", err)
	}
	return err
}

// recordedCall records the result of a call in the audit log and then passes it on to
// the waiter.
type recordedCall struct {
	view   *View
	client gateway.ClientID
	waiter gateway.OnlineWaiter
}

// Answered implements gateway.OnlineWaiter.
func (c *recordedCall) Answered(r gateway.OnlineResult, err error) {
	c.view.pushed(string(c.client), r.Message, false, "", err)
	c.waiter.Answered(r, err)
}
