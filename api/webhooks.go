package api

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/longwire/longwire/api/internal/problem"
	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/apikey"
	"github.com/longwire/longwire/internal/audit"
	"github.com/longwire/longwire/internal/feed"
	"github.com/longwire/longwire/internal/webhook"
)

// Webhook is an endpoint of a backend that gets events. Only the answers to its
// creation and to a rotation show the secret; the values of headers are never shown.
type Webhook struct {
	ID            string            `json:"id" validate:"required" example:"wh_0193f2a0-7c1e-7d3a-9b1f-2f6d1c0a9e11"` // names the webhook
	Name          string            `json:"name,omitempty" example:"orders"`                                          // for people
	URL           string            `json:"url" validate:"required" example:"https://backend.example/longwire"`       // that events are posted to
	Types         []string          `json:"types" validate:"required" example:"message.acked"`                        // of events; empty for all
	Client        string            `json:"client,omitempty" example:"truck-17"`                                      // events of this client
	Prefix        string            `json:"prefix,omitempty" example:"truck-"`                                        // of clients whose id starts so
	Group         string            `json:"group,omitempty" example:"fleet-a"`                                        // of members of this group
	Labels        map[string]string `json:"labels,omitempty"`                                                         // of clients with all these labels
	State         string            `json:"state" validate:"required" enums:"active,paused,disabled"`                 // whether it gets events
	Reason        string            `json:"reason,omitempty" example:"gone"`                                          // why it is disabled
	Timeout       string            `json:"timeout" validate:"required" example:"10s"`                                // of one request
	Concurrency   int               `json:"concurrency" validate:"required" example:"8"`                              // requests at once; the events of one client never overlap
	Headers       []string          `json:"headers" validate:"required" example:"Authorization"`                      // names of its static headers
	RetryFor      string            `json:"retry_for" validate:"required" example:"72h"`                              // after which an event that fails becomes a dead letter
	Settle        string            `json:"settle,omitempty" example:"30s"`                                           // a client that is back so soon is not told to have gone
	Reply         bool              `json:"reply,omitempty"`                                                          // the body of a 200 answer to message.received is pushed to the device
	Payloads      bool              `json:"payloads" validate:"required"`                                             // events have what devices have sent, because its key had messages:read
	CreatedAt     string            `json:"created_at" validate:"required" format:"date-time"`                        // when it was made
	Secret        string            `json:"secret,omitempty" example:"whsec_"`                                        // that requests are signed with
	Cursor        string            `json:"cursor" validate:"required" example:"1763800000000017"`                    // events up to it are done, but for those of parked clients
	LagEvents     uint64            `json:"lag_events" validate:"required"`                                           // at most so many events of the log lie behind the cursor
	LagSeconds    float64           `json:"lag_seconds" validate:"required"`                                          // age of the oldest event that waits
	Waiting       int               `json:"waiting" validate:"required"`                                              // events in memory
	ParkedClients int               `json:"parked_clients" validate:"required"`                                       // clients that wait for the retry of an event
	Down          bool              `json:"down,omitempty"`                                                           // no request has succeeded for a minute
	LastSuccessAt string            `json:"last_success_at,omitempty" format:"date-time"`                             // when a request has succeeded
	LastError     string            `json:"last_error,omitempty"`                                                     // of the last failure since
	Missed        uint64            `json:"missed,omitempty"`                                                         // numbers of the log that were removed before they were read
} //@name Webhook

// WebhookList is the list of webhooks.
type WebhookList struct {
	Items []Webhook `json:"items" validate:"required"` // oldest first
} //@name WebhookList

