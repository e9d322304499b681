package api

import (
	"log/slog"
	"net/http"
	"sync/atomic"

	"github.com/go-chi/chi/v5"
	"golang.org/x/time/rate"

	"github.com/longwire/longwire/api/internal/problem"
	"github.com/longwire/longwire/api/internal/tenant"
	"github.com/longwire/longwire/internal/apikey"
)

// server is the handler's state. Fields are fixed after New, except counters.
type server struct {
	cfg     Config
	views   *tenant.Views // of the gateway; a handler has the view of its request
	keys    *apikey.Keyset
	log     *slog.Logger
	hosts   map[string]bool
	boot    string // identifies this run of the process
	bootKey uint64

	failures *failures
	callers  callers
	load     load
	bodies   bodyBudget
	conns    *connections
	drain    draining
	requests atomic.Uint64
	streams  atomic.Int64
	traces   traces
}

// New returns the HTTP API. It owns no goroutine beyond those of its requests.
func New(cfg Config) http.Handler { return newServer(cfg).handler() }

func (s *server) handler() http.Handler { return s.observe(s.guard(s.routes())) }

func newServer(cfg Config) *server {
	cfg = cfg.withDefaults()
	s := &server{cfg: cfg, keys: cfg.Authorizer, log: cfg.Logger, boot: newBoot(), failures: newFailures(cfg.AuthFailures),
		callers: callers{rate: rate.Limit(cfg.Rate), burst: cfg.Burst, byKey: make(map[string]*caller)},
		bodies:  bodyBudget{most: cfg.MaxBodies, byKey: make(map[string]int64)}}
	s.conns = newConnections(&s.cfg)
	s.drain.init()
	s.initTraces()
	s.views = tenant.NewViews(cfg.Gateway, s.keys.GuardsGroup, cfg.Audit, cfg.Now)
	s.cfg.Gateway = nil // handlers must use views
	s.bootKey = bootKey(s.boot)
	s.hosts = map[string]bool{"localhost": true, "127.0.0.1": true, "[::1]": true}
	for _, h := range cfg.Hosts {
		s.hosts[h] = true
	}
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
		return e.handler(x, r)
	}
	if err := s.allow(x, r, e); err != nil {
		s.refused(x, r, err)
		return err
	}
	if err := s.admit(x); err != nil {
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
	if err := s.callers.spend(x.Header(), x.principal, x.started); err != nil {
		return err
	}
	if err := s.need(x, e.need); err != nil {
		return err
	}
	return s.conns.allowed(r.Context(), s.view(x).Key().Scopes.Allows(apikey.Admin))
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
	for _, m := range []string{"GET", "HEAD", "POST", "PATCH", "DELETE"} {
		if ctx != nil && ctx.Routes.Match(chi.NewRouteContext(), m, r.URL.Path) {
			if allowed != "" {
				allowed += ", "
			}
			allowed += m
		}
	}
	return allowed
}
