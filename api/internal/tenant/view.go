// Package tenant gives a caller the part of the gateway that its API key may see and
// change. Handlers have no other access to the gateway, so no endpoint, old or new,
// can reach beyond a key's limit.
//
// A client or a message beyond the limit looks as if it did not exist: the caller gets
// the same errors with the same words, empty lists and no events. A limit to a group
// follows the group's present members; the prefix of an id never changes.
package tenant

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/apikey"
	"github.com/longwire/longwire/internal/audit"
	"github.com/longwire/longwire/internal/feed"
)

// Views makes views of one gateway, and has the parts that they share.
type Views struct {
	gateway *gateway.Gateway
	keys    *apikey.Keyset
	log     *audit.Log
	now     func() time.Time
	lookup  *feed.Lookup
}

// NewViews returns the views of g. The limits of keys decide which groups and ids are a
// tenant's. Views record writes in log. The clock now decides whether a key has ended.
func NewViews(g *gateway.Gateway, keys *apikey.Keyset, log *audit.Log, now func() time.Time) *Views {
	return &Views{gateway: g, keys: keys, log: log, now: now, lookup: feed.NewLookup(g)}
}

// Request has the source of a request and its ids in the audit log.
type Request struct {
	From     string // address of the caller
	ID       string // the request's id that the server made
	CallerID string // the caller's own id of the request, "" for none
	Via      string // audit.Console for a call by a cookie
	// Until is when the cookie ends that the request was allowed by; zero = it had a key.
	Until time.Time
}

// View returns the gateway for one request by key.
func (vs *Views) View(key *apikey.Key, r Request) View {
	return View{shared: vs, key: key, request: r}
}

// View is the gateway for one request. The methods of the zero View panic.
//
// Methods that change something take no context, or a context for the wait alone,
// because a change is carried out once its request has been read. net/http ends the
// request's context when the caller closes its sending half, and such a caller may
// still wait for the answer.
type View struct {
	shared  *Views
	key     *apikey.Key
	request Request
}

// Key returns the caller's key.
func (v *View) Key() *apikey.Key { return v.key }

// Via is audit.Console for a call by a cookie, else "".
func (v *View) Via() string { return v.request.Via }

// Alive returns an error if the key has ended during the request.
func (v *View) Alive() error {
	if !v.Ends() {
		return nil
	}
	now := v.shared.now()
	switch {
	case !v.key.Alive(now):
		return &gateway.Error{Code: gateway.CodeUnauthorized, Message: "the API key has ended"}
	case !v.request.Until.IsZero() && !now.Before(v.request.Until):
		return &gateway.Error{Code: gateway.CodeUnauthorized, Message: "the session has ended"}
	}
	return nil
}

// Until returns when the key or the session of the request ends, whichever is first; zero
// for never. A key may be revoked before.
func (v *View) Until() time.Time {
	if v.request.Until.IsZero() || !v.key.ExpiresAt.IsZero() && v.key.ExpiresAt.Before(v.request.Until) {
		return v.key.ExpiresAt
	}
	return v.request.Until
}

// Ends reports whether the caller's right can end during the request.
func (v *View) Ends() bool { return v.key.Ends() || !v.request.Until.IsZero() }

// Ready returns nil when the gateway accepts messages.
func (v *View) Ready() error { return v.shared.gateway.Ready() }

// Stats returns totals of all tenants. It refuses a limited key.
func (v *View) Stats() (gateway.Stats, error) {
	if err := v.Unlimited(); err != nil {
		return gateway.Stats{}, err
	}
	return v.shared.gateway.Stats(), nil
}

// Unlimited returns an error unless the caller may see the numbers of all tenants.
func (v *View) Unlimited() error {
	if v.limited() {
		return beyond("the numbers are of all clients, and the API key is limited")
	}
	return nil
}

// Unnamed returns the refused registrations without a valid id, the latest first. They
// belong to no tenant: a limited caller gets none.
func (v *View) Unnamed() []gateway.RefusedRegistration {
	if v.limited() {
		return nil
	}
	return v.shared.gateway.Unnamed()
}

// Process returns when the process started, and whether it is stopping.
func (v *View) Process() (started time.Time, draining bool) {
	s := v.shared.gateway.Stats()
	return s.StartedAt, s.Draining
}