// WebhookCreate asks for a webhook.
type WebhookCreate struct {
	Name        string            `json:"name,omitempty"`                                               // for people
	URL         string            `json:"url" validate:"required" example:"http://127.0.0.1:9000/hook"` // that events are posted to
	Types       []string          `json:"types,omitempty" example:"message.received"`                   // of events, with wildcards such as client.*; none for all
	Client      string            `json:"client,omitempty" validate:"omitempty,clientid"`               // events of this client alone
	Prefix      string            `json:"prefix,omitempty" validate:"omitempty,clientid"`               // of clients whose id starts so
	Group       string            `json:"group,omitempty" validate:"omitempty,group"`                   // of members of this group
	Labels      map[string]string `json:"labels,omitempty"`                                             // of clients with all these labels
	State       string            `json:"state,omitempty" enums:"active,paused" default:"active"`       // paused keeps it from starting
	Timeout     string            `json:"timeout,omitempty" default:"10s"`                              // of one request: 1s to 30s
	Concurrency int               `json:"concurrency,omitempty" minimum:"1" maximum:"64" default:"8"`   // requests at once
	Headers     map[string]string `json:"headers,omitempty"`                                            // static headers of each request; they are not shown again
	RetryFor    string            `json:"retry_for,omitempty" default:"72h"`                            // 1m to 30d
	Settle      string            `json:"settle,omitempty" example:"30s"`                               // at most 10m
	Reply       bool              `json:"reply,omitempty"`                                              // push the body of a 200 answer to message.received to the device
	Start       string            `json:"start,omitempty" default:"now" example:"earliest"`             // now, earliest, a cursor, a time, or a duration such as 1h ago
} //@name WebhookCreate

// WebhookPatch changes a webhook; absent members stay as they are.
type WebhookPatch struct {
	Name        *string            `json:"name,omitempty"`                                // for people
	URL         *string            `json:"url,omitempty"`                                 // that events are posted to
	Types       *[]string          `json:"types,omitempty" swaggertype:"array,string"`    // of events
	Client      *string            `json:"client,omitempty"`                              // "" for all
	Prefix      *string            `json:"prefix,omitempty"`                              // "" for all
	Group       *string            `json:"group,omitempty"`                               // "" for all
	Labels      *map[string]string `json:"labels,omitempty" swaggertype:"object,string"`  // replaces the labels
	State       *string            `json:"state,omitempty" enums:"active,paused"`         // active enables a disabled one
	Timeout     *string            `json:"timeout,omitempty"`                             // of one request
	Concurrency *int               `json:"concurrency,omitempty"`                         // requests at once
	Headers     *map[string]string `json:"headers,omitempty" swaggertype:"object,string"` // replaces the headers
	RetryFor    *string            `json:"retry_for,omitempty"`                           // see WebhookCreate
	Settle      *string            `json:"settle,omitempty"`                              // "" for none
	Reply       *bool              `json:"reply,omitempty"`                               // push answers to devices
} //@name WebhookPatch

// WebhookAttempt is one request to an endpoint.
type WebhookAttempt struct {
	At       string `json:"at" validate:"required" format:"date-time"` // when it was sent
	Sequence string `json:"sequence,omitempty"`                        // of the event; absent for a test
	Type     string `json:"type" validate:"required"`                  // of the event
	Client   string `json:"client,omitempty"`                          // that the event is about
	Try      int    `json:"attempt" validate:"required"`               // 1 for the first
	Replay   bool   `json:"replay,omitempty"`                          // it was sent again on demand
	Status   int    `json:"status,omitempty"`                          // of the answer; absent if there was none
	Millis   int64  `json:"duration_ms" validate:"required"`           // until the end of the answer
	Answer   string `json:"answer,omitempty"`                          // its first bytes
	Error    string `json:"error,omitempty"`                           // why it has failed
} //@name WebhookAttempt

// WebhookAttempts are the last requests to an endpoint.
type WebhookAttempts struct {
	Items []WebhookAttempt `json:"items" validate:"required"` // newest first, at most 1,000, of this process
} //@name WebhookAttempts

// DeadLetter is an event that a webhook's endpoint has not taken in time.
type DeadLetter struct {
	Sequence string          `json:"sequence" validate:"required"`              // of the event
	At       string          `json:"at" validate:"required" format:"date-time"` // when it was given up
	Status   int             `json:"status,omitempty"`                          // of the last answer
	Error    string          `json:"error" validate:"required"`                 // of the last request
	Event    json.RawMessage `json:"event,omitempty" swaggertype:"object"`      // as it was sent; absent if the key may not read what it has
} //@name DeadLetter

