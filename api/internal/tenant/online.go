package tenant

import (
	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/audit"
)

// StartOnline is PushOnline for a caller that does not wait: w is told. See
// gateway.Gateway.StartOnline.
func (v *View) StartOnline(c *gateway.OnlineCall, r gateway.OnlineRequest, w gateway.OnlineWaiter, b *gateway.OnlineBatch) (err error) {
	noted := v.door.log.Wants(audit.Push)
	if v.limited() {
		err = v.reach(r.Client)
	}
	if err == nil {
		if noted {
			w = &notedCall{v, r.Client, w}
		}
		err = v.hide(v.door.gateway.StartOnline(c, r, w, b), r.Client, "")
	}
	if err != nil && noted {
		v.pushed(string(r.Client), "", false, "", err)
	}
	return err
}

// notedCall tells the audit log how a call has ended before its waiter.
type notedCall struct {
	view   *View
	client gateway.ClientID
	waiter gateway.OnlineWaiter
}

// Answered implements gateway.OnlineWaiter.
func (n *notedCall) Answered(r gateway.OnlineResult, err error) {
	n.view.pushed(string(n.client), r.Message, false, "", err)
	n.waiter.Answered(r, err)
}
