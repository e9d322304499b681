// Package feed selects the events of the log for a reader: those that it may see and
// asks for.
package feed

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/apikey"
)

// Types are the types of events of the log, in the order of the documentation.
var Types = []gateway.EventType{
	gateway.EventClientConnected, gateway.EventClientDisconnected, gateway.EventClientReplaced, gateway.EventClientForgotten,
	gateway.EventMessageQueued, gateway.EventMessageReceived, gateway.EventMessageAcked, gateway.EventMessageRejected,
	gateway.EventMessageExpired, gateway.EventMessageCanceled, gateway.EventMessageFailed, gateway.EventMessageLateAck,
	gateway.EventMessageCompleted, gateway.EventGroupChanged, gateway.EventWebhookDisabled, gateway.EventStoreRepaired,
}

// Filter selects events. Each field that is set narrows the selection.
type Filter struct {
	Types  []string          `json:"types,omitempty"` // such as message.acked or client.*
	Client gateway.ClientID  `json:"client,omitempty"`
	Prefix string            `json:"prefix,omitempty"` // of the client's id
	Group  string            `json:"group,omitempty"`  // of the client
	Labels map[string]string `json:"labels,omitempty"` // of the client: all of them
}

// Equal reports whether two filters are the same.
func (f *Filter) Equal(g *Filter) bool {
	return slices.Equal(f.Types, g.Types) && f.Client == g.Client && f.Prefix == g.Prefix && f.Group == g.Group && maps.Equal(f.Labels, g.Labels)
}

// Compiled is a Filter that is ready for use, together with the limit of the caller.
type Compiled struct {
	filter Filter
	types  map[gateway.EventType]bool // nil = all
	limit  apikey.Limit
	lookup *Lookup
}

// UnknownTypeError names a type that no event has.
type UnknownTypeError string

func (e UnknownTypeError) Error() string { return fmt.Sprintf("has no event type %q", string(e)) }

// Compile returns f for a caller with a limit. It returns an UnknownTypeError.
func Compile(f Filter, limit apikey.Limit, lookup *Lookup) (*Compiled, error) {
	c := &Compiled{filter: f, limit: limit, lookup: lookup}
	for _, pattern := range f.Types {
		if c.types == nil {
			c.types = make(map[gateway.EventType]bool)
		}
		known := false
		for _, t := range Types {
			if selects(pattern, t) {
				c.types[t], known = true, true
			}
		}
		if !known {
			return nil, UnknownTypeError(pattern)
		}
	}
	return c, nil
}

// Types returns the types that the filter selects; every is true, and the list empty, if
// it selects all.
func (c *Compiled) Types() (list []gateway.EventType, every bool) {
	return slices.Collect(maps.Keys(c.types)), c.types == nil
}

// Asks reports whether the filter selects events of a type.
func (f *Filter) Asks(t gateway.EventType) bool {
	return len(f.Types) == 0 || slices.ContainsFunc(f.Types, func(pattern string) bool { return selects(pattern, t) })
}

// selects reports whether a pattern of Filter.Types selects a type.
func selects(pattern string, t gateway.EventType) bool {
	prefix, wild := strings.CutSuffix(pattern, "*")
	return string(t) == pattern || wild && strings.HasPrefix(string(t), prefix)
}

// Names reports whether the filter selects the type and the client of an event, which never
// change. Groups and labels do.
func (c *Compiled) Names(e *gateway.Event) bool {
	f := &c.filter
	if c.types != nil && !c.types[e.Type] {
		return false
	}
	return e.Type == gateway.EventStoreRepaired || // any client's events may be among the lost ones
		(f.Client == "" || e.Client == f.Client) && strings.HasPrefix(string(e.Client), f.Prefix)
}

// Wants reports whether the filter selects an event that the caller may see.
func (c *Compiled) Wants(e *gateway.Event) (bool, error) {
	f := &c.filter
	if named := c.Names(e); !named || e.Type == gateway.EventStoreRepaired {
		return named, nil
	}
	if in, err := c.within(e); err != nil || !in {
		return false, err
	}
	if f.Group == "" && len(f.Labels) == 0 {
		return true, nil
	}
	if e.Client == "" {
		return false, nil
	}
	s, err := c.lookup.Subject(e)
	return err == nil && f.matches(&s), err
}

// Select returns the events that Wants selects, in place. It returns the error of an event that
// cannot be judged: the caller reads it again, because it may be another tenant's.
func (c *Compiled) Select(events []gateway.Event) ([]gateway.Event, error) {
	kept := events[:0]
	for i := range events {
		wanted, err := c.Wants(&events[i])
		if err != nil {
			return nil, err
		}
		if wanted {
			kept = append(kept, events[i])
		}
	}
	return kept, nil
}

// within reports whether an event is about a client within the limit, or about a
// message to many that was pushed under it. A limit to a group has the events of a
// client from when it came into the group: the earlier ones may be another tenant's, and
// so may the messages that the client answers later.
func (c *Compiled) within(e *gateway.Event) (bool, error) {
	l := &c.limit
	switch {
	case l.None():
		return true, nil
	case e.Client == "":
		if e.Message == "" {
			return false, nil
		}
		owner, err := c.lookup.Owner(e)
		return err == nil && owner != "" && l.Covers(owner), err
	case l.Group == "":
		return l.Prefix != "" && strings.HasPrefix(string(e.Client), l.Prefix), nil
	}
	s, err := c.lookup.Subject(e)
	j, in := (&gateway.ClientRecord{Groups: s.Groups, Joined: s.joined}).In(l.Group)
	if err != nil || !in || e.Seq <= j.Event || e.Message == "" {
		return err == nil && in && e.Seq > j.Event, err
	}
	m, err := c.lookup.message(e.Message)
	if m.seq == 0 { // only a late answer comes long after the end of its message, which may be from before
		return err == nil && e.Type != gateway.EventMessageLateAck, err
	}
	return err == nil && (m.seq > j.Seq || l.Covers(m.owner)), err
}

func (f *Filter) matches(s *Subject) bool {
	if f.Group != "" && !slices.Contains(s.Groups, f.Group) {
		return false
	}
	for k, v := range f.Labels {
		if got, ok := s.Labels[k]; !ok || got != v {
			return false
		}
	}
	return true
}
