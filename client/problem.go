package client

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"mime"
	"net/http"
	"path"
	"strings"
	"time"
)

// Code is the stable name of a problem: the last part of its type.
type Code string

// Codes of problems. Others may be added.
const (
	CodeMalformedJSON        Code = "malformed-json"
	CodeIncompleteBody       Code = "incomplete-body" // the body ended before its announced length
	CodeUnknownField         Code = "unknown-field"
	CodeInvalidParameter     Code = "invalid-parameter"
	CodeInvalidCursor        Code = "invalid-cursor"
	CodeUnsupportedMediaType Code = "unsupported-media-type"
	CodeNotAcceptable        Code = "not-acceptable"
	CodeRouteNotFound        Code = "route-not-found"
	CodeMethodNotAllowed     Code = "method-not-allowed"
	CodeRequestTimeout       Code = "request-timeout" // the body came too slowly; nothing was accepted
	CodeHostNotAllowed       Code = "host-not-allowed"
	CodeCrossOrigin          Code = "cross-origin"
	CodeUnauthenticated      Code = "unauthenticated"
	CodeInsufficientScope    Code = "insufficient-scope"
	CodeRefused              Code = "unauthorized" // beyond the limits of the key
	CodeKeyNotFound          Code = "key-not-found"
	CodeTooManyKeys          Code = "too-many-keys"
	CodeTokenNotFound        Code = "token-not-found"
	CodeTooManyTokens        Code = "too-many-tokens"
	CodeRefusedNotFound      Code = "refused-not-found" // no refused device with this id is listed
	CodeEventNotFound        Code = "event-not-found"
	CodeWebhookNotFound      Code = "webhook-not-found"
	CodeConsumerNotFound     Code = "consumer-not-found"
	CodeTooManyConsumers     Code = "too-many-consumers"
	CodeLeaseHeld            Code = "lease-held" // another puller has the consumer
	CodeTooManyWebhooks      Code = "too-many-webhooks"
	CodeReplayUnderWay       Code = "replay-under-way" // of the webhook
	CodeTimelineOff          Code = "timeline-off"     // the gateway keeps no timelines
	CodeTooManyTraces        Code = "too-many-traces"
	CodeUplinkNotFound       Code = "uplink-not-found" // no uplink with the sequence is kept
	CodeRangeNotSatisfiable  Code = "range-not-satisfiable"
	CodePreconditionFailed   Code = "precondition-failed"
	CodeNoTokenFile          Code = "no-token-file" // the gateway keeps no device tokens
	CodeSimulatorOff         Code = "simulator-off"
	CodeOverloaded           Code = "overloaded"
	CodeClientNotFound       Code = "client-not-found"
	CodeClientExists         Code = "client-exists" // CreateClient: the id is known
	CodeMessageNotFound      Code = "message-not-found"
	CodeBlocked              Code = "blocked"   // the client is blocked
	CodeIDInUse              Code = "id-in-use" // the client is connected already
	CodeClientOffline        Code = "client-offline"
	CodeAlreadyFinal         Code = "already-final"
	CodePayloadTooLarge      Code = "payload-too-large"
	CodeValidation           Code = "validation-failed"
	CodeIdempotencyMismatch  Code = "idempotency-mismatch"
	CodeQueueFull            Code = "queue-full"
	CodeRateLimited          Code = "rate-limited"
	CodeDraining             Code = "draining"
	CodeTooManyProbes        Code = "too-many-probes"
	CodeTooManyClients       Code = "too-many-clients"
	CodeTooManyRecipients    Code = "too-many-recipients" // Push.MaxRecipients; nothing was stored
	CodeEventsFull           Code = "events-full"         // the tenant's share of the event log in this hour
	CodeUnavailable          Code = "store-unavailable"
	CodeDiskFull             Code = "disk-full" // nothing was stored
	CodeAckTimeout           Code = "ack-timeout"
	CodeInternal             Code = "internal" // a defect of the gateway; its log has the cause
)

// Problem is an answer that is not a success, in the form of RFC 9457.
type Problem struct {
	Type     string       `json:"type"`
	Title    string       `json:"title"`
	Status   int          `json:"status"`
	Detail   string       `json:"detail,omitempty"`
	Reason   NoAckReason  `json:"reason,omitempty"`   // of CodeAckTimeout: why there is no ack
	Instance string       `json:"instance,omitempty"` // id of the request, as in the gateway's log
	Errors   []FieldError `json:"errors,omitempty"`
	// MessageID is the message that the problem is about, if there is one: after
	// an ack timeout its state can be read.
	MessageID string `json:"message_id,omitempty"`
	Limit     int64  `json:"limit,omitempty"` // the bound that was exceeded, in bytes or entries
	// RetryAfter is when to try again, 0 if the gateway gave no time.
	RetryAfter time.Duration `json:"-"`
}

