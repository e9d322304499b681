package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// request is one call of the API, which may take several attempts.
type request struct {
	method string
	path   string // below the base, escaped
	query  url.Values
	header http.Header
	in     any    // the body before its encoding as JSON; nil for none
	body   []byte // the same encoded, set by encoded
	// idempotent is set if a repeat cannot act twice.
	idempotent bool
	// wait is how long the gateway may wait, in addition to attemptTimeout.
	wait time.Duration
	// follow makes walk repeat a failed call, and report it to reconnecting.
	follow       bool
	reconnecting func(error, time.Duration)
}

// get reads path. The query may be nil.
func get(path string, query url.Values) request {
	return request{method: http.MethodGet, path: path, query: query, idempotent: true}
}

// ask sends r and returns the answer.
func ask[T any](ctx context.Context, c *Client, r request) (*T, error) {
	out := new(T)
	if _, err := c.call(ctx, r, out); err != nil {
		return nil, err
	}
	return out, nil
}

// askList sends r, whose answer is a whole list.
func askList[T any](ctx context.Context, c *Client, r request) ([]T, error) {
	list, err := ask[struct {
		Items []T `json:"items"`
	}](ctx, c, r)
	if err == nil && list.Items == nil {
		err = errNoList
	}
	if err != nil {
		return nil, err
	}
	return list.Items, nil
}

// errNoList is returned for an answer that should be a list and is none. A list without
// entries is [].
var errNoList = &notGatewayError{errors.New("it has no list")}

// do sends r and ignores the content of the answer.
func (c *Client) do(ctx context.Context, r request) error {
	_, err := c.call(ctx, r, nil)
	return err
}

// encoded returns r with its body.
func (r request) encoded() (request, error) {
	if r.in == nil {
		return r, nil
	}
	var err error
	r.body, err = jsonBody(r.in)
	return r, err
}

// jsonBody returns v encoded, or an error if JSON cannot represent it.
func jsonBody(v any) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode request: %w", err)
	}
	return b, nil
}

// call sends r, repeats it if that is safe, and decodes the answer into out (nil
// ignores it). It returns the header of the answer.
func (c *Client) call(ctx context.Context, r request, out any) (http.Header, error) {
	r, err := r.encoded()
	if err != nil {
		return nil, err
	}
	left, spent := r.patience(), time.Duration(0)
	for attempt := 1; ; attempt++ {
		began := time.Now()
		h, err := c.attemptWithin(ctx, min(left, attemptTimeout+r.wait), r, out)
		if err == nil {
			return h, nil
		}
		if ctx.Err() != nil {
			return nil, fmt.Errorf("%s %s: %w", r.method, r.path, context.Cause(ctx))
		}
		took := time.Since(began)
		left, spent = left-took, spent+took
		if errors.Is(err, context.DeadlineExceeded) && !neverSent(err) {
			err = &noAnswerError{r.method + " " + r.path, spent, err}
		}
		pause, again := c.retry.after(attempt, err, r.idempotent)
		if left <= 0 || !again || sleep(ctx, pause) != nil {
			return nil, err
		}
	}
}

// patience is how long all attempts of a call may take, without the pauses between them. A
// change that got no answer is sent once more, to learn what became of it; a read is not.
func (r request) patience() time.Duration {
	if r.method == http.MethodGet || r.method == http.MethodHead {
		return attemptTimeout + r.wait
	}
	return 2 * (attemptTimeout + r.wait)
}

// noAnswerError means that a call waited for an answer as long as it may.
type noAnswerError struct {
	call   string
	waited time.Duration
	cause  error
}

func (e *noAnswerError) Error() string {
	return fmt.Sprintf("%s: no answer within %v", e.call, e.waited.Round(time.Second))
}
func (e *noAnswerError) Unwrap() error { return e.cause }

// attempt sends r once.
func (c *Client) attempt(ctx context.Context, r request, out any) (http.Header, error) {
	return c.attemptWithin(ctx, attemptTimeout+r.wait, r, out)
}

func (c *Client) attemptWithin(ctx context.Context, d time.Duration, r request, out any) (http.Header, error) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	var body io.Reader
	if r.body != nil {
		body = bytes.NewReader(r.body)
	}
	req, err := c.newRequest(ctx, r, body)
	if err != nil {
		return nil, err
	}
	res, err := c.send(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode >= 300 {
		return nil, problemOf(res)
	}
	if kind := res.Header.Get("Content-Type"); strings.HasPrefix(kind, "text/html") {
		return nil, &notGatewayError{fmt.Errorf("content type %q", kind)}
	}
	if out == nil || r.method == http.MethodHead || res.StatusCode == http.StatusNoContent {
		// Read to the end, so that the connection can be used again.
		_, err = io.Copy(io.Discard, io.LimitReader(res.Body, maxAnswer))
		return res.Header, err
	}
	return res.Header, decode(res.Body, out)
}

