package webhook

import (
	"cmp"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/apikey"
	"github.com/longwire/longwire/internal/feed"
)

// index finds the endpoints whose filters may select an event without a look at the
// others: by the type of the event, and then by the narrowest thing that the filter or
// the limit names. It never changes; a new one is made after a change of a webhook.
type index struct {
	lookup *feed.Lookup
	types  map[gateway.EventType]*subjects // of filters that name types
	any    *subjects                       // of filters that name no type
	all    []*target
	runs   map[*endpoint]uint64
}

// subjects has targets by what their filters and limits say of the client.
type subjects struct {
	client map[gateway.ClientID][]*target
	prefix map[string][]*target
	sizes  map[int]int // how many prefixes have a length
	group  map[string][]*target
	label  map[label][]*target
	other  []*target
	// clientless has those that may select an event of no client, by their limit's owner,
	// "" for none.
	clientless map[string][]*target
}

type label struct{ key, value string }

// target is an endpoint as it was when the index was made.
type target struct {
	e      *endpoint
	run    uint64
	filter *feed.Compiled
}

func newSubjects() *subjects {
	return &subjects{client: map[gateway.ClientID][]*target{}, prefix: map[string][]*target{}, sizes: map[int]int{},
		group: map[string][]*target{}, label: map[label][]*target{}, clientless: map[string][]*target{}}
}

// newIndex returns the index of the active endpoints. Manager.mu is held.
func newIndex(all map[string]*endpoint, lookup *feed.Lookup) *index {
	x := &index{lookup: lookup, types: map[gateway.EventType]*subjects{}, any: newSubjects(), runs: map[*endpoint]uint64{}}
	for _, e := range all {
		if e.hook.Condition() != Active {
			continue
		}
		x.runs[e] = e.run
		t := &target{e, e.run, e.filter}
		x.all = append(x.all, t)
		types, every := e.filter.Types()
		if every {
			x.any.add(t)
			continue
		}
		for _, kind := range types {
			if x.types[kind] == nil {
				x.types[kind] = newSubjects()
			}
			x.types[kind].add(t)
		}
	}
	return x
}

func (s *subjects) add(t *target) {
	f, limit := &t.e.hook.Filter, &t.e.hook.Limit
	prefix, group := f.Prefix, cmp.Or(f.Group, limit.Group)
	if len(limit.Prefix) > len(prefix) {
		prefix = limit.Prefix
	}
	switch {
	case f.Client != "":
		s.client[f.Client] = append(s.client[f.Client], t)
	case prefix != "":
		if s.prefix[prefix] == nil {
			s.sizes[len(prefix)]++
		}
		s.prefix[prefix] = append(s.prefix[prefix], t)
	case group != "":
		s.group[group] = append(s.group[group], t)
	case len(f.Labels) > 0:
		for k, v := range f.Labels { // one of them is enough to find it
			s.label[label{k, v}] = append(s.label[label{k, v}], t)
			break
		}
	default:
		s.other = append(s.other, t)
	}
	if f.Client == "" && f.Prefix == "" && f.Group == "" && len(f.Labels) == 0 {
		s.clientless[limit.Owner()] = append(s.clientless[limit.Owner()], t)
	}
}

// has reports whether the index knows an endpoint in its present run.
func (x *index) has(e *endpoint) bool {
	run, ok := x.runs[e]
	return ok && run == e.run
}

// each calls fn with the endpoints that may want an event, each once.
func (x *index) each(ev *gateway.Event, fn func(*target)) {
	if ev.Type == gateway.EventStoreRepaired { // it concerns everyone, whatever they select
		call(x.all, fn)
		return
	}
	x.any.each(x.lookup, ev, fn)
	if s := x.types[ev.Type]; s != nil {
		s.each(x.lookup, ev, fn)
	}
}

func (s *subjects) each(lookup *feed.Lookup, ev *gateway.Event, fn func(*target)) {
	if ev.Client == "" {
		s.eachClientless(lookup, ev, fn)
		return
	}
	call(s.other, fn)
	call(s.client[ev.Client], fn)
	for n := range s.sizes {
		if n <= len(ev.Client) {
			call(s.prefix[string(ev.Client[:n])], fn)
		}
	}
	if len(s.group) == 0 && len(s.label) == 0 {
		return
	}
	client, err := lookup.Subject(ev)
	if err != nil { // the filters meet the same error, and their endpoints read the event again
		callAll(s.group, fn)
		callAll(s.label, fn)
		return
	}
	for _, g := range client.Groups {
		call(s.group[g], fn)
	}
	if len(s.label) > 0 {
		for k, v := range client.Labels {
			call(s.label[label{k, v}], fn)
		}
	}
}

// eachClientless calls fn for an event of a message to many, or of no message. It
// concerns a limited endpoint by the owner of its message.
func (s *subjects) eachClientless(lookup *feed.Lookup, ev *gateway.Event, fn func(*target)) {
	call(s.clientless[""], fn)
	if ev.Message == "" || len(s.clientless) == 0 || len(s.clientless) == 1 && s.clientless[""] != nil {
		return
	}
	owner, err := lookup.Owner(ev)
	if err != nil {
		for limit, list := range s.clientless {
			if limit != "" {
				call(list, fn)
			}
		}
		return
	}
	for _, covering := range apikey.OwnersCovering(owner) {
		call(s.clientless[covering], fn)
	}
}

func call(list []*target, fn func(*target)) {
	for _, t := range list {
		fn(t)
	}
}

func callAll[K comparable](lists map[K][]*target, fn func(*target)) {
	for _, list := range lists {
		call(list, fn)
	}
}