// FieldError names one wrong part of a request: a JSON pointer into its body,
// or a query parameter.
type FieldError struct {
	Pointer   string `json:"pointer,omitempty"`
	Parameter string `json:"parameter,omitempty"`
	Detail    string `json:"detail"`
}

// Code returns the stable name, "" if the answer did not come from a gateway.
func (p *Problem) Code() Code {
	if p.Type == "" || p.Type == "about:blank" {
		return ""
	}
	return Code(path.Base(p.Type))
}

// Error returns one line: the problem and the faulty parts of the request. It says
// nothing twice, because a detail may begin with the title or repeat a part.
func (p *Problem) Error() string {
	line := cmp.Or(p.Title, fmt.Sprintf("HTTP status %d", p.Status))
	if rest, ok := cutPrefixFold(p.Detail, p.Title); ok {
		line += rest
	} else {
		line += ": " + p.Detail
	}
	var parts []string
	for _, e := range p.Errors {
		if place := e.Pointer + e.Parameter; !strings.HasSuffix(p.Detail, strings.TrimPrefix(place, "/")+" "+e.Detail) {
			parts = append(parts, place+": "+e.Detail)
		}
	}
	if len(parts) > 0 {
		line += " (" + strings.Join(parts, "; ") + ")"
	}
	return line
}

// cutPrefixFold is strings.CutPrefix for any case of letters. An empty s has every prefix.
func cutPrefixFold(s, prefix string) (rest string, ok bool) {
	if s == "" {
		return "", true
	}
	if prefix == "" || len(s) < len(prefix) || !strings.EqualFold(s[:len(prefix)], prefix) {
		return s, false
	}
	return s[len(prefix):], true
}

// problemOf reads the problem of an answer. An answer that is not a gateway's (a
// proxy's HTML page, for example) gives a Problem without a Type. If it is plain text,
// the text is the Detail: a server of TLS says so to a plain request, and the port of
// devices names itself.
func problemOf(res *http.Response) *Problem {
	p := &Problem{}
	body, _ := io.ReadAll(io.LimitReader(res.Body, maxProblem))
	kind, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type"))
	if kind == "application/problem+json" {
		if json.Unmarshal(body, p) != nil {
			p = &Problem{}
		}
	}
	p.Status = res.StatusCode
	p.health(body)
	p.RetryAfter = retryAfter(res.Header, time.Now())
	if p.Title == "" {
		if kind == "" || kind == "text/plain" {
			text := strings.ToValidUTF8(string(body[:min(len(body), maxPlain)]), "")
			p.Detail = strings.TrimSuffix(strings.Join(strings.Fields(text), " "), ".")
		}
		p.Title = strings.TrimSpace(fmt.Sprintf("HTTP status %d %s", res.StatusCode, http.StatusText(res.StatusCode)))
	}
	return p
}

// health reads the answer of /readyz, which is no problem document.
func (p *Problem) health(body []byte) {
	var v struct {
		Status string
		Checks []struct{ Name, Status, Detail string }
	}
	if p.Type != "" || p.Status != http.StatusServiceUnavailable || json.Unmarshal(body, &v) != nil || v.Status != "unavailable" {
		return
	}
	p.Type, p.Title = "/docs/problems/"+string(CodeUnavailable), "Not ready"
	for _, c := range v.Checks {
		if c.Status != "ok" {
			p.Detail = c.Name + ": " + c.Detail
			if c.Name == "accepting" {
				p.Type = "/docs/problems/" + string(CodeDraining)
			}
			return // the store comes first
		}
	}
}

// retryAfter reads both forms of RFC 9110 §10.2.3, seconds and a date.
func retryAfter(h http.Header, now time.Time) time.Duration {
	v := h.Get("Retry-After")
	if v == "" {
		return 0
	}
	if d, err := time.ParseDuration(v + "s"); err == nil {
		return max(d, 0)
	}
	if at, err := http.ParseTime(v); err == nil {
		return max(at.Sub(now), 0)
	}
	if strings.Trim(v, "0123456789") == "" { // more seconds than a Duration holds
		return math.MaxInt64
	}
	return 0
}
