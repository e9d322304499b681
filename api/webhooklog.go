package api

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/longwire/longwire/api/internal/problem"
	"github.com/longwire/longwire/internal/audit"
	"github.com/longwire/longwire/internal/webhook"
)

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
	Event    json.RawMessage `json:"event,omitempty" swaggertype:"object"`      // as the request had it; absent if the key may not read its payload, or if the event could not be read from the store
} //@name DeadLetter

// DeadLetterPage is one page of dead letters.
type DeadLetterPage struct {
	Items     []DeadLetter `json:"items" validate:"required"` // oldest first
	NextAfter string       `json:"next_after,omitempty"`      // the after of the next page; absent on the last one
} //@name DeadLetterPage

// WebhookReplay selects events to be sent again.
type WebhookReplay struct {
	After string `json:"after,omitempty" empty:"no" example:"earliest"` // behind this cursor
	Since string `json:"since,omitempty" empty:"no" example:"1h"`       // or logged at this time or later, or so long ago at most
	Until string `json:"until,omitempty" empty:"no" example:"10m"`      // up to this time, or so long ago; by default up to now
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
	id, view := pathParam(r, "id"), viewOf(w)
	ctx, release := s.untilDrain(w)
	defer release()
	a, err := s.cfg.Webhooks.Test(ctx, id, view.Key().Limit)
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
	id := pathParam(r, "id")
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
	var body WebhookReplay
	if err := s.bodyOf(w, r, `{"since":"1h"}`, &body); err != nil {
		return err
	}
	id, view := pathParam(r, "id"), viewOf(w)
	if (body.After == "") == (body.Since == "") {
		return problem.InvalidBody("/since", "give either after or since")
	}
	after, until := uint64(0), view.LastEvent()
	var err error
	if body.Since != "" {
		after, err = s.eventsBefore(w, body.Since, "/since")
	} else {
		after, err = s.startOf(w, body.After, "/after")
	}
	if err == nil && body.Until != "" {
		until, err = s.eventsBefore(w, body.Until, "/until")
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
	after, limit := q.eventNumber("after"), q.limit()
	if err := q.done(); err != nil {
		return err
	}
	id, key := pathParam(r, "id"), viewOf(w).Key()
	st, err := s.cfg.Webhooks.Get(id, key.Limit)
	if err != nil {
		return webhookProblem(err, id)
	}
	list, more, err := s.cfg.Webhooks.Dead(id, key.Limit, after, limit)
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
	}
	if more {
		page.NextAfter = page.Items[len(page.Items)-1].Sequence
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
	id, view := pathParam(r, "id"), viewOf(w)
	ctx, release := s.untilDrain(w)
	defer release()
	ctx, cancel := context.WithTimeout(ctx, s.cfg.MaxWait)
	defer cancel()
	n, failed, err := s.cfg.Webhooks.Redeliver(ctx, id, view.Key().Limit)
	err = webhookProblem(err, id)
	view.Record(audit.ReplayWebhook, id, err)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, Redelivered{Delivered: n, Error: failed})
}
