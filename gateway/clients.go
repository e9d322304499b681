package gateway

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
)

// Client is a client as the API shows it: its stored record and, if it is online,
// its live session.
type Client struct {
	ClientRecord
	Online      bool
	Suspect     bool // online, and has not answered a heartbeat for a second
	Session     SessionID
	ConnectedAt time.Time
	InFlight    int
	Link        LinkStats // zero when offline
}

// ClientStatus selects clients by presence or block.
type ClientStatus uint8

const (
	StatusOnline ClientStatus = iota
	StatusOffline
	StatusAll
	StatusBlocked
	StatusSuspect
)

// Includes reports whether c has the status at now.
func (s ClientStatus) Includes(c *Client, now time.Time) bool {
	switch s {
	case StatusAll:
		return true
	case StatusBlocked:
		return c.BlockedUntil.After(now)
	case StatusSuspect:
		return c.Suspect
	}
	return c.Online == (s == StatusOnline)
}

// ClientSelection is a ClientQuery with presence and, of connected clients, the
// connection.
type ClientSelection struct {
	ClientQuery
	Status  ClientStatus
	Addr    netip.Prefix // connected from it; the zero Prefix is any
	Dialect string       // of the connection; "" = any
	// Since selects online clients that connected, and offline ones that were last seen, then
	// or later; zero = any.
	Since time.Time
}

// includes reports whether c has the presence and the connection that q asks for at now.
func (q *ClientSelection) includes(c *Client, now time.Time) bool {
	if !q.Status.Includes(c, now) {
		return false
	}
	if !c.Online {
		return q.Dialect == "" && !q.Addr.IsValid() && !c.LastSeenAt.Before(q.Since)
	}
	return q.fits(&c.Link) && !c.ConnectedAt.Before(q.Since)
}

// fits reports whether a connection is of the dialect and from the addresses.
func (q *ClientSelection) fits(l *LinkStats) bool {
	return (q.Dialect == "" || l.Dialect == q.Dialect) && (!q.Addr.IsValid() || q.Addr.Contains(l.RemoteAddr.Addr().Unmap()))
}

// ofLink reports whether q can be judged by a session, in part.
func (q *ClientSelection) ofLink() bool {
	return q.Dialect != "" || q.Addr.IsValid() || !q.Since.IsZero()
}

// DisconnectOptions are the options of Gateway.Disconnect.
type DisconnectOptions struct {
	Purge bool          // cancel its queued deliveries
	After Seq           // Purge keeps the deliveries up to this one; 0 = none
	Block time.Duration // how long to refuse its registrations; 0 = not at all
}

// lookLimit bounds the clients that one page looks up one by one and passes over;
// each costs some microseconds. Rows that are read in sequence are several times
// cheaper, and the store bounds them. At the bound a page ends early, with a
// cursor, so that every page costs some milliseconds at most.
const lookLimit = 500

// glanceLimit bounds the sessions that one page passes over without a look-up.
const glanceLimit = 10_000

// Online reports whether the client is connected.
func (g *Gateway) Online(id ClientID) bool {
	_, ok := g.presence.holder(id)
	return ok
}

// Client returns one client. Errors: CodeClientNotFound, CodeUnavailable.
func (g *Gateway) Client(id ClientID) (Client, error) {
	rec, err := g.store.Client(id)
	if err != nil {
		return Client{}, err
	}
	return g.client(rec), nil
}

// client adds the live session's state to the stored record.
func (g *Gateway) client(rec ClientRecord) Client {
	c := Client{ClientRecord: rec}
	s := g.hub.session(rec.ID)
	if s == nil {
		g.closes.complete(&c.ClientRecord)
		return c
	}
	c.Online = true
	c.Suspect = g.hub.suspects.has(rec.ID)
	c.Session = s.ID()
	c.ConnectedAt = s.connectedTime()
	c.InFlight = s.inFlight()
	c.Link = s.link.Stats()
	c.LastSeenAt = g.onWall(c.Link.LastSeen)
	return c
}

