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
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/longwire/longwire/gateway"
)

// HookConfig is an HTTP service that is asked about devices. It is asked with a
// POST of a Question and answers 200 with an Answer, or 403 for no. Anything
// else is no answer, and the device is told to come back.
type HookConfig struct {
	URL         string        // "" = nobody is asked
	Secret      string        // sent as Authorization: Bearer; "" = none
	Timeout     time.Duration // of one answer, waiting for a turn included; 0 = 3 s
	Concurrency int           // calls at once, and as many that wait for a turn; 0 = 32
	AllowTTL    time.Duration // how long a yes is remembered; 0 = not
	DenyTTL     time.Duration // how long a no is remembered; 0 = not
	Monitor     bool          // ask after the decision, and only report
}

const (
	maxAnswer     = 16 << 10 // bytes
	maxRemembered = 10_000   // answers; the least recently used goes first
)

// Question is what the hook is asked. The port of the device's address is left
// out: it is new with each connection, and no answer could be remembered.
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

// CertificateFacts describe a certificate that the device has proven to hold.
type CertificateFacts struct {
	Subject     string `json:"subject"`
	Fingerprint string `json:"sha256"` // of the whole certificate, in hexadecimal
}

// Answer is what the hook says. Allow is required.
type Answer struct {
	Allow     *bool `json:"allow"`
	ExpiresIn int64 `json:"expires_in"` // seconds for which a yes holds, also for the connection; 0 = for good
}

// hook asks, remembers, and stops asking a service that fails.
type hook struct {
	cfg    HookConfig
	client *http.Client
	log    *slog.Logger
	ctx    context.Context // of calls; ends in Close
	owned  *sync.WaitGroup // each call's goroutine
	key    [32]byte        // of the cache's keys: what a device presented cannot be told from them

	turns   chan struct{} // one element for each call under way
	watches chan struct{} // one for each device looked at in monitor mode
	breaker breaker
	cache   answerCache
	count   hookCounters

	mu      sync.Mutex
	flights map[cacheKey]*flight // calls under way or waiting, at most twice cap(turns)
}

// flight is one call and those who wait for it.
type flight struct {
	done chan struct{}
	v    verdict // set before done is closed
}

func newHook(ctx context.Context, owned *sync.WaitGroup, cfg HookConfig, log *slog.Logger) (*hook, error) {
	u, err := url.Parse(cfg.URL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil {
		return nil, errors.New("the auth hook's URL is not one: want http:// or https://, a host, and no user name in it")
	}
	cfg.Timeout = cmp.Or(cfg.Timeout, 3*time.Second)
	cfg.Concurrency = cmp.Or(cfg.Concurrency, 32)
	k := &hook{cfg: cfg, log: log, ctx: ctx, owned: owned, turns: make(chan struct{}, cfg.Concurrency),
		watches: make(chan struct{}, 2*cfg.Concurrency), flights: make(map[cacheKey]*flight), cache: newAnswerCache(maxRemembered)}
	rand.Read(k.key[:]) // never fails
	k.count.init()
	k.client = &http.Client{
		// A redirect would carry the device's token to who knows where.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			MaxIdleConnsPerHost: cfg.Concurrency, IdleConnTimeout: 90 * time.Second,
			MaxResponseHeaderBytes: maxAnswer, ForceAttemptHTTP2: true, DisableCompression: true,
		},
	}
	return k, nil
}

// ask returns what the hook says of h, or said lately.
func (k *hook) ask(ctx context.Context, h *gateway.Hello) verdict {
	return k.answer(ctx, body(h))
}

