package gateway

import (
	"errors"
	"fmt"
	"time"
)

// Code is the stable name of an error. Callers may show it and branch on it.
type Code string

const (
	CodeClientNotFound      Code = "client-not-found"
	CodeClientExists        Code = "client-exists"
	CodeMessageNotFound     Code = "message-not-found"
	CodeClientOffline       Code = "client-offline"
	CodeAlreadyFinal        Code = "already-final"
	CodePayloadTooLarge     Code = "payload-too-large"
	CodeValidation          Code = "validation-failed"
	CodeIdempotencyMismatch Code = "idempotency-mismatch"
	CodeQueueFull           Code = "queue-full"
	CodeDraining            Code = "draining"
	CodeUnavailable         Code = "store-unavailable"
	CodeDiskFull            Code = "disk-full" // nothing was stored; it wraps ErrUnavailable
	CodeAckTimeout          Code = "ack-timeout"
	CodeUnauthorized        Code = "unauthorized"
	CodeBlocked             Code = "blocked"
	CodeIDInUse             Code = "id-in-use"
	CodeTooManyClients      Code = "too-many-clients"
	CodeTooManyRecipients   Code = "too-many-recipients" // more than Acceptance.MaxRecipients; nothing was stored
	CodeTooManyProbes       Code = "too-many-probes"
	CodeEventsFull          Code = "events-full"
)

// Reasons of a CodeAckTimeout: why an online call ended without an ack.
const (
	ReasonAckTimeout           = "ack_timeout"            // the device did not ack in time
	ReasonEphemeralFlagMissing = "ephemeral_flag_missing" // its ack has the number of the online delivery, but not the flag
	ReasonNotSent              = "not_sent"               // earlier deliveries or frames came first until the wait was over
	ReasonDraining             = "draining"               // the gateway stopped waiting for the ack
	// and ReasonConnectionLost: the connection ended before the ack
)

// Error is the domain's one error type: a stable code, a message that is safe to
// show, and the cause for the log.
type Error struct {
	Code       Code
	Message    string
	MessageID  MessageID     // "" if there is none
	Limit      int64         // the bound that was exceeded; 0 if there is none
	Reason     string        // of CodeAckTimeout: one of the reasons above; "" for other errors
	RetryAfter time.Duration // when to try again; 0 if unknown
	Cause      error         // logged, never sent
}

func (e *Error) Error() string {
	if e.Cause != nil {
		return fmt.Sprintf("%s: %s: %v", e.Code, e.Message, e.Cause)
	}
	return fmt.Sprintf("%s: %s", e.Code, e.Message)
}

func (e *Error) Unwrap() error { return e.Cause }

// Is makes errors.Is(err, &Error{Code: c}) compare by code.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Code == e.Code
}

// CodeOf returns the code of err, or "" if it is not a domain error.
func CodeOf(err error) Code {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return ""
}

// ErrUnavailable is the error of a Store that cannot confirm a change. The
// outcome is unknown, not refused.
var ErrUnavailable = &Error{Code: CodeUnavailable, Message: "the store cannot confirm the change; nothing was promised"}

// Errors of Link.Deliver.
var (
	ErrWindowFull = errors.New("window full")
	ErrLinkBusy   = errors.New("output budget used up")
	ErrTooLarge   = errors.New("payload too large for the dialect")
	ErrLinkClosed = errors.New("link closed")
)
