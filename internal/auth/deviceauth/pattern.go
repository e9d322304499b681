package deviceauth

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/longwire/longwire/gateway"
)

// A pattern is of ids: * stands for any characters, ? for one, [a-f] for one of
// those (path.Match; ids have no slash, so * stands for all of them).

func checkPattern(p string) error {
	if _, err := path.Match(p, "x"); err != nil || p == "" || len(p) > 256 || strings.ContainsAny(p, "/\\ ") {
		return fmt.Errorf("%q is not a pattern of client ids: want at most 256 letters, * for any characters, ? for one", p)
	}
	return nil
}

func matchesAny(patterns []string, id gateway.ClientID) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return matches(p, id) })
}

// matches of a pattern that checkPattern has passed.
func matches(pattern string, id gateway.ClientID) bool {
	ok, _ := path.Match(pattern, string(id))
	return ok
}