// Inside reports whether the caller may see facts about a client. For a limit to a group it
// reads the client's groups.
func (v *View) Inside(id gateway.ClientID) (bool, error) { return v.inside(id) }

func (v *View) limited() bool { return !v.key.Limit.None() }

// MaySee reports whether the caller may see an id that is no known client. A key that is
// limited to a group may not, because such an id is in no group.
func (v *View) MaySee(id gateway.ClientID) bool {
	l := &v.key.Limit
	return l.None() || l.Prefix != "" && strings.HasPrefix(string(id), l.Prefix)
}

// inside reports whether a client is within the limit. For a limit to a group it reads
// the client's groups, so an unknown client is outside.
func (v *View) inside(id gateway.ClientID) (bool, error) {
	_, in, err := v.since(id)
	return in, err
}

// since reports whether a client is within the limit, and from where on the caller may
// see its history. A limit to a group has the history since the client came into the
// group, because earlier data may belong to another tenant. Other limits have all of it.
func (v *View) since(id gateway.ClientID) (gateway.Joining, bool, error) {
	if v.key.Limit.Group == "" {
		return gateway.Joining{}, v.MaySee(id), nil
	}
	c, err := v.shared.gateway.Client(id)
	if gateway.CodeOf(err) == gateway.CodeClientNotFound {
		return gateway.Joining{}, false, nil
	}
	if err != nil {
		return gateway.Joining{}, false, err
	}
	j, in := v.joined(&c)
	return j, in, nil
}

// joined is since for a client that was read.
func (v *View) joined(c *gateway.Client) (gateway.Joining, bool) {
	if group := v.key.Limit.Group; group != "" {
		return c.In(group)
	}
	return gateway.Joining{}, v.MaySee(c.ID)
}

// reach returns the error of an unknown client if id is beyond the limit.
func (v *View) reach(id gateway.ClientID) error {
	_, err := v.reachSince(id)
	return err
}

// reachSince is since, with the error of reach.
func (v *View) reachSince(id gateway.ClientID) (gateway.Joining, error) {
	j, in, err := v.since(id)
	if err == nil && !in {
		err = unknownClient(id)
	}
	return j, err
}

// sees reports whether the caller may see a message: one that was pushed under its own
// limit, or any message to a single client within the limit. A limit to a group has the
// messages since the client came into the group.
func (v *View) sees(m *gateway.Message) (bool, error) {
	if v.key.Limit.Covers(m.Owner) {
		return true, nil
	}
	if m.Client == "" {
		return false, nil
	}
	j, in, err := v.since(m.Client)
	return in && m.Seq > j.Seq, err
}

// hide replaces an error about an unknown client or message for a limited caller, so
// that its words are the same as for one beyond the limit.
func (v *View) hide(err error, client gateway.ClientID, message gateway.MessageID) error {
	if err == nil || !v.limited() {
		return err
	}
	switch gateway.CodeOf(err) {
	case gateway.CodeClientNotFound:
		return unknownClient(client)
	case gateway.CodeMessageNotFound:
		return unknownMessage(message)
	}
	return err
}

func unknownClient(id gateway.ClientID) error {
	return &gateway.Error{Code: gateway.CodeClientNotFound, Message: fmt.Sprintf("no client %q is known", id)}
}

func unknownMessage(id gateway.MessageID) error {
	return &gateway.Error{Code: gateway.CodeMessageNotFound, Message: fmt.Sprintf("no message %q is known", id)}
}

// beyond returns the error for a change that the limit does not allow, of a client or a
// message that the caller may see.
func beyond(format string, args ...any) error {
	return &gateway.Error{Code: gateway.CodeUnauthorized, Message: fmt.Sprintf(format, args...)}
}

// Client returns one client.
func (v *View) Client(id gateway.ClientID) (gateway.Client, error) {
	c, err := v.shared.gateway.Client(id)
	if err == nil {
		if _, in := v.joined(&c); !in {
			return gateway.Client{}, unknownClient(id)
		}
	}
	return c, v.hide(err, id, "")
}

