package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/longwire/longwire/gateway"
)

// Problem is an error answer (RFC 9457). Its type names a page of this server.
type Problem struct {
	Type      string       `json:"type" validate:"required" example:"/docs/problems/client-not-found"`      // type of the problem; a GET of it explains it
	Title     string       `json:"title" validate:"required" example:"No such client"`                      // the type in words
	Status    int          `json:"status" validate:"required" example:"404"`                                // the HTTP status
	Detail    string       `json:"detail,omitempty" example:"no client has registered as \"truck-17\""`     // explanation of this occurrence
	Reason    string       `json:"reason,omitempty" example:"connection_lost"`                              // of ack-timeout: why there is no ack
	Instance  string       `json:"instance,omitempty" example:"5f0c1a2b-1"`                                 // the request's id, as in X-Request-Id and the server's log
	MessageID string       `json:"message_id,omitempty" example:"msg_0193f2a0-7c1e-7d3a-9b1f-2f6d1c0a9e11"` // the message concerned, if there is one
	Limit     int64        `json:"limit,omitempty" example:"262144"`                                        // the bound that was passed
	Errors    []FieldError `json:"errors,omitempty"`                                                        // each place in the request that is wrong

	retryAfter time.Duration
	allow      string
	accepts    string // content codings of a request
	scope      string // that is missing
	cause      error
} //@name Problem

// FieldError names one place in the request: a pointer (RFC 6901) into the
// body, or a query parameter or header.
type FieldError struct {
	Pointer   string `json:"pointer,omitempty" example:"/to/clients/3"`              // into the body (RFC 6901)
	Parameter string `json:"parameter,omitempty" example:"limit"`                    // or a query parameter or header
	Detail    string `json:"detail" validate:"required" example:"must be 1 to 1000"` // explanation
} //@name FieldError

func (p *Problem) Error() string { return p.Type + ": " + p.Detail }
func (p *Problem) Unwrap() error { return p.cause }

// Code is the stable last part of the type.
func (p *Problem) Code() string { return strings.TrimPrefix(p.Type, problemPath) }

// problem makes a Problem of a kind in the table of problems.go.
func problem(kind slug, format string, args ...any) *Problem {
	k := kinds[kind]
	return &Problem{Type: problemPath + string(kind), Title: k.title, Status: k.status, Detail: fmt.Sprintf(format, args...)}
}

func badParameter(name, format string, args ...any) *Problem {
	detail := fmt.Sprintf(format, args...)
	p := problem(invalidParameter, "%s %s", name, detail)
	p.Errors = []FieldError{{Parameter: name, Detail: detail}}
	return p
}

func invalidBody(pointer, format string, args ...any) *Problem {
	return invalidFields(FieldError{Pointer: pointer, Detail: fmt.Sprintf(format, args...)})
}

func invalidFields(errs ...FieldError) *Problem {
	e := errs[0]
	where := e.Pointer
	if where == "" {
		where = e.Parameter
	}
	if where == "" {
		where = "the body"
	}
	p := problem(validationFailed, "%s %s", where, e.Detail)
	p.Errors = errs
	return p
}

func tooLarge(limit int64, what string) *Problem {
	p := problem(payloadTooLarge, "%s is larger than %d bytes", what, limit)
	p.Limit = limit
	return p
}

// problemOf translates any error into a problem. Errors of other packages than
// gateway and api become "internal": their text is logged and not sent.
func problemOf(err error) *Problem {
	if p, ok := errors.AsType[*Problem](err); ok {
		p.shorten()
		return p
	}
	if e, ok := errors.AsType[*gateway.Error](err); ok {
		return domainProblem(e)
	}
	if e, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return tooLarge(e.Limit, "the body")
	}
	p := problem(internal, "the server failed; its log has the cause under this request id")
	p.cause = err
	return p
}

// Bounds of the parts of a request that a problem repeats, in bytes and entries. Up to
// bulkWindow problems of a bulk request are in memory, because answers keep the order
// of the lines.
const (
	maxDetail = 1000
	maxPlace  = 200 // of a pointer or a parameter's name
	maxErrors = 100
)

