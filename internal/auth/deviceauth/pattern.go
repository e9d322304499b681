package deviceauth

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/longwire/longwire/gateway"
)

// A pattern matches ids: * stands for any characters, ? for one, [a-f] for one of a
// range (see path.Match; ids have no slash, so * matches every character).

func checkPattern(p string) error {
	if _, err := path.Match(p, "x"); err != nil || p == "" || len(p) > 256 || strings.ContainsAny(p, "/\\ ") {
		return fmt.Errorf("%q is not a pattern of client ids: want at most 256 letters, * for any characters, ? for one", p)
	}
	return nil
}

func matchesAny(patterns []string, id gateway.ClientID) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return matches(p, id) })
}

// matches reports whether id matches a pattern that checkPattern has accepted.
func matches(pattern string, id gateway.ClientID) bool {
	ok, _ := path.Match(pattern, string(id))
	return ok
}
