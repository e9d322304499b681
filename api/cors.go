package api

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// preflightLife is how long a browser may remember what it was told.
const preflightLife = time.Hour

// What pages of a listed origin may send and read. Cookies are never asked for:
// a page has to hold a key of its own, so there are no credentials that a
// browser could add by itself.
const (
	corsMethods = "GET, HEAD, POST, PATCH, DELETE"
	corsHeaders = "Authorization, X-API-Key, Content-Type, Idempotency-Key, Prefer, Last-Event-ID, X-Request-Id"
	corsExposed = "Location, Link, Retry-After, RateLimit, RateLimit-Policy, Idempotency-Replayed, Preference-Applied, X-Request-Id"
)

// CheckOrigin says what is wrong with an origin that is to be listed: it is a
// scheme, a host and a port where it is not the usual one, written as browsers
// write it. There is no wildcard.
func CheckOrigin(origin string) error {
	u, err := url.Parse(origin)
	switch {
	case err != nil, u.Scheme != "http" && u.Scheme != "https", u.Host == "", u.Scheme+"://"+u.Host != origin,
		strings.ToLower(origin) != origin, strings.ContainsAny(origin, "*"):
		return fmt.Errorf("%q is not an origin: want https://host or https://host:port, in lower case and without a path", origin)
	}
	return nil
}

// cors tells a browser whether a page of a listed origin may read the answer. It
// reports true when the request was a preflight, which is answered then: it
// carries no key.
func (s *server) cors(w http.ResponseWriter, r *http.Request) (done bool) {
	h := w.Header()
	h.Add("Vary", "Origin")
	origin := r.Header.Get("Origin")
	preflight := r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != ""
	if !slices.Contains(s.cfg.Origins, origin) {
		return false
	}
	h.Set("Access-Control-Allow-Origin", origin)
	if !preflight {
		h.Set("Access-Control-Expose-Headers", corsExposed)
		return false
	}
	h.Set("Access-Control-Allow-Methods", corsMethods)
	h.Set("Access-Control-Allow-Headers", corsHeaders)
	h.Set("Access-Control-Max-Age", fmt.Sprint(int(preflightLife/time.Second)))
	w.WriteHeader(http.StatusNoContent)
	return true
}