// UpdateClient changes labels and groups. Groups put a client within the reach of
// other keys: a key that is limited to a group cannot change them, and a key that is
// limited to a prefix cannot add a group that another key is limited to.
func (v *View) UpdateClient(id gateway.ClientID, c gateway.ClientChange) (gateway.Client, error) {
	err := v.mayRegroup(id, c.Groups)
	var now gateway.Client
	if err == nil {
		c.Owner = v.key.Limit.Owner()
		now, err = v.shared.gateway.UpdateClient(context.Background(), id, c)
		err = v.hide(err, id, "")
	}
	v.Record(audit.UpdateClient, string(id), err)
	return now, err
}

func (v *View) mayRegroup(id gateway.ClientID, groups *[]string) error {
	if !v.limited() {
		return nil
	}
	c, err := v.Client(id)
	if err != nil || groups == nil {
		return err
	}
	if own := v.key.Limit.Group; own != "" && !sameSet(c.Groups, *groups) {
		return beyond("the API key is limited to the group %q and cannot change groups", own)
	}
	return v.foreignGroup(*groups, c.Groups)
}

// CreateClient adds a client that has never registered. A key that is limited to a
// prefix creates ids that begin with it, outside of groups that another key is limited
// to. A client that a key limited to a group creates enters this group and no other; its
// id must not begin with the prefix of another key.
func (v *View) CreateClient(id gateway.ClientID, c gateway.ClientChange) (gateway.Client, error) {
	err := v.mayCreate(id, &c)
	var created gateway.Client
	if err == nil {
		c.Owner = v.key.Limit.Owner()
		created, err = v.shared.gateway.CreateClient(context.Background(), id, c)
	}
	v.Record(audit.CreateClient, string(id), err)
	return created, err
}

// MayManage returns an error unless the caller may manage the credentials of a client:
// any, also before its first contact; with a limit to a prefix those whose id begins
// with it; with a limit to a group its present members.
func (v *View) MayManage(id gateway.ClientID) error {
	if v.limited() {
		return v.reach(id)
	}
	return nil
}

// MayGrant returns an error unless the caller may let a device enter the groups: a
// limited key may not name the group that another key is limited to.
func (v *View) MayGrant(groups []string) error {
	if !v.limited() {
		return nil
	}
	return v.foreignGroup(groups, []string{v.key.Limit.Group})
}

func (v *View) mayCreate(id gateway.ClientID, c *gateway.ClientChange) error {
	if !v.limited() {
		return nil
	}
	if own := v.key.Limit.Group; own != "" {
		if v.shared.keys.GuardsID(string(id)) {
			return beyond("the id begins with the prefix of another tenant")
		}
		if c.Groups == nil {
			c.Groups = &[]string{own}
		}
		if !sameSet(*c.Groups, []string{own}) {
			return beyond("the API key is limited to the group %q: a client that it creates is in this group alone", own)
		}
		return nil
	}
	if !v.MaySee(id) {
		return beyond("the API key is limited to ids that begin with %q", v.key.Limit.Prefix)
	}
	if c.Groups == nil {
		return nil
	}
	return v.foreignGroup(*c.Groups, nil)
}

// foreignGroup returns the error of a group that another key is limited to, unless the
// client is in it already.
func (v *View) foreignGroup(groups, present []string) error {
	for _, name := range groups {
		if !slices.Contains(present, name) && v.shared.keys.GuardsGroup(name) {
			return beyond("the group %q is another tenant's", name)
		}
	}
	return nil
}

func sameSet(a, b []string) bool {
	a, b = slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b))
	return slices.Equal(slices.Compact(a), slices.Compact(b))
}

// Disconnect ends a client's session. With o.Purge a limit to a group cancels the
// deliveries since the client came into the group.
func (v *View) Disconnect(id gateway.ClientID, o gateway.DisconnectOptions) error {
	j, err := v.reachSince(id)
	if err == nil {
		o.After = j.Seq
		err = v.hide(v.shared.gateway.Disconnect(context.Background(), id, o), id, "")
	}
	target := string(id)
	if o.Purge {
		target += " purge"
	}
	if o.Block > 0 {
		target += " block=" + o.Block.String()
	}
	v.Record(audit.Disconnect, target, err)
	return err
}

// Forget removes a client. A key that is limited to a group cannot remove a client
// that another key's group has, too.
func (v *View) Forget(id gateway.ClientID) error {
	c, err := v.Client(id)
	if err == nil {
		err = v.mayForget(&c)
	}
	if err == nil {
		_, err = v.shared.gateway.Forget(context.Background(), id)
		err = v.hide(err, id, "")
	}
	v.Record(audit.Forget, string(id), err)
	return err
}

