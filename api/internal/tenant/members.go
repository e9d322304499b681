package tenant

import (
	"sync"

	"github.com/longwire/longwire/gateway"
)

// memberships caches the groups of the clients in the newest events, so that the
// streams of all limited keys together read the store once for an event. The cached
// groups are those at the time when the first stream read the event.
type memberships struct {
	mu    sync.Mutex
	slots [1024]membership // by the event's number
}

type membership struct {
	event  uint64 // 0: none
	groups []string
}

// of returns the groups of the client of event seq; nil for an unknown client.
func (m *memberships) of(g *gateway.Gateway, client gateway.ClientID, seq uint64) ([]string, error) {
	slot := &m.slots[seq%uint64(len(m.slots))]
	m.mu.Lock()
	kept := *slot
	m.mu.Unlock()
	if kept.event == seq && seq > 0 {
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
	if slot.event < seq {
		*slot = membership{seq, c.Groups}
	}
	return c.Groups, nil
}
