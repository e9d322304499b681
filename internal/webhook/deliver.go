package webhook

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/longwire/longwire/gateway"
)

const (
	maxAnswer     = 64 << 10 // bytes that are read of an answer
	shownAnswer   = 1 << 10  // bytes that an attempt keeps
	keptAttempts  = 1000     // of one webhook
	allAttempts   = 200_000  // of all
	leastAttempts = 50
	maxRetryAfter = time.Hour
)

// Attempt is one request to an endpoint.
type Attempt struct {
	At       time.Time
	Event    uint64
	Type     gateway.EventType
	Client   gateway.ClientID
	Try      int // 1 for the first
	Replay   bool
	Status   int // 0 if there was no answer
	Duration time.Duration
	Answer   string // the first bytes of its body
	Error    string // in plain words; "" after a success
}

// attempts are the last ones.
type attempts struct {
	kept []Attempt // oldest first; up to a quarter more than most
	most int
}

// add keeps an attempt of one of n webhooks.
func (a *attempts) add(t Attempt, n int) {
	a.most = min(keptAttempts, max(leastAttempts, allAttempts/max(1, n)))
	if a.kept = append(a.kept, t); len(a.kept) > a.most+a.most/4 {
		a.kept = slices.Delete(a.kept, 0, len(a.kept)-a.most)
	}
}

// list returns them, newest first.
func (a *attempts) list() []Attempt {
	out := slices.Clone(a.kept[max(0, len(a.kept)-a.most):])
	slices.Reverse(out)
	return out
}

// lastError returns the error of the newest failure that matches; "" for none.
func (a *attempts) lastError(match func(t *Attempt) bool) string {
	for _, t := range slices.Backward(a.kept) {
		if t.Error != "" && match(&t) {
			return t.Error
		}
	}
	return ""
}

// answer is the outcome of a request.
type answer struct {
	Attempt
	id         string // of the event
	body       []byte // that was sent
	ok         bool
	gone       bool
	unread     bool // nothing was sent: the event could not be read
	retryAfter time.Duration
}

// Errors of attempts.
const (
	errUnreadable = "the event cannot be read from the store"
	errGone       = "the endpoint has answered 410 Gone"
)

// deliver sends an event and passes on the endpoint's reply to the device. A reply that
// the store cannot take makes the request fail, so that it is repeated.
func (e *endpoint) deliver(ctx context.Context, w *Webhook, ev *gateway.Event, try int, replay bool) answer {
	m := e.m
	body, id, err := m.cfg.Encode(ev, w.Payloads)
	if err != nil {
		return answer{unread: true, Attempt: Attempt{At: m.cfg.Now(), Event: ev.Seq, Type: ev.Type, Client: ev.Client, Try: try, Replay: replay,
			Error: errUnreadable}}
	}
	a, reply, kind := e.post(ctx, w, id, body, replay)
	a.Event, a.Type, a.Client, a.Try, a.Replay, a.id, a.body = ev.Seq, ev.Type, ev.Client, try, replay, id, body
	if a.ok && a.Status == http.StatusOK && w.Reply && ev.Type == gateway.EventMessageReceived && len(reply) > 0 && !replay {
		if err := m.reply(ctx, w, ev, id, reply, kind); err != nil {
			a.ok, a.Error = false, "the answer could not be pushed to the device: "+err.Error()
		}
	}
	return a
}