// watch asks in the background and only reports (monitor mode).
func (k *hook) watch(h *gateway.Hello) {
	select {
	case k.watches <- struct{}{}:
	default:
		k.count.monitored.add("skipped")
		return
	}
	question, client, remote := body(h), h.Client, h.Remote
	k.owned.Go(func() {
		defer func() { <-k.watches }()
		v := k.answer(k.ctx, question)
		k.count.monitored.add(v.word())
		if !v.accepted() {
			k.log.Warn("the auth hook would not have let a device in", "client", client, "remote", remote, "reason", string(v.reason))
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
		panic(err) // strings, and a map and a list of them
	}
	return b
}

// answer is a remembered answer, or that of a call: one for all who ask the
// same at the same time.
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

// join returns the call for key that is under way, or starts it; nil with the
// verdict where there is one without. The goroutine ends with the call, at the
// latest after Timeout.
func (k *hook) join(key cacheKey, question []byte) (*flight, verdict) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if f, ok := k.flights[key]; ok {
		return f, verdict{}
	}
	if v, ok := k.cache.get(key, time.Now()); ok { // after the flights: a call remembers before it leaves them
		k.count.hits.Add(1)
		return nil, v
	}
	if len(k.flights) >= 2*cap(k.turns) {
		return nil, refused(MethodHook, ReasonHookBusy)
	}
	if !k.breaker.allows(time.Now()) {
		return nil, refused(MethodHook, ReasonHookOpen)
	}
	f := &flight{done: make(chan struct{})}
	k.flights[key] = f
	k.owned.Go(func() {
		f.v = k.call(question)
		k.remember(key, f.v)
		k.mu.Lock()
		delete(k.flights, key)
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
	case v.unknown():
		return
	}
	if ttl > 0 {
		k.cache.put(key, v, time.Now().Add(ttl))
	}
}

// call waits for its turn and asks.
func (k *hook) call(question []byte) verdict {
	ctx, cancel := context.WithTimeout(k.ctx, k.cfg.Timeout)
	defer cancel()
	select {
	case k.turns <- struct{}{}:
		defer func() { <-k.turns }()
	case <-ctx.Done():
		k.breaker.withdrew()
		return refused(MethodHook, ReasonHookBusy)
	}
	start := time.Now()
	v, err := k.roundTrip(ctx, question)
	k.count.call(time.Since(start), v)
	k.report(k.breaker.saw(err == nil, time.Now()), err)
	return v
}

// report says when the breaker has changed.
func (k *hook) report(change breakerChange, err error) {
	switch change {
	case breakerOpened:
		k.log.Error("the auth hook does not answer; it is asked again after a pause, and devices are told to come back", "error", err)
	case breakerClosed:
		k.log.Info("the auth hook answers again")
	}
}

// roundTrip asks once. No error says what was asked.
func (k *hook) roundTrip(ctx context.Context, question []byte) (verdict, error) {
	failed := refused(MethodHook, ReasonHookFailed)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, k.cfg.URL, bytes.NewReader(question))
	if err != nil {
		return failed, errors.New("the request cannot be made")
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "longwire")
	if k.cfg.Secret != "" {
		req.Header.Set("Authorization", "Bearer "+k.cfg.Secret)
	}
	res, err := k.client.Do(req)
	if err != nil {
		if e, ok := errors.AsType[*url.Error](err); ok {
			err = e.Err // without the URL, which may have a secret in its query
		}
		return failed, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	switch {
	case err != nil:
		return failed, err
	case len(b) > maxAnswer:
		return failed, fmt.Errorf("an answer of more than %d bytes", maxAnswer)
	case res.StatusCode == http.StatusForbidden:
		return refused(MethodHook, ReasonDenied), nil
	case res.StatusCode != http.StatusOK:
		return failed, fmt.Errorf("status %d; want 200 or 403", res.StatusCode)
	}
	return readAnswer(b, time.Now())
}

// maxGrant bounds expires_in, so that it cannot overflow.
const maxGrant = 100 * 365 * 24 * time.Hour

func readAnswer(b []byte, now time.Time) (verdict, error) {
	var a Answer
	if json.Unmarshal(b, &a) != nil || a.Allow == nil || a.ExpiresIn < 0 {
		return refused(MethodHook, ReasonHookFailed), errors.New(`an answer that is not {"allow":true|false,"expires_in":seconds}`)
	}
	if !*a.Allow {
		return refused(MethodHook, ReasonDenied), nil
	}
	v := verdict{method: MethodHook, reason: ReasonAccepted, bound: true}
	if a.ExpiresIn > 0 && a.ExpiresIn < int64(maxGrant/time.Second) {
		v.expires = now.Add(time.Duration(a.ExpiresIn) * time.Second)
	}
	return v, nil
}
