package api

import (
	"cmp"
	"log/slog"
	"math"
	"net/http"
	"net/netip"
	"time"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/apikey"
	"github.com/longwire/longwire/internal/audit"
	"github.com/longwire/longwire/internal/consumer"
	"github.com/longwire/longwire/internal/findings"
	"github.com/longwire/longwire/internal/simulator"
	"github.com/longwire/longwire/internal/timeline"
	"github.com/longwire/longwire/internal/vitals"
	"github.com/longwire/longwire/internal/webhook"
)

// Config is what New needs. Gateway is required; zero values of the rest have
// the defaults named here.
type Config struct {
	Gateway *gateway.Gateway

	// Ready returns the checks that /readyz shows. Nil = Gateway.Ready alone.
	Ready func() []Check
	// Refusals has the registrations that were refused. Nil = none are kept.
	Refusals Refusals
	// Tokens has the tokens that devices register with. Nil = none are kept.
	Tokens TokenStore
	// Version is shown by /version.
	Version Version
	// Metrics serves /metrics. Nil = the route answers 404.
	Metrics http.Handler
	// Recorder counts every request. Nil = none.
	Recorder Recorder
	// Logger gets the access log and the causes of 5xx answers. Nil = discarded.
	Logger *slog.Logger
	// AccessLog logs successful requests at Info, not at Debug.
	AccessLog bool

	// Authorizer has the keys that may call /v1 and /metrics. While it is nil or
	// has never had a key, the API is open: every caller may call. An open API
	// serves only requests whose Host is a loopback name or in Hosts, so that no
	// web page can reach the devices by DNS rebinding.
	Authorizer *apikey.Keyset
	// Consumers has the consumers of events. The calls about them need it.
	Consumers *consumer.Manager
	// Timeline has the last events of each client. Nil = none are kept.
	Timeline *timeline.Book
	// Simulator runs simulated devices. Nil = none may run.
	Simulator *simulator.Simulator
	// Webhooks has the webhooks. Nil = the gateway has none and takes none.
	Webhooks *webhook.Manager
	// Audit records every write. Nil = no audit log.
	Audit *audit.Log
	// Vitals has the rates and the history; its owner calls Tick. Nil = one that
	// begins now and has no history.
	Vitals *vitals.Recorder
	// Findings has what needs attention. Nil = nothing.
	Findings *findings.Registry
	// UplinksRead is called after a caller has read the stored uplinks to their end. Nil
	// = no function.
	UplinksRead func()
	// Origins are the web origins, such as https://app.example, whose pages may
	// call. Each must pass CheckOrigin. None = only this server's own pages.
	Origins []string

	// Rate bounds the requests per second of one key, with bursts of Burst
	// (default: Rate rounded up). 0 = no bound.
	Rate  float64
	Burst int
	// AuthFailures bounds the wrong keys per minute from one address. 0 = no
	// bound.
	AuthFailures int
	// MaxConnections bounds the open connections of Server.Bound, a few for the
	// operator and for probes left out. Default 1,280.
	MaxConnections int
	// MaxConnectionsPerIP bounds the unauthenticated connections of one address
	// (IPv6: /64): those on which no request was allowed. Loopback has no such
	// bound. Default 320.
	MaxConnectionsPerIP int
	// MaxRequests bounds the requests under way, probes and documents left out;
	// over HTTP/2 as many again may be refused, or read documents. Default 8,192.
	MaxRequests int
	// MaxBodies bounds the bytes of bodies in memory. Default 256 MiB.
	MaxBodies int64
	// ProxyTrusted are the addresses of proxies, whose X-Forwarded-For names the
	// caller.
	ProxyTrusted []netip.Prefix
	// DeviceAddr is where devices connect, for people; "" leaves it out.
	DeviceAddr string
	// Hosts are further Host names (without port) of an open API.
	Hosts []string
	// AnyHost serves an open API under any Host name.
	AnyHost bool

	// MaxBody bounds a body and one line of a bulk request, in bytes, encoded and
	// decoded. A body that is the payload itself has at most gateway.MaxPayload, too.
	// Default 2 MiB, room for the largest payload in its longest spelling.
	MaxBody int64
	// MaxWait bounds ?wait= and Prefer: wait. Default and ceiling 60 s.
	MaxWait time.Duration
	// MaxBulkLines bounds the lines of one bulk request. Default 100,000.
	MaxBulkLines int
	// MaxStreams bounds concurrent event streams. Default 1,024.
	MaxStreams int
	// MaxStreamsPerKey bounds those of one key. Default 128.
	MaxStreamsPerKey int
	// ReadTimeout bounds the reading of a request's body. Default 30 s.
	ReadTimeout time.Duration

	// Now is the clock for the end of keys, for queries that count back from now,
	// and for the times that are stored and shown. Nil = time.Now.
	Now func() time.Time

	// Source is the CloudEvents source of events. Default "/longwire".
	Source string
}

