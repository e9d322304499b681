package enginetest

import (
	"fmt"
	"slices"

	"github.com/longwire/longwire/gateway"
)

// sameBackwards reads a list of clients in falling order: it has the same clients.
func (h *harness) sameBackwards(name string, q gateway.ClientQuery, want []gateway.ClientID) {
	h.Helper()
	q.Descending = true
	got := h.listed(q)
	want = slices.Clone(want)
	slices.Reverse(want)
	h.same(fmt.Sprintf("%s by %d, falling", name, q.Limit), got, want)
}

// sameUplinksBackwards reads uplinks newest first: they are those of the other order.
func (h *harness) sameUplinksBackwards(client gateway.ClientID, limit int) {
	h.Helper()
	got := collect(h, func(before uint64) (gateway.Page[gateway.Uplink, uint64], error) {
		return h.store.UplinksBefore(client, before, limit)
	})
	want := allUplinks(h, h.store, client, limit)
	slices.Reverse(want)
	h.same(fmt.Sprintf("uplinks of %q by %d, newest first", client, limit), got, want)
	if len(want) > 1 {
		p, err := h.store.UplinksBefore(client, want[0].Seq, 1)
		h.must(err)
		h.same("below the newest", p.Items, want[1:2])
	}
}
