package api

import (
	"net/http"

	"github.com/longwire/longwire/api/internal/guard"
	"github.com/longwire/longwire/api/internal/problem"
	"github.com/longwire/longwire/api/internal/tenant"
	"github.com/longwire/longwire/internal/apikey"
	"github.com/longwire/longwire/internal/audit"
)

// APIKeys returns a keyset of the given secrets. Each has all scopes. Callers send
// them as Bearer token or in X-API-Key.
func APIKeys(secrets ...string) *apikey.Keyset { return apikey.NewKeyset(secrets...) }

// CheckOrigin returns an error that explains why origin cannot be in Config.Origins.
func CheckOrigin(origin string) error { return guard.CheckOrigin(origin) }

// viewOf returns the gateway within the limits of the request's caller. Handlers have
// no other access to the gateway.
func viewOf(w http.ResponseWriter) *tenant.View { return &exchangeOf(w).view }

// identify authenticates the caller and gives the exchange its view of the gateway.
func (s *server) identify(x *exchange, r *http.Request) error {
	request := tenant.Request{From: r.RemoteAddr, ID: x.id, CallerID: x.callerID}
	session, err := s.sessions.Of(r, x.secure, x.started)
	if err != nil {
		if problem.Of(err).Status == http.StatusUnauthorized {
			http.SetCookie(x, s.sessions.Cleared(x.secure)) // it opens nothing any more
		}
		return err
	}
	key := session.Key
	if key != nil {
		request.Via, request.Until = audit.Console, session.Until
	} else if key, err = s.keys.Authenticate(r, x.started); err != nil {
		return err
	}
	x.principal = key.ID
	x.view = s.views.View(key, request)
	return nil
}

// refused records a write that was not allowed. The view records all other writes.
func (s *server) refused(x *exchange, r *http.Request, err error) {
	if r.Method == http.MethodGet || r.Method == http.MethodHead || !s.cfg.Audit.Wants(audit.Refused) || !s.mayRecord(x, r) {
		return
	}
	e := audit.Entry{At: x.started, What: audit.Refused, Target: loggedMethod(r) + " " + loggedPath(r), From: r.RemoteAddr,
		Request: x.id, Caller: x.callerID, Result: problem.Of(err).Code()}
	if key := x.view.Key(); key != nil {
		e.Who, e.Name, e.Via = key.ID, key.Name, x.view.Via()
	}
	s.cfg.Audit.Record(e)
}

// checkOrigin refuses requests that a web page could make a browser send. Probes come with
// any Host.
func (s *server) checkOrigin(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		done, err := s.origins.Check(w, r, !s.keyset.Required() && !isProbe(r.URL.Path))
		switch {
		case err != nil:
			s.fail(exchangeOf(w), r, err)
		case !done:
			next.ServeHTTP(w, r)
		}
	})
}