func (v *View) mayForget(c *gateway.Client) error {
	own := v.key.Limit.Group
	if own == "" {
		return nil
	}
	for _, name := range c.Groups {
		if name != own && v.shared.keys.GuardsGroup(name) {
			return beyond("the client %q is also in the group of another tenant", c.ID)
		}
	}
	return nil
}

// MaxForgotten bounds the clients that one ForgetAll removes.
const MaxForgotten = 1_000

// Forgotten is the result of ForgetAll.
type Forgotten struct {
	gateway.Forgotten
	More bool // the selection has more clients
}

// ForgetAll removes the clients of a selection, at most MaxForgotten, if confirm is
// their number. Otherwise it removes none, found is the number, and ok is false.
func (v *View) ForgetAll(sel gateway.ClientSelection, confirm int) (done Forgotten, found int, ok bool, err error) {
	var ids []gateway.ClientID
	sel.Limit = MaxForgotten
	for {
		page, err := v.Clients(sel)
		if err != nil {
			return done, 0, false, err
		}
		for i := range page.Items {
			if done.More = len(ids) == MaxForgotten; done.More {
				break
			}
			if err := v.mayForget(&page.Items[i]); err != nil {
				v.Record(audit.Forget, string(page.Items[i].ID), err)
				return done, 0, false, err
			}
			ids = append(ids, page.Items[i].ID)
		}
		if done.More = done.More || page.More && len(ids) == MaxForgotten; done.More || !page.More {
			break
		}
		sel.After = page.Next
	}
	if len(ids) != confirm {
		return done, len(ids), false, nil
	}
	done.Forgotten, err = v.shared.gateway.ForgetAll(context.Background(), ids)
	if len(ids) > 0 {
		v.Record(audit.Forget, fmt.Sprintf("%d clients, %s first", len(ids), ids[0]), err)
	}
	return done, len(ids), true, err
}

// Unblock ends a client's block.
func (v *View) Unblock(id gateway.ClientID) error {
	err := v.reach(id)
	if err == nil {
		err = v.hide(v.shared.gateway.Unblock(context.Background(), id), id, "")
	}
	v.Record(audit.Disconnect, string(id)+" block=0s", err)
	return err
}

// Message returns a message with its counts.
func (v *View) Message(id gateway.MessageID) (gateway.Message, error) {
	m, err := v.shared.gateway.Message(id)
	if err == nil {
		var seen bool
		if seen, err = v.sees(&m); err == nil && !seen {
			err = unknownMessage(id)
		}
	}
	if err != nil {
		return gateway.Message{}, v.hide(err, "", id)
	}
	return m, nil
}

// Await returns a message when it is completed, or as it stands when ctx ends.
func (v *View) Await(ctx context.Context, id gateway.MessageID) (gateway.Message, error) {
	if v.limited() {
		if _, err := v.Message(id); err != nil {
			return gateway.Message{}, err
		}
	}
	m, err := v.shared.gateway.Await(ctx, id)
	return m, v.hide(err, "", id)
}

// Cancel withdraws a message that was pushed under the caller's limit.
func (v *View) Cancel(id gateway.MessageID) (m gateway.Message, err error) {
	if v.limited() {
		m, err = v.Message(id)
		if err == nil && !v.key.Limit.Covers(m.Owner) {
			err = beyond("the message was pushed with a key of another limit")
		}
	}
	if err == nil {
		m, err = v.shared.gateway.Cancel(context.Background(), id)
		err = v.hide(err, "", id)
	}
	v.Record(audit.Cancel, string(id), err)
	return m, err
}

// Delivery returns the delivery of a message to one client. The caller got m from this
// view.
func (v *View) Delivery(m *gateway.Message) (gateway.Delivery, error) {
	if m.Delivery != nil {
		return *m.Delivery, nil
	}
	return v.shared.gateway.Delivery(m.ID, m.Client)
}

// InFlight returns the queued delivery of a message to one client from the client's
// connections; ok is false if none has transmitted it. The caller got m from this view.
func (v *View) InFlight(m *gateway.Message) (gateway.Delivery, bool) {
	return v.shared.gateway.InFlight(m)
}