// post sends a signed body. It returns the body of the answer with its type, if the
// status is 200.
func (e *endpoint) post(ctx context.Context, w *Webhook, id string, body []byte, replay bool) (a answer, reply []byte, kind replyKind) {
	begun, m := time.Now(), e.m
	a.At = m.cfg.Now()
	ctx, cancel := context.WithTimeout(ctx, w.Timeout)
	defer cancel()
	ctx, leave := m.onlyAllowed(ctx)
	defer leave()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.URL, bytes.NewReader(body))
	if err == nil {
		err = m.refuseURL(req.URL)
	}
	if err == nil {
		err = sign(req.Header, w, id, body, a.At)
	}
	if err != nil {
		a.Error = err.Error()
		return a, nil, kind
	}
	for k, v := range w.Headers {
		req.Header.Set(k, v)
	}
	req.Header.Set("Content-Type", "application/cloudevents+json")
	req.Header.Set("User-Agent", "longwire-webhook")
	if replay {
		req.Header.Set("Webhook-Replay", "true")
	}
	res, err := e.transport.RoundTrip(req) // http.Client.Do reads the Location of a redirect, and fails if it is none
	if err != nil {
		if refused, ok := errors.AsType[*refusedAddress](context.Cause(ctx)); ok {
			err = refused
		}
		a.Duration, a.Error = time.Since(begun), plainError(err, w.Timeout)
		return a, nil, kind
	}
	defer res.Body.Close()
	if res.StatusCode == http.StatusSwitchingProtocols {
		res.Body = http.NoBody // it is the connection, and neither timeout nor ctx ends a read of it
	}
	reply, err = io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	a.Status, a.Duration = res.StatusCode, time.Since(begun)
	a.Answer = strings.ToValidUTF8(string(reply[:min(len(reply), shownAnswer)]), "\uFFFD")
	if err != nil && ctx.Err() != nil && res.StatusCode/100 == 2 && !(w.Reply && res.StatusCode == http.StatusOK) {
		err = nil // the status has taken the event, and the rest of the body is only late
	}
	switch {
	case res.StatusCode == http.StatusGone:
		a.gone, a.Error = true, errGone
	case err != nil:
		a.Error = "the answer ended early: " + plainError(err, w.Timeout)
	case res.StatusCode/100 == 2:
		a.ok = true
	case res.StatusCode/100 == 3:
		a.Error = "the endpoint redirects, and redirects are not followed"
	default:
		a.Error = fmt.Sprintf("the endpoint has answered %d", res.StatusCode)
	}
	if res.StatusCode == http.StatusTooManyRequests || res.StatusCode == http.StatusServiceUnavailable {
		a.retryAfter = retryAfter(res.Header.Get("Retry-After"), a.At)
	}
	if len(reply) > maxAnswer {
		reply = nil
		if a.ok && w.Reply {
			a.ok, a.Error = false, fmt.Sprintf("the answer has more than %d bytes", maxAnswer)
		}
	}
	return a, reply, replyKindOf(res.Header)
}

// onlyAllowed returns the context of a request that is given up, with the cause, if it got an
// open connection whose address is no longer allowed: such a connection is no way around a
// rule that is new. The caller calls leave after the request.
func (m *Manager) onlyAllowed(ctx context.Context) (_ context.Context, leave func()) {
	ctx, giveUp := context.WithCancelCause(ctx)
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(c httptrace.GotConnInfo) {
		to, ok := c.Conn.RemoteAddr().(*net.TCPAddr)
		if !ok || !c.Reused {
			return // a new one was checked
		}
		if refused := m.refuse(to.AddrPort()); refused != nil {
			giveUp(refused)
			_ = c.Conn.Close() // before the request is written
		}
	}})
	return ctx, func() { giveUp(nil) }
}

// sign sets the headers of the Standard Webhooks specification. After a rotation the secrets
// of the last day sign, too.
func sign(h http.Header, w *Webhook, id string, body []byte, at time.Time) error {
	var signatures []string
	for _, secret := range w.secrets(at) {
		key, err := standardwebhooks.NewWebhook(secret)
		if err != nil {
			return fmt.Errorf("the secret is not base64: %w", err)
		}
		signature, err := key.Sign(id, at, body)
		if err != nil {
			return err
		}
		signatures = append(signatures, signature)
	}
	h.Set(standardwebhooks.HeaderWebhookID, id)
	h.Set(standardwebhooks.HeaderWebhookTimestamp, strconv.FormatInt(at.Unix(), 10))
	h.Set(standardwebhooks.HeaderWebhookSignature, strings.Join(signatures, " "))
	return nil
}

