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
	"runtime"
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
	scans   chan struct{} // the turns of View.scan that are under way
}

// NewViews returns the views of g. The limits of keys decide which groups and ids are a
// tenant's. Views record writes in log. The clock now decides whether a key has ended.
func NewViews(g *gateway.Gateway, keys *apikey.Keyset, log *audit.Log, now func() time.Time) *Views {
	return &Views{gateway: g, keys: keys, log: log, now: now, lookup: feed.NewLookup(g),
		scans: make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2))}
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

func (v *View) limited() bool { return !v.key.Limit.None() }

// MaySee reports whether the caller may see an id that is no known client. A key that is
// limited to a group may not, because such an id is in no group.
func (v *View) MaySee(id gateway.ClientID) bool {
	l := &v.key.Limit
	return l.None() || l.Prefix != "" && strings.HasPrefix(string(id), l.Prefix)
}

// Inside reports whether a client is within the limit. For a limit to a group it reads
// the client's groups, so an unknown client is outside.
func (v *View) Inside(id gateway.ClientID) (bool, error) {
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
