package guard

import (
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/longwire/longwire/api/internal/problem"
)

// preflightLife is how long a browser may keep the answer to a preflight.
const preflightLife = time.Hour

// Methods and headers that pages of a listed origin may send and read. They must send a
// key: ConsoleHeader is not among the headers, and a cookie counts only with it, so a
// browser has no credentials that it could add to the request of another page.
const (
	corsMethods = "GET, HEAD, POST, PUT, PATCH, DELETE"
	corsHeaders = "Authorization, X-API-Key, Content-Type, Content-Encoding, Idempotency-Key, Prefer, Last-Event-ID, Range, If-Range, If-Match, If-None-Match, X-Request-Id"
	corsExposed = "Location, Link, Retry-After, Allow, Accept-Encoding, RateLimit, RateLimit-Policy, Idempotency-Replayed, Preference-Applied, " +
		"ETag, Accept-Ranges, Content-Range, Content-Disposition, WWW-Authenticate, X-Request-Id"
)

// CheckOrigin returns an error that explains why origin cannot be listed in
// Origins. An origin has a scheme, a host and, if it is not the default, a
// port, as browsers write them. There is no wildcard.
func CheckOrigin(origin string) error {
	u, err := url.Parse(origin)
	switch {
	case err != nil, u.Scheme != "http" && u.Scheme != "https", u.Host == "", u.Scheme+"://"+u.Host != origin,
		strings.ToLower(origin) != origin, strings.ContainsAny(origin, "*"):
		return fmt.Errorf("%q is not an origin: want https://host or https://host:port, in lower case and without a path", origin)
	case strings.HasSuffix(origin, ":"), u.Scheme == "https" && u.Port() == "443", u.Scheme == "http" && u.Port() == "80":
		return fmt.Errorf("%q is no origin that a browser sends: leave out the default port", origin)
	case strings.ContainsFunc(origin, func(r rune) bool { return r >= utf8.RuneSelf }):
		return fmt.Errorf("%q is no origin that a browser sends: write the host in ASCII (xn--)", origin)
	}
	return nil
}

// Origins checks the Host and the Origin of requests, which browsers set.
type Origins struct {
	listed  []string
	hosts   map[string]bool // of an open API; nil = any
	foreign *http.CrossOriginProtection
}

// NewOrigins returns the check for listed origins, which have passed CheckOrigin. While the
// API is open, requests may name the loopback hosts and hosts, or with anyHost every host.
func NewOrigins(listed, hosts []string, anyHost bool) *Origins {
	o := &Origins{listed: listed, foreign: http.NewCrossOriginProtection()}
	for _, origin := range listed {
		if err := o.foreign.AddTrustedOrigin(origin); err != nil {
			panic(err) // checked by CheckOrigin before
		}
	}
	if !anyHost {
		o.hosts = map[string]bool{"localhost": true}
		for _, h := range hosts {
			if ip, err := netip.ParseAddr(h); err == nil && ip.Is6() {
				h = "[" + h + "]"
			}
			o.hosts[hostName(h)] = true
		}
	}
	return o
}

// Check refuses requests that a web page could make a browser send: state-changing
// requests from origins that are not listed and, if hosts are checked, requests with a
// foreign Host name, which DNS rebinding produces. done reports that Check has answered the
// request.
func (o *Origins) Check(w http.ResponseWriter, r *http.Request, checkHost bool) (done bool, err error) {
	if checkHost && o.hosts != nil && !o.answersAs(hostName(r.Host)) {
		return false, problem.New(problem.HostNotAllowed, "without API keys this server does not answer as %q: add the name to http.hosts, or create an API key", hostName(r.Host))
	}
	if len(o.listed) > 0 && o.cors(w, r) {
		return true, nil
	}
	if o.foreign.Check(r) != nil {
		return false, problem.New(problem.CrossOrigin, "a browser sent this from another origin")
	}
	return false, nil
}

// answersAs reports whether an open API answers to the host. Every loopback address is
// one: a page whose name leads here has that name as its host, and not the address.
func (o *Origins) answersAs(host string) bool {
	if o.hosts[host] {
		return true
	}
	ip, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(host, "["), "]"))
	return err == nil && ip.Unmap().IsLoopback()
}

// cors sets the headers that let a page of a listed origin read the answer. A
// preflight carries no key, so cors answers it and reports true.
func (o *Origins) cors(w http.ResponseWriter, r *http.Request) (done bool) {
	h := w.Header()
	h.Add("Vary", "Origin")
	origin := r.Header.Get("Origin")
	preflight := r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != ""
	if !slices.Contains(o.listed, origin) {
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

// hostName returns a Host header without its port, in lower case; an IPv6 address
// keeps its brackets.
func hostName(host string) string {
	if i := strings.LastIndexByte(host, ':'); i > strings.LastIndexByte(host, ']') {
		host = host[:i]
	}
	return strings.ToLower(strings.TrimSuffix(host, "."))
}
