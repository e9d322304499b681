package apikey

import (
	"fmt"
	"strings"
)

// Bounds of a limit: those of a client id and of a group's name.
const (
	maxPrefix = 128 // bytes
	maxGroup  = 64  // bytes
)

// Limit narrows a key to the clients of one tenant: those whose id begins with
// Prefix, or the current members of Group. At most one is set; none = no limit.
type Limit struct {
	Prefix string
	Group  string
}

// None reports whether there is no limit.
func (l Limit) None() bool { return l.Prefix == "" && l.Group == "" }

const (
	ownerPrefix = "prefix:"
	ownerGroup  = "group:"
)

// Owner is the owner of messages that are pushed under the limit, "" for none.
func (l Limit) Owner() string {
	switch {
	case l.Prefix != "":
		return ownerPrefix + l.Prefix
	case l.Group != "":
		return ownerGroup + l.Group
	}
	return ""
}

// Account is the account that clients are counted for which the key makes known: the
// tenant of a limited key, else the key itself; "" for the operator.
func (k *Key) Account() string {
	if k.Scopes&Admin != 0 || !k.Limit.None() {
		return k.Limit.Owner()
	}
	return k.ID
}

// Covers reports whether the limit includes everything of owner: its own
// messages, and for a prefix also those of a longer prefix.
func (l Limit) Covers(owner string) bool {
	switch {
	case l.None():
		return true
	case l.Prefix != "":
		prefix, ok := strings.CutPrefix(owner, ownerPrefix)
		return ok && strings.HasPrefix(prefix, l.Prefix)
	}
	return owner == l.Owner()
}

// OwnersCovering returns the owners, as of Limit.Owner, of the limits that cover owner;
// the limit that is none is not among them.
func OwnersCovering(owner string) []string {
	prefix, ok := strings.CutPrefix(owner, ownerPrefix)
	switch {
	case owner == "":
		return nil
	case !ok:
		return []string{owner}
	}
	list := make([]string, 0, len(prefix))
	for n := range len(prefix) {
		list = append(list, ownerPrefix+prefix[:n+1])
	}
	return list
}

// check returns a *SpecError if the limit is not valid.
func (l Limit) check() error {
	switch {
	case l.Prefix != "" && l.Group != "":
		return &SpecError{"group", "goes with no prefix: a key is limited to the one or the other"}
	case !plainName(l.Prefix, maxPrefix):
		return &SpecError{"prefix", fmt.Sprintf("is 1 to %d bytes of A-Z a-z 0-9 . _ : @ -", maxPrefix)}
	case !plainName(l.Group, maxGroup):
		return &SpecError{"group", fmt.Sprintf("is 1 to %d bytes of A-Z a-z 0-9 . _ : @ -", maxGroup)}
	}
	return nil
}

// plainName reports whether s has at most max bytes, all of them allowed in a
// client id.
func plainName(s string, max int) bool {
	if len(s) > max {
		return false
	}
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case c == '.', c == '_', c == ':', c == '@', c == '-':
		default:
			return false
		}
	}
	return true
}
