package memstore

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/longwire/longwire/gateway"
)

// Register stores a client that has connected.
func (s *Store) Register(ctx context.Context, r gateway.Registration) (gateway.ClientRecord, gateway.Seq, error) {
	if err := s.enter(ctx); err != nil {
		return gateway.ClientRecord{}, 0, err
	}
	defer s.mu.Unlock()
	c := s.clients[r.Client]
	var known gateway.ClientRecord
	if c != nil {
		known = c.ClientRecord
	}
	reported, groups := known.Reported, r.GroupsOf(known.Groups, gateway.MaxGroups)
	if r.Reported != nil {
		reported = maps.Clone(r.Reported)
	}
	if err := r.Refusal(known.BlockedUntil); err != nil {
		return gateway.ClientRecord{}, 0, err
	}
	if err := checkBounds(reported, groups); err != nil {
		return gateway.ClientRecord{}, 0, err
	}
	if c == nil {
		if err := s.roomForClientLocked(r.Account); err != nil {
			return gateway.ClientRecord{}, 0, err
		}
		c = s.newClientLocked(r.Client, r.At, "")
	}
	e := gateway.Event{Type: gateway.EventClientConnected, At: r.At, Client: r.Client, Session: r.Session, Dialect: r.Dialect, Remote: r.Remote}
	if c.connected {
		e.Type, e.Reason = gateway.EventClientReplaced, gateway.ReasonReplaced
	}
	was, before := c.Groups, s.told.last
	s.events++
	c.Reported, c.Groups = reported, groups
	s.assignLocked(c, r.Account)
	c.LastSeenAt = r.At
	c.connected = true
	c.LastClose = ""
	c.Epoch++
	e.Epoch = c.Epoch
	s.logLocked(e)
	s.logGroupsLocked(c, was, before, r.At)
	return c.export(), s.seq, nil
}

// roomForClientLocked returns why there is no room for one more client of an account.
func (s *Store) roomForClientLocked(account string) error {
	return gateway.TooManyClients(account, s.accounts[account], int64(len(s.clients)), s.opt.MaxClients)
}

// newClientLocked adds a client.
func (s *Store) newClientLocked(id gateway.ClientID, at time.Time, account string) *client {
	c := &client{ClientRecord: gateway.ClientRecord{ID: id, CreatedAt: at, Epoch: s.epoch}, account: account}
	s.addLocked(c)
	return c
}

// owner returns the account that the client is counted for.
func (c *client) owner() string { return cmp.Or(c.tenant, c.account) }

// assignLocked counts a client for the tenant that it belongs to; see
// gateway.AccountAfter.
func (s *Store) assignLocked(c *client, now string) {
	s.uncountLocked(c)
	c.tenant = gateway.AccountAfter(c.tenant, now, c.Groups)
	s.accounts[c.owner()]++
}

func (s *Store) uncountLocked(c *client) {
	name := c.owner()
	if s.accounts[name]--; s.accounts[name] == 0 {
		delete(s.accounts, name)
	}
}

// addLocked makes a client known.
func (s *Store) addLocked(c *client) {
	s.clients[c.ID] = c
	s.accounts[c.owner()]++
	s.ids.insert(c.ID)
	s.scheduleLocked(c.CreatedAt.Add(s.opt.ForgetAfter), func(now time.Time) { s.forgetClientLocked(c, now) })
}

// ForgetClient removes a client with all that is queued for it.
func (s *Store) ForgetClient(ctx context.Context, id gateway.ClientID, at time.Time) (int, error) {
	if err := s.enterWithRoom(ctx); err != nil {
		return 0, err
	}
	defer s.mu.Unlock()
	c := s.clients[id]
	if c == nil {
		return 0, clientNotFound(id)
	}
	n := s.cancelQueuedLocked(id, gateway.Span{}, gateway.ReasonClientForgotten, at)
	s.events++
	if c.connected {
		s.logLocked(gateway.Event{Type: gateway.EventClientDisconnected, At: at, Client: id, Epoch: c.Epoch, Reason: gateway.ReasonKicked})
	}
	s.logLocked(gateway.Event{Type: gateway.EventClientForgotten, At: at, Client: id, Epoch: c.Epoch})
	s.noteLocked(&gateway.ClientForgotten{Client: id, Epoch: c.Epoch})
	s.dropClientLocked(c)
	s.awaitNotifiedLocked()
	return n, nil
}

// dropClientLocked removes a client with nothing queued. Its deliveries stay with
// their messages; those that failed because the id was unknown also stay with the id.
func (s *Store) dropClientLocked(c *client) {
	delete(s.clients, c.ID)
	s.ids.remove(c.ID)
	s.uncountLocked(c)
	s.epoch = max(s.epoch, c.Epoch)
	l := s.lanes[c.ID]
	if l == nil {
		return
	}
	l.history = slices.DeleteFunc(l.history, func(d *delivery) bool {
		d.former = d.Reason != gateway.ReasonUnknownClient && d.Reason != gateway.ReasonTooManyClients
		return d.former
	})
	if len(l.history) == 0 {
		delete(s.lanes, c.ID)
	}
}

