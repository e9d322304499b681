package api

import (
	"errors"
	"net/http"
	"strings"

	"github.com/longwire/longwire/api/internal/problem"
	"github.com/longwire/longwire/api/internal/tenant"
	"github.com/longwire/longwire/internal/apikey"
	"github.com/longwire/longwire/internal/audit"
)

var errNoKey = errors.New("this server needs an API key: send Authorization: Bearer <key>")

// APIKeys returns a keyset of the given secrets. Each has all scopes. Callers send
// them as Bearer token or in X-API-Key.
func APIKeys(secrets ...string) *apikey.Keyset { return apikey.NewKeyset(secrets...) }

// view returns the gateway within the limits of the request's caller. Handlers have
// no other access to the gateway.
func (s *server) view(w http.ResponseWriter) *tenant.View { return &exchangeOf(w).view }

// identify authenticates the caller and gives the exchange its view of the gateway.
func (s *server) identify(x *exchange, r *http.Request) error {
	key := apikey.Anyone
	if s.keys.Required() {
		var err error
		if key, err = s.authenticate(x, r); errors.Is(err, errNoKey) { // a missing key is not a guess
			return problem.New(problem.Unauthenticated, "%s", err)
		}
		slowed := s.failures.check(r.RemoteAddr, x.started)
		if slowed != nil && (err != nil || key.Guessable()) {
			return slowed
		}
		if err != nil {
			s.failures.note(r.RemoteAddr, x.started)
			return problem.New(problem.Unauthenticated, "%s", err)
		}
	}
	x.principal = key.ID
	x.view = s.views.View(key, tenant.Request{From: r.RemoteAddr, ID: x.id, CallerID: x.callerID})
	return nil
}

func (s *server) authenticate(x *exchange, r *http.Request) (*apikey.Key, error) {
	secret, ok := presentedKey(r)
	if !ok {
		return nil, errNoKey
	}
	return s.keys.Authenticate(secret, x.started)
}

// need refuses a caller whose key lacks a scope.
func (s *server) need(w http.ResponseWriter, scope apikey.Scope) error {
	if s.view(w).Key().Scopes.Allows(scope) {
		return nil
	}
	p := problem.New(problem.InsufficientScope, "this takes an API key with the scope %s", scope)
	p.Scope = scope.String()
	return p
}

// refused records a write that was not allowed. The view records all other writes.
func (s *server) refused(x *exchange, r *http.Request, err error) {
	if r.Method == http.MethodGet || r.Method == http.MethodHead || !s.cfg.Audit.Wants(audit.Refused) || !s.mayRecord(x, r) {
		return
	}
	e := audit.Entry{At: x.started, What: audit.Refused, Target: loggedMethod(r) + " " + loggedPath(r), From: r.RemoteAddr,
		Request: x.id, Caller: x.callerID, Result: problem.Of(err).Code()}
	if key := x.view.Key(); key != nil {
		e.Who, e.Name = key.ID, key.Name
	}
	s.cfg.Audit.Record(e)
}

func presentedKey(r *http.Request) (string, bool) {
	if a := r.Header.Get("Authorization"); a != "" {
		scheme, token, ok := strings.Cut(a, " ")
		return strings.TrimSpace(token), ok && strings.EqualFold(scheme, "Bearer")
	}
	key := r.Header.Get("X-Api-Key")
	return key, key != ""
}

// guard refuses requests that a web page could make a browser send: state-changing
// requests from origins that are not listed and, while the API is open, requests with
// a foreign Host name, which DNS rebinding produces.
func (s *server) guard(next http.Handler) http.Handler {
	origin := http.NewCrossOriginProtection()
	for _, o := range s.cfg.Origins {
		if err := origin.AddTrustedOrigin(o); err != nil {
			panic(err) // checked by CheckOrigin before
		}
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		x := exchangeOf(w)
		if !s.cfg.AnyHost && !s.keys.Required() && !s.hosts[hostName(r.Host)] && !isProbe(r.URL.Path) {
			s.fail(x, r, problem.New(problem.HostNotAllowed, "without API keys this server does not answer as %q", hostName(r.Host)))
			return
		}
		if len(s.cfg.Origins) > 0 && s.cors(w, r) {
			return
		}
		if err := origin.Check(r); err != nil {
			s.fail(x, r, problem.New(problem.CrossOrigin, "a browser sent this from another origin"))
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
