package api

import (
	"net/http"

	"github.com/longwire/longwire/api/internal/problem"
	"github.com/longwire/longwire/api/internal/tenant"
	"github.com/longwire/longwire/gateway"
)

// push is a decoded request for one message, and how long its caller waits.
type push struct {
	gateway.PushRequest
	online bool
	dryRun bool
	wait   waiting
}

// pushOne pushes to one client.
//
//	@ID				pushOne
//	@Summary		Push a message to one client
//	@Description	**mode=durable** (default): 202 means that the message is on disk; it is delivered when the client is online, until its ttl ends. With `wait` the answer is 200 with the final state when that comes in time.
//	@Description	**mode=online**: now or never. 200 with the device's answer, 409 when it is offline, 504 when it does not ack within `wait` (default 10s). Nothing is stored. An answer that comes within ten minutes after that is an event, and GET of `message_id` shows it for ten minutes.
//	@Description	With an `Idempotency-Key` it is sent at most once: the message is on disk before it is sent, a repeat waits for the first call or gets its outcome, and when the gateway was restarted in between a repeat is answered 504 and GET of the message shows `unknown`. A refusal with 409 because the client is offline keeps no key. A key belongs to one mode; with the other it is 422.
//	@Description
//	@Description	The body is a JSON envelope, or with any other content type the payload itself, with the options in the query (`metadata.order=4711` sets metadata).
//	@Description	To see an ack without a device at hand, run `longwire connect --id demo` in a terminal and push to `demo`.
//	@Tags			messages
//	@Accept			json,text/plain,application/octet-stream
//	@Produce		json
//	@Param			id				path		string		true	"client id"	example(demo)
//	@Param			push			body		PushOne		true	"the push"
//	@Param			mode			query		string		false	"durable or online"						Enums(durable, online)
//	@Param			wait			query		string		false	"wait for the final state, at most 60s"	example(5s)
//	@Param			ttl				query		string		false	"never deliver after this long, 1s to 30d, such as 24h"
//	@Param			on_unknown		query		string		false	"for a client that was never seen: fail, or queue the message for its first connection"	Enums(fail, queue)
//	@Param			Prefer			header		string		false	"wait=5 is the same as ?wait=5s"
//	@Param			Idempotency-Key	header		string		false	"repeats of the same push within 24 h get the first one's message and outcome; 1 to 255 characters of printable ASCII"
//	@Success		200				{object}	Message		"final"
//	@Success		202				{object}	Message		"accepted: on disk"
//	@Header			200,202			{string}	Location	"the message"
//	@x-scope		"messages:write"
//	@Router			/v1/clients/{id}/messages [post]
func (s *server) pushOne(w http.ResponseWriter, r *http.Request) error {
	id, err := clientInPath(r)
	if err != nil {
		return err
	}
	q := queryOf(r)
	wait := s.waitOf(q, r)
	options := queryOptions(q)
	if err := q.done(); err != nil {
		return err
	}
	if err := oneMediaType(r); err != nil {
		return err
	}
	p := push{wait: wait}
	if mediaType(r) == "application/json" {
		err = s.withBody(w, r, func(data []byte) error { return p.readOne(data, &options) })
	} else {
		err = s.raw(w, r, &p, &options)
	}
	if err != nil {
		return err
	}
	p.To.Client = id
	return s.push(w, r, &p)
}