// DeadLetterPage is one page of dead letters.
type DeadLetterPage struct {
	Items     []DeadLetter `json:"items" validate:"required"` // oldest first
	NextAfter string       `json:"next_after,omitempty"`      // the after of the next page; absent on the last one
} //@name DeadLetterPage

// WebhookReplay selects events to be sent again.
type WebhookReplay struct {
	After string `json:"after,omitempty" example:"earliest"` // behind this cursor
	Since string `json:"since,omitempty" example:"1h"`       // or logged at this time or later, or so long ago at most
	Until string `json:"until,omitempty" example:"10m"`      // up to this time, or so long ago; by default up to now
} //@name WebhookReplay

// ReplayStarted is the range of the log that is sent again.
type ReplayStarted struct {
	After string `json:"after" validate:"required" example:"1763800000000017"` // behind this cursor
	Until string `json:"until" validate:"required" example:"1763800000000099"` // up to this one
} //@name ReplayStarted

// Redelivered says how many dead letters an endpoint has taken.
type Redelivered struct {
	Delivered int    `json:"delivered" validate:"required"` // they are removed
	Error     string `json:"error,omitempty"`               // why the next one was not taken
} //@name Redelivered

func webhookView(st *webhook.Status, now time.Time) Webhook {
	v := Webhook{ID: st.ID, Name: st.Name, URL: st.URL, Types: st.Filter.Types, Client: string(st.Filter.Client), Prefix: st.Filter.Prefix,
		Group: st.Filter.Group, Labels: st.Filter.Labels, State: string(st.Condition()), Reason: string(st.Reason), Timeout: durationText(st.Timeout),
		Concurrency: st.Concurrency, Headers: slices.Sorted(maps.Keys(st.Headers)), RetryFor: durationText(st.RetryFor), Reply: st.Reply,
		Payloads: st.Payloads, CreatedAt: stamp(st.CreatedAt), Cursor: strconv.FormatUint(st.Cursor, 10), LagEvents: st.Lag, Waiting: st.Waiting,
		ParkedClients: st.Parked, Down: st.Down, LastSuccessAt: stamp(st.LastSuccess), LastError: st.LastError, Missed: st.Missed}
	if v.Types == nil {
		v.Types = []string{}
	}
	if v.Headers == nil {
		v.Headers = []string{}
	}
	if st.Settle > 0 {
		v.Settle = durationText(st.Settle)
	}
	if !st.Oldest.IsZero() {
		v.LagSeconds = max(0, now.Sub(st.Oldest).Seconds())
	}
	return v
}

func durationText(d time.Duration) string {
	switch {
	case d%time.Hour == 0:
		return strconv.Itoa(int(d/time.Hour)) + "h"
	case d%time.Minute == 0:
		return strconv.Itoa(int(d/time.Minute)) + "m"
	}
	return d.String()
}

// listWebhooks lists the webhooks.
//
//	@ID				listWebhooks
//	@Summary		List webhooks
//	@Description	Those that were made under the caller's limit.
//	@Tags			webhooks
//	@Produce		json
//	@Success		200	{object}	WebhookList
//	@x-scope		"webhooks:read"
//	@Router			/v1/webhooks [get]
func (s *server) listWebhooks(w http.ResponseWriter, r *http.Request) error {
	if err := queryOf(r).done(); err != nil {
		return err
	}
	now := s.cfg.Now()
	list := WebhookList{Items: []Webhook{}}
	for _, st := range s.cfg.Webhooks.List(viewOf(w).Key().Limit) {
		list.Items = append(list.Items, webhookView(&st, now))
	}
	return writeJSON(w, http.StatusOK, list)
}