// Disconnected stores when and why a client was last seen, unless it has registered
// again.
func (s *Store) Disconnected(d gateway.Disconnection) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.clients[d.Client]
	if c == nil || s.closed || !c.connected || c.Epoch != d.Epoch {
		return
	}
	s.events++
	c.LastSeenAt = d.At
	c.LastClose = d.Reason
	c.connected = false
	s.logLocked(gateway.Event{Type: gateway.EventClientDisconnected, At: s.opt.Now(), Client: d.Client, Epoch: d.Epoch,
		Session: d.Session, Reason: d.Reason})
}

// UpdateClient changes a known client.
func (s *Store) UpdateClient(ctx context.Context, id gateway.ClientID, ch gateway.ClientChange) (gateway.ClientRecord, error) {
	if err := s.enter(ctx); err != nil {
		return gateway.ClientRecord{}, err
	}
	defer s.mu.Unlock()
	c := s.clients[id]
	if c == nil {
		return gateway.ClientRecord{}, clientNotFound(id)
	}
	rec, err := s.changeLocked(c, ch)
	if err == nil && ch.Groups != nil {
		s.assignLocked(c, ch.Account)
	}
	return rec, err
}

// CreateClient adds a client that has never registered.
func (s *Store) CreateClient(ctx context.Context, id gateway.ClientID, at time.Time, account string, ch gateway.ClientChange) (gateway.ClientRecord, error) {
	if err := s.enter(ctx); err != nil {
		return gateway.ClientRecord{}, err
	}
	defer s.mu.Unlock()
	if s.clients[id] != nil {
		return gateway.ClientRecord{}, &gateway.Error{Code: gateway.CodeClientExists, Message: fmt.Sprintf("a client %q is known", id)}
	}
	c := &client{ClientRecord: gateway.ClientRecord{ID: id, CreatedAt: at, Epoch: s.epoch}, tenant: account}
	_, err := c.changed(ch)
	if err == nil {
		err = s.roomForClientLocked(account)
	}
	if err != nil {
		return gateway.ClientRecord{}, err
	}
	s.addLocked(c)
	return s.changeLocked(c, ch)
}

// changeLocked changes c unless the result exceeds a bound.
func (s *Store) changeLocked(c *client, ch gateway.ClientChange) (gateway.ClientRecord, error) {
	next, err := c.changed(ch)
	if err != nil {
		return next, err
	}
	s.events++
	was := c.Groups
	c.ClientRecord = next
	s.logGroupsLocked(c, was, s.told.last, s.opt.Now())
	return c.export(), nil
}

// changed returns the record of c after a change, or why it exceeds a bound.
func (c *client) changed(ch gateway.ClientChange) (gateway.ClientRecord, error) {
	next := c.export()
	for k, v := range ch.Labels {
		switch {
		case v == nil:
			delete(next.Labels, k)
		case next.Labels == nil:
			next.Labels = map[string]string{k: *v}
		default:
			next.Labels[k] = *v
		}
	}
	if ch.Groups != nil {
		next.Groups = sortedSet(*ch.Groups)
	}
	if ch.BlockedUntil != nil {
		next.BlockedUntil = *ch.BlockedUntil
	}
	if err := checkBounds(next.Labels, next.Groups); err != nil {
		return gateway.ClientRecord{}, err
	}
	return next, nil
}

// checkBounds checks the bounds of a client record.
func checkBounds(labels map[string]string, groups []string) error {
	if len(labels) > gateway.MaxLabels {
		return invalid("%d labels, at most %d", len(labels), gateway.MaxLabels)
	}
	for k, v := range labels {
		if !gateway.ValidLabelKey(k) {
			return invalid("label key %q: want 1 to %d of [A-Za-z0-9._-]", k, gateway.MaxLabelKey)
		}
		if len(v) > gateway.MaxLabelValue || !utf8.ValidString(v) {
			return invalid("value of label %q: want at most %d bytes of UTF-8", k, gateway.MaxLabelValue)
		}
	}
	if len(groups) > gateway.MaxGroups {
		return invalid("%d groups, at most %d", len(groups), gateway.MaxGroups)
	}
	for _, g := range groups {
		if len(g) > gateway.MaxGroupName || !gateway.ClientID(g).Valid() {
			return invalid("group %q: want 1 to %d of [A-Za-z0-9._:@-]", g, gateway.MaxGroupName)
		}
	}
	return nil
}

func sortedSet[S ~string](names []S) []S {
	names = slices.Clone(names)
	slices.Sort(names)
	return slices.Compact(names)
}

func inGroup(c *client, group string) bool {
	_, ok := slices.BinarySearch(c.Groups, group)
	return ok
}

func hasLabels(c *client, want map[string]string) bool {
	for k, v := range want {
		if got, ok := c.Labels[k]; !ok || got != v {
			return false
		}
	}
	return true
}

// export returns a copy that the caller may keep. The caller holds mu.
func (c *client) export() gateway.ClientRecord {
	r := c.ClientRecord
	r.Labels, r.Reported = maps.Clone(r.Labels), maps.Clone(r.Reported)
	r.Groups = slices.Clone(r.Groups)
	return r
}
