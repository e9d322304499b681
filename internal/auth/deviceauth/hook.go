package deviceauth

import (
	"bytes"
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/private"
)

// HookConfig describes the HTTP service that decides about devices. The gateway
// sends it a POST with a Question. The service answers 200 with an Answer, or 403
// for no. Any other response is no answer, and the device must come back later.
type HookConfig struct {
	URL         string        // "" = no hook
	Secret      string        // bearer token of the requests; "" = none
	Timeout     time.Duration // for one answer, with the wait for a slot; 0 = 3 s
	Concurrency int           // concurrent calls, and as many that wait for a slot; 0 = 32
	AllowTTL    time.Duration // how long a yes is remembered; 0 = not at all
	DenyTTL     time.Duration // how long a no is remembered; 0 = not at all
	Monitor     bool          // ask after the decision and only report the answer
}

const (
	maxAnswer     = 16 << 10 // bytes
	maxRemembered = 10_000   // answers
)

// Question is the body of a request to the hook. It omits the port of the device's
// address: the port is new with each connection, so no answer could be remembered.
type Question struct {
	Client      string            `json:"client"`
	Token       string            `json:"token,omitempty"`
	Remote      string            `json:"remote"` // address without port
	Dialect     string            `json:"dialect"`
	Transport   string            `json:"transport"` // tcp or tls
	Certificate *CertificateFacts `json:"certificate,omitempty"`
	Labels      map[string]string `json:"labels,omitempty"`
	Groups      []string          `json:"groups,omitempty"`
}

// CertificateFacts describe a certificate whose key the device has proven to hold.
type CertificateFacts struct {
	Subject     string `json:"subject"`
	Fingerprint string `json:"sha256"` // of the whole certificate, in hexadecimal
}

// Answer is the hook's response. Allow is required.
type Answer struct {
	Allow *bool `json:"allow"`
	// ExpiresIn is the number of seconds for which a yes holds, also for the connection;
	// nil = no end. Without a second left there is no yes: the time of a credential,
	// rounded down, is 0 just before its end.
	ExpiresIn *int64 `json:"expires_in"`
}

// hook asks the service, remembers answers, and does not call a service that fails.
type hook struct {
	cfg     HookConfig
	client  *http.Client
	log     *slog.Logger
	ctx     context.Context // context of the calls; Close ends it
	running *sync.WaitGroup // the goroutines of the calls
	key     [32]byte        // of the hash in cache keys, so that they do not reveal presented credentials

	slots    chan struct{} // one element for each call under way
	monitors chan struct{} // one element for each device that the hook looks at in monitor mode
	breaker  breaker
	outage   outage
	cache    answerCache
	count    hookCounters

	mu      sync.Mutex
	pending map[cacheKey]*pendingCall // calls under way or waiting for a slot, at most twice cap(slots)
}

// pendingCall is one call and its result. Several registrations may wait for it.
type pendingCall struct {
	done chan struct{}
	v    verdict // set before done is closed
}

func newHook(ctx context.Context, running *sync.WaitGroup, cfg HookConfig, log *slog.Logger) (*hook, error) {
	u, err := url.Parse(cfg.URL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil {
		return nil, errors.New("the auth hook's URL is not one: want http:// or https://, a host, and no user name in it")
	}
	cfg.Timeout = cmp.Or(cfg.Timeout, 3*time.Second)
	cfg.Concurrency = cmp.Or(cfg.Concurrency, 32)
	k := &hook{cfg: cfg, log: log, ctx: ctx, running: running, slots: make(chan struct{}, cfg.Concurrency),
		monitors: make(chan struct{}, 2*cfg.Concurrency), pending: make(map[cacheKey]*pendingCall), cache: newAnswerCache(maxRemembered)}
	rand.Read(k.key[:]) // never fails
	k.count.init()
	k.client = &http.Client{
		// A redirect would send the device's token to an unknown host.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			// The end of a request does not end the attempt to connect for it. These do.
			DialContext: (&net.Dialer{Timeout: cfg.Timeout}).DialContext, TLSHandshakeTimeout: cfg.Timeout,
			MaxIdleConnsPerHost: cfg.Concurrency, IdleConnTimeout: 90 * time.Second,
			MaxResponseHeaderBytes: maxAnswer, ForceAttemptHTTP2: true, DisableCompression: true,
			// A connection that the network has lost closes, and does not fail each question
			// until TCP gives it up a quarter of an hour later.
			HTTP2: &http.HTTP2Config{SendPingTimeout: 5 * time.Second, PingTimeout: 5 * time.Second},
		},
	}
	return k, nil
}