// createWebhook makes a webhook.
//
//	@ID				createWebhook
//	@Summary		Create a webhook
//	@Description	Events that the filter selects are posted to the URL as CloudEvents 1.0 in JSON, each at least once, those of one client in order. Requests are signed as the Standard Webhooks specification says; the answer has the secret, which is not shown again.
//	@Description	Every 2xx answer takes the event. 410 disables the webhook, `Retry-After` of 429 and 503 is obeyed, redirects are not followed, everything else is tried again after 1 s, 5 s, 30 s, 2 min, 10 min, 30 min and then hourly.
//	@Description	The webhook sees the clients that its key may see. The URL may not lead to a private or local address unless `webhooks.allow_networks` has it; a gateway whose API is open on loopback may post to loopback.
//	@Tags			webhooks
//	@Accept			json
//	@Produce		json
//	@Param			webhook	body		WebhookCreate	true	"the webhook to make"
//	@Success		201		{object}	Webhook
//	@Header			201		{string}	Location	"the webhook"
//	@x-scope		"webhooks:write"
//	@Router			/v1/webhooks [post]
func (s *server) createWebhook(w http.ResponseWriter, r *http.Request) error {
	if err := queryOf(r).done(); err != nil {
		return err
	}
	if mediaType(r) != "application/json" {
		return problem.New(problem.UnsupportedMediaType, "send a JSON object: curl -H 'Content-Type: application/json' -d '%s' '%s'",
			`{"url":"http://127.0.0.1:9000/hook","types":["message.received"]}`, urlOf(r))
	}
	var body WebhookCreate
	if err := s.decodeJSON(w, r, &body); err != nil {
		return err
	}
	view := viewOf(w)
	spec, err := body.spec()
	var after uint64
	if err == nil {
		after, err = s.startOf(w, body.Start, "/start")
	}
	if err != nil {
		return err
	}
	key := view.Key()
	if err := mayHold(key, key.Scopes.Allows(apikey.MessagesRead), spec.Reply); err != nil {
		return err
	}
	hook, err := s.cfg.Webhooks.Create(context.Background(), spec, key.Limit, key.Scopes.Allows(apikey.MessagesRead), after)
	err = webhookProblem(err, "")
	view.Record(audit.CreateWebhook, hook.ID, err)
	if err != nil {
		return err
	}
	w.Header().Set("Location", "/v1/webhooks/"+hook.ID)
	return s.answerWebhook(w, http.StatusCreated, hook.ID, hook.Secret)
}

// mayHold returns an error unless a key may set up a webhook that gets payloads, or that
// pushes answers to devices: a webhook never has a right that the key has not.
func mayHold(key *apikey.Key, payloads, reply bool) error {
	switch {
	case payloads && !key.Scopes.Allows(apikey.MessagesRead):
		return problem.New(problem.InsufficientScope, "the webhook gets what devices send: the API key needs the scope messages:read")
	case reply && !key.Scopes.Allows(apikey.MessagesWrite):
		return problem.New(problem.InsufficientScope, "the webhook pushes answers to devices: the API key needs the scope messages:write")
	}
	return nil
}

// answerWebhook writes a webhook, with its secret if that is new.
func (s *server) answerWebhook(w http.ResponseWriter, status int, id, secret string) error {
	st, err := s.cfg.Webhooks.Get(id, viewOf(w).Key().Limit)
	if err != nil {
		return webhookProblem(err, id)
	}
	v := webhookView(&st, s.cfg.Now())
	v.Secret = secret
	return writeJSON(w, status, v)
}

func (b *WebhookCreate) spec() (s webhook.Spec, err error) {
	s = webhook.Spec{Name: b.Name, URL: b.URL, State: webhook.State(b.State), Concurrency: b.Concurrency, Headers: b.Headers, Reply: b.Reply,
		Filter: feed.Filter{Types: b.Types, Client: gateway.ClientID(b.Client), Prefix: b.Prefix, Group: b.Group, Labels: b.Labels}}
	err = errors.Join(bodyDuration(&s.Timeout, b.Timeout, "/timeout"), bodyDuration(&s.RetryFor, b.RetryFor, "/retry_for"),
		bodyDuration(&s.Settle, b.Settle, "/settle"))
	return s, firstOf(err)
}

