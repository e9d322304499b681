package tenant

import (
	"hash/maphash"
	"sync"

	"github.com/longwire/longwire/gateway"
)

// memberships caches the groups of the clients in events, so that the streams of all
// limited keys together read the store once for an event. The cached groups are those
// at the time when the first stream read the event.
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

// of returns the groups of the client of event seq; nil for an unknown client.
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