// ask returns the hook's verdict on h, new or remembered.
func (k *hook) ask(ctx context.Context, h *gateway.Hello) verdict {
	return k.answer(ctx, body(h))
}

// monitor asks in the background and only reports the answer (monitor mode).
func (k *hook) monitor(h *gateway.Hello) {
	select {
	case k.monitors <- struct{}{}:
	default:
		k.count.monitored.add("skipped")
		return
	}
	question, client, remote := body(h), h.Client, h.Remote
	k.running.Go(func() {
		defer func() { <-k.monitors }()
		v := k.answer(k.ctx, question)
		k.count.monitored.add(v.word())
		if !v.accepted() {
			k.log.Warn("the auth hook would have refused a device", "client", client, "remote", remote, "reason", string(v.reason))
		}
	})
}

func body(h *gateway.Hello) []byte {
	q := Question{Client: string(h.Client), Token: h.Token, Dialect: h.Dialect, Transport: h.Transport, Labels: h.Labels, Groups: h.Groups}
	if h.Remote.IsValid() {
		q.Remote = h.Remote.Addr().String()
	}
	if c := h.Certificate; c != nil {
		sum := sha256.Sum256(c.Raw)
		q.Certificate = &CertificateFacts{Subject: c.Subject.String(), Fingerprint: hex.EncodeToString(sum[:])}
	}
	b, err := json.Marshal(q)
	if err != nil {
		panic(err) // never fails: strings, a map of strings and a list of strings
	}
	return b
}

// answer returns a remembered answer or the result of a call. Concurrent equal
// questions share one call.
func (k *hook) answer(ctx context.Context, question []byte) verdict {
	f, v := k.join(k.keyOf(question), question)
	if f == nil {
		return v
	}
	select {
	case <-f.done:
		return f.v
	case <-ctx.Done():
		return refused(MethodHook, ReasonHookFailed)
	}
}

func (k *hook) keyOf(question []byte) (key cacheKey) {
	m := hmac.New(sha256.New, k.key[:])
	m.Write(question)
	m.Sum(key[:0])
	return key
}

// join returns the pending call for key and starts it if necessary. If no call is
// needed or allowed, it returns nil and a verdict. The call's goroutine ends after
// Timeout at the latest.
func (k *hook) join(key cacheKey, question []byte) (*pendingCall, verdict) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if f, ok := k.pending[key]; ok {
		return f, verdict{}
	}
	if v, ok := k.cache.get(key, time.Now()); ok { // after the pending calls, because a call stores its answer before it is removed from them
		k.count.hits.Add(1)
		return nil, v
	}
	if len(k.pending) >= 2*cap(k.slots) {
		return nil, refused(MethodHook, ReasonHookBusy)
	}
	probe, ok := k.breaker.allow(time.Now())
	if !ok {
		return nil, refused(MethodHook, ReasonHookOpen)
	}
	f := &pendingCall{done: make(chan struct{})}
	k.pending[key] = f
	k.running.Go(func() {
		f.v = k.call(probe, question)
		k.remember(key, f.v)
		k.mu.Lock()
		delete(k.pending, key)
		k.mu.Unlock()
		close(f.done)
	})
	return f, verdict{}
}

