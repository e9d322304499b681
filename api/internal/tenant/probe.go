package tenant

import (
	"cmp"
	"context"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/audit"
)

// Probe asks a client's device for a sign of life. The end of ctx ends the wait, not
// the question. A key, or all keys of one limit, have a share of the probes.
func (v *View) Probe(ctx context.Context, id gateway.ClientID) (p gateway.Probed, err error) {
	if err = v.reach(id); err == nil {
		p, err = v.shared.gateway.Probe(ctx, id, cmp.Or(v.key.Account(), v.key.ID))
		err = v.hide(err, id, "")
	}
	v.Record(audit.Probe, string(id), err)
	return p, err
}
