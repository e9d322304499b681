package feed

import (
	"hash/maphash"
	"sync"

	"github.com/longwire/longwire/gateway"
)

// Lookup finds the groups and labels of the clients in events. It caches those of the
// newest events, so that all readers together read the store once for an event. The
// cached groups and labels are those at the time when the first reader read the event.
type Lookup struct {
	gateway *gateway.Gateway
	seed    maphash.Seed
	mu      sync.Mutex
	slots   [1024]lookedUp // by the event's number
	owners  [256]owned     // by the message: one to many has an event for each recipient, and is read with its payload
}

// NewLookup returns a Lookup that reads from g.
func NewLookup(g *gateway.Gateway) *Lookup { return &Lookup{gateway: g, seed: maphash.MakeSeed()} }

// Subject has the groups and labels of the client of an event. It is the zero value for an
// unknown client. Its readers do not change it.
type Subject struct {
	Groups []string
	Labels map[string]string
	joined []gateway.Joining // of each of Groups
}

// owned has the owner and the place of a message, which never change.
type owned struct {
	message gateway.MessageID
	owner   string      // "" for none, and of a message that is not known
	seq     gateway.Seq // 0 if the message is not in the store
}

// Owner returns the owner of the message of an event; "" if it has none, or is not known.
func (l *Lookup) Owner(e *gateway.Event) (string, error) {
	m, err := l.message(e.Message)
	return m.owner, err
}

func (l *Lookup) message(id gateway.MessageID) (owned, error) {
	slot := &l.owners[maphash.String(l.seed, string(id))%uint64(len(l.owners))]
	l.mu.Lock()
	kept := *slot
	l.mu.Unlock()
	if kept.message == id {
		return kept, nil
	}
	m, err := l.gateway.Message(id)
	if gateway.CodeOf(err) == gateway.CodeMessageNotFound {
		return owned{}, nil
	}
	if err != nil {
		return owned{}, err
	}
	found := owned{id, m.Owner, m.Seq}
	l.mu.Lock()
	defer l.mu.Unlock()
	*slot = found
	return found, nil
}

type lookedUp struct {
	event uint64 // 0: none
	Subject
}

// Subject returns the groups and labels of the client of an event.
func (l *Lookup) Subject(e *gateway.Event) (Subject, error) {
	slot := &l.slots[e.Seq%uint64(len(l.slots))]
	l.mu.Lock()
	kept := *slot
	l.mu.Unlock()
	if kept.event == e.Seq && e.Seq > 0 {
		return kept.Subject, nil
	}
	c, err := l.gateway.Client(e.Client)
	if gateway.CodeOf(err) == gateway.CodeClientNotFound {
		c, err = gateway.Client{}, nil
	}
	if err != nil {
		return Subject{}, err
	}
	s := Subject{c.Groups, c.Labels, c.Joined}
	l.mu.Lock()
	defer l.mu.Unlock()
	if slot.event < e.Seq {
		*slot = lookedUp{e.Seq, s}
	}
	return s, nil
}