// bodyDuration reads a duration of a body; "" leaves it as it is.
func bodyDuration(d *time.Duration, text, pointer string) error {
	if text == "" {
		return nil
	}
	v, err := parseDuration(text)
	if err != nil {
		return problem.InvalidBody(pointer, "must be a duration such as 10s")
	}
	*d = v
	return nil
}

// firstOf returns the first of joined errors.
func firstOf(err error) error {
	if list, ok := err.(interface{ Unwrap() []error }); ok {
		return list.Unwrap()[0]
	}
	return err
}

// startOf returns the position that a member of a body names.
func (s *server) startOf(w http.ResponseWriter, text, pointer string) (uint64, error) {
	view := viewOf(w)
	switch text {
	case "", "now":
		return view.LastEvent(), nil
	case "earliest":
		return 0, nil
	}
	if n, err := strconv.ParseUint(text, 10, 64); err == nil {
		return n, nil
	}
	t, err := s.timeOf(text)
	if err != nil {
		return 0, problem.InvalidBody(pointer, "must be now, earliest, a cursor, an RFC 3339 time or a duration such as 1h")
	}
	return view.EventsBefore(t)
}

func (s *server) timeOf(text string) (time.Time, error) {
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return t, nil
	}
	d, err := parseDuration(text)
	return s.cfg.Now().Add(-d), err
}

// getWebhook shows a webhook.
//
//	@ID			getWebhook
//	@Summary	Get a webhook
//	@Description	With how far it has come, and how its endpoint does.
//	@Tags		webhooks
//	@Produce	json
//	@Param		id	path		string	true	"webhook id"
//	@Success	200	{object}	Webhook
//	@x-scope	"webhooks:read"
//	@Router		/v1/webhooks/{id} [get]
func (s *server) getWebhook(w http.ResponseWriter, r *http.Request) error {
	if err := queryOf(r).done(); err != nil {
		return err
	}
	return s.answerWebhook(w, http.StatusOK, chi.URLParam(r, "id"), "")
}

// patchWebhook changes a webhook.
//
//	@ID				patchWebhook
//	@Summary		Change a webhook
//	@Description	Absent members stay as they are. `"state":"active"` enables a disabled webhook, which goes on at its cursor; an event whose request is under way may be sent again.
//	@Tags			webhooks
//	@Accept			json,application/merge-patch+json
//	@Produce		json
//	@Param			id		path		string			true	"webhook id"
//	@Param			change	body		WebhookPatch	true	"what to change"
//	@Success		200		{object}	Webhook
//	@x-scope		"webhooks:write"
//	@Router			/v1/webhooks/{id} [patch]
func (s *server) patchWebhook(w http.ResponseWriter, r *http.Request) error {
	if err := queryOf(r).done(); err != nil {
		return err
	}
	if t := mediaType(r); t != "application/json" && t != "application/merge-patch+json" {
		return problem.New(problem.UnsupportedMediaType, "send Content-Type: application/merge-patch+json")
	}
	var body WebhookPatch
	if err := s.decodeJSON(w, r, &body); err != nil {
		return err
	}
	id, view := chi.URLParam(r, "id"), viewOf(w)
	key := view.Key()
	err := error(nil)
	if st, known := s.cfg.Webhooks.Get(id, key.Limit); known == nil {
		err = mayHold(key, st.Payloads, st.Reply || body.Reply != nil && *body.Reply)
	}
	if err == nil {
		_, err = s.cfg.Webhooks.Update(context.Background(), id, key.Limit, body.change)
		err = webhookProblem(err, id)
	}
	view.Record(audit.UpdateWebhook, id, err)
	if err != nil {
		return err
	}
	return s.answerWebhook(w, http.StatusOK, id, "")
}

