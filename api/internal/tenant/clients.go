package tenant

import (
	"context"
	"fmt"
	"slices"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/audit"
)

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
func (v *View) MayManage(id gateway.ClientID) error { return v.reach(id) }

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
