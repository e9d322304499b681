package api

import (
	"context"
	"errors"
	"net/http"
	"strconv"

	"github.com/longwire/longwire/api/internal/problem"
	"github.com/longwire/longwire/internal/apikey"
	"github.com/longwire/longwire/internal/audit"
	"github.com/longwire/longwire/internal/consumer"
	"github.com/longwire/longwire/internal/feed"
)

// Consumer is a place in the log of events that the gateway keeps for a backend.
type Consumer struct {
	Name      string            `json:"name" validate:"required" example:"orders"`             // chosen by the caller
	Types     []string          `json:"types" validate:"required" example:"message.acked"`     // of events; empty for all
	Client    string            `json:"client,omitempty" example:"truck-17"`                   // events of this client
	Prefix    string            `json:"prefix,omitempty" example:"truck-"`                     // of clients whose id starts so
	Group     string            `json:"group,omitempty" example:"fleet-a"`                     // of members of this group
	Labels    map[string]string `json:"labels,omitempty"`                                      // of clients with all these labels
	Cursor    string            `json:"cursor" validate:"required" example:"1763800000000017"` // events up to it are acked
	LagEvents uint64            `json:"lag_events" validate:"required"`                        // at most so many events of the log lie behind the cursor
	Holder    string            `json:"holder,omitempty"`                                      // address of the puller that has the lease
	CreatedAt string            `json:"created_at" validate:"required" format:"date-time"`     // when it was made
} //@name Consumer

// ConsumerList is the list of consumers.
type ConsumerList struct {
	Items []Consumer `json:"items" validate:"required"` // by name
} //@name ConsumerList

// ConsumerPut says which events a consumer gets.
type ConsumerPut struct {
	Types  []string          `json:"types,omitempty" validate:"omitempty,max=64" example:"message.received"`                                                // of events, with wildcards such as client.*; none for all
	Client *string           `json:"client,omitempty" validate:"omitempty,clientid"`                                                                        // events of this client alone
	Prefix *string           `json:"prefix,omitempty" validate:"omitempty,clientid"`                                                                        // of clients whose id starts so
	Group  *string           `json:"group,omitempty" validate:"omitempty,group"`                                                                            // of members of this group
	Labels map[string]string `json:"labels,omitempty" validate:"omitempty,max=32,dive,keys,labelkey,endkeys,bytes=256,max=256" swaggertype:"object,string"` // of clients with all these labels
	Start  string            `json:"start,omitempty" empty:"no" example:"earliest"`                                                                         // now, earliest, a cursor, a time, or a duration such as 1h ago. A new consumer starts now; for an existing one start moves the cursor
} //@name ConsumerPut

// ConsumerBatch has the next events of a consumer.
type ConsumerBatch struct {
	Items   []Event `json:"items" validate:"required"`   // oldest first; the same again until they are acked
	Through string  `json:"through" validate:"required"` // what to ack when they are done
	Lease   string  `json:"lease" validate:"required"`   // for the next calls
	Gap     bool    `json:"gap,omitempty"`               // events were removed before they were pulled
} //@name ConsumerBatch

// ConsumerAck says that events are done.
type ConsumerAck struct {
	Through string `json:"through" validate:"required" example:"1763800000000017"` // of the batch, or the sequence of one of its events
	Lease   string `json:"lease" validate:"required"`                              // of the batch
	Release bool   `json:"release,omitempty"`                                      // end the lease, so that another puller need not wait for its end
} //@name ConsumerAck

func consumerView(st *consumer.Status) Consumer {
	v := Consumer{Name: st.Name, Types: st.Filter.Types, Client: string(st.Filter.Client), Prefix: st.Filter.Prefix, Group: st.Filter.Group,
		Labels: st.Filter.Labels, Cursor: strconv.FormatUint(st.Cursor, 10), LagEvents: st.Lag, Holder: st.Holder, CreatedAt: stamp(st.CreatedAt)}
	if v.Types == nil {
		v.Types = []string{}
	}
	return v
}

// listConsumers lists the consumers.
//
//	@ID				listConsumers
//	@Summary		List consumers
//	@Description	Those that were made under the caller's limit.
//	@Tags			consumers
//	@Produce		json
//	@Success		200	{object}	ConsumerList
//	@x-scope		"events:read"
//	@Router			/v1/consumers [get]
func (s *server) listConsumers(w http.ResponseWriter, r *http.Request) error {
	list := ConsumerList{Items: []Consumer{}}
	for _, st := range s.cfg.Consumers.List(viewOf(w).Key().Limit) {
		list.Items = append(list.Items, consumerView(&st))
	}
	return writeJSON(w, http.StatusOK, list)
}

