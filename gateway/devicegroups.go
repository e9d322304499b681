package gateway

import (
	"maps"
	"slices"
	"strings"
)

// AnyGroup in Config.DeviceGroups stands for every group that is not guarded.
const AnyGroup = "*"

// regroup sets the groups that a registration asks for and may have. The client's
// place in the hub is held, so that no other change of its groups comes between.
func (g *Gateway) regroup(r *Registration, wanted []string, grant *Grant) error {
	free := slices.Concat(g.cfg.DeviceGroups, grant.Groups)
	if wanted == nil || len(free) == 0 {
		return nil
	}
	r.Groups = wanted
	if slices.Contains(free, AnyGroup) {
		if g.cfg.GuardedGroups != nil {
			r.Guarded = maps.Clone(g.cfg.GuardedGroups())
			maps.DeleteFunc(r.Guarded, func(name string, _ bool) bool { return slices.Contains(free, name) })
		}
		return nil
	}
	known, err := g.store.Client(r.Client)
	if err != nil && CodeOf(err) != CodeClientNotFound {
		return err
	}
	r.Guarded = make(map[string]bool)
	for _, name := range slices.Concat(known.Groups, wanted) {
		if !slices.Contains(free, name) {
			r.Guarded[name] = true
		}
	}
	return nil
}

// ValidGroup reports whether name may name a group.
func ValidGroup(name string) bool { return len(name) <= MaxGroupName && ClientID(name).Valid() }

// ValidLabelKey reports whether name can be the key of a label: one that a device could
// also report (SPEC, section 4.3).
func ValidLabelKey(name string) bool {
	return len(name) <= MaxLabelKey && !strings.ContainsAny(name, ":@") && ClientID(name).Valid()
}
