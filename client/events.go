package client

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// EventType is the type of an event.
type EventType string

const (
	EventClientConnected    EventType = "client.connected"
	EventClientDisconnected EventType = "client.disconnected"
	EventClientReplaced     EventType = "client.replaced"
	EventClientForgotten    EventType = "client.forgotten"
	EventMessageQueued      EventType = "message.queued_for_absent" // for a client that is offline
	EventMessageReceived    EventType = "message.received"          // a device sent a payload
	EventMessageAcked       EventType = "message.acked"
	EventMessageRejected    EventType = "message.rejected"
	EventMessageExpired     EventType = "message.expired"
	EventMessageCanceled    EventType = "message.canceled"
	EventMessageFailed      EventType = "message.failed"
	EventMessageLateAck     EventType = "message.late_ack"
	EventMessageCompleted   EventType = "message.completed"
	EventGroupChanged       EventType = "group.changed"
	EventWebhookDisabled    EventType = "webhook.disabled"
	EventStoreRepaired      EventType = "store.repaired" // events from before it may be missing

	// EventGap means that events before this one are lost: the reader was away
	// for longer than the gateway keeps them. Read the current state instead
	// (Clients, Messages, Uplinks).
	EventGap EventType = "gap"
)

// Event is one event of the stream, a CloudEvent, and encodes as one. Events of one
// client are in order.
type Event struct {
	SpecVersion     string    `json:"specversion,omitempty"` // of CloudEvents: 1.0
	ID              string    `json:"id"`
	Type            EventType `json:"type"`
	Source          string    `json:"source,omitempty"`
	Subject         string    `json:"subject,omitempty"` // the client, if there is one
	Time            time.Time `json:"time,omitzero"`
	Sequence        string    `json:"sequence,omitempty"`
	DataContentType string    `json:"datacontenttype,omitempty"`
	Data            EventData `json:"data,omitzero"`

	// Position resumes the stream behind this event (EventQuery.After).
	Position string `json:"-"`
}

// EventQuery selects events.
type EventQuery struct {
	Types  []string // "client.connected", or with a wildcard "client.*"; nil = all
	Client string   // "" = of all clients
	After  string   // Position of the last event seen; "" = only new events

	// Reconnecting, if set, is called after each loss of the stream, with the
	// pause before the next attempt. It must not block.
	Reconnecting func(err error, pause time.Duration)
}

// Events yields events as they happen until ctx ends or the caller stops. It
// reopens a lost stream behind the last event, with growing pauses; no event is
// skipped without an EventGap. It yields an error only if another attempt cannot
// help (a *Problem, or ctx's own), as its last value.
func (c *Client) Events(ctx context.Context, q EventQuery) iter.Seq2[Event, error] {
	v := url.Values{}
	setIf(v, "types", strings.Join(q.Types, ","))
	setIf(v, "client", q.Client)
	return follow(ctx, subscription{client: c, path: "/v1/events", query: v, after: q.After}, q.Reconnecting, func(f frame, at string) (ev Event, err error) {
		if f.name == "overflow" {
			return ev, io.EOF // the reader was too slow: reopen behind the last event read
		}
		ev.Position = at
		err = json.Unmarshal(f.data, &ev)
		return ev, err
	})
}

// goOn calls once again and again, after growing pauses that begin with retry, the gateway's,
// until another call cannot help. once reports whether it has got something. The error is
// nil after errStopped.
func (c *Client) goOn(ctx context.Context, reconnecting func(error, time.Duration), retry *time.Duration, once func(context.Context) (bool, error)) error {
	for failures := 0; ; {
		progress, err := once(ctx)
		switch {
		case errors.Is(err, errStopped):
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case !transient(err):
			return err
		}
		if progress {
			failures = 0
		}
		failures++
		pause := c.pause(failures, *retry, err)
		if reconnecting != nil {
			reconnecting(err, pause)
		}
		if sleep(ctx, pause) != nil {
			return context.Cause(ctx)
		}
	}
}

// errStopped means that the caller has ended the range.
var errStopped = errors.New("stopped by the caller")

// pause is the pause before the next attempt: the gateway's, then growing.
func (c *Client) pause(failures int, retry time.Duration, err error) time.Duration {
	if p, ok := errors.AsType[*Problem](err); ok && p.RetryAfter > 0 {
		return min(p.RetryAfter, time.Minute)
	}
	r := Retry{Base: max(retry, c.retry.Base), Max: max(30*time.Second, retry)}
	return r.backoff(failures)
}

// transient reports whether opening the stream again may help.
func transient(err error) bool {
	if p, ok := errors.AsType[*Problem](err); ok {
		return p.Status == http.StatusTooManyRequests || p.Status >= 500
	}
	_, foreign := errors.AsType[*notGatewayError](err)
	return !foreign && !errors.Is(err, errLineTooLong) && !errors.Is(err, errAnswerTooLarge)
}

// causeOf returns ctx's cause, if it has one, instead of "context canceled".
func causeOf(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}