// pushMany pushes to an audience.
//
//	@ID				pushMany
//	@Summary		Push a message to one or many clients
//	@Description	`to` has exactly one of client, clients (at most 1,000), group, labels, all. The gateway fixes the recipients when it accepts the message.
//	@Description	In a list, unknown clients become `failed` deliveries; `all` is every known client: those that have registered, those that were created, and those with a message from before their first contact. `online_only` narrows it to those connected.
//	@Description	With `dry_run` the answer is the audience that the push would have now: 200 with `dry_run`, `recipients` and a sample. Nothing is stored, and an `Idempotency-Key` is not used up. Send the push with that number as `max_recipients`: if the audience has grown when the gateway fixes it, the answer is 412 and nothing is stored. A repeat of an accepted push gets its message, whatever the audience is by then.
//	@Description	`rate` is the number of connected clients to which delivery begins in a second. This process applies it and does not store it: a client that connects, or gets another message, before its turn gets the message at once, and after a restart all remaining clients get it at once.
//	@Tags			messages
//	@Accept			json
//	@Produce		json
//	@Param			push			body		PushMany	true	"the push and its audience"
//	@Param			wait			query		string		false	"wait for the final state, at most 60s"	example(5s)
//	@Param			Prefer			header		string		false	"wait=5 is the same as ?wait=5s"
//	@Param			Idempotency-Key	header		string		false	"repeats of the same push within 24 h get the first one's message and outcome; 1 to 255 characters of printable ASCII"
//	@Success		200				{object}	PushAnswer	"final, or the audience of a dry run"
//	@Success		202				{object}	Message		"accepted: on disk"
//	@Header			200,202			{string}	Location	"the message"
//	@x-scope		"messages:write"
//	@Router			/v1/messages [post]
func (s *server) pushMany(w http.ResponseWriter, r *http.Request) error {
	q := queryOf(r)
	p := push{wait: s.waitOf(q, r)}
	if err := q.done(); err != nil {
		return err
	}
	if err := wantJSON(w, r, `{"to":{"all":true},"text":"hello"}`); err != nil {
		return err
	}
	if err := s.withBody(w, r, p.readMany); err != nil {
		return err
	}
	if p.dryRun {
		return s.dryRun(w, &p)
	}
	return s.push(w, r, &p)
}

// push pushes one decoded message and answers the request.
func (s *server) push(w http.ResponseWriter, r *http.Request, p *push) error {
	key, err := idempotencyKey(r)
	if err != nil {
		return err
	}
	if err := p.identify(key, exchangeOf(w).principal); err != nil {
		return err
	}
	if p.online {
		return s.pushOnline(w, r, p)
	}
	if p.wait.d > 0 {
		return s.pushAndWait(w, r, p)
	}
	receipt, err := viewOf(w).Push(&p.PushRequest)
	if err != nil {
		return err
	}
	return answerPush(w, receipt, p, http.StatusAccepted)
}

func (s *server) pushAndWait(w http.ResponseWriter, r *http.Request, p *push) error {
	ctx, linger, release := s.waitUnder(w, r)
	defer release()
	p.Linger = linger
	receipt, err := viewOf(w).PushAndAwait(ctx, &p.PushRequest, p.wait.d)
	endWithKey(w)
	if err != nil {
		return err
	}
	status := http.StatusAccepted
	if receipt.Message.Completed() {
		status = http.StatusOK
	}
	return answerPush(w, receipt, p, status)
}

// answerPush answers with a stored message.
func answerPush(w http.ResponseWriter, receipt tenant.Receipt, p *push, status int) error {
	view := messageView
	if p.wait.d > 0 || receipt.Replayed { // it may have been sent
		view = liveView
	}
	v := view(viewOf(w), &receipt.Message)
	v.Unknown = receipt.Unknown
	h := w.Header()
	h["Location"] = []string{"/v1/messages/" + v.ID}
	if receipt.Replayed {
		h["Idempotency-Replayed"] = []string{"true"}
	}
	p.wait.applied(h)
	return writeMessage(w, status, &v)
}

// pushOnline delivers now or never.
func (s *server) pushOnline(w http.ResponseWriter, r *http.Request, p *push) error {
	online := p.onlineRequest()
	ctx, linger, release := s.waitUnder(w, r)
	defer release()
	online.Linger = linger
	result, err := viewOf(w).PushOnline(ctx, online)
	endWithKey(w)
	if err != nil {
		return err
	}
	h := w.Header()
	started := exchangeOf(w).started
	if p.IdempotencyKey != "" {
		h["Location"] = []string{"/v1/messages/" + string(result.Message)}
		started = result.CreatedAt
	}
	if result.Replayed {
		h["Idempotency-Replayed"] = []string{"true"}
	}
	p.wait.applied(h)
	v := onlineView(&result, p, started)
	return writeMessage(w, http.StatusOK, &v)
}

func (p *push) onlineRequest() gateway.OnlineRequest {
	return gateway.OnlineRequest{Client: p.To.Client, Payload: p.Payload, Wait: p.wait.d, Metadata: p.Metadata,
		IdempotencyKey: p.IdempotencyKey, Encoding: p.Encoding, Scope: p.Scope, Fingerprint: p.Fingerprint}
}

// checkOnline refuses options that need a stored message.
func (p *push) checkOnline() error {
	switch {
	case p.TTL != 0:
		return problem.InvalidBody("/ttl", "needs mode=durable: mode=online delivers now or never")
	case p.QueueUnknown:
		return problem.InvalidBody("/on_unknown", "needs mode=durable: mode=online queues nothing")
	}
	return nil
}
