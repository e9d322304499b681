package api

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"net/http"
	"strings"
)

// Authorizer decides who is asking. Principal names the caller in logs and
// scopes idempotency keys; it must not be a secret. The error's text is shown.
type Authorizer interface {
	Authorize(r *http.Request) (principal string, err error)
}

// Errors of APIKeys.
var (
	errNoKey    = errors.New("this server needs an API key: send Authorization: Bearer <key>")
	errWrongKey = errors.New("the API key is not valid")
)

// APIKeys returns an Authorizer that accepts the given secrets, as Bearer token
// or in X-API-Key.
func APIKeys(secrets ...string) Authorizer {
	keys := make(apiKeys, len(secrets))
	for i, secret := range secrets {
		keys[i].hash = sha256.Sum256([]byte(secret))
		keys[i].principal = "key:" + hex.EncodeToString(keys[i].hash[:4])
	}
	return keys
}

// apiKeys holds hashes, so that comparing takes the same time for any guess.
type apiKeys []struct {
	hash      [sha256.Size]byte
	principal string
}

func (keys apiKeys) Authorize(r *http.Request) (string, error) {
	secret, ok := presentedKey(r)
	if !ok {
		return "", errNoKey
	}
	hash := sha256.Sum256([]byte(secret))
	principal := ""
	for i := range keys {
		if subtle.ConstantTimeCompare(hash[:], keys[i].hash[:]) == 1 {
			principal = keys[i].principal
		}
	}
	if principal == "" {
		return "", errWrongKey
	}
	return principal, nil
}

func presentedKey(r *http.Request) (string, bool) {
	if a := r.Header.Get("Authorization"); a != "" {
		scheme, token, ok := strings.Cut(a, " ")
		return strings.TrimSpace(token), ok && strings.EqualFold(scheme, "Bearer")
	}
	key := r.Header.Get("X-Api-Key")
	return key, key != ""
}

// guard refuses what a web page could make a browser send: state-changing
// requests from other origins, and on an open API any foreign Host name, which
// is how DNS rebinding looks.
func (s *server) guard(next http.Handler) http.Handler {
	origin := http.NewCrossOriginProtection()
	checkHost := s.cfg.Authorizer == nil && !s.cfg.AnyHost
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if checkHost && !s.hosts[hostName(r.Host)] {
			s.fail(exchangeOf(w), r, problem(hostNotAllowed, "without API keys this server does not answer as %q", hostName(r.Host)))
			return
		}
		if err := origin.Check(r); err != nil {
			s.fail(exchangeOf(w), r, problem(crossOrigin, "a browser sent this from another origin"))
			return
		}
		next.ServeHTTP(w, r)
	})
}

// hostName is a Host header without its port, in lower case; an IPv6 address
// keeps its brackets.
func hostName(host string) string {
	if i := strings.LastIndexByte(host, ':'); i > strings.LastIndexByte(host, ']') {
		host = host[:i]
	}
	return strings.ToLower(strings.TrimSuffix(host, "."))
}
