package api

import (
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
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
		r.Header.Del("Content-Encoding") // no handler reads the body
		if err := s.withBody(x, r, func([]byte) error { return nil }); err != nil {
			return err
		}
	}
	if e.noQuery {
		if err := queryOf(r).done(); err != nil {
			return err
		}
	}
	err := e.handler(x, r)
	if p, ok := errors.AsType[*problem.Problem](err); ok && p.Scope != "" { // the parameters or the body need another scope
		s.refused(x, r, err)
	}
	return err
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
	methods := map[string][]string{} // by pattern
	notAllowed := func(w http.ResponseWriter, r *http.Request) {
		p := problem.New(problem.MethodNotAllowed, "%s is not a method of %s", r.Method, r.URL.EscapedPath())
		if p.Allow = allowedMethods(r, methods); p.Allow == "" { // chi asks no pattern about a method that it does not know
			p = problem.New(problem.RouteNotFound, "there is no %s", r.URL.EscapedPath())
		}
		s.fail(exchangeOf(w), r, p)
	}
	r.Use(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			path := routePath(r)
			chi.RouteContext(r.Context()).RoutePath = path
			if own, ok := methods[path]; ok && !slices.Contains(own, r.Method) {
				notAllowed(w, r) // without this a pattern with a parameter would match
				return
			}
			next.ServeHTTP(w, r)
		})
	})
	r.NotFound(func(w http.ResponseWriter, r *http.Request) {
		s.fail(exchangeOf(w), r, problem.New(problem.RouteNotFound, "there is no %s", r.URL.EscapedPath()))
	})
	r.MethodNotAllowed(notAllowed)
	for _, e := range s.endpoints() {
		s.register(r, e.method, e)
		methods[e.pattern] = append(methods[e.pattern], e.method)
		if e.method == http.MethodGet && e.head {
			s.register(r, http.MethodHead, e)
			methods[e.pattern] = append(methods[e.pattern], http.MethodHead)
		}
	}
	return r
}

// allowedMethods returns the methods of a path: its own or, if it is no pattern itself,
// those for which the router has a pattern.
func allowedMethods(r *http.Request, methods map[string][]string) string {
	ctx := chi.RouteContext(r.Context())
	own, fixed := methods[ctx.RoutePath]
	var allowed []string
	for _, m := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"} {
		if slices.Contains(own, m) || !fixed && ctx.Routes.Match(chi.NewRouteContext(), m, ctx.RoutePath) {
			allowed = append(allowed, m)
		}
	}
	return strings.Join(allowed, ", ")
}

// routePath returns the path without the escapes of letters, digits and "-._~", which mean
// the same (RFC 3986, section 6.2.2.2). The others stay, so that the escaped slash of an id
// ends no part of the path.
func routePath(r *http.Request) string {
	if r.URL.RawPath == "" {
		return r.URL.Path
	}
	return plainEscapes(r.URL.RawPath)
}

// plainEscapes decodes the escapes of unreserved characters in a valid path.
func plainEscapes(path string) string {
	b := make([]byte, 0, len(path))
	for i := 0; i < len(path); i++ {
		if path[i] == '%' && i+2 < len(path) {
			c, err := strconv.ParseUint(path[i+1:i+3], 16, 8)
			if err == nil && (c == '~' || c != ':' && plainToken(string(rune(c)), 1)) {
				b = append(b, byte(c))
				i += 2
				continue
			}
		}
		b = append(b, path[i])
	}
	return string(b)
}
