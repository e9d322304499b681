package gateway

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"time"
)

// Connect registers a client on a new connection. On success the session is live
// and visible; deliveries flow when the link has called Session.Start.
//
// Connect checks id and credentials and reserves the client's place in the hub.
// Then one event registers the client in the store, which may refuse it. Only
// after that does Connect close another connection with the id (takeover). With
// Config.RejectTwins it refuses the registration if the device that has the id is still
// there: the registration waits for its answer, for ProbeTime at most. A second
// registration of the id waits until the first is decided. A registration whose
// credentials took so long that a later one of the id has become the live session is
// refused: its connection is the older one.
//
// Errors: CodeValidation (not a client id, or a record beyond its bounds),
// CodeUnauthorized, CodeBlocked, CodeTooManyClients, CodeDiskFull, CodeEventsFull,
// CodeIDInUse, CodeDraining, CodeUnavailable, ErrOvertaken and ErrConnectionLost. An error
// leaves the other connection, the client's record and its queue as they were; after
// CodeUnavailable the record may also be the registered one.
func (g *Gateway) Connect(ctx context.Context, h Hello, link Link) (*Session, Welcome, error) {
	s, w, err := g.connect(ctx, h, link)
	g.noteRefusal(&h, err)
	return s, w, err
}

func (g *Gateway) connect(ctx context.Context, h Hello, link Link) (*Session, Welcome, error) {
	if g.draining.Load() {
		return nil, Welcome{}, errDraining
	}
	if !h.Client.Valid() {
		return nil, Welcome{}, errNotClientID
	}
	number := g.hub.arrive(h.Client)
	defer g.hub.leave(h.Client)
	grant, err := g.authenticate(ctx, h)
	if err != nil {
		return nil, Welcome{}, err
	}
	if err := g.reserve(ctx, &h, number); err != nil {
		return nil, Welcome{}, err
	}
	defer g.hub.giveBack(h.Client)
	if h.Lost != nil && h.Lost() {
		return nil, Welcome{}, ErrConnectionLost
	}
	now := g.now().Truncate(time.Millisecond) // the precision that session and events keep
	id := uid(g.cfg.NewID())
	r := Registration{Client: h.Client, Reported: h.Labels, At: now,
		Session: SessionID(id.text(sessionKind)), Dialect: h.Dialect, Remote: remoteText(h.Remote)}
	if err := g.regroup(&r, h.Groups, &grant); err != nil {
		return nil, Welcome{}, err
	}
	if r.Account, err = g.accountOfRegistration(&r); err != nil {
		return nil, Welcome{}, err
	}
	rec, given, err := g.store.Register(ctx, r)
	if err != nil {
		return nil, Welcome{}, g.counts.eventsFull(refusedRegistration, err)
	}
	s := newSession(g, link, id, &rec, now)
	w := Welcome{Session: r.Session, Log: g.store.Log(), Ask: h.Asks, Time: now, ExpiresAt: grant.ExpiresAt,
		TokenUnchecked: h.Token != "" && grant.Unchecked}
	if w.Resumed = h.Log == w.Log && h.AskThrough <= given; w.Resumed && h.Asks {
		s.ask(h.AskThrough)
	}
	g.counts.claimed(h, w)
	g.enter(s, &h, number, grant.Credential)
	g.checkAgain(s, grant.Credential)
	return s, w, nil
}

// authenticate decides whether the device may register.
func (g *Gateway) authenticate(ctx context.Context, h Hello) (Grant, error) {
	if g.cfg.Authenticate == nil {
		return Grant{Unchecked: true}, nil
	}
	grant, err := g.cfg.Authenticate(ctx, h)
	switch {
	case err == nil:
		return grant, nil
	case errors.Is(err, ErrUnavailable):
		return Grant{}, err
	}
	return Grant{}, &Error{Code: CodeUnauthorized, Message: "the device may not register", Cause: err}
}

// ErrConnectionLost ends a registration whose connection was lost before it was decided.
var ErrConnectionLost = errors.New("the connection was lost before its registration was decided")

// ErrOvertaken refuses a registration because a connection whose REGISTER came later
// has the id.
var ErrOvertaken = errors.New("a later registration of the id has been decided first")

// reserve takes the client's place in the hub for the registration with this number,
// until giveBack. It waits for a registration under way. Errors: CodeIDInUse,
// CodeUnavailable, ErrOvertaken.
func (g *Gateway) reserve(ctx context.Context, h *Hello, number uint64) error {
	sh := g.hub.shard(h.Client)
	for {
		if err := sh.lockDecided(ctx, h.Client); err != nil {
			return err
		}
		holder := sh.sessions[h.Client]
		overtaken := holder != nil && number < sh.arrivals[h.Client].entered
		if holder == nil || !overtaken && !g.cfg.RejectTwins {
			sh.takeLocked(h.Client)
			sh.mu.Unlock()
			return nil
		}
		sh.mu.Unlock()
		if overtaken {
			return ErrOvertaken
		}
		if err := g.holds(ctx, holder); err != nil {
			if CodeOf(err) == CodeIDInUse {
				g.noteConflict(holder, h)
			}
			return err
		}
	}
}