// Clients lists clients in id order, rising or falling. A page costs the same however many clients
// there are. If few clients match, a page may hold fewer items than asked for, or
// none, and still have a cursor.
func (g *Gateway) Clients(q ClientSelection) (Page[Client, ClientID], error) {
	q.Limit = clampLimit(q.Limit)
	switch {
	case q.Status == StatusSuspect:
		return g.listed(&g.hub.suspects, q)
	case q.Status == StatusOnline && q.QueuedBefore.IsZero() && (!q.filters() || q.ofLink() || g.hub.online.len() <= lookLimit):
		return g.listed(&g.hub.online, q)
	}
	var out Page[Client, ClientID]
	cq, now := q.ClientQuery, g.now()
	for passed := 0; ; {
		page, err := g.store.Clients(cq)
		if err != nil {
			return Page[Client, ClientID]{}, err
		}
		for i, rec := range page.Items {
			c := g.client(rec)
			if !q.includes(&c, now) {
				passed++
				continue
			}
			out.Items = append(out.Items, c)
			if len(out.Items) == q.Limit {
				out.Next = rec.ID
				out.More = page.More || i+1 < len(page.Items)
				return out, nil
			}
		}
		if !page.More {
			return out, nil
		}
		cq.After = page.Next
		// A short page means that the store has passed over as many rows as it
		// may.
		if len(page.Items) < cq.Limit || passed >= lookLimit {
			out.Next, out.More = page.Next, true
			return out, nil
		}
	}
}

// filters reports whether the query looks at more of a record than its key.
func (q *ClientQuery) filters() bool { return q.Group != "" || len(q.Labels) > 0 || q.QueuedGT >= 0 }

// listed lists the clients of a directory: it takes ids from it and looks each up.
func (g *Gateway) listed(in *directory, q ClientSelection) (Page[Client, ClientID], error) {
	var out Page[Client, ClientID]
	now := g.now()
	start, exclusive := q.Start()
	var ids []ClientID
	for passed, glanced := 0, 0; ; {
		// Ask for one more than fits, so that the last page has no cursor.
		if q.Descending {
			ids = in.back(start, exclusive, q.Limit+1, ids[:0])
		} else {
			ids = in.from(start, exclusive, q.Limit+1, ids[:0])
		}
		for _, id := range ids {
			if !strings.HasPrefix(string(id), q.Prefix) {
				return out, nil
			}
			if len(out.Items) == q.Limit || passed == lookLimit || glanced == glanceLimit {
				out.More = true
				return out, nil
			}
			out.Next = id
			if q.ofLink() && !g.glance(&q, id) {
				glanced++
				continue
			}
			rec, err := g.store.Client(id)
			if CodeOf(err) == CodeClientNotFound {
				passed++
				continue
			} else if err != nil {
				return Page[Client, ClientID]{}, err
			}
			if c := g.client(rec); q.includes(&c, now) && q.ClientQuery.matches(&rec) {
				out.Items = append(out.Items, c)
			} else {
				passed++
			}
		}
		if len(ids) <= q.Limit {
			return out, nil
		}
		start, exclusive = ids[len(ids)-1], true
	}
}

// glance reports whether the session of a client may be what q asks for.
func (g *Gateway) glance(q *ClientSelection, id ClientID) bool {
	s := g.hub.session(id)
	if s == nil {
		return false
	}
	link := s.link.Stats()
	return q.fits(&link) && !s.connectedTime().Before(q.Since)
}

// matches applies the filters that need the record.
func (q *ClientQuery) matches(r *ClientRecord) bool {
	if q.Group != "" && !slices.Contains(r.Groups, q.Group) {
		return false
	}
	for k, v := range q.Labels {
		if r.Labels[k] != v {
			return false
		}
	}
	return q.QueuedGT < 0 || r.Queued > q.QueuedGT
}

// UpdateClient changes labels and groups. Errors: CodeClientNotFound,
// CodeValidation, CodeUnavailable.
func (g *Gateway) UpdateClient(ctx context.Context, id ClientID, c ClientChange) (Client, error) {
	if c.Groups != nil {
		if err := g.hub.reserve(ctx, id); err != nil {
			return Client{}, err
		}
		defer g.hub.giveBack(id)
		c.Account = g.accountOf(id, *c.Groups)
	}
	rec, err := g.store.UpdateClient(ctx, id, c)
	if err != nil {
		return Client{}, g.counts.eventsFull(refusedChange, err)
	}
	return g.client(rec), nil
}