// change applies the members that are there.
func (b *WebhookPatch) change(s *webhook.Spec) error {
	set(&s.Name, b.Name)
	set(&s.URL, b.URL)
	set(&s.Filter.Types, b.Types)
	set(&s.Filter.Prefix, b.Prefix)
	set(&s.Filter.Group, b.Group)
	set(&s.Filter.Labels, b.Labels)
	set(&s.Concurrency, b.Concurrency)
	set(&s.Headers, b.Headers)
	set(&s.Reply, b.Reply)
	if b.Client != nil {
		s.Filter.Client = gateway.ClientID(*b.Client)
	}
	if b.State != nil {
		if st := webhook.State(*b.State); st != webhook.Active && st != webhook.Paused { // no caller disables one
			return problem.InvalidBody("/state", "must be active or paused")
		}
		s.State = webhook.State(*b.State)
	}
	if b.Settle != nil {
		s.Settle = 0
	}
	for _, d := range []struct {
		to      *time.Duration
		text    *string
		pointer string
	}{{&s.Timeout, b.Timeout, "/timeout"}, {&s.RetryFor, b.RetryFor, "/retry_for"}, {&s.Settle, b.Settle, "/settle"}} {
		if d.text != nil {
			if err := bodyDuration(d.to, *d.text, d.pointer); err != nil {
				return err
			}
		}
	}
	return nil
}

func set[T any](to *T, v *T) {
	if v != nil {
		*to = *v
	}
}

// deleteWebhook removes a webhook.
//
//	@ID				deleteWebhook
//	@Summary		Delete a webhook
//	@Description	With its cursor and its dead letters. A request that is under way may still arrive.
//	@Tags			webhooks
//	@Produce		json
//	@Param			id	path	string	true	"webhook id"
//	@Success		204
//	@x-scope		"webhooks:write"
//	@Router			/v1/webhooks/{id} [delete]
func (s *server) deleteWebhook(w http.ResponseWriter, r *http.Request) error {
	if err := queryOf(r).done(); err != nil {
		return err
	}
	id, view := chi.URLParam(r, "id"), viewOf(w)
	err := webhookProblem(s.cfg.Webhooks.Delete(context.Background(), id, view.Key().Limit), id)
	view.Record(audit.DeleteWebhook, id, err)
	if err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// rotateWebhook gives a webhook a new secret.
//
//	@ID				rotateWebhook
//	@Summary		Rotate the secret of a webhook
//	@Description	The answer has the new secret. For 24 hours each request has two signatures, one by either secret.
//	@Tags			webhooks
//	@Produce		json
//	@Param			id	path		string	true	"webhook id"
//	@Success		200	{object}	Webhook
//	@x-scope		"webhooks:write"
//	@Router			/v1/webhooks/{id}/rotate [post]
func (s *server) rotateWebhook(w http.ResponseWriter, r *http.Request) error {
	if err := queryOf(r).done(); err != nil {
		return err
	}
	id, view := chi.URLParam(r, "id"), viewOf(w)
	hook, err := s.cfg.Webhooks.Rotate(context.Background(), id, view.Key().Limit)
	err = webhookProblem(err, id)
	view.Record(audit.UpdateWebhook, id, err)
	if err != nil {
		return err
	}
	return s.answerWebhook(w, http.StatusOK, id, hook.Secret)
}

// testWebhook sends a sample.
//
//	@ID				testWebhook
//	@Summary		Test a webhook
//	@Description	Sends a signed sample event now, whatever the filter and the state, and answers with what the endpoint has said.
//	@Tags			webhooks
//	@Produce		json
//	@Param			id	path		string	true	"webhook id"
//	@Success		200	{object}	WebhookAttempt
//	@x-scope		"webhooks:write"
//	@Router			/v1/webhooks/{id}/test [post]
func (s *server) testWebhook(w http.ResponseWriter, r *http.Request) error {
	if err := queryOf(r).done(); err != nil {
		return err
	}
	id, view := chi.URLParam(r, "id"), viewOf(w)
	a, err := s.cfg.Webhooks.Test(context.Background(), id, view.Key().Limit)
	err = webhookProblem(err, id)
	view.Record(audit.TestWebhook, id, err)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, attemptView(&a))
}

func attemptView(a *webhook.Attempt) WebhookAttempt {
	v := WebhookAttempt{At: stamp(a.At), Type: string(a.Type), Client: string(a.Client), Try: a.Try, Replay: a.Replay, Status: a.Status,
		Millis: a.Duration.Milliseconds(), Answer: a.Answer, Error: a.Error}
	if a.Event > 0 {
		v.Sequence = strconv.FormatUint(a.Event, 10)
	}
	return v
}

