package api

import (
	"log/slog"
	"net/http"
	"sync/atomic"

	"github.com/go-chi/chi/v5"

	"github.com/longwire/longwire/gateway"
)

// server is the handler's state. Fields are fixed after New, but for the
// counters.
type server struct {
	cfg     Config
	gateway *gateway.Gateway
	log     *slog.Logger
	hosts   map[string]bool
	boot    string // names this run of the process
	bootKey uint64

	requests atomic.Uint64
	streams  atomic.Int64
}

// New returns the HTTP API. It owns no goroutine beyond those of its requests.
func New(cfg Config) http.Handler {
	s := newServer(cfg)
	return s.observe(s.guard(s.routes()))
}

func newServer(cfg Config) *server {
	cfg = cfg.withDefaults()
	s := &server{cfg: cfg, gateway: cfg.Gateway, log: cfg.Logger, boot: newBoot()}
	s.bootKey = bootKey(s.boot)
	s.hosts = map[string]bool{"localhost": true, "127.0.0.1": true, "[::1]": true}
	for _, h := range cfg.Hosts {
		s.hosts[h] = true
	}
	return s
}

// handler is an endpoint: its error is answered as a problem.
type handler func(w http.ResponseWriter, r *http.Request) error

// access says who may call a route.
type access uint8

const (
	private access = iota // needs a principal, where an Authorizer is configured
	public                // documents and probes
)

func (s *server) handle(r chi.Router, method, pattern string, who access, h handler) {
	quiet := pattern == "/livez" || pattern == "/readyz" || pattern == "/healthz" || pattern == "/metrics"
	check := who == private && s.cfg.Authorizer != nil
	r.MethodFunc(method, pattern, func(w http.ResponseWriter, r *http.Request) {
		x := exchangeOf(w)
		x.route, x.quiet = pattern, quiet
		if check {
			principal, err := s.cfg.Authorizer.Authorize(r)
			if err != nil {
				s.fail(x, r, problem(unauthenticated, "%s", err))
				return
			}
			x.principal = principal
		}
		if err := h(w, r); err != nil {
			s.fail(x, r, err)
		}
	})
}

// routes builds the router. It is flat, so that a route's pattern is known when
// it is registered.
func (s *server) routes() chi.Router {
	r := chi.NewRouter()
	r.NotFound(func(w http.ResponseWriter, r *http.Request) {
		s.fail(exchangeOf(w), r, problem(routeNotFound, "there is no %s", r.URL.Path))
	})
	r.MethodNotAllowed(func(w http.ResponseWriter, r *http.Request) {
		p := problem(methodNotAllowed, "%s is not a method of %s", r.Method, r.URL.Path)
		p.allow = w.Header().Get("Allow")
		if p.allow == "" {
			p.allow = allowedMethods(r)
		}
		s.fail(exchangeOf(w), r, p)
	})
	for _, e := range s.endpoints() {
		s.handle(r, e.method, e.pattern, e.access, e.handler)
		if e.method == http.MethodGet && e.head {
			s.handle(r, http.MethodHead, e.pattern, e.access, e.handler)
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
