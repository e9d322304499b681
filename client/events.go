package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
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

// silence is how long a stream may be quiet before the client gives it up. The
// gateway sends a comment every 15 s.
const silence = 45 * time.Second

// Events yields events as they happen until ctx ends or the caller stops. It
// reopens a lost stream behind the last event, with growing pauses; no event is
// skipped without an EventGap. It yields an error only if another attempt cannot
// help (a *Problem, or ctx's own), as its last value.
func (c *Client) Events(ctx context.Context, q EventQuery) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		s := &eventStream{client: c, query: q, after: q.After, yield: yield}
		if err := c.goOn(ctx, q.Reconnecting, &s.retry, s.once); err != nil {
			yield(Event{}, err)
		}
	}
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

// eventStream is a subscription over one connection after another.
type eventStream struct {
	client *Client
	query  EventQuery
	after  string
	retry  time.Duration // as the gateway asked
	yield  func(Event, error) bool
}

// once opens the stream and reads it to its end. progress is true if at least one
// line came, so the gateway is there.
func (s *eventStream) once(ctx context.Context) (progress bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	// Canceling the request wakes a read from a dead connection.
	watchdog := time.AfterFunc(silence, func() { cancel(errors.New("event stream: silent for too long")) })
	defer watchdog.Stop()

	res, err := s.open(ctx)
	if err != nil {
		return false, causeOf(ctx, err)
	}
	defer res.Body.Close()
	r := newEventReader(res.Body, func() { progress = true; watchdog.Reset(silence) })
	for {
		f, err := r.next()
		s.retry = r.retry
		if r.position != "" {
			s.after = r.position
		}
		if err != nil {
			return progress, causeOf(ctx, err)
		}
		watchdog.Stop() // the caller may take its time with an event
		if err := s.deliver(f); err != nil {
			return progress, err
		}
		watchdog.Reset(silence)
	}
}

func (s *eventStream) open(ctx context.Context) (*http.Response, error) {
	v := url.Values{}
	setIf(v, "types", strings.Join(s.query.Types, ","))
	setIf(v, "client", s.query.Client)
	return s.client.openStream(ctx, "/v1/events", v, s.after)
}

// deliver hands one event to the caller and remembers the position behind it.
func (s *eventStream) deliver(f frame) error {
	if f.name == "overflow" {
		return io.EOF // the reader was too slow: reopen behind the last event read
	}
	ev := Event{Position: s.after}
	if err := json.Unmarshal(f.data, &ev); err != nil {
		return &notGatewayError{fmt.Errorf("event %q: %w", f.id, err)}
	}
	if !s.yield(ev, nil) {
		return errStopped
	}
	return nil
}

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