// webhookAttempts lists requests.
//
//	@ID				webhookAttempts
//	@Summary		List the last requests of a webhook
//	@Description	At most 1,000, newest first. They are in memory and end with the process.
//	@Tags			webhooks
//	@Produce		json
//	@Param			id	path		string	true	"webhook id"
//	@Success		200	{object}	WebhookAttempts
//	@x-scope		"webhooks:read"
//	@Router			/v1/webhooks/{id}/attempts [get]
func (s *server) webhookAttempts(w http.ResponseWriter, r *http.Request) error {
	if err := queryOf(r).done(); err != nil {
		return err
	}
	id := chi.URLParam(r, "id")
	list, err := s.cfg.Webhooks.Attempts(id, viewOf(w).Key().Limit)
	if err != nil {
		return webhookProblem(err, id)
	}
	out := WebhookAttempts{Items: make([]WebhookAttempt, len(list))}
	for i := range list {
		out.Items[i] = attemptView(&list[i])
	}
	return writeJSON(w, http.StatusOK, out)
}

// replayWebhook sends events again.
//
//	@ID				replayWebhook
//	@Summary		Send events again
//	@Description	Events of the log that the webhook's filter selects, to its own URL, with the same ids and the header `Webhook-Replay: true`. It goes on in the background, at most 100 requests a second, one replay of a webhook at a time.
//	@Tags			webhooks
//	@Accept			json
//	@Produce		json
//	@Param			id		path	string			true	"webhook id"
//	@Param			range	body	WebhookReplay	true	"which events"
//	@Success		202	{object}	ReplayStarted
//	@x-scope		"webhooks:write"
//	@Router			/v1/webhooks/{id}/replay [post]
func (s *server) replayWebhook(w http.ResponseWriter, r *http.Request) error {
	if err := queryOf(r).done(); err != nil {
		return err
	}
	if mediaType(r) != "application/json" {
		return problem.New(problem.UnsupportedMediaType, "send a JSON object: curl -H 'Content-Type: application/json' -d '%s' '%s'",
			`{"since":"1h"}`, urlOf(r))
	}
	var body WebhookReplay
	if err := s.decodeJSON(w, r, &body); err != nil {
		return err
	}
	id, view := chi.URLParam(r, "id"), viewOf(w)
	if (body.After == "") == (body.Since == "") {
		return problem.InvalidBody("/since", "give either after or since")
	}
	pointer := "/after"
	if body.After == "" {
		pointer = "/since"
	}
	after, err := s.startOf(w, body.After+body.Since, pointer)
	until := view.LastEvent()
	if err == nil && body.Until != "" {
		var t time.Time
		if t, err = s.timeOf(body.Until); err != nil {
			return problem.InvalidBody("/until", "must be an RFC 3339 time or a duration such as 10m")
		}
		until, err = view.EventsBefore(t)
	}
	if err != nil {
		return err
	}
	err = webhookProblem(s.cfg.Webhooks.Replay(id, view.Key().Limit, after, until), id)
	view.Record(audit.ReplayWebhook, id, err)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusAccepted, ReplayStarted{After: strconv.FormatUint(after, 10), Until: strconv.FormatUint(until, 10)})
}

