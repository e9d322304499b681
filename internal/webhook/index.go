package webhook

import (
	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/feed"
)

// index finds the endpoints whose filters may select an event without a look at the
// others. An endpoint is under the narrowest thing that its filter and its limit name.
type index struct {
	client map[gateway.ClientID][]*target
	prefix map[string][]*target
	sizes  map[int]int // how many prefixes have a length
	other  []*target
	runs   map[*endpoint]uint64
}

// target is an endpoint as it was when the index was made.
type target struct {
	e      *endpoint
	run    uint64
	filter *feed.Compiled
}

// newIndex returns the index of the active endpoints. Manager.mu is held.
func newIndex(all map[string]*endpoint) *index {
	x := &index{client: map[gateway.ClientID][]*target{}, prefix: map[string][]*target{}, sizes: map[int]int{}, runs: map[*endpoint]uint64{}}
	for _, e := range all {
		if e.hook.Condition() != Active {
			continue
		}
		x.runs[e] = e.run
		t := &target{e, e.run, e.filter}
		f := &e.hook.Filter
		prefix := f.Prefix
		if len(e.hook.Limit.Prefix) > len(prefix) {
			prefix = e.hook.Limit.Prefix
		}
		switch {
		case f.Client != "":
			x.client[f.Client] = append(x.client[f.Client], t)
		case prefix != "":
			if x.prefix[prefix] == nil {
				x.sizes[len(prefix)]++
			}
			x.prefix[prefix] = append(x.prefix[prefix], t)
		default:
			x.other = append(x.other, t)
		}
	}
	return x
}

// has reports whether the index knows an endpoint in its present run.
func (x *index) has(e *endpoint) bool {
	run, ok := x.runs[e]
	return ok && run == e.run
}

// each calls fn with the endpoints that may want an event.
func (x *index) each(ev *gateway.Event, fn func(*target)) {
	for _, t := range x.other {
		fn(t)
	}
	if ev.Type == gateway.EventStoreRepaired { // it concerns everyone
		for _, list := range x.client {
			for _, t := range list {
				fn(t)
			}
		}
	}
	if ev.Client == "" { // it concerns limited endpoints by the owner of its message
		for _, list := range x.prefix {
			for _, t := range list {
				fn(t)
			}
		}
		return
	}
	for _, t := range x.client[ev.Client] {
		fn(t)
	}
	for n := range x.sizes {
		if n <= len(ev.Client) {
			for _, t := range x.prefix[string(ev.Client[:n])] {
				fn(t)
			}
		}
	}
}
