package deviceauth

import (
	"time"

	"github.com/longwire/longwire/gateway"
)

// tokenSet is a token file in memory, about 140 bytes a token. It does not change:
// a new file makes a new set.
type tokenSet struct {
	byHash   map[fingerprint]holder
	clients  map[gateway.ClientID]struct{} // clients with a token of their own
	patterns []string                      // patterns of the other tokens, without duplicates
}

// holder is the holder of a token.
type holder struct {
	client  string // an id, or a pattern of ids
	pattern bool
	expires time.Time // zero = never
	groups  []string
}

func readTokenSet(name string) (*tokenSet, error) {
	f, err := readTokenFile(name)
	if err != nil {
		return nil, err
	}
	s := &tokenSet{byHash: make(map[fingerprint]holder, len(f.lines)), clients: make(map[gateway.ClientID]struct{})}
	seen := make(map[string]bool)
	for _, l := range f.lines {
		e := l.entry
		switch {
		case e == nil:
			continue
		case e.Pattern == "":
			s.clients[gateway.ClientID(e.Client)] = struct{}{}
		case !seen[e.Pattern]:
			seen[e.Pattern] = true
			s.patterns = append(s.patterns, e.Pattern)
		}
		s.byHash[e.hash()] = holder{client: e.Client + e.Pattern, pattern: e.Pattern != "", expires: e.ExpiresAt, groups: e.Groups}
	}
	return s, nil
}

// covers reports whether id needs a token. In a nil set no id does. An expired
// token still covers its id: expiry must not admit a device without a token.
func (s *tokenSet) covers(id gateway.ClientID) bool {
	if s == nil {
		return false
	}
	_, own := s.clients[id]
	return matchesAny(s.patterns, id) || own // in this order, so that an id without a token takes no longer
}

// ownToken checks a well-formed token.
func (a *Authenticator) ownToken(tokens *tokenSet, h *gateway.Hello) verdict {
	hash := fingerprint(HashToken(h.Token))
	v := tokens.find(hash, h.Client, a.cfg.Now())
	if v.accepted() {
		v.credential = &tokenCredential{a, hash, v.expires}
	}
	return v
}

// find looks a token up by its hash. Its duration depends on the hash alone, which
// an attacker cannot choose without knowing the token. It is the same for ids with
// and without a token.
func (s *tokenSet) find(hash fingerprint, id gateway.ClientID, now time.Time) verdict {
	h, ok := s.byHash[hash]
	switch {
	case !ok:
		return refused(MethodToken, ReasonWrongToken)
	case h.pattern && !matches(h.client, id), !h.pattern && h.client != string(id):
		return refused(MethodToken, ReasonOtherClient)
	case !h.expires.IsZero() && !now.Before(h.expires):
		return refused(MethodToken, ReasonExpired)
	}
	return verdict{method: MethodToken, reason: ReasonAccepted, bound: true, expires: h.expires, groups: h.groups}
}
