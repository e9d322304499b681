package api

import (
	"context"
	"errors"
	"net/http"

	"github.com/longwire/longwire/api/internal/guard"
	"github.com/longwire/longwire/api/internal/problem"
	"github.com/longwire/longwire/internal/apikey"
	"github.com/longwire/longwire/internal/audit"
	"github.com/longwire/longwire/internal/webhook"
)

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
	var body WebhookCreate
	if err := s.bodyOf(w, r, `{"url":"http://127.0.0.1:9000/hook","types":["message.received"]}`, &body); err != nil {
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
	if err := mayHold(key, false, spec.Reply); err != nil {
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
		return guard.Lacks(apikey.MessagesRead, "the webhook gets what devices send: the API key needs the scope")
	case reply && !key.Scopes.Allows(apikey.MessagesWrite):
		return guard.Lacks(apikey.MessagesWrite, "the webhook pushes answers to devices: the API key needs the scope")
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
	return s.answerWebhook(w, http.StatusOK, pathParam(r, "id"), "")
}

// patchWebhook changes a webhook.
//
//	@ID				patchWebhook
//	@Summary		Change a webhook
//	@Description	Absent members stay as they are, and null takes a member back to its default; `url` and `state` have none. `"state":"active"` enables a disabled webhook, which goes on at its cursor; of an active one the parked clients are tried at once. An event whose request is under way may be sent again.
//	@Tags			webhooks
//	@Accept			json,application/merge-patch+json
//	@Produce		json
//	@Param			id		path		string			true	"webhook id"
//	@Param			change	body		WebhookPatch	true	"what to change"
//	@Success		200		{object}	Webhook
//	@x-scope		"webhooks:write"
//	@Router			/v1/webhooks/{id} [patch]
func (s *server) patchWebhook(w http.ResponseWriter, r *http.Request) error {
	var body WebhookPatch
	nulls, err := s.patchOf(w, r, &body)
	if err != nil {
		return err
	}
	id, view := pathParam(r, "id"), viewOf(w)
	key := view.Key()
	if st, known := s.cfg.Webhooks.Get(id, key.Limit); known == nil {
		if err := mayHold(key, st.Payloads, st.Reply || body.Reply != nil && *body.Reply); err != nil {
			return err
		}
	}
	err = s.cfg.Webhooks.Update(context.Background(), id, key.Limit, func(spec *webhook.Spec) error {
		if err := reset(spec, nulls); err != nil {
			return err
		}
		return body.change(spec)
	})
	err = webhookProblem(err, id)
	view.Record(audit.UpdateWebhook, id, err)
	if err != nil {
		return err
	}
	return s.answerWebhook(w, http.StatusOK, id, "")
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
	id, view := pathParam(r, "id"), viewOf(w)
	err := webhookProblem(s.cfg.Webhooks.Delete(context.Background(), id, view.Key().Limit), id)
	view.Record(audit.DeleteWebhook, id, err)
	return noContent(w, err)
}

// rotateWebhook gives a webhook a new secret.
//
//	@ID				rotateWebhook
//	@Summary		Rotate the secret of a webhook
//	@Description	The answer has the new secret. For 24 hours each request has a second signature, by the secret before. After several rotations in a day there is one by each of the last five.
//	@Tags			webhooks
//	@Produce		json
//	@Param			id	path		string	true	"webhook id"
//	@Success		200	{object}	Webhook
//	@x-scope		"webhooks:write"
//	@Router			/v1/webhooks/{id}/rotate [post]
func (s *server) rotateWebhook(w http.ResponseWriter, r *http.Request) error {
	id, view := pathParam(r, "id"), viewOf(w)
	hook, err := s.cfg.Webhooks.Rotate(context.Background(), id, view.Key().Limit)
	err = webhookProblem(err, id)
	view.Record(audit.UpdateWebhook, id, err)
	if err != nil {
		return err
	}
	return s.answerWebhook(w, http.StatusOK, id, hook.Secret)
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