func (k *hook) remember(key cacheKey, v verdict) {
	ttl := k.cfg.DenyTTL
	switch {
	case v.accepted():
		ttl = k.cfg.AllowTTL
	case v.undecided():
		return
	}
	if ttl > 0 {
		k.cache.put(key, v, time.Now().Add(ttl))
	}
}

// call waits for a slot and calls the service.
func (k *hook) call(p probe, question []byte) verdict {
	ctx, cancel := context.WithTimeout(k.ctx, k.cfg.Timeout)
	defer cancel()
	select {
	case k.slots <- struct{}{}:
		defer func() { <-k.slots }()
	case <-ctx.Done():
		k.breaker.cancel(p)
		return refused(MethodHook, ReasonHookBusy)
	}
	start := time.Now()
	v, err := k.roundTrip(ctx, question)
	if k.ctx.Err() != nil { // Close has ended it; the hook has not failed
		k.breaker.cancel(p)
		return v
	}
	k.count.call(time.Since(start), v)
	err = k.plainly(err)
	change := k.breaker.finish(p, err == nil, time.Now())
	k.outage.called(err, change, time.Now())
	k.report(change, err)
	return v
}

// report logs a change of the breaker.
func (k *hook) report(change breakerChange, err error) {
	switch change {
	case breakerOpened:
		k.log.Error("the auth hook does not answer; the gateway asks it again after a pause, and devices must come back later", "error", err)
	case breakerClosed:
		k.log.Info("the auth hook answers again")
	}
}

// roundTrip makes one request. Its errors do not contain the question.
func (k *hook) roundTrip(ctx context.Context, question []byte) (verdict, error) {
	failed := refused(MethodHook, ReasonHookFailed)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, k.cfg.URL, bytes.NewReader(question))
	if err != nil {
		return failed, errors.New("the request cannot be made")
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "longwire")
	req.Header["Idempotency-Key"] = nil // not sent; the transport asks again if the service has just closed an idle connection
	if k.cfg.Secret != "" {
		req.Header.Set("Authorization", "Bearer "+k.cfg.Secret)
	}
	res, err := k.client.Do(req)
	if err != nil {
		if e, ok := errors.AsType[*url.Error](err); ok {
			err = e.Err // without the URL, whose query may contain a secret
		}
		return failed, err
	}
	defer res.Body.Close()
	if res.StatusCode == http.StatusSwitchingProtocols {
		res.Body = http.NoBody // it is the connection, and neither the timeout nor ctx ends a read of it
	}
	b, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	switch {
	case res.StatusCode == http.StatusForbidden:
		return refused(MethodHook, ReasonDenied), nil
	case res.StatusCode != http.StatusOK:
		return failed, fmt.Errorf("status %d; want 200 or 403", res.StatusCode)
	case err != nil:
		return failed, err
	case len(b) > maxAnswer:
		return failed, fmt.Errorf("an answer of more than %d bytes", maxAnswer)
	}
	return readAnswer(b, time.Now())
}

// maxGrant bounds expires_in, so that adding it to a time cannot overflow.
const maxGrant = 100 * 365 * 24 * time.Hour

func readAnswer(b []byte, now time.Time) (verdict, error) {
	var a Answer
	err := private.Pick(b, &a, "allow", "expires_in")
	switch {
	case err != nil || a.Allow == nil || *a.Allow && a.ExpiresIn != nil && *a.ExpiresIn < 1:
		return refused(MethodHook, ReasonHookFailed), errors.New(`an answer that is not {"allow":true|false,"expires_in":seconds}, at least 1`)
	case !*a.Allow:
		return refused(MethodHook, ReasonDenied), nil
	}
	v := verdict{method: MethodHook, reason: ReasonAccepted, bound: true}
	if a.ExpiresIn != nil && *a.ExpiresIn < int64(maxGrant/time.Second) {
		v.expires = now.Add(time.Duration(*a.ExpiresIn) * time.Second)
	}
	return v, nil
}
