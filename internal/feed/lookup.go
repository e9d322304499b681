package feed

import (
	"sync"

	"github.com/longwire/longwire/gateway"
)

// Lookup finds the groups and labels of the clients in events. It caches those of the
// newest events, so that all readers together read the store once for an event. The
// cached groups and labels are those at the time when the first reader read the event.
type Lookup struct {
	gateway *gateway.Gateway
	mu      sync.Mutex
	slots   [1024]lookedUp // by the event's number
}

// NewLookup returns a Lookup that reads from g.
func NewLookup(g *gateway.Gateway) *Lookup { return &Lookup{gateway: g} }

// subject has the groups and labels of the client of an event. It is the zero value for an
// unknown client.
type subject struct {
	groups []string
	labels map[string]string
	since  uint64 // ClientRecord.GroupsSince
}

type lookedUp struct {
	event uint64 // 0: none
	subject
}

// of returns the subject of an event.
func (l *Lookup) of(e *gateway.Event) (subject, error) {
	slot := &l.slots[e.Seq%uint64(len(l.slots))]
	l.mu.Lock()
	kept := *slot
	l.mu.Unlock()
	if kept.event == e.Seq && e.Seq > 0 {
		return kept.subject, nil
	}
	c, err := l.gateway.Client(e.Client)
	if gateway.CodeOf(err) == gateway.CodeClientNotFound {
		c, err = gateway.Client{}, nil
	}
	if err != nil {
		return subject{}, err
	}
	s := subject{c.Groups, c.Labels, c.GroupsSince}
	l.mu.Lock()
	defer l.mu.Unlock()
	if slot.event < e.Seq {
		*slot = lookedUp{e.Seq, s}
	}
	return s, nil
}