// retryAfter reads the header of that name: seconds or a date. Seconds that overflow 64 bits
// are the longest pause.
func retryAfter(v string, now time.Time) time.Duration {
	if s, err := strconv.ParseUint(v, 10, 64); err == nil || errors.Is(err, strconv.ErrRange) {
		return time.Duration(min(s, uint64(maxRetryAfter/time.Second))) * time.Second
	}
	if t, err := http.ParseTime(v); err == nil {
		return min(max(0, t.Sub(now)), maxRetryAfter)
	}
	return 0
}

// plainError says why there was no answer.
func plainError(err error, timeout time.Duration) string {
	var dns *net.DNSError
	var refused *refusedAddress
	switch {
	case errors.As(err, &refused):
		return refused.Error()
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Sprintf("no whole answer within %v", timeout)
	case errors.Is(err, context.Canceled):
		return "the request was given up"
	case errors.As(err, &dns):
		return "the host name is not known: " + dns.Name
	case errors.Is(err, syscall.ECONNREFUSED):
		return "the connection was refused"
	}
	return err.Error()
}

// newTransport returns the transport of one endpoint, so that none takes the connections of
// others. Addresses are checked when a connection is made, after the name was looked up, so
// that a name cannot lead elsewhere later.
func (m *Manager) newTransport() *http.Transport {
	dialer := &net.Dialer{Timeout: MaxTimeout, KeepAlive: 30 * time.Second, Resolver: m.cfg.resolver, Control: func(_, address string, _ syscall.RawConn) error {
		to, err := netip.ParseAddrPort(address)
		if err != nil {
			return err
		}
		return m.refuse(to)
	}}
	return &http.Transport{DialContext: dialer.DialContext, TLSHandshakeTimeout: MaxTimeout, MaxConnsPerHost: MaxConcurrency,
		MaxIdleConnsPerHost: max(1, min(DefaultConcurrent, m.cfg.Requests/64)), IdleConnTimeout: 90 * time.Second, DisableCompression: true,
		MaxResponseHeaderBytes: 64 << 10, ForceAttemptHTTP2: true,
		HTTP2: &http.HTTP2Config{SendPingTimeout: askAfter, PingTimeout: answerWithin}}
}

// Bounds of a silence on an HTTP/2 connection. Without them a connection that the network
// has lost stays, and each request on it takes its whole timeout in vain, until TCP gives
// it up a quarter of an hour later.
const (
	askAfter     = 10 * time.Second // then the gateway asks whether the other end is there
	answerWithin = 5 * time.Second  // else the connection closes
)

// replyKind has the headers of an answer that concern a push to the device.
type replyKind struct {
	encoding gateway.Encoding
	ttl      time.Duration
	err      error
}

func replyKindOf(h http.Header) (k replyKind) {
	kind, _, _ := strings.Cut(h.Get("Content-Type"), ";")
	switch kind = strings.ToLower(strings.TrimSpace(kind)); {
	case kind == "application/json" || strings.HasSuffix(kind, "+json"):
		k.encoding = gateway.EncodingJSON
	case strings.HasPrefix(kind, "text/"):
		k.encoding = gateway.EncodingText
	}
	if v := h.Get("Longwire-TTL"); v != "" {
		var ok bool
		if k.ttl, ok = readTTL(v); !ok {
			k.err = fmt.Errorf("Longwire-TTL %q is not a duration from 1s to 30d, such as 10m", v)
		}
	}
	return k
}

// readTTL reads a time to live as the API does, with days ("7d") and bare seconds, too.
func readTTL(text string) (d time.Duration, ok bool) {
	unit := time.Second
	number, days := strings.CutSuffix(text, "d")
	if days {
		unit = 24 * time.Hour
	}
	if n, err := strconv.ParseUint(number, 10, 22); err == nil {
		d = time.Duration(n) * unit
	} else if d, err = time.ParseDuration(text); err != nil {
		return 0, false
	}
	return d, d >= gateway.MinTTL && d <= gateway.MaxTTL
}
