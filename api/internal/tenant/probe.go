package tenant

import (
	"context"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/audit"
)

// Probe asks a client's device for a sign of life. The end of ctx ends the wait, not
// the question.
func (v *View) Probe(ctx context.Context, id gateway.ClientID) (p gateway.Probed, err error) {
	if err = v.reach(id); err == nil {
		p, err = v.shared.gateway.Probe(ctx, id)
		err = v.hide(err, id, "")
	}
	v.Record(audit.Probe, string(id), err)
	return p, err
}