// send sends a request once. A server that answers 101 is no gateway; the body of this answer
// is the connection, and the end of the request's context does not end a read of it. Most
// redirects make a GET of another method: the answer to that GET says nothing of the request.
func (c *Client) send(req *http.Request) (*http.Response, error) {
	res, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	switch got := res.Request; { // nil if a RoundTripper of the caller does not set it
	case res.StatusCode == http.StatusSwitchingProtocols:
		err = errors.New("status 101")
	case got != nil && got.Method != req.Method:
		err = fmt.Errorf("a redirect to %s://%s made a %s of the %s: use that address", got.URL.Scheme, got.URL.Host, got.Method, req.Method)
	default:
		return res, nil
	}
	res.Body.Close()
	return nil, &notGatewayError{err}
}

// newRequest builds the HTTP request of one attempt.
func (c *Client) newRequest(ctx context.Context, r request, body io.Reader) (*http.Request, error) {
	u := c.base.String() + r.path
	if len(r.query) > 0 {
		u += "?" + r.query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, r.method, u, body)
	if err != nil {
		return nil, err
	}
	maps.Copy(req.Header, r.header)
	if body != nil && req.Header.Get("Content-Type") == "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if req.Header.Get("Accept") == "" {
		req.Header.Set("Accept", "application/json")
	}
	req.Header.Set("User-Agent", c.userAgent)
	if c.apiKey != "" {
		req.Header.Set("Authorization", "Bearer "+c.apiKey)
	}
	return req, nil
}

// errAnswerTooLarge is returned for an answer beyond maxAnswer.
var errAnswerTooLarge = fmt.Errorf("answer is larger than %d MiB", maxAnswer>>20)

// decode reads one JSON value. It ignores unknown members, because a newer
// gateway may send more.
func decode(r io.Reader, out any) error {
	body, err := io.ReadAll(io.LimitReader(r, maxAnswer+1))
	if err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	if len(body) > maxAnswer {
		return errAnswerTooLarge
	}
	if raw, ok := out.(*rawBody); ok {
		*raw = body
		return nil
	}
	if err := json.Unmarshal(body, out); err != nil {
		return &notGatewayError{err}
	}
	return nil
}

// notGatewayError is a success whose body is not a gateway's. Another attempt
// would give the same.
type notGatewayError struct{ cause error }

func (e *notGatewayError) Error() string {
	return fmt.Sprintf("the answer is not a gateway's: %v", e.cause)
}
func (e *notGatewayError) Unwrap() error { return e.cause }

// after decides whether to repeat a request that failed with err in the given
// attempt (from 1), and after which pause.
func (r Retry) after(attempt int, err error, idempotent bool) (time.Duration, bool) {
	if attempt >= r.Attempts || !repeatable(err, idempotent) {
		return 0, false
	}
	if p, ok := errors.AsType[*Problem](err); ok && p.RetryAfter > 0 {
		// A little later than asked, so that not all callers come at once.
		return p.RetryAfter + rand.N(r.Base), p.RetryAfter <= r.Max
	}
	return r.backoff(attempt), true
}

// backoff is a random part of the pause that doubles with each attempt.
func (r Retry) backoff(attempt int) time.Duration {
	ceiling := min(r.Max, r.Base<<min(attempt-1, 16))
	return ceiling/2 + rand.N(ceiling/2+1)
}

// repeatable reports whether a request that failed with err may be sent again.
func repeatable(err error, idempotent bool) bool {
	if p, ok := errors.AsType[*Problem](err); ok {
		switch p.Status {
		case http.StatusTooManyRequests:
			return true // refused before anything was done
		case http.StatusServiceUnavailable:
			// For other reasons than a drain the request may have been executed.
			return idempotent || p.Code() == CodeDraining
		case http.StatusBadGateway, http.StatusGatewayTimeout:
			return idempotent && p.Code() != CodeAckTimeout
		}
		return false
	}
	if _, ok := errors.AsType[*notGatewayError](err); ok || errors.Is(err, errAnswerTooLarge) {
		return false
	}
	return idempotent || neverSent(err)
}

// neverSent reports whether the connection could not be opened.
func neverSent(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "dial"
}

// sleep waits for d, or returns early with the context's error.
func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
