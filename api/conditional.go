package api

import (
	"net/http"
	"strings"

	"github.com/longwire/longwire/api/internal/problem"
)

// precondition evaluates If-Match and If-None-Match of a GET or HEAD of the thing with the
// entity tag tag (RFC 9110, section 13). unchanged reports that the caller has the thing
// already. The error refuses a caller that wants another thing than there is.
func precondition(r *http.Request, tag string) (unchanged bool, err error) {
	if given := r.Header["If-Match"]; len(given) > 0 && !hasTag(given, tag, false) {
		return false, problem.New(problem.PreconditionFailed, "If-Match does not have the entity tag %s", tag)
	}
	given := r.Header["If-None-Match"]
	return len(given) > 0 && hasTag(given, tag, true), nil
}

// hasTag reports whether the lines of a header are "*" or a list with the strong entity tag
// tag. weak also counts the weak tag of the same name. hasTag ignores the rest of a list
// behind a part that is no entity tag.
func hasTag(lines []string, tag string, weak bool) bool {
	rest := strings.Join(lines, ",")
	if strings.Trim(rest, " \t") == "*" {
		return true
	}
	for {
		rest = strings.TrimLeft(rest, ", \t")
		one, isWeak := strings.CutPrefix(rest, "W/")
		if one == "" || one[0] != '"' {
			return false
		}
		end := strings.IndexByte(one[1:], '"') + 2
		if end < 2 {
			return false
		}
		if one[:end] == tag && (weak || !isWeak) {
			return true
		}
		rest = one[end:]
	}
}
