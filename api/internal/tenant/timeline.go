package tenant

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/audit"
	"github.com/longwire/longwire/internal/timeline"
)

// Timeline returns a client that the caller may see and its entries in b; a nil b has
// none. A limit to a group has the entries since the client joined it.
func (v *View) Timeline(b *timeline.Book, id gateway.ClientID) (gateway.Client, timeline.Page, error) {
	c, err := v.Client(id)
	if err != nil || b == nil {
		return c, timeline.Page{}, err
	}
	p := b.Read(id)
	joined, err := v.joinedAt(&c)
	n := len(p.Entries)
	p.Entries = v.sinceJoined(p.Entries, &c, joined)
	p.Dropped = p.Dropped && n == len(p.Entries)
	return c, p, err
}

// joinedAt returns the time from which on the caller may see what happened to a client: for a
// limit to a group the time of the first event since the client came into it, or now if there
// is none. The entries before may be another tenant's.
func (v *View) joinedAt(c *gateway.Client) (time.Time, error) {
	if v.key.Limit.Group == "" {
		return time.Time{}, nil
	}
	j, _ := v.joined(c)
	sub, _, err := v.shared.gateway.Subscribe(j.Event)
	if err != nil {
		return time.Time{}, err
	}
	events, err := sub.Read(context.Background(), make([]gateway.Event, 0, 1))
	switch {
	case err == nil && len(events) > 0:
		return events[0].At, nil
	case err == nil, errors.Is(err, gateway.ErrOverflow):
		return v.shared.now(), nil
	}
	return time.Time{}, err
}

// sinceJoined removes the entries from before a time, and those of deliveries from before
// the client came into the group: the caller may not see their messages either.
func (v *View) sinceJoined(entries []timeline.Entry, c *gateway.Client, joined time.Time) []timeline.Entry {
	if joined.IsZero() {
		return entries
	}
	j, _ := v.joined(c)
	return slices.DeleteFunc(entries, func(e timeline.Entry) bool {
		return e.At.Before(joined) || e.OfDelivery() && e.Seq <= uint64(j.Seq)
	})
}

// TimelineReader follows the entries of a client while the caller may see it.
type TimelineReader struct {
	*timeline.Reader
	Client gateway.ClientID
	view   *View
}

// FollowTimeline returns a reader of the entries of a client behind the number after;
// lost reports whether some of them are gone. Close must follow.
func (v *View) FollowTimeline(b *timeline.Book, id gateway.ClientID, after uint64) (r *TimelineReader, lost bool, err error) {
	if _, err := v.Client(id); err != nil {
		return nil, false, err
	}
	reader, lost := b.Follow(id, after)
	return &TimelineReader{reader, id, v}, lost, nil
}

// Next waits as timeline.Reader.Next does. It returns an error when the key has ended
// or the client is beyond its limit now. It may return no entry.
func (r *TimelineReader) Next(ctx context.Context, buf []timeline.Entry) ([]timeline.Entry, error) {
	out, err := r.Reader.Next(ctx, buf)
	if err == nil {
		err = r.view.Alive()
	}
	if err == nil {
		err = r.view.reach(r.Client)
	}
	if err == nil && r.view.key.Limit.Group != "" {
		out, err = r.sinceJoined(out)
	}
	if err != nil {
		return buf, err
	}
	return out, nil
}

func (r *TimelineReader) sinceJoined(entries []timeline.Entry) ([]timeline.Entry, error) {
	c, err := r.view.Client(r.Client)
	if err != nil {
		return nil, err
	}
	joined, err := r.view.joinedAt(&c)
	return r.view.sinceJoined(entries, &c, joined), err
}

// StartTrace traces a client.
func (v *View) StartTrace(b *timeline.Book, t timeline.Trace) (timeline.Trace, error) {
	_, err := v.Client(t.Client)
	if err == nil {
		t.Key, t.Name = v.key.ID, v.key.Name
		t.Tenant = v.key.Limit.Owner()
		t, err = b.StartTrace(t)
	}
	return t, err
}

// EndTrace ends the trace of a client.
func (v *View) EndTrace(b *timeline.Book, id gateway.ClientID) error {
	_, err := v.Client(id)
	if err == nil && b != nil {
		b.EndTrace(id)
	}
	v.Record(audit.EndTrace, string(id), err)
	return err
}

// Traces returns the traces of clients that the caller may see. A limited caller gets no keys
// of others.
func (v *View) Traces(b *timeline.Book) ([]timeline.Trace, error) {
	var list []timeline.Trace
	for _, t := range b.Traces() {
		in, err := v.Inside(t.Client)
		if err != nil {
			return nil, err
		}
		if in {
			if v.limited() && t.Tenant != v.key.Limit.Owner() {
				t.Key, t.Name = "", ""
			}
			list = append(list, t)
		}
	}
	return list, nil
}