// shorten bounds p, so that it keeps no large part of a request in memory.
func (p *Problem) shorten() {
	p.Detail = shortened(p.Detail, maxDetail)
	if len(p.Errors) > maxErrors {
		p.Errors = slices.Clone(p.Errors[:maxErrors])
	}
	for i := range p.Errors {
		e := &p.Errors[i]
		e.Pointer, e.Parameter, e.Detail = shortened(e.Pointer, maxPlace), shortened(e.Parameter, maxPlace), shortened(e.Detail, maxDetail)
	}
}

func shortened(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}

func domainProblem(e *gateway.Error) *Problem {
	kind := slug(e.Code)
	if _, ok := kinds[kind]; !ok {
		kind = internal
	}
	p := problem(kind, "%s", e.Message)
	p.MessageID = string(e.MessageID)
	p.Limit = e.Limit
	p.Reason = e.Reason
	p.retryAfter = e.RetryAfter
	p.cause = e.Cause
	return p
}

// bodyProblem translates the error of reading a body.
func (s *server) bodyProblem(err error) error {
	var netErr net.Error
	switch {
	case errors.As(err, new(*http.MaxBytesError)):
		return err
	case errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &netErr) && netErr.Timeout():
		if s.drain.is() {
			return drainingProblem()
		}
		return problem(requestTimeout, "the body did not arrive in time")
	}
	return problem(incompleteBody, "the body ended before its announced length or its last chunk")
}

// fail writes err as a problem. When the answer has begun, it closes the connection
// instead, so that the caller sees a broken answer.
func (s *server) fail(x *exchange, r *http.Request, err error) {
	if x.status != 0 {
		level := slog.LevelWarn
		if r.Context().Err() != nil || errors.Is(err, errCallerGone) {
			level = slog.LevelDebug
		}
		s.log.LogAttrs(r.Context(), level, "answer broken off", slog.String("request_id", x.id), slog.Any("err", err))
		panic(http.ErrAbortHandler)
	}
	if errors.Is(err, context.Canceled) && r.Context().Err() != nil {
		x.status = statusCallerGone
		return
	}
	p := *problemOf(err)
	p.Instance = x.id
	if p.Code() == string(gateway.CodeDraining) {
		s.drain.refused.Add(1)
	}
	if p.Status >= 500 {
		s.log.LogAttrs(r.Context(), levelOf(&p), "request failed", slog.String("request_id", x.id),
			slog.String("problem", p.Type), slog.String("detail", p.Detail), slog.Any("cause", p.cause))
	}
	if x.lingers = lingers(x, r, p.Status); x.lingers {
		x.Header().Set("Connection", "close")
	}
	writeProblem(x, &p)
}

// levelOf returns the level of the log line of a 5xx answer. Devices that do not ack
// in time, overload and an orderly stop are no errors of the server.
func levelOf(p *Problem) slog.Level {
	if p.Status == http.StatusGatewayTimeout || p.Code() == string(overloaded) || p.Code() == string(gateway.CodeDraining) {
		return slog.LevelDebug
	}
	return slog.LevelError
}

// statusCallerGone is logged and counted for a caller that closed the connection
// before its answer began. It is never sent.
const statusCallerGone = 499

// errCallerGone ends an answer whose caller has stopped to read it.
var errCallerGone = errors.New("the caller takes no more of the answer")

func writeProblem(w http.ResponseWriter, p *Problem) {
	h := w.Header()
	if p.Status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", `Bearer realm="longwire"`)
	}
	if p.scope != "" { // RFC 6750, section 3.1
		h.Set("WWW-Authenticate", `Bearer realm="longwire", error="insufficient_scope", scope="`+p.scope+`"`)
	}
	if p.allow != "" {
		h.Set("Allow", p.allow)
	}
	if p.accepts != "" {
		h.Set("Accept-Encoding", p.accepts)
	}
	if after := p.retry(); after > 0 {
		h.Set("Retry-After", strconv.Itoa(after))
	}
	writeBody(w, typeProblem, p.Status, p)
}

// retry returns the seconds to wait before trying again, 0 for not at all.
func (p *Problem) retry() int {
	if p.retryAfter > 0 {
		return int(math.Ceil(p.retryAfter.Seconds()))
	}
	if p.Status == http.StatusServiceUnavailable || p.Status == http.StatusTooManyRequests {
		return 1
	}
	return 0
}
