package api

import (
	"log/slog"
	"net/http"
	"sync/atomic"

	"github.com/go-chi/chi/v5"

	"github.com/longwire/longwire/api/internal/guard"
	"github.com/longwire/longwire/api/internal/problem"
	"github.com/longwire/longwire/api/internal/tenant"
	"github.com/longwire/longwire/internal/apikey"
	"github.com/longwire/longwire/internal/vitals"
)

// server is the handler's state. Fields are fixed after New, except counters.
type server struct {
	cfg      Config
	views    *tenant.Views // of the gateway; a handler has the view of its request
	keyset   *apikey.Keyset
	log      *slog.Logger
	boot     string // identifies this run of the process
	eventKey uint64 // of event ids

	instance string // names the gateway's log, in cookies and for people

	keys     *guard.Keys
	sessions *guard.Sessions
	origins  *guard.Origins
	callers  *guard.Callers
	load     *guard.Requests
	bodies   *guard.Bodies
	conns    *guard.Connections
	drain    draining
	requests atomic.Uint64
	streams  atomic.Int64
	traces   traces
}

// New returns the HTTP API. It owns no goroutine beyond those of its requests.
func New(cfg Config) http.Handler { return newServer(cfg).handler() }

func (s *server) handler() http.Handler { return s.observe(s.checkOrigin(s.routes())) }

func newServer(cfg Config) *server {
	cfg = cfg.withDefaults()
	s := &server{cfg: cfg, keyset: cfg.Authorizer, log: cfg.Logger, boot: newBoot(),
		keys:    guard.NewKeys(cfg.Authorizer, cfg.AuthFailures),
		origins: guard.NewOrigins(cfg.Origins, cfg.Hosts, cfg.AnyHost),
		callers: guard.NewCallers(cfg.Rate, cfg.Burst),
		load:    guard.NewRequests(cfg.MaxRequests, cfg.MaxConnections),
		bodies:  guard.NewBodies(cfg.MaxBodies)}
	s.conns = guard.NewConnections(cfg.MaxConnections, cfg.MaxConnectionsPerIP, s.cfg.isProxy, cfg.Logger)
	s.drain.init()
	s.initTraces()
	s.views = tenant.NewViews(cfg.Gateway, s.keyset, cfg.Audit, cfg.Now)
	if cfg.Gateway != nil {
		s.eventKey = keyOfLog(cfg.Gateway.Log())
		s.instance = instanceOf(cfg.Gateway.Log())
	}
	s.sessions = guard.NewSessions(s.keys, s.instance)
	if s.cfg.Vitals == nil && cfg.Gateway != nil {
		s.cfg.Vitals = vitals.Of(cfg.Gateway, cfg.Now)
	}
	s.cfg.Gateway = nil // handlers must use views
	return s
}

// handler is an endpoint: its error is answered as a problem.
type handler func(w http.ResponseWriter, r *http.Request) error

// register adds a row of the table to the router.
func (s *server) register(r chi.Router, method string, e endpoint) {
	if e.need == 0 {
		panic("api: " + method + " " + e.pattern + " does not say which scope it needs")
	}
	if s.cfg.Recorder != nil && e.need != public {
		s.cfg.Recorder.Expect(e.pattern, method, http.StatusInternalServerError)
		s.cfg.Recorder.Expect(e.pattern, method, http.StatusServiceUnavailable)
	}
	quiet := isProbe(e.pattern) || e.pattern == "/metrics"
	r.MethodFunc(method, e.pattern, func(w http.ResponseWriter, r *http.Request) {
		x := exchangeOf(w)
		x.route, x.quiet = e.pattern, quiet
		if err := s.serve(x, r, &e); err != nil {
			s.fail(x, r, err)
		}
	})
}

// isProbe reports whether path is a probe of orchestrators and load balancers. They
// send any Host or none, and the answers have no secrets.
func isProbe(path string) bool { return path == "/livez" || path == "/readyz" || path == "/healthz" }

// serve runs an endpoint for a caller that may use it.
func (s *server) serve(x *exchange, r *http.Request, e *endpoint) error {
	if e.need == public {
		if x.lingers = lingers(x, r, http.StatusOK); x.lingers {
			x.Header().Set("Connection", "close")
		}
		return e.handler(x, r)
	}
	if err := s.allow(x, r, e); err != nil {
		s.refused(x, r, err)
		return err
	}
	if err := s.admit(x, r); err != nil {
		return err
	}
	s.markAuthenticated(x)
	if r.ContentLength != 0 && !e.takesBody() {
		if err := s.withBody(x, r, func([]byte) error { return nil }); err != nil {
			return err
		}
	}
	return e.handler(x, r)
}

// allow authenticates the caller and checks its rate, its scopes and its connection.
func (s *server) allow(x *exchange, r *http.Request, e *endpoint) error {
	if err := s.identify(x, r); err != nil {
		return err
	}
	x.identified = true
	if err := s.callers.Spend(x.Header(), x.principal, x.started); err != nil {
		return err
	}
	if e.need != anyKey {
		if err := guard.Need(viewOf(x).Key(), e.need); err != nil {
			return err
		}
	}
	return s.conns.Allowed(r.Context(), viewOf(x).Key().Scopes.Allows(apikey.Admin))
}

// routes builds the router. It is flat, so that a route's pattern is known when
// it is registered.
func (s *server) routes() chi.Router {
	r := chi.NewRouter()
	r.NotFound(func(w http.ResponseWriter, r *http.Request) {
		s.fail(exchangeOf(w), r, problem.New(problem.RouteNotFound, "there is no %s", r.URL.Path))
	})
	r.MethodNotAllowed(func(w http.ResponseWriter, r *http.Request) {
		p := problem.New(problem.MethodNotAllowed, "%s is not a method of %s", r.Method, r.URL.Path)
		p.Allow = w.Header().Get("Allow")
		if p.Allow == "" {
			p.Allow = allowedMethods(r)
		}
		s.fail(exchangeOf(w), r, p)
	})
	for _, e := range s.endpoints() {
		s.register(r, e.method, e)
		if e.method == http.MethodGet && e.head {
			s.register(r, http.MethodHead, e)
		}
	}
	return r
}

// allowedMethods asks the router which methods the path has.
func allowedMethods(r *http.Request) string {
	ctx := chi.RouteContext(r.Context())
	allowed := ""
	for _, m := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"} {
		if ctx != nil && ctx.Routes.Match(chi.NewRouteContext(), m, r.URL.Path) {
			if allowed != "" {
				allowed += ", "
			}
			allowed += m
		}
	}
	return allowed
}
