package guard

import (
	"net/http"
	"strings"
	"time"

	"github.com/longwire/longwire/api/internal/problem"
	"github.com/longwire/longwire/internal/apikey"
)

// Keys authenticates requests by their API keys.
type Keys struct {
	keyset   *apikey.Keyset
	failures *failures
}

// NewKeys returns the keys of keyset. From one address it accepts perMinute wrong keys a
// minute, 0 = no bound.
func NewKeys(keyset *apikey.Keyset, perMinute int) *Keys {
	return &Keys{keyset: keyset, failures: newFailures(perMinute)}
}

// Authenticate returns the key that a request shows. It returns apikey.Anyone while no key is
// required. A request without a key, or with more than one, is refused and is not counted
// as a guess.
func (k *Keys) Authenticate(r *http.Request, now time.Time) (*apikey.Key, error) {
	if !k.keyset.Required() {
		return apikey.Anyone, nil
	}
	secret, shown, ok := presentedKey(r)
	if shown > 1 {
		return nil, problem.BadParameter("Authorization", "comes more than once, or with X-API-Key: send one key in one header")
	}
	if !ok {
		return nil, problem.New(problem.Unauthenticated, "this server needs an API key: send Authorization: Bearer <key>")
	}
	key, err := k.keyset.Authenticate(secret, now)
	slowed := k.failures.check(r.RemoteAddr, now)
	if slowed != nil && (err != nil || key.Guessable()) {
		return nil, slowed
	}
	if err != nil {
		k.failures.note(r.RemoteAddr, now)
		return nil, problem.New(problem.Unauthenticated, "%s", err)
	}
	return key, nil
}

// Need refuses a caller whose key lacks a scope.
func Need(key *apikey.Key, scope apikey.Scope) error {
	if key.Scopes.Allows(scope) {
		return nil
	}
	return Lacks(scope, "this takes an API key with the scope")
}

// Lacks makes the problem of a key without a scope, whose name ends the detail.
func Lacks(scope apikey.Scope, detail string) *problem.Problem {
	p := problem.New(problem.InsufficientScope, "%s %s", detail, scope)
	p.Scope = scope.String()
	return p
}

// presentedKey returns the key of a request, and how many headers for keys are not empty. Of
// several a proxy and this server could choose different ones.
func presentedKey(r *http.Request) (secret string, shown int, ok bool) {
	for _, a := range r.Header["Authorization"] {
		if a != "" {
			scheme, token, found := strings.Cut(a, " ")
			secret, ok = strings.TrimSpace(token), found && strings.EqualFold(scheme, "Bearer")
			shown++
		}
	}
	for _, key := range r.Header["X-Api-Key"] {
		if key != "" {
			secret, ok = key, true
			shown++
		}
	}
	return secret, shown, ok
}
