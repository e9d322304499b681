package problem

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"net/http"
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

	RetryAfter time.Duration `json:"-"` // the Retry-After header; 0 = one second if the status asks for a repeat
	Allow      string        `json:"-"` // the Allow header
	Accepts    string        `json:"-"` // the Accept-Encoding header: the content codings that the call takes
	Scope      string        `json:"-"` // the scope that the key lacks, in WWW-Authenticate
	Cause      error         `json:"-"` // logged, not sent
} //@name Problem

// FieldError names one place in the request: a pointer (RFC 6901) into the
// body, or a query parameter or header.
type FieldError struct {
	Pointer   string `json:"pointer,omitempty" example:"/to/clients/3"`              // into the body (RFC 6901)
	Parameter string `json:"parameter,omitempty" example:"limit"`                    // or a query parameter or header
	Detail    string `json:"detail" validate:"required" example:"must be 1 to 1000"` // explanation
} //@name FieldError

func (p *Problem) Error() string { return p.Type + ": " + p.Detail }
func (p *Problem) Unwrap() error { return p.Cause }

// Code returns the stable last part of the type.
func (p *Problem) Code() string { return strings.TrimPrefix(p.Type, Path) }

// New makes a problem of a kind in the table of kinds.go.
func New(kind Kind, format string, args ...any) *Problem {
	k := kinds[kind]
	return &Problem{Type: Path + string(kind), Title: k.title, Status: k.status, Detail: fmt.Sprintf(format, args...)}
}

// BadParameter makes the problem of a query parameter or header. The detail follows its
// name.
func BadParameter(name, format string, args ...any) *Problem {
	detail := fmt.Sprintf(format, args...)
	p := New(InvalidParameter, "%s %s", name, detail)
	p.Errors = []FieldError{{Parameter: name, Detail: detail}}
	return p
}

// InvalidBody makes the problem of one member of the body. The detail follows pointer.
func InvalidBody(pointer, format string, args ...any) *Problem {
	return InvalidFields(FieldError{Pointer: pointer, Detail: fmt.Sprintf(format, args...)})
}

// InvalidFields makes a problem of one or more places in the request.
func InvalidFields(errs ...FieldError) *Problem {
	e := errs[0]
	p := New(ValidationFailed, "%s %s", cmp.Or(e.Pointer, e.Parameter, "the body"), e.Detail)
	p.Errors = errs
	return p
}

// TooLarge makes the problem of a body or a part of it that is larger than limit bytes.
func TooLarge(limit int64, what string) *Problem {
	p := New(PayloadTooLarge, "%s is larger than %d bytes", what, limit)
	p.Limit = limit
	return p
}

// Of translates any error into a problem. Errors of other packages than
// gateway and this one become "internal": their text is logged and not sent.
func Of(err error) *Problem {
	if p, ok := errors.AsType[*Problem](err); ok {
		p.shorten()
		return p
	}
	if e, ok := errors.AsType[*gateway.Error](err); ok {
		return domainProblem(e)
	}
	if e, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return TooLarge(e.Limit, "the body")
	}
	p := New(Internal, "the server failed; its log has the cause under this request id")
	p.Cause = err
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
	p.Detail = Cut(p.Detail, maxDetail)
	if len(p.Errors) > maxErrors {
		p.Errors = slices.Clone(p.Errors[:maxErrors])
	}
	for i := range p.Errors {
		e := &p.Errors[i]
		e.Pointer, e.Parameter, e.Detail = Cut(e.Pointer, maxPlace), Cut(e.Parameter, maxPlace), Cut(e.Detail, maxDetail)
	}
}

// Cut bounds s to most bytes and an ellipsis.
func Cut(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}

func domainProblem(e *gateway.Error) *Problem {
	kind := Kind(e.Code)
	if _, ok := kinds[kind]; !ok {
		kind = Internal
	}
	p := New(kind, "%s", e.Message)
	p.MessageID = string(e.MessageID)
	p.Limit = e.Limit
	p.Reason = e.Reason
	p.RetryAfter = e.RetryAfter
	p.Cause = e.Cause
	return p
}

// SetHeaders sets the headers that go with p.
func (p *Problem) SetHeaders(h http.Header) {
	if p.Status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", `Bearer realm="longwire"`)
	}
	if p.Scope != "" { // RFC 6750, section 3.1
		h.Set("WWW-Authenticate", `Bearer realm="longwire", error="insufficient_scope", scope="`+p.Scope+`"`)
	}
	if p.Allow != "" {
		h.Set("Allow", p.Allow)
	}
	if p.Accepts != "" {
		h.Set("Accept-Encoding", p.Accepts)
	}
	if after := p.Retry(); after > 0 {
		h.Set("Retry-After", strconv.Itoa(after))
	}
}

// Retry returns the seconds to wait before trying again, 0 for not at all.
func (p *Problem) Retry() int {
	if p.RetryAfter > 0 {
		return int(math.Ceil(p.RetryAfter.Seconds()))
	}
	if p.Status == http.StatusServiceUnavailable || p.Status == http.StatusTooManyRequests {
		return 1
	}
	return 0
}