// CreateClient adds a client that has never registered, so that messages are queued
// for its first connection. Errors: CodeClientExists, CodeValidation,
// CodeUnavailable.
func (g *Gateway) CreateClient(ctx context.Context, id ClientID, c ClientChange) (Client, error) {
	if !id.Valid() {
		return Client{}, errNotClientID
	}
	if err := g.hub.reserve(ctx, id); err != nil { // a registration that began before would know no groups
		return Client{}, err
	}
	defer g.hub.giveBack(id)
	var groups []string
	if c.Groups != nil {
		groups = *c.Groups
	}
	rec, err := g.store.CreateClient(ctx, id, g.now(), g.accountOf(id, groups), c)
	if err != nil {
		return Client{}, g.counts.eventsFull(refusedChange, err)
	}
	return g.client(rec), nil
}

// Unblock lets a blocked client come back at once. Errors: CodeClientNotFound,
// CodeUnavailable.
func (g *Gateway) Unblock(ctx context.Context, id ClientID) error {
	_, err := g.store.UpdateClient(ctx, id, ClientChange{BlockedUntil: new(time.Time)})
	return err
}

// Disconnect ends the client's session, if it has one: the client is offline when
// Disconnect returns. The queue is kept unless o.Purge is set; o.Block refuses the
// client's registrations for that long.
// Errors: CodeClientNotFound, CodeUnavailable.
func (g *Gateway) Disconnect(ctx context.Context, id ClientID, o DisconnectOptions) error {
	if _, err := g.store.Client(id); err != nil {
		return err
	}
	now := g.now()
	if o.Block > 0 {
		until := now.Add(o.Block)
		if _, err := g.store.UpdateClient(ctx, id, ClientChange{BlockedUntil: &until}); err != nil {
			return err
		}
	}
	// A registration that was checked before the block may be about to enter the
	// hub.
	s, err := g.hub.decided(ctx, id)
	if err != nil {
		return err
	}
	if s != nil {
		s.link.Close(Close{Code: CloseKicked, Reason: ReasonKicked, RetryAfter: max(o.Block, time.Second)})
		g.awaitEnd(ctx, s)
	}
	if o.Purge {
		if _, err := g.store.Purge(ctx, id, Span{After: o.After}, now); err != nil {
			return err
		}
	}
	return nil
}

// closeTime is how long Disconnect and Forget wait for a link to report its end, which comes
// after all that the device sent before.
const closeTime = time.Second

// awaitEnd returns when s, whose link was closed, is not live. It ends the session if
// the link takes too long, or the caller leaves.
func (g *Gateway) awaitEnd(ctx context.Context, s *Session) {
	left := g.hub.left(s)
	if left == nil {
		return
	}
	over := time.NewTimer(closeTime)
	defer over.Stop()
	select {
	case <-left:
		return
	case <-over.C:
	case <-ctx.Done():
	}
	g.leave(s, ReasonKicked, true)
}

// Forget removes the client: it cancels everything queued, removes the record and ends the
// session: the client is offline when Forget returns. It returns how many deliveries were
// canceled. The client becomes a new one when it registers again. A registration under way
// is decided before.
// Errors: CodeClientNotFound, CodeUnavailable.
func (g *Gateway) Forget(ctx context.Context, id ClientID) (canceled int, err error) {
	if err := g.hub.reserve(ctx, id); err != nil {
		return 0, err
	}
	defer g.hub.giveBack(id)
	canceled, err = g.store.ForgetClient(ctx, id, g.now())
	if err != nil {
		return canceled, err
	}
	if s := g.hub.session(id); s != nil { // the feed closes its link
		g.awaitEnd(ctx, s)
	}
	return canceled, nil
}

// forgetters bounds the events of one ForgetAll that are under way.
const forgetters = 32

// Forgotten is the result of ForgetAll.
type Forgotten struct {
	Clients  int
	Canceled int // their deliveries that were queued
}

// ForgetAll is Forget for several clients; it passes over unknown ones. After an error
// some may be forgotten: the result counts them.
func (g *Gateway) ForgetAll(ctx context.Context, ids []ClientID) (done Forgotten, err error) {
	var mu sync.Mutex // guards done and err
	var wg sync.WaitGroup
	for part := range slices.Chunk(ids, len(ids)/forgetters+1) {
		wg.Go(func() {
			for _, id := range part {
				n, failure := g.Forget(ctx, id)
				mu.Lock()
				switch {
				case failure == nil:
					done.Clients++
					done.Canceled += n
				case CodeOf(failure) != CodeClientNotFound:
					err = failure
				}
				stop := err != nil
				mu.Unlock()
				if stop {
					return
				}
			}
		})
	}
	wg.Wait()
	return done, err
}