// Recorder counts requests. Route is one of the router's patterns, or "" when
// none matched, so it is safe as a label; elapsed is the handler's time.
type Recorder interface {
	Request(route, method string, status int, elapsed time.Duration)
	// Expect announces, at the start, a status that a route may answer.
	Expect(route, method string, status int)
}

// Check is one line of /readyz.
type Check struct {
	Name string
	Err  error // nil = fine; the text is shown
}

func (c Config) withDefaults() Config {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	c.MaxBody = cmp.Or(max(c.MaxBody, 0), 2<<20)
	if c.MaxWait <= 0 || c.MaxWait > gateway.MaxWait {
		c.MaxWait = gateway.MaxWait
	}
	c.MaxBulkLines = cmp.Or(max(c.MaxBulkLines, 0), 100_000)
	c.MaxStreams = cmp.Or(max(c.MaxStreams, 0), 1024)
	c.MaxStreamsPerKey = cmp.Or(max(c.MaxStreamsPerKey, 0), 128)
	c.MaxConnections = cmp.Or(max(c.MaxConnections, 0), 1280)
	c.MaxConnectionsPerIP = cmp.Or(max(c.MaxConnectionsPerIP, 0), 320)
	c.MaxRequests = cmp.Or(max(c.MaxRequests, 0), 8192)
	c.MaxBodies = cmp.Or(max(c.MaxBodies, 0), 256<<20)
	c.Burst = cmp.Or(max(c.Burst, 0), int(math.Ceil(c.Rate)))
	if c.Authorizer == nil {
		c.Authorizer = apikey.NewKeyset()
	}
	c.ReadTimeout = cmp.Or(max(c.ReadTimeout, 0), 30*time.Second)
	if c.Now == nil {
		c.Now = time.Now
	}
	c.Source = cmp.Or(c.Source, "/longwire")
	c.Webhooks = cmp.Or(c.Webhooks, webhook.None())
	if c.Findings == nil {
		c.Findings = findings.New(c.Now)
	}
	if c.UplinksRead == nil {
		c.UplinksRead = func() {}
	}
	if c.Ready == nil {
		g := c.Gateway
		c.Ready = func() []Check { return []Check{{Name: "gateway", Err: g.Ready()}} }
	}
	return c
}

// NewServer returns an HTTP server with the limits that the handler of the API
// expects: header size and time, body time, and an answer time above MaxWait.
// Streams set a deadline for each write. The deadline of a body ends when the body
// has been read, so a wait may be longer.
func NewServer(c Config) *Server {
	s := newServer(c)
	c = s.cfg // with its defaults
	out := &Server{api: s, Server: http.Server{
		Handler:           s.handler(),
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       c.ReadTimeout,
		WriteTimeout:      c.ReadTimeout + c.MaxWait + 30*time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    32 << 10,
		HTTP2:             http2Limits(c),
		ErrorLog:          slog.NewLogLogger(c.Logger.Handler(), slog.LevelDebug),
	}}
	s.conns.Watch(&out.Server)
	return out
}