// putConsumer makes or changes a consumer.
//
//	@ID				putConsumer
//	@Summary		Create or change a consumer
//	@Description	A consumer is a place in the log of events that the gateway keeps: a backend pulls events and acks them, and goes on there after a restart of either side. It gets each event at least once, in order.
//	@Description	The body replaces the filter of an existing consumer. Its cursor stays, unless `start` is given.
//	@Tags			consumers
//	@Accept			json
//	@Produce		json
//	@Param			name		path		string		true	"1 to 64 of A-Z a-z 0-9 . _ -"
//	@Param			consumer	body		ConsumerPut	true	"which events"
//	@Success		200			{object}	Consumer	"changed"
//	@Success		201			{object}	Consumer	"created"
//	@Header			201			{string}	Location	"the consumer"
//	@x-scope		"events:read"
//	@Router			/v1/consumers/{name} [put]
func (s *server) putConsumer(w http.ResponseWriter, r *http.Request) error {
	var body ConsumerPut
	if err := s.bodyOf(w, r, `{"types":["message.received"]}`, &body); err != nil {
		return err
	}
	name, view := pathParam(r, "name"), viewOf(w)
	after, err := s.startOf(w, body.Start, "/start")
	if err != nil {
		return err
	}
	f := filterOf(body.Types, body.Client, body.Prefix, body.Group, body.Labels)
	st, created, err := s.cfg.Consumers.Put(context.Background(), name, f, view.Key().Limit, after, body.Start != "")
	err = consumerProblem(err, name)
	view.Record(audit.PutConsumer, name, err)
	if err != nil {
		return err
	}
	status := http.StatusOK
	if created {
		status = http.StatusCreated
		w.Header().Set("Location", "/v1/consumers/"+name)
	}
	return writeJSON(w, status, consumerView(&st))
}

// getConsumer shows a consumer.
//
//	@ID			getConsumer
//	@Summary	Get a consumer
//	@Description	With its cursor, its lag and its puller.
//	@Tags		consumers
//	@Produce	json
//	@Param		name	path		string	true	"name"
//	@Success	200		{object}	Consumer
//	@x-scope	"events:read"
//	@Router		/v1/consumers/{name} [get]
func (s *server) getConsumer(w http.ResponseWriter, r *http.Request) error {
	name := pathParam(r, "name")
	st, err := s.cfg.Consumers.Get(name, viewOf(w).Key().Limit)
	if err != nil {
		return consumerProblem(err, name)
	}
	return writeJSON(w, http.StatusOK, consumerView(&st))
}

// deleteConsumer removes a consumer.
//
//	@ID				deleteConsumer
//	@Summary		Delete a consumer
//	@Tags			consumers
//	@Produce		json
//	@Param			name	path	string	true	"name"
//	@Success		204
//	@x-scope		"events:read"
//	@Router			/v1/consumers/{name} [delete]
func (s *server) deleteConsumer(w http.ResponseWriter, r *http.Request) error {
	name, view := pathParam(r, "name"), viewOf(w)
	err := consumerProblem(s.cfg.Consumers.Delete(context.Background(), name, view.Key().Limit), name)
	view.Record(audit.DeleteConsumer, name, err)
	return noContent(w, err)
}

// maxPullBytes bounds the payloads and results of one answer: it ends behind the one that
// reaches it.
const maxPullBytes = 16 << 20

