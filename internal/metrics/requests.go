package metrics

import (
	"maps"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// maxSeries bounds the label sets of requests. Routes come from the router, so it
// is not reached. Beyond it requests would count under the route "other".
const maxSeries = 1024

// requests counts HTTP requests. A label set is resolved once and then found in a
// map that is replaced, not changed, so counting takes no lock.
type requests struct {
	count    *prometheus.CounterVec
	duration *prometheus.HistogramVec

	known atomic.Pointer[map[series]recorder]
	grow  sync.Mutex
}

// series is the label set of one counter.
type series struct {
	route, method string
	status        int
}

// recorder is a resolved series.
type recorder struct {
	count    prometheus.Counter
	duration prometheus.Observer
}

func (r *requests) init() {
	r.count = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "longwire_http_requests_total",
		Help: "HTTP requests, by route, method and status.",
	}, []string{"route", "method", "code"})
	r.duration = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "longwire_http_request_duration_seconds",
		Help:    "Time of HTTP requests in their handler, by route and method; a caller may have asked to wait.",
		Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60},
	}, []string{"route", "method"})
	r.known.Store(&map[series]recorder{})
}

// Request counts one request. Route is the router's pattern, "" for none.
func (r *requests) Request(route, method string, status int, elapsed time.Duration) {
	s := series{route, method, status}.bounded()
	c, ok := (*r.known.Load())[s]
	if !ok {
		c = r.resolve(s)
	}
	c.count.Inc()
	c.duration.Observe(elapsed.Seconds())
}

// Expect makes a counter that begins at 0: an alert on the first failure needs
// the value before it.
func (r *requests) Expect(route, method string, status int) {
	r.count.WithLabelValues(route, method, strconv.Itoa(status))
}

// bounded replaces values that a caller can make up by values from a list.
func (s series) bounded() series {
	switch s.method {
	case "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS":
	default:
		s.method = "other"
	}
	if s.route == "" {
		s.route = "unmatched"
	}
	if s.status < 100 || s.status > 599 {
		s.status = 0 // the handler wrote none: the connection was taken over or broke
	}
	return s
}

// resolve adds s to the known series.
func (r *requests) resolve(s series) recorder {
	r.grow.Lock()
	defer r.grow.Unlock()
	known := *r.known.Load()
	if len(known) >= maxSeries {
		s.route, s.status = "other", s.status/100*100
	}
	if c, ok := known[s]; ok {
		return c
	}
	c := recorder{
		count:    r.count.WithLabelValues(s.route, s.method, strconv.Itoa(s.status)),
		duration: r.duration.WithLabelValues(s.route, s.method),
	}
	next := maps.Clone(known)
	next[s] = c
	r.known.Store(&next)
	return c
}
