package app

import (
	"context"
	"sync"
	"time"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/findings"
)

// Bounds of the search for clients that have not come back.
const (
	comebackFor   = 10 * time.Minute     // after a start
	comebackGrace = time.Minute          // after a start, before many missing clients are a warning
	maxMissing    = 4096                 // clients that are named; further ones are counted
	comebackEvery = 5 * time.Second      // the least time between two searches
	comebackPause = 5 * time.Millisecond // between two pages
	comebackShare = 20                   // a search takes at most this part of the time
	comebackPut   = 10 * time.Second     // for the entry
)

// keyStarted is the entry of the store that has the start of the last process.
const keyStarted = "process started"

// comeback finds the clients that were connected when the process before this one ended,
// and that have not connected since. The search reads the rows of all clients, some at a
// time. Any goroutine may call its methods.
type comeback struct {
	store   gateway.Store
	now     func() time.Time
	started time.Time // of this process, with a monotonic reading
	before  time.Time // start of the process before; zero if that is not known

	mu      sync.Mutex
	counted bool              // one search has ended
	n       int               // clients found by the last search
	named   []findings.Client // the first of them
}

// open reads the start of the process before. It searches a small store at once, so that
// the first answer is right.
func (c *comeback) open(store gateway.Store, now func() time.Time) {
	c.store, c.now, c.started = store, now, now()
	if page, err := store.Entries(keyStarted, "", 1); err == nil {
		for _, e := range page.Items {
			c.before, _ = time.Parse(time.RFC3339Nano, string(e.Value)) // zero on an error
		}
	}
	c.search(func() bool { return false })
}

// run searches again until all clients are back, for comebackFor, or until the process ends.
func (c *comeback) run(draining <-chan struct{}) {
	ctx, cancel := context.WithTimeout(context.Background(), comebackPut)
	defer cancel()
	at := c.started.Round(0).Truncate(time.Millisecond) // the precision of registrations
	// After a failure the next process finds the clients that this one has lost, and older
	// ones.
	_ = c.store.Put(ctx, []gateway.Entry{{Key: keyStarted, Value: []byte(at.UTC().Format(time.RFC3339Nano))}})
	wait := func(d time.Duration) bool {
		select {
		case <-time.After(d):
			return true
		case <-draining:
			return false
		}
	}
	for pause := time.Duration(0); !c.done() && wait(pause); {
		begun := c.now()
		c.search(func() bool { return wait(comebackPause) })
		pause = max(comebackEvery, comebackShare*c.now().Sub(begun))
	}
}

// search reads the clients of the store. It calls next between two pages and ends if that
// returns false. A search that does not come to the end changes nothing.
func (c *comeback) search(next func() bool) {
	n, named := 0, []findings.Client(nil)
	q := gateway.ClientQuery{QueuedGT: -1, Limit: gateway.MaxListLimit}
	for more := true; more; {
		page, err := c.store.Clients(q)
		if err != nil {
			return
		}
		for i := range page.Items {
			r := &page.Items[i]
			if !c.missing(r) {
				continue
			}
			n++
			if len(named) < maxMissing {
				named = append(named, findings.Client{ID: string(r.ID), Since: c.started.Round(0), Last: r.LastSeenAt, Reason: r.LastClose})
			}
		}
		if more = page.More; more && !next() {
			return
		}
		q.After = page.Next
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counted, c.n, c.named = true, n, named
}

// missing reports whether a client's last connection ended with the process before.
func (c *comeback) missing(r *gateway.ClientRecord) bool {
	return (r.LastClose == gateway.ReasonShutdown || r.LastClose == gateway.ReasonServerStopped) && !r.LastSeenAt.Before(c.before)
}

// done reports whether all clients are back, or the time is over.
func (c *comeback) done() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.counted && c.n == 0 || c.now().Sub(c.started) >= comebackFor
}

// left returns the clients of the last search that are not online: how many, and the first
// of them.
func (c *comeback) left(online func(gateway.ClientID) bool) (n int, named []findings.Client, counted bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n = c.n
	for _, x := range c.named {
		if online(gateway.ClientID(x.ID)) {
			n--
		} else {
			named = append(named, x)
		}
	}
	return n, named, c.counted
}

// startFindings reports a start for some minutes, until the clients are back that the
// process before has lost.
func (a *App) startFindings() []findings.Finding {
	age := a.now().Sub(a.comeback.started)
	if age >= comebackFor {
		return nil
	}
	at := a.comeback.started.Round(0)
	f := findings.Finding{Code: findings.JustStarted, Severity: findings.Info, Since: at, Count: 1,
		Facts: map[string]any{"started_at": at.UTC().Format(time.RFC3339)}, Link: "/v1/clients?status=offline"}
	n, named, counted := a.comeback.left(a.gw.Online)
	// Between two searches of a large store this is nearer to the truth.
	n = min(n, max(len(named), a.store.Stats().Clients-a.gw.OnlineClients()))
	switch {
	case !counted:
		f.Everyones = true
		return []findings.Finding{f}
	case n == 0:
		return nil
	case age >= comebackGrace:
		f.Many = a.levels.Load().manyDevices
	}
	f.Count, f.Clients = n, named
	return []findings.Finding{f}
}