// pullEvents returns the next events of a consumer.
//
//	@ID				pullEvents
//	@Summary		Pull events
//	@Description	The first events behind the cursor, the same ones until they are acked; fewer than `max` if they have 16 MiB of payloads. With `wait` the call waits for the first one.
//	@Description	One puller at a time: the answer has a lease for the next calls, which ends 30 s after the last of them. Meanwhile another puller gets 409.
//	@Description	Without the scope `messages:read` the text of `uplink` and `result` are left out, and `payload_gone` says so.
//	@Tags			consumers
//	@Produce		json
//	@Param			name	path		string	true	"name"
//	@Param			max		query		int		false	"events"	minimum(1)	maximum(1000)	default(100)
//	@Param			wait	query		string	false	"wait for the first event, at most 60s"	example(5s)
//	@Param			Prefer	header		string	false	"wait=5 is the same as ?wait=5s"
//	@Param			lease	query		string	false	"of the call before"
//	@Success		200		{object}	ConsumerBatch
//	@x-scope		"events:read"
//	@Router			/v1/consumers/{name}/events [get]
func (s *server) pullEvents(w http.ResponseWriter, r *http.Request) error {
	q := queryOf(r)
	most := q.integer("max", 100, 1, consumer.MaxEvents)
	lease := q.text("lease")
	wait := s.waitOf(q, r)
	if err := q.done(); err != nil {
		return err
	}
	name, view := pathParam(r, "name"), viewOf(w)
	if wait.d > 0 {
		release, err := s.takeStream(w)
		if err != nil {
			return err
		}
		defer release()
	}
	ctx, leave := s.patience(w, r)
	defer leave()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.drain.began, cancel)()
	limit := view.Key().Limit
	b, err := s.cfg.Consumers.Pull(ctx, name, limit, consumer.Query{Lease: lease, From: r.RemoteAddr, Most: most, Wait: wait.d, Turn: view.Turn})
	if err != nil {
		return consumerProblem(err, name)
	}
	answered := false
	defer func() {
		hungUp := len(b.Events) == 0 && ctx.Err() != nil && s.drain.began.Err() == nil
		if b.Lease != lease && (!answered || hungUp) { // no caller knows it
			s.cfg.Consumers.Release(name, limit, b.Lease)
		}
	}()
	if err := view.Alive(); err != nil {
		return err // the key ended during the wait
	}
	form, payloads := s.eventForm(view), view.Key().Scopes.Allows(apikey.MessagesRead)
	out := ConsumerBatch{Items: []Event{}, Through: strconv.FormatUint(b.Through, 10), Lease: b.Lease, Gap: b.Gap}
	size := 0
	for i := range b.Events {
		item, err := form.event(&b.Events[i], payloads)
		if err != nil {
			return err
		}
		out.Items = append(out.Items, item)
		if size += item.Data.size(); size >= maxPullBytes {
			out.Through = item.Sequence
			break
		}
	}
	answered = true
	wait.applied(w.Header())
	return writeJSON(w, http.StatusOK, out)
}

// ackEvents moves the cursor of a consumer.
//
//	@ID				ackEvents
//	@Summary		Ack events
//	@Description	All events up to `through` are done. The answer comes when that is durable. It renews the lease, or ends it with `release`.
//	@Tags			consumers
//	@Accept			json
//	@Produce		json
//	@Param			name	path		string		true	"name"
//	@Param			ack		body		ConsumerAck	true	"how far"
//	@Success		200		{object}	Consumer
//	@x-scope		"events:read"
//	@Router			/v1/consumers/{name}/ack [post]
func (s *server) ackEvents(w http.ResponseWriter, r *http.Request) error {
	var body ConsumerAck
	if err := s.bodyOf(w, r, `{"through":"…","lease":"…"}`, &body); err != nil {
		return err
	}
	through, err := strconv.ParseUint(body.Through, 10, 64)
	if err != nil {
		return problem.InvalidBody("/through", "is not a cursor")
	}
	name := pathParam(r, "name")
	st, err := s.cfg.Consumers.Ack(context.Background(), name, viewOf(w).Key().Limit, body.Lease, through, body.Release)
	if err != nil {
		return consumerProblem(err, name)
	}
	return writeJSON(w, http.StatusOK, consumerView(&st))
}

// consumerProblem translates the errors of the manager of consumers.
func consumerProblem(err error, name string) error {
	heldBy, isHeld := errors.AsType[*consumer.HeldError](err)
	unknown, isUnknown := errors.AsType[feed.UnknownTypeError](err)
	switch {
	case isHeld:
		p := problem.New(problem.LeaseHeld, "%s", heldBy)
		p.RetryAfter = heldBy.Until
		return p
	case isUnknown:
		return problem.InvalidBody("/types", "%s", unknown)
	case errors.Is(err, consumer.ErrNotFound):
		return problem.New(problem.ConsumerNotFound, "no consumer %q is known", name)
	case errors.Is(err, consumer.ErrTooMany):
		return problem.New(problem.TooManyConsumers, "%s", err)
	case errors.Is(err, consumer.ErrNoLease):
		return problem.New(problem.LeaseHeld, "%s", err)
	case errors.Is(err, consumer.ErrPosition):
		return problem.InvalidBody("/through", "%s", err)
	case errors.Is(err, consumer.ErrBadName):
		return problem.BadParameter("name", "%s", err)
	}
	return err
}
