package client

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	// maxAnswer bounds the bytes read of one JSON answer; a page of 1,000
	// clients stays far below it.
	maxAnswer = 32 << 20
	// maxProblem bounds the bytes read of an error answer.
	maxProblem = 64 << 10
	// maxPlain bounds the bytes that a Problem repeats of an answer in plain text.
	maxPlain = 300
	// maxLine bounds one line of a bulk answer or of an event: a payload of
	// 256 KiB in base64 within its envelope.
	maxLine = 1 << 20
	// attemptTimeout bounds one attempt, in addition to the time that the call
	// asks the gateway to wait.
	attemptTimeout = 30 * time.Second
)

// Client calls one gateway. It is safe for concurrent use.
type Client struct {
	base      *url.URL
	http      *http.Client
	apiKey    string
	userAgent string
	retry     Retry
	roots     *x509.CertPool // nil: the system's
}

// Retry is how often a safe request is repeated, and with which pauses.
type Retry struct {
	// Attempts is the number of tries in all; 0 = 4, 1 = never repeat.
	Attempts int
	// Base is the first pause, doubled for each further one; 0 = 200 ms. The
	// actual pause is a random part of it.
	Base time.Duration
	// Max is the longest pause; 0 = 10 s. An answer with a longer Retry-After is
	// returned at once.
	Max time.Duration
}

func (r Retry) withDefaults() Retry {
	if r.Attempts <= 0 {
		r.Attempts = 4
	}
	if r.Base <= 0 {
		r.Base = 200 * time.Millisecond
	}
	if r.Max <= 0 {
		r.Max = 10 * time.Second
	}
	return r
}

// Option changes how a Client works.
type Option func(*Client)

// WithAPIKey sends key as a bearer token with every request. "" sends none.
func WithAPIKey(key string) Option { return func(c *Client) { c.apiKey = key } }

// WithHTTPClient sends requests through h, which must not have a Timeout: waiting
// pushes and event streams may last longer. The context of each call bounds it.
func WithHTTPClient(h *http.Client) Option { return func(c *Client) { c.http = h } }

// WithRootCAs trusts the authorities in pool, instead of the system's, to sign
// the gateway's certificate. It has no effect on a client of WithHTTPClient.
func WithRootCAs(pool *x509.CertPool) Option { return func(c *Client) { c.roots = pool } }

// WithRetry sets how requests are repeated.
func WithRetry(r Retry) Option { return func(c *Client) { c.retry = r } }

// WithUserAgent names the calling program in the User-Agent header.
func WithUserAgent(name string) Option { return func(c *Client) { c.userAgent = name } }

// New returns a client of the gateway at baseURL, such as
// "http://127.0.0.1:8080". A path in it is kept, for gateways behind a proxy.
func New(baseURL string, opts ...Option) (*Client, error) {
	base, err := url.Parse(baseURL)
	if err != nil {
		return nil, fmt.Errorf("gateway address: %w", err)
	}
	if base.Scheme != "http" && base.Scheme != "https" || base.Host == "" {
		return nil, fmt.Errorf("gateway address %q: want http://host:port or https://host:port", baseURL)
	}
	if base.User != nil {
		return nil, errors.New("gateway address: give an API key in place of user information in the URL")
	}
	base.Path = strings.TrimRight(base.Path, "/")
	base.RawPath, base.RawQuery, base.Fragment = "", "", ""
	c := &Client{base: base, userAgent: "longwire-go-client"}
	for _, o := range opts {
		o(c)
	}
	if c.http == nil {
		c.http = &http.Client{Transport: newTransport(c.roots), CheckRedirect: staysEncrypted}
	}
	c.retry = c.retry.withDefaults()
	return c, nil
}

// staysEncrypted refuses a redirect from https to http: net/http would send the key in the
// clear, if the host is the same.
func staysEncrypted(next *http.Request, via []*http.Request) error {
	if from := via[len(via)-1].URL; from.Scheme == "https" && next.URL.Scheme != "https" {
		return &notGatewayError{fmt.Errorf("a redirect from https to %s://%s", next.URL.Scheme, next.URL.Host)}
	}
	if len(via) >= 10 {
		return errors.New("10 redirects")
	}
	return nil
}

// newTransport keeps enough idle connections for a caller with many goroutines;
// net/http's default of 2 per host would close all others after each request. It closes an
// HTTP/2 connection whose other end answers nothing; net/http would send each request on it
// in vain, until TCP gives it up a quarter of an hour later.
func newTransport(roots *x509.CertPool) *http.Transport {
	return &http.Transport{
		TLSClientConfig:        &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSHandshakeTimeout:    10 * time.Second,
		MaxIdleConns:           512,
		MaxIdleConnsPerHost:    256,
		IdleConnTimeout:        90 * time.Second,
		ForceAttemptHTTP2:      true,
		MaxResponseHeaderBytes: 64 << 10,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: 10 * time.Second, PingTimeout: 5 * time.Second},
	}
}

// BaseURL is the address that requests go to, without a trailing slash.
func (c *Client) BaseURL() string { return c.base.String() }