// noteConflict notes that a connection has claimed the id of holder. No lock is held,
// because it asks the holder's link.
func (g *Gateway) noteConflict(holder *Session, h *Hello) {
	now := g.cfg.Now()
	g.conflicts.note(h.Client, now, claimOf(holder), Claim{Remote: h.Remote, Dialect: h.Dialect, At: now.Round(0)})
}

// enter makes s the client's live session and closes the one before. number is that of
// its REGISTER. The caller has reserved the client's place.
func (g *Gateway) enter(s *Session, h *Hello, number uint64, c Credential) {
	sh := g.hub.shard(s.client)
	sh.mu.Lock()
	old := sh.sessions[s.client]
	var lost []*OnlineCall
	sh.arrivals[s.client].entered = number
	g.counts.connects.Add(1)
	if old != nil {
		calls, tried, through := old.retire(true)
		lost = calls
		s.inherit(tried, through)
		s.flaps = old.flapsAfter(s.connectedTime())
		g.counts.takeovers.Add(1)
		sh.tallyLocked(s.client, replaced)
	} else {
		s.inherit(g.hub.recallLocked(sh, s.client), 0)
		g.hub.online.add(s.client)
		sh.tallyLocked(s.client, came)
	}
	g.hub.suspects.remove(s.client)
	sh.put(s)
	sh.leftLocked(old)
	sh.keepCredentialLocked(s.client, c)
	sh.mu.Unlock()
	loseAll(lost)
	if old != nil {
		if s.flaps > 0 {
			g.noteConflict(old, h)
		}
		old.link.Close(Close{Code: CloseReplaced, Reason: ReasonReplaced, RetryAfter: flapDelay(s.flaps),
			Text: "another connection has registered with this id"})
	}
}

// accountOf returns the tenant that a client in these groups is counted for, "" for none.
func (g *Gateway) accountOf(id ClientID, groups []string) string {
	if g.cfg.AccountOf == nil {
		return ""
	}
	return g.cfg.AccountOf(id, slices.Compact(slices.Sorted(slices.Values(groups))))
}

// accountOfRegistration returns the tenant that a client is counted for once it has
// registered. The client's place in the hub is held, so that its groups do not change.
func (g *Gateway) accountOfRegistration(r *Registration) (string, error) {
	a := g.accountOf(r.Client, nil)
	if a != "" || g.cfg.GuardedGroups == nil || len(g.cfg.GuardedGroups()) == 0 {
		return a, nil
	}
	known, err := g.store.Client(r.Client)
	if err != nil && CodeOf(err) != CodeClientNotFound {
		return "", err
	}
	return g.accountOf(r.Client, r.GroupsOf(known.Groups, MaxGroups)), nil
}

// remoteText returns an address as events show it, "" for none.
func remoteText(a netip.AddrPort) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

// flapWindow is how soon a takeover must follow the last one to be counted as a
// flap: two devices that fight for one id.
const flapWindow = 30 * time.Second

// flapsAfter returns the number of quick takeovers in a row if this session is
// taken over at now.
func (s *Session) flapsAfter(now time.Time) uint8 {
	if now.Sub(s.connectedTime()) > flapWindow<<min(s.flaps, 4) {
		return 0
	}
	return min(s.flaps+1, 16)
}

// flapDelay is the retry delay for the loser of the nth quick takeover: 1 s,
// doubling up to 5 min, jittered.
func flapDelay(n uint8) time.Duration {
	return jitter(min(2*time.Second<<min(n, 10), 5*time.Minute))
}

// disconnected counts the end of a session's connection. It ends the session, if it has
// not ended before.
func (g *Gateway) disconnected(s *Session, reason string) {
	g.counts.closed(reason)
	g.leave(s, reason, writesOn(reason))
}

// writesOn reports whether a link that has ended for this reason still writes the output
// that it has, so that payloads without a Sent may reach the device.
func writesOn(reason string) bool {
	return reason != ReasonConnectionLost && reason != ReasonSlowConsumer
}

// leave ends a session, and removes it from the hub if it is still the live one. From
// then on its client is offline. unreported is as for retire, which the shard's lock
// orders with a takeover: one of the two gets the attempts.
func (g *Gateway) leave(s *Session, reason string, unreported bool) {
	seen := g.onWall(s.link.Stats().LastSeen)
	sh := g.hub.shard(s.client)
	sh.mu.Lock()
	calls, tried, _ := s.retire(unreported)
	live := sh.sessions[s.client] == s
	if live {
		g.closes.add(s.client, closeNote{epoch: s.epoch, reason: reason, seen: seen, at: g.cfg.Now()}) // before the client reads as offline
		sh.tallyLocked(s.client, left)
		delete(sh.sessions, s.client)
		sh.leftLocked(s)
		sh.keepCredentialLocked(s.client, nil)
		g.hub.online.remove(s.client)
		g.hub.suspects.remove(s.client)
		g.hub.rememberLocked(sh, s.client, tried)
	}
	offline := sh.sessions[s.client] == nil
	sh.mu.Unlock()
	loseAll(calls)
	g.probes.ended(s, offline)
	if live {
		g.store.Disconnected(Disconnection{Client: s.client, Epoch: s.epoch, Session: s.ID(),
			At: seen, Reason: reason})
	}
}
