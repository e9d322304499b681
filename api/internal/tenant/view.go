// Package tenant is the gateway as one caller may see and touch it. Handlers
// have no other way to the gateway, so that what lies beyond a key's limit is
// out of reach of every endpoint, also of those to come.
//
// What is beyond the limit looks as if it did not exist: the same errors with
// the same words, empty lists, no events. A group's members are those of the
// moment; an id's prefix never changes.
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
)

// Door opens views of one gateway.
type Door struct {
	gateway *gateway.Gateway
	guarded func(group string) bool
	log     *audit.Log
	now     func() time.Time
	members memberships
}

// NewDoor returns the door to g. guarded reports whether being in a group is a
// right, because some key is limited to it; what is written is told to log.
// The clock now decides whether a key has ended.
func NewDoor(g *gateway.Gateway, guarded func(group string) bool, log *audit.Log, now func() time.Time) *Door {
	return &Door{gateway: g, guarded: guarded, log: log, now: now}
}

// Request has the source of a request and its names in the audit log.
type Request struct {
	From     string // address of the caller
	ID       string // of ours
	CallerID string // of the caller's, "" for none
}

// View returns the gateway for one request by key.
func (d *Door) View(key *apikey.Key, r Request) View {
	return View{door: d, key: key, request: r}
}

// View is the gateway for one request. The zero View is nobody's: it panics.
//
// Its calls that change something take no context, or one for the wait alone: a
// request that was read is carried out to its end. net/http ends the request's context when the caller
// closes its direction, and a caller that does so may still wait for the answer.
type View struct {
	door    *Door
	key     *apikey.Key
	request Request
}

// Key is who asks.
func (v *View) Key() *apikey.Key { return v.key }

// Alive returns an error when the key has ended while the request goes on.
func (v *View) Alive() error {
	if v.key.Alive(v.door.now()) {
		return nil
	}
	return &gateway.Error{Code: gateway.CodeUnauthorized, Message: "the API key has ended"}
}

// Ready returns nil when the gateway accepts messages.
func (v *View) Ready() error { return v.door.gateway.Ready() }

// Stats returns totals, which are of all tenants.
func (v *View) Stats() (gateway.Stats, error) {
	if v.limited() {
		return gateway.Stats{}, beyond("totals are of all clients, and the API key is limited")
	}
	return v.door.gateway.Stats(), nil
}

func (v *View) limited() bool { return !v.key.Limit.None() }

// MaySee reports whether an id that is no known client, such as one that was
// refused, is the caller's to see. Of a group nobody is a member before it is
// known.
func (v *View) MaySee(id gateway.ClientID) bool {
	l := &v.key.Limit
	return l.None() || l.Prefix != "" && strings.HasPrefix(string(id), l.Prefix)
}

// inside reports whether a client is within the limit. For a group that takes a
// look at what is remembered of it, so that one who is not known is outside.
func (v *View) inside(id gateway.ClientID) (bool, error) {
	group := v.key.Limit.Group
	if group == "" {
		return v.MaySee(id), nil
	}
	c, err := v.door.gateway.Client(id)
	if gateway.CodeOf(err) == gateway.CodeClientNotFound {
		return false, nil
	}
	return err == nil && slices.Contains(c.Groups, group), err
}

// reach returns the error of a client that is unknown, or as good as that.
func (v *View) reach(id gateway.ClientID) error {
	in, err := v.inside(id)
	if err == nil && !in {
		err = unknownClient(id)
	}
	return err
}

// sees reports whether the caller may know of a message: its own, and one that
// is for a single client within the limit, whoever pushed it.
func (v *View) sees(m *gateway.Message) (bool, error) {
	if v.key.Limit.Covers(m.Owner) {
		return true, nil
	}
	if m.Client == "" {
		return false, nil
	}
	return v.inside(m.Client)
}

// hide gives a limited caller the same words for what is unknown as for what
// is beyond its limit.
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

// beyond refuses what is seen and may not be touched.
func beyond(format string, args ...any) error {
	return &gateway.Error{Code: gateway.CodeUnauthorized, Message: fmt.Sprintf(format, args...)}
}

// Client returns one client.
func (v *View) Client(id gateway.ClientID) (gateway.Client, error) {
	c, err := v.door.gateway.Client(id)
	if err == nil && v.limited() && !v.MaySee(id) && !slices.Contains(c.Groups, v.key.Limit.Group) {
		return gateway.Client{}, unknownClient(id)
	}
	return c, v.hide(err, id, "")
}

// UpdateClient changes labels and groups. The groups decide who else may reach
// the client: a key that is limited to one cannot change them, and one with a
// prefix cannot enter a group that another key is limited to.
func (v *View) UpdateClient(id gateway.ClientID, c gateway.ClientChange) (gateway.Client, error) {
	err := v.mayRegroup(id, c.Groups)
	var now gateway.Client
	if err == nil {
		now, err = v.door.gateway.UpdateClient(context.Background(), id, c)
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
	for _, name := range *groups {
		if !slices.Contains(c.Groups, name) && v.door.guarded(name) {
			return beyond("the group %q is another tenant's", name)
		}
	}
	return nil
}

func sameSet(a, b []string) bool {
	a, b = slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b))
	return slices.Equal(slices.Compact(a), slices.Compact(b))
}

// Disconnect ends a client's session.
func (v *View) Disconnect(id gateway.ClientID, o gateway.DisconnectOptions) error {
	err := v.reach(id)
	if err == nil {
		err = v.hide(v.door.gateway.Disconnect(context.Background(), id, o), id, "")
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

// Unblock ends a client's block.
func (v *View) Unblock(id gateway.ClientID) error {
	err := v.reach(id)
	if err == nil {
		err = v.hide(v.door.gateway.Unblock(context.Background(), id), id, "")
	}
	v.Record(audit.Disconnect, string(id)+" block=0s", err)
	return err
}

// Message returns a message with its counts.
func (v *View) Message(id gateway.MessageID) (gateway.Message, error) {
	m, err := v.door.gateway.Message(id)
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
	m, err := v.door.gateway.Await(ctx, id)
	return m, v.hide(err, "", id)
}

// Cancel withdraws a message of the caller's own.
func (v *View) Cancel(id gateway.MessageID) (m gateway.Message, err error) {
	if v.limited() {
		m, err = v.Message(id)
		if err == nil && !v.key.Limit.Covers(m.Owner) {
			err = beyond("the message was pushed with a key of another limit")
		}
	}
	if err == nil {
		m, err = v.door.gateway.Cancel(context.Background(), id)
		err = v.hide(err, "", id)
	}
	v.Record(audit.Cancel, string(id), err)
	return m, err
}

// Delivery returns the delivery of a message to one client, which this view has
// given.
func (v *View) Delivery(m *gateway.Message) (gateway.Delivery, error) {
	if m.Delivery != nil {
		return *m.Delivery, nil
	}
	return v.door.gateway.Delivery(m.ID, m.Client)
}

// InFlight returns the delivery of a message to one client as the client's
// connection knows it; ok is false if it does not. The caller may see the message.
func (v *View) InFlight(m *gateway.Message) (gateway.Delivery, bool) {
	return v.door.gateway.InFlight(m)
}
