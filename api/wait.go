package api

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// waiting is how long a caller will wait for a final state; zero = not at all.
type waiting struct {
	d         time.Duration
	preferred bool // asked for by Prefer, so the answer says that it was heard
}

// waitOf takes ?wait=, else Prefer: wait (RFC 7240). A parameter out of range is
// an error; a preference is shortened to what is possible.
func (s *server) waitOf(q *query, r *http.Request) waiting {
	if d, given := q.duration("wait", 0, s.cfg.MaxWait); given {
		return waiting{d: d}
	}
	for _, line := range r.Header["Prefer"] {
		for preference := range strings.SplitSeq(line, ",") {
			name, value, _ := strings.Cut(strings.TrimSpace(preference), "=")
			if !strings.EqualFold(strings.TrimSpace(name), "wait") {
				continue
			}
			seconds, err := strconv.ParseUint(strings.Trim(strings.TrimSpace(value), `"`), 10, 31)
			if err != nil {
				return waiting{} // a preference that cannot be read is not applied
			}
			return waiting{d: min(time.Duration(seconds)*time.Second, s.cfg.MaxWait), preferred: true}
		}
	}
	return waiting{}
}

// applied tells the caller that its preference was heard.
func (w waiting) applied(h http.Header) {
	if w.preferred {
		h["Preference-Applied"] = []string{"wait=" + strconv.Itoa(int(w.d/time.Second))}
	}
}
