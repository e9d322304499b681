package gateway

import (
	"context"
	"errors"
	"time"
)

// Connect registers a client on a new connection. On success the session is
// live and visible; deliveries flow when the link has called Session.Start.
//
// A connection that has the id already is told and closed (takeover), unless
// Config.RejectTwins. Errors: CodeValidation (not a client id),
// CodeUnauthorized, CodeBlocked, CodeIDInUse, CodeDraining, CodeUnavailable.
func (g *Gateway) Connect(ctx context.Context, h Hello, link Link) (*Session, Welcome, error) {
	if g.draining.Load() {
		return nil, Welcome{}, errDraining
	}
	if !h.Client.Valid() {
		return nil, Welcome{}, &Error{Code: CodeValidation, Message: "a client id is 1 to 128 of A-Z a-z 0-9 . _ : @ -"}
	}
	grant, err := g.authenticate(ctx, h)
	if err != nil {
		return nil, Welcome{}, err
	}
	groups, err := g.groupsOf(h)
	if err != nil {
		return nil, Welcome{}, err
	}
	now := time.Now().Truncate(time.Millisecond) // so that a new record's CreatedAt equals it
	rec, err := g.store.Register(ctx, Registration{Client: h.Client, Labels: h.Labels, Groups: groups, At: now})
	if err != nil {
		return nil, Welcome{}, err
	}
	if wait := rec.BlockedUntil.Sub(now); wait > 0 {
		return nil, Welcome{}, &Error{Code: CodeBlocked, Message: "the client is blocked", RetryAfter: wait}
	}
	log := g.store.Log()
	honoured := h.Log == log && h.LastSeq > 0
	if honoured {
		if err := g.store.AckThrough(ctx, h.Client, h.LastSeq, now); err != nil {
			return nil, Welcome{}, err
		}
	}
	s := newSession(g, link, h.Client, rec.Ref, now)
	if h.Asks && h.Log == log {
		s.ask(h.AskThrough)
	}
	if err := g.enter(s, h, grant.Credential); err != nil {
		return nil, Welcome{}, err
	}
	g.checkAgain(s, grant.Credential)
	known := !rec.CreatedAt.Equal(now)
	return s, Welcome{Session: s.ID(), Log: log, Ask: h.Asks, Time: now, Resumed: known && (honoured || h.LastSeq == 0), ExpiresAt: grant.ExpiresAt}, nil
}

// authenticate asks whether the device may register.
func (g *Gateway) authenticate(ctx context.Context, h Hello) (Grant, error) {
	if g.cfg.Authenticate == nil {
		return Grant{}, nil
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

// groupsOf is what a device's groups will be: those it names, but of the guarded
// ones those it is in already. A change by a caller in the same instant may be
// undone by it.
func (g *Gateway) groupsOf(h Hello) ([]string, error) {
	if h.Groups == nil || g.cfg.GuardedGroups == nil {
		return h.Groups, nil
	}
	guarded := g.cfg.GuardedGroups()
	if len(guarded) == 0 {
		return h.Groups, nil
	}
	rec, err := g.store.Client(h.Client)
	if err != nil && CodeOf(err) != CodeClientNotFound {
		return nil, err
	}
	groups := []string{} // not nil, which would keep all
	for _, name := range rec.Groups {
		if guarded[name] {
			groups = append(groups, name)
		}
	}
	for _, name := range h.Groups {
		if !guarded[name] && len(groups) < MaxGroups {
			groups = append(groups, name)
		}
	}
	return groups, nil
}

// enter makes s the live session of its client and closes the one before.
func (g *Gateway) enter(s *Session, h Hello, c Credential) error {
	e := recordOf(&Event{Type: EventClientConnected, At: s.connectedTime(), Client: s.client, Dialect: h.Dialect}, h.Remote)
	e.session, e.has = s.id, e.has|hasSession
	sh := g.hub.shard(s.client)
	sh.mu.Lock()
	old := sh.sessions[s.client]
	if old != nil && g.cfg.RejectTwins {
		sh.mu.Unlock()
		return &Error{Code: CodeIDInUse, Message: "a client with this id is connected", RetryAfter: 10 * time.Second}
	}
	if old != nil {
		s.inherit(old.retire())
		s.flaps = old.flapsAfter(s.connectedTime())
		e.kind, e.reason = eventReplaced, reasonReplaced
		g.counts.takeovers.Add(1)
	} else {
		s.inherit(g.hub.recall(sh, s.client))
		g.hub.online.add(s.client)
		g.counts.connects.Add(1)
	}
	sh.sessions[s.client] = s
	sh.keepCredential(s.client, c)
	g.events.keep(e)
	sh.mu.Unlock()
	if old != nil {
		old.link.Close(Close{Code: CloseReplaced, Reason: ReasonReplaced, RetryAfter: flapDelay(s.flaps),
			Text: "another connection has registered with this id"})
	}
	return nil
}

// flapWindow is how soon a takeover must follow the last one to count as two
// devices fighting for one id.
const flapWindow = 30 * time.Second

// flapsAfter counts a takeover of this session at now.
func (s *Session) flapsAfter(now time.Time) uint8 {
	if now.Sub(s.connectedTime()) > flapWindow<<min(s.flaps, 4) {
		return 0
	}
	return min(s.flaps+1, 16)
}

// flapDelay is what the loser of the nth quick takeover is told to wait: 1 s,
// doubling up to 5 min, jittered.
func flapDelay(n uint8) time.Duration {
	return jitter(min(2*time.Second<<min(n, 10), 5*time.Minute))
}

// disconnected takes a session out of the hub when it is still the live one.
func (g *Gateway) disconnected(s *Session, reason string) {
	tried := s.retire()
	now := time.Now()
	g.counts.closed(reason)
	sh := g.hub.shard(s.client)
	sh.mu.Lock()
	live := sh.sessions[s.client] == s
	if live {
		delete(sh.sessions, s.client)
		sh.keepCredential(s.client, nil)
		g.hub.online.remove(s.client)
		g.hub.remember(sh, s.client, tried)
		g.events.add(Event{Type: EventClientDisconnected, At: now, Client: s.client, Session: s.ID(), Reason: reason})
	}
	sh.mu.Unlock()
	if live {
		seen := s.link.Stats().LastSeen
		if seen.IsZero() {
			seen = now
		}
		g.store.Disconnected(s.client, seen, reason)
	}
}