// deadLetters lists dead letters.
//
//	@ID				deadLetters
//	@Summary		List the dead letters of a webhook
//	@Description	Events that the endpoint has not taken within `retry_for`, oldest first. The newest 1,000 are kept until they are sent again, or the webhook is deleted.
//	@Tags			webhooks
//	@Produce		json
//	@Param			id		path		string	true	"webhook id"
//	@Param			after	query		string	false	"next_after of the page before"
//	@Param			limit	query		int		false	"page size"	minimum(1)	maximum(1000)	default(100)
//	@Success		200		{object}	DeadLetterPage
//	@x-scope		"webhooks:read"
//	@Router			/v1/webhooks/{id}/dead [get]
func (s *server) deadLetters(w http.ResponseWriter, r *http.Request) error {
	q := queryOf(r)
	after, limit := q.position("after"), q.limit()
	if err := q.done(); err != nil {
		return err
	}
	id, key := chi.URLParam(r, "id"), viewOf(w).Key()
	st, err := s.cfg.Webhooks.Get(id, key.Limit)
	if err != nil {
		return webhookProblem(err, id)
	}
	list, more, err := s.cfg.Webhooks.Dead(id, key.Limit, after.seq, limit)
	if err != nil {
		return webhookProblem(err, id)
	}
	hidden := mayHold(key, st.Payloads, false) != nil
	page := DeadLetterPage{Items: make([]DeadLetter, len(list))}
	for i, d := range list {
		page.Items[i] = DeadLetter{Sequence: strconv.FormatUint(d.Event, 10), At: stamp(d.At), Status: d.Status, Error: d.Error, Event: d.Body}
		if hidden {
			page.Items[i].Event = nil
		}
		if more {
			page.NextAfter = page.Items[i].Sequence
		}
	}
	return writeJSON(w, http.StatusOK, page)
}

// redeliver sends dead letters again.
//
//	@ID				redeliver
//	@Summary		Send the dead letters of a webhook again
//	@Description	Oldest first, until the endpoint does not take one, or for a minute. The call waits for it; those that were taken are removed.
//	@Tags			webhooks
//	@Produce		json
//	@Param			id	path		string	true	"webhook id"
//	@Success		200	{object}	Redelivered
//	@x-scope		"webhooks:write"
//	@Router			/v1/webhooks/{id}/dead/redeliver [post]
func (s *server) redeliver(w http.ResponseWriter, r *http.Request) error {
	if err := queryOf(r).done(); err != nil {
		return err
	}
	id, view := chi.URLParam(r, "id"), viewOf(w)
	ctx, cancel := context.WithTimeout(context.Background(), s.cfg.MaxWait)
	defer cancel()
	n, failed, err := s.cfg.Webhooks.Redeliver(ctx, id, view.Key().Limit)
	err = webhookProblem(err, id)
	view.Record(audit.ReplayWebhook, id, err)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, Redelivered{Delivered: n, Error: failed})
}

// webhookProblem translates the errors of the manager of webhooks.
func webhookProblem(err error, id string) error {
	field, wrong := errors.AsType[*webhook.FieldError](err)
	switch {
	case wrong:
		return problem.InvalidBody("/"+field.Field, "%s", field.Text)
	case errors.Is(err, webhook.ErrNotFound):
		return problem.New(problem.WebhookNotFound, "no webhook %q is known", id)
	case errors.Is(err, webhook.ErrTooMany):
		return problem.New(problem.TooManyWebhooks, "%s", err)
	case errors.Is(err, webhook.ErrBusy):
		return problem.New(problem.ReplayUnderWay, "%s", err)
	}
	return err
}

// EventEncoder returns a function that writes events as GET /v1/events shows them, for
// package webhook. source is Config.Source.
func EventEncoder(g *gateway.Gateway, source string) func(e *gateway.Event, payloads bool) (body []byte, id string, err error) {
	form := &eventForm{source: Config{Source: source}.withDefaults().Source, key: keyOfLog(g.Log()), view: wholeUplinks{g}}
	return func(e *gateway.Event, payloads bool) ([]byte, string, error) {
		v, err := form.event(e, payloads)
		if err != nil {
			return nil, "", err
		}
		body, err := json.Marshal(v)
		return body, v.ID, err
	}
}

// wholeUplinks reads uplinks for the gateway itself.
type wholeUplinks struct{ g *gateway.Gateway }

func (w wholeUplinks) Whole(u *gateway.Uplink) (gateway.Uplink, bool, error) {
	page, err := w.g.Uplinks(u.Client, u.Seq-1, 1)
	if err != nil || len(page.Items) == 0 || page.Items[0].Seq != u.Seq {
		return *u, false, err
	}
	return page.Items[0], true, nil
}
