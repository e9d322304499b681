package api

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// preflightLife is how long a browser may keep the answer to a preflight.
const preflightLife = time.Hour

// Methods and headers that pages of a listed origin may send and read. The API
// does not use cookies: a page must send a key, so a browser has no credentials
// that it could add to the request of another page.
const (
	corsMethods = "GET, HEAD, POST, PATCH, DELETE"
	corsHeaders = "Authorization, X-API-Key, Content-Type, Idempotency-Key, Prefer, Last-Event-ID, X-Request-Id"
	corsExposed = "Location, Link, Retry-After, RateLimit, RateLimit-Policy, Idempotency-Replayed, Preference-Applied, X-Request-Id"
)

// CheckOrigin returns an error that explains why origin cannot be listed in
// Config.Origins. An origin has a scheme, a host and, if it is not the default, a
// port, as browsers write them. There is no wildcard.
func CheckOrigin(origin string) error {
	u, err := url.Parse(origin)
	switch {
	case err != nil, u.Scheme != "http" && u.Scheme != "https", u.Host == "", u.Scheme+"://"+u.Host != origin,
		strings.ToLower(origin) != origin, strings.ContainsAny(origin, "*"):
		return fmt.Errorf("%q is not an origin: want https://host or https://host:port, in lower case and without a path", origin)
	}
	return nil
}

// cors sets the headers that let a page of a listed origin read the answer. A
// preflight carries no key, so cors answers it and reports true.
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
