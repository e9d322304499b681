package tenant

import (
	"hash/maphash"
	"sync"

	"github.com/longwire/longwire/gateway"
)

// memberships remembers the groups of clients that events are about, so that the
// streams of all limited keys read the store once for an event and not each. They
// are those of the moment at which the first stream came to the event.
type memberships struct {
	mu    sync.Mutex
	slots [256]membership
}

type membership struct {
	client gateway.ClientID
	until  uint64 // the newest event for which the groups were read
	groups []string
}

var memberSeed = maphash.MakeSeed()

// of returns the groups of the client of event seq; nil for a client that is not
// known.
func (m *memberships) of(g *gateway.Gateway, client gateway.ClientID, seq uint64) ([]string, error) {
	slot := &m.slots[maphash.String(memberSeed, string(client))%uint64(len(m.slots))]
	m.mu.Lock()
	kept := *slot
	m.mu.Unlock()
	if kept.client == client && kept.until >= seq {
		return kept.groups, nil
	}
	c, err := g.Client(client)
	if gateway.CodeOf(err) == gateway.CodeClientNotFound {
		c, err = gateway.Client{}, nil
	}
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if slot.client != client || slot.until < seq {
		*slot = membership{client, seq, c.Groups}
	}
	return c.Groups, nil
}
