package app

import (
	"slices"
	"sync"
	"time"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/apikey"
	"github.com/longwire/longwire/internal/consumer"
	"github.com/longwire/longwire/internal/webhook"
)

// unreadUplinks counts the uplinks that no backend has read, since the start of the
// process. A backend reads them when it comes to the end of GET /v1/uplinks, and while
// something takes events of uplinks: a stream, a webhook or a consumer. Any goroutine may
// call its methods.
type unreadUplinks struct {
	mu    sync.Mutex
	seen  uint64 // uplinks at the last look
	read  uint64 // of them, those that count as read
	since time.Time
}

// taken notes that a backend has read so many uplinks: all so far.
func (u *unreadUplinks) taken(uplinks uint64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.seen, u.read, u.since = uplinks, uplinks, time.Time{}
}

// look compares with the number of uplinks so far. reader reports whether something takes
// them at once.
func (u *unreadUplinks) look(uplinks uint64, reader func() bool, now time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	came := uplinks > u.seen
	u.seen = uplinks
	switch {
	case u.read == u.seen:
	case came && reader():
		u.read, u.since = u.seen, time.Time{}
	case u.since.IsZero():
		u.since = now
	}
}

// count returns how many are unread, and since when some are.
func (u *unreadUplinks) count() (n uint64, since time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.seen - u.read, u.since
}

// takeUplinks reports whether something takes the events of uplinks.
func (a *App) takeUplinks() bool {
	if a.http.Streams() > 0 {
		return true
	}
	for _, w := range a.webhooks.List(apikey.Limit{}) {
		if w.Condition() == webhook.Active && w.Filter.Asks(gateway.EventMessageReceived) {
			return true
		}
	}
	return slices.ContainsFunc(a.consumers.All(), func(c consumer.Status) bool { return c.Filter.Asks(gateway.EventMessageReceived) })
}
