package app

import (
	"cmp"
	"slices"

	"github.com/longwire/longwire/api"
	"github.com/longwire/longwire/gateway"
)

// refusals joins lists of refused registrations. It implements api.Refusals.
type refusals []api.Refusals

// Refused implements api.Refusals.
func (l refusals) Refused() []gateway.RefusedRegistration {
	var all []gateway.RefusedRegistration
	for _, list := range l {
		all = append(all, list.Refused()...)
	}
	slices.SortStableFunc(all, func(a, b gateway.RefusedRegistration) int { return cmp.Compare(a.Client, b.Client) })
	joined := all[:0]
	for _, r := range all {
		if n := len(joined); n > 0 && joined[n-1].Client == r.Client {
			joined[n-1] = join(joined[n-1], r)
		} else {
			joined = append(joined, r)
		}
	}
	return joined
}

// Refusal implements api.Refusals.
func (l refusals) Refusal(id gateway.ClientID) (r gateway.RefusedRegistration, ok bool) {
	for _, list := range l {
		switch next, known := list.Refusal(id); {
		case known && ok:
			r = join(r, next)
		case known:
			r, ok = next, true
		}
	}
	return r, ok
}

// Dismiss implements api.Refusals.
func (l refusals) Dismiss(id gateway.ClientID) (was bool) {
	for _, list := range l {
		was = list.Dismiss(id) || was
	}
	return was
}

// join returns the entry for the refusals of two entries of one id.
func join(a, b gateway.RefusedRegistration) gateway.RefusedRegistration {
	if b.LastAt.Before(a.LastAt) {
		a, b = b, a
	}
	b.Count += a.Count
	if a.FirstAt.Before(b.FirstAt) {
		b.FirstAt = a.FirstAt
	}
	return b
}
