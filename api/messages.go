package api

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/longwire/longwire/api/internal/problem"
	"github.com/longwire/longwire/api/internal/tenant"
	"github.com/longwire/longwire/gateway"
)

// Message is a message and its state. For a message to one client, status is the
// state of the delivery: queued, sent, acked, rejected, expired, canceled, failed or
// unknown. For a message to many it is pending or completed, and counts has the
// number of deliveries in each state.
type Message struct {
	ID     string `json:"id" validate:"required" example:"msg_0193f2a0-7c1e-7d3a-9b1f-2f6d1c0a9e11"`                                       // names the message
	Status string `json:"status" validate:"required" enums:"queued,sent,acked,rejected,expired,canceled,failed,unknown,pending,completed"` // of one client's delivery; of a message to many pending, or completed when every delivery is final
	Mode   string `json:"mode" validate:"required" enums:"durable,online"`                                                                 // as it was pushed
	Client string `json:"client,omitempty" example:"truck-17"`                                                                             // that it is for; absent if it is for many
	Outcome
	CreatedAt   string            `json:"created_at,omitempty" validate:"required" format:"date-time"`                                         // when it was accepted
	ExpiresAt   string            `json:"expires_at" validate:"required" format:"date-time"`                                                   // it is never delivered after this
	CompletedAt string            `json:"completed_at,omitempty" format:"date-time"`                                                           // when its last delivery became final
	RTTMs       float64           `json:"rtt_ms,omitempty" example:"0.412"`                                                                    // mode=online: from the write to the answer, in milliseconds
	Counts      *Counts           `json:"counts,omitempty"`                                                                                    // of a message to many: deliveries by state
	Deliveries  string            `json:"deliveries_url,omitempty" example:"/v1/messages/msg_0193f2a0-7c1e-7d3a-9b1f-2f6d1c0a9e11/deliveries"` // URL of the deliveries of a message to many
	Metadata    map[string]string `json:"metadata,omitempty"`                                                                                  // the caller's own notes: kept with the message, not sent to the device, not searched
	Text        *string           `json:"text,omitempty"`                                                                                      // the payload if it was text; only GET of the message shows payloads
	JSON        json.RawMessage   `json:"json,omitempty" swaggertype:"object"`                                                                 // the payload if it was JSON
	Base64      []byte            `json:"base64,omitzero" swaggertype:"string" format:"byte"`                                                  // the payload if it was neither
	Digest
	// Unknown are the named clients that a limited key cannot reach; nothing was
	// stored for them. Only the answer to the push has them.
	Unknown []gateway.ClientID `json:"unknown,omitempty" swaggertype:"array,string"`
} //@name Message

// Outcome is the outcome of a delivery. The device's answer is in result if it is
// text, else in result_base64. Progress is the device's last report of its work;
// it is kept until the connection ends.
type Outcome struct {
	Reason           string  `json:"reason,omitempty" example:"too_large_for_protocol"`               // reason for the state, if it has one
	Attempts         int     `json:"attempts,omitempty" example:"1"`                                  // transmissions so far
	SentAt           string  `json:"sent_at,omitempty" format:"date-time"`                            // when its bytes were flushed to the socket last; of an expired or canceled delivery absent too if the gateway no longer knows
	FinalAt          string  `json:"final_at,omitempty" format:"date-time"`                           // when its state became final
	Result           *string `json:"result,omitempty" example:"done"`                                 // the device's answer, or its words on a reject, as text
	ResultBase64     []byte  `json:"result_base64,omitempty" swaggertype:"string" format:"byte"`      // the same if it is no text
	Progress         *string `json:"progress,omitempty" example:"40 %"`                               // the device's last report of its work, as text
	ProgressBase64   []byte  `json:"progress_base64,omitempty" swaggertype:"string" format:"byte"`    // the same if it is no text
	LateAckAt        string  `json:"late_ack_at,omitempty" format:"date-time"`                        // when the device answered after the state was final
	LateVerdict      string  `json:"late_verdict,omitempty" enums:"ok,reject"`                        // verdict of the late answer
	LateResult       *string `json:"late_result,omitempty"`                                           // late answer, as text
	LateResultBase64 []byte  `json:"late_result_base64,omitempty" swaggertype:"string" format:"byte"` // the same if it is no text
}

// Counts are the numbers of deliveries in each state.
type Counts struct {
	Total    int `json:"total" validate:"required"`    // all deliveries
	Queued   int `json:"queued" validate:"required"`   // waiting on disk
	Sent     int `json:"sent" validate:"required"`     // flushed to a socket, and not answered
	Acked    int `json:"acked" validate:"required"`    // the device said yes
	Rejected int `json:"rejected" validate:"required"` // the device said no, or cannot take it
	Expired  int `json:"expired" validate:"required"`  // the time to live ran out
	Canceled int `json:"canceled" validate:"required"` // withdrawn
	Failed   int `json:"failed" validate:"required"`   // attempts used up, or no such client
} //@name Counts

// MessagePage is one page of messages.
type MessagePage struct {
	Items      []Message `json:"items" validate:"required"`                  // of this page
	NextCursor string    `json:"next_cursor,omitempty"`                      // the cursor of the next page; absent on the last one
	Now        string    `json:"now" validate:"required" format:"date-time"` // the server's clock
} //@name MessagePage

// Delivery is one message for one client.
type Delivery struct {
	Client string `json:"client" validate:"required" example:"truck-17"`                                                 // that it is for
	Status string `json:"status" validate:"required" enums:"queued,sent,acked,rejected,expired,canceled,failed,unknown"` // its state
	Outcome
} //@name Delivery

// DeliveryPage is one page of deliveries.
type DeliveryPage struct {
	Items      []Delivery `json:"items" validate:"required"`                  // of this page
	NextCursor string     `json:"next_cursor,omitempty"`                      // the cursor of the next page; absent on the last one
	Now        string     `json:"now" validate:"required" format:"date-time"` // the server's clock
} //@name DeliveryPage

const (
	statusPending   = "pending"
	statusCompleted = "completed"
)

// messageView shows a message without its payload. If a message to one client is
// more than queued, messageView looks up the delivery and adds its outcome.
func messageView(view *tenant.View, m *gateway.Message) Message {
	v := Message{
		ID: string(m.ID), Mode: modeOf(m.Online), Client: string(m.Client), Metadata: m.Metadata,
		CreatedAt: stamp(m.CreatedAt), ExpiresAt: stamp(m.ExpiresAt), CompletedAt: stamp(m.CompletedAt),
	}
	v.Status = statusOf(m)
	if m.Client == "" {
		v.Counts = new(countsView(&m.Counts))
		v.Deliveries = "/v1/messages/" + v.ID + "/deliveries"
		return v
	}
	if v.Status == gateway.Queued.String() {
		return v
	}
	if d, err := view.Delivery(m); err == nil {
		v.Status = d.State.String()
		v.Outcome = outcomeView(&d)
	}
	return v
}

func countsView(c *gateway.Counts) Counts {
	return Counts{Total: c.Total, Queued: c.Queued, Sent: c.Sent, Acked: c.Acked, Rejected: c.Rejected, Expired: c.Expired,
		Canceled: c.Canceled, Failed: c.Failed}
}

// modeOf returns the mode of a push.
func modeOf(online bool) string {
	if online {
		return modeOnline
	}
	return modeDurable
}

// statusOf returns the status of a message: the state of its only delivery, or for
// many deliveries pending or completed.
func statusOf(m *gateway.Message) string {
	switch {
	case m.Client != "":
		return onlyState(m.Counts).String()
	case m.Completed():
		return statusCompleted
	}
	return statusPending
}

// onlyState is the state that the one delivery of a message is in.
func onlyState(c gateway.Counts) gateway.State {
	for st := gateway.Queued; st <= gateway.Unknown; st++ {
		if *c.Of(st) > 0 {
			return st
		}
	}
	return gateway.Queued
}

// liveView is messageView. From the client's connections it adds the reason to wait,
// the attempts and the progress of a queued delivery.
func liveView(view *tenant.View, m *gateway.Message) Message {
	v := messageView(view, m)
	if v.Status != gateway.Queued.String() {
		return v
	}
	if d, ok := view.InFlight(m); ok {
		v.Status, v.Outcome = d.State.String(), outcomeView(&d)
	}
	return v
}

func outcomeView(d *gateway.Delivery) Outcome {
	o := Outcome{Reason: d.Reason, Attempts: d.Attempts, SentAt: stamp(d.SentAt), FinalAt: stamp(d.FinalAt), LateAckAt: stamp(d.LateAckAt)}
	o.Result, o.ResultBase64 = result(d.Result)
	o.Progress, o.ProgressBase64 = result(d.Progress)
	o.LateResult, o.LateResultBase64 = result(d.LateResult)
	o.LateVerdict = lateVerdict(d.LateAckAt, d.LateCode == gateway.AckReject)
	return o
}

// lateVerdict is the verdict of an answer that came late, "" if none came.
func lateVerdict(at time.Time, rejected bool) string {
	switch {
	case at.IsZero():
		return ""
	case rejected:
		return "reject"
	}
	return "ok"
}

// result shows a device's answer as text or bytes. An empty answer is no answer.
func result(b []byte) (*string, []byte) {
	if len(b) == 0 {
		return nil, nil
	}
	return textOrBase64(b)
}

// withPayload adds the payload in the form in which it was pushed.
func (v *Message) withPayload(m *gateway.Message) {
	switch m.Encoding {
	case gateway.EncodingText:
		v.Text = new(string(m.Payload))
	case gateway.EncodingJSON:
		v.JSON = m.Payload
	default:
		v.Base64 = present(m.Payload)
	}
}

func onlineView(r *gateway.OnlineResult, p *push, started time.Time) Message {
	v := Message{
		ID: string(r.Message), Mode: modeOnline, Client: string(r.Client), Status: r.State.String(), Metadata: p.Metadata,
		CreatedAt: stamp(started), CompletedAt: stamp(r.At), RTTMs: milliseconds(r.RTT),
	}
	v.ExpiresAt = v.CompletedAt // it was delivered now; nothing is left to expire
	v.Outcome = Outcome{Reason: r.Reason, Attempts: 1, SentAt: stamp(r.SentAt), FinalAt: v.CompletedAt}
	v.Result, v.ResultBase64 = result(r.Result)
	return v
}

// deliveryAsMessage shows a delivery in a list of one client's messages.
func deliveryAsMessage(d *gateway.Delivery) Message {
	return Message{
		ID: string(d.Message), Mode: modeOf(d.Online), Client: string(d.Client), Status: d.State.String(), Outcome: outcomeView(d),
		CreatedAt: stamp(d.CreatedAt), ExpiresAt: stamp(d.ExpiresAt), CompletedAt: stamp(d.FinalAt),
	}
}

// getMessage shows a message.
//
//	@ID				getMessage
//	@Summary		Get a message
//	@Description	With `wait` the answer comes when the message is completed, or as it stands when the time is over.
//	@Tags			messages
//	@Produce		json
//	@Param			id		path		string	true	"message id"
//	@Param			wait	query		string	false	"wait for the final state, at most 60s"	example(5s)
//	@Param			fields	query		string	false	"members to show, by comma; id is always shown, others are left out, required ones too. payload_bytes, content and preview are shown only when they are named"
//	@Param			Prefer	header		string	false	"wait=5 is the same as ?wait=5s"
//	@Success		200		{object}	Message
//	@x-scope		"messages:read"
//	@Router			/v1/messages/{id} [get]
func (s *server) getMessage(w http.ResponseWriter, r *http.Request) error {
	q := queryOf(r)
	wait := s.waitOf(q, r)
	fields := q.fields(messageMembers)
	if err := q.done(); err != nil {
		return err
	}
	m, err := s.awaited(w, r, wait)
	if err != nil {
		return err
	}
	v := liveView(viewOf(w), &m)
	v.withPayload(&m)
	wait.applied(w.Header())
	if fields != nil {
		v.Digest = digestOf(m.Payload, contentOf(m.Encoding))
		return writeJSON(w, http.StatusOK, narrowed[Message]{&v, fields})
	}
	return writeJSON(w, http.StatusOK, v)
}

// awaited returns the message in the path when it is completed or wait is over.
func (s *server) awaited(w http.ResponseWriter, r *http.Request, wait waiting) (gateway.Message, error) {
	v := viewOf(w)
	id := messageInPath(r)
	if wait.d == 0 {
		return v.Message(id)
	}
	ctx, cancel := context.WithTimeout(r.Context(), wait.d)
	defer cancel()
	defer s.onKeyEnd(w, cancel)()
	m, err := v.Await(ctx, id)
	endWithKey(w)
	return m, err
}

// cancelMessage withdraws a message.
//
//	@ID				cancelMessage
//	@Summary		Cancel a message
//	@Description	Every delivery that is not final becomes canceled. A device may still ack a delivery that it has received; the delivery then has late_ack_at.
//	@Tags			messages
//	@Produce		json
//	@Param			id		path		string	true	"message id"
//	@Success		200		{object}	Message
//	@x-scope		"messages:write"
//	@Router			/v1/messages/{id} [delete]
func (s *server) cancelMessage(w http.ResponseWriter, r *http.Request) error {
	id := messageInPath(r)
	m, err := viewOf(w).Cancel(id)
	if err != nil {
		if p := problem.Of(err); p.MessageID == "" && p.Status == http.StatusConflict {
			p.MessageID = string(id)
			return p
		}
		return err
	}
	return writeJSON(w, http.StatusOK, messageView(viewOf(w), &m))
}

// listMessages lists messages.
//
//	@ID				listMessages
//	@Summary		List messages
//	@Description	Newest first, or oldest first. With `client` these are the messages to that client, shared ones included, each with its own delivery's state, newest first.
//	@Description	No list of messages carries payloads. `fields=status,client,payload_bytes,content,preview` shows how long each payload is, its kind and its first 64 bytes; `GET /v1/messages/{id}/payload` has all of it.
//	@Tags			messages
//	@Produce		json
//	@Param			client	query		string	false	"to this client"
//	@Param			status	query		string	false	"pending: not completed; a final state: completed, with at least one such delivery. With client: its delivery's state"	Enums(pending, queued, sent, acked, rejected, expired, canceled, failed, unknown)
//	@Param			since	query		string	false	"created since: RFC 3339 time, or a duration back from now such as 1h"
//	@Param			before	query		string	false	"created before: a message's id, an RFC 3339 time, or a duration back from now; with client an id only"
//	@Param			order	query		string	false	"desc: newest first; asc: oldest first, not with client"	Enums(asc, desc)	default(desc)
//	@Param			fields	query		string	false	"members to show, by comma; id is always shown, others are left out, required ones too. payload_bytes, content and preview are shown only when they are named: then a client's messages come 100 a page at most"
//	@Param			limit	query		int		false	"page size"	minimum(1)	maximum(1000)	default(100)
//	@Param			cursor	query		string	false	"next_cursor of the page before"
//	@Success		200		{object}	MessagePage
//	@x-scope		"messages:read"
//	@Router			/v1/messages [get]
func (s *server) listMessages(w http.ResponseWriter, r *http.Request) error {
	q := queryOf(r)
	if client := q.clientID("client"); client != "" || q.err != nil {
		return s.history(w, r, q, client)
	}
	mq := gateway.MessageQuery{State: q.messageState(), Since: q.since("since", s.cfg.Now()), Limit: q.limit(), Ascending: q.oneOf("order", "desc", "asc", "desc") == "asc"}
	mq.Before, mq.CreatedBefore = q.messageBefore("before", s.cfg.Now())
	fields := q.listFields()
	kind := byte(cursorMessages)
	if mq.Ascending {
		kind = cursorMessagesUp
	}
	switch cursor := gateway.MessageID(q.cursor(cursorsOf(w), kind, validMessage)); {
	case cursor == "":
	case mq.Ascending:
		mq.After = cursor
	default:
		mq.Before = cursor
	}
	if err := q.done(); err != nil {
		return err
	}
	ctx, release := s.patience(w, r)
	defer release()
	page, err := viewOf(w).Messages(ctx, mq)
	if err != nil {
		return err
	}
	out := MessagePage{Items: make([]Message, len(page.Items)), Now: s.now()}
	for i := range page.Items {
		m := &page.Items[i]
		out.Items[i] = liveView(viewOf(w), m)
		if fields != nil {
			out.Items[i].Digest = digestOf(m.Payload, contentOf(m.Encoding))
		}
	}
	if page.More {
		out.NextCursor = cursorsOf(w).encode(kind, string(page.Next))
	}
	return writeMessages(w, r, &out, fields)
}

// messageState takes a state that selects messages: pending and queued are one.
func (q *query) messageState() gateway.State {
	switch q.values.Get("status") {
	case statusPending:
		q.one("status")
		return gateway.Queued
	case gateway.Sent.String():
		q.fail("status", "can be sent only with client: that is a state of deliveries")
	}
	return q.state("status", messageStates, statusPending)
}

// clientMessages lists the messages to one client.
//
//	@ID				clientMessages
//	@Summary		List a client's messages
//	@Description	Its queue and recent history, newest first.
//	@Tags			messages
//	@Produce		json
//	@Param			id		path		string	true	"client id"
//	@Param			status	query		string	false	"in this state; pending: not final"	Enums(pending, queued, sent, acked, rejected, expired, canceled, failed, unknown)
//	@Param			since	query		string	false	"created since: RFC 3339 time, or a duration back from now such as 1h"
//	@Param			before	query		string	false	"created before the message with this id"
//	@Param			fields	query		string	false	"members to show, by comma; id is always shown, others are left out, required ones too. payload_bytes, content and preview are shown only when they are named: then 100 come a page at most"
//	@Param			limit	query		int		false	"page size"	minimum(1)	maximum(1000)	default(100)
//	@Param			cursor	query		string	false	"next_cursor of the page before"
//	@Success		200		{object}	MessagePage
//	@x-scope		"messages:read"
//	@Router			/v1/clients/{id}/messages [get]
func (s *server) clientMessages(w http.ResponseWriter, r *http.Request) error {
	id, err := clientInPath(r)
	if err != nil {
		return err
	}
	if _, err := viewOf(w).Client(id); err != nil {
		return err
	}
	return s.history(w, r, queryOf(r), id)
}

func (s *server) history(w http.ResponseWriter, r *http.Request, q *query, client gateway.ClientID) error {
	dq := gateway.ClientDeliveryQuery{Client: client, Since: q.since("since", s.cfg.Now()), Limit: q.limit()}
	if dq.Pending = q.values.Get("status") == statusPending; dq.Pending {
		q.one("status")
	} else {
		dq.State = q.state("status", deliveryStates, statusPending)
	}
	if q.oneOf("order", "desc", "asc", "desc") == "asc" {
		q.fail("order", "is desc for the messages to one client")
	}
	fields := q.listFields()
	digests := shows(fields, digestNames...)
	if digests {
		dq.Limit = min(dq.Limit, maxDigests)
	}
	before, _ := strconv.ParseUint(q.cursor(cursorsOf(w), cursorHistory, validSeq), 10, 64)
	dq.Before = gateway.Seq(before)
	from := q.messageID("before")
	if err := q.done(); err != nil {
		return err
	}
	if from != "" && dq.Before == 0 {
		m, err := viewOf(w).Message(from)
		if err != nil {
			return err
		}
		dq.Before = m.Seq
	}
	page, err := viewOf(w).ClientDeliveries(dq)
	if err != nil {
		return err
	}
	out := MessagePage{Items: make([]Message, len(page.Items)), Now: s.now()}
	for i := range page.Items {
		d := &page.Items[i]
		out.Items[i] = deliveryAsMessage(d)
		if digests {
			if m, err := viewOf(w).Message(d.Message); err == nil {
				out.Items[i].Digest = digestOf(m.Payload, contentOf(m.Encoding))
			}
		}
	}
	if page.More {
		out.NextCursor = cursorsOf(w).encode(cursorHistory, strconv.FormatUint(uint64(page.Next), 10))
	}
	return writeMessages(w, r, &out, fields)
}

// listDeliveries lists a message's deliveries.
//
//	@ID				listDeliveries
//	@Summary		List a message's deliveries
//	@Description	One per client that it was for.
//	@Tags			messages
//	@Produce		json
//	@Param			id		path		string	true	"message id"
//	@Param			status	query		string	false	"in this state"	Enums(queued, sent, acked, rejected, expired, canceled, failed, unknown)
//	@Param			limit	query		int		false	"page size"		minimum(1)	maximum(1000)	default(100)
//	@Param			cursor	query		string	false	"next_cursor of the page before"
//	@Success		200		{object}	DeliveryPage
//	@x-scope		"messages:read"
//	@Router			/v1/messages/{id}/deliveries [get]
func (s *server) listDeliveries(w http.ResponseWriter, r *http.Request) error {
	q := queryOf(r)
	dq := gateway.DeliveryQuery{Message: messageInPath(r), State: q.state("status", deliveryStates), Limit: q.limit()}
	dq.After = gateway.ClientID(q.cursor(cursorsOf(w), cursorDeliveries, validClient))
	if err := q.done(); err != nil {
		return err
	}
	page, err := viewOf(w).Deliveries(dq)
	if err != nil {
		return err
	}
	out := DeliveryPage{Items: make([]Delivery, len(page.Items)), Now: s.now()}
	for i := range page.Items {
		d := &page.Items[i]
		out.Items[i] = Delivery{Client: string(d.Client), Status: d.State.String(), Outcome: outcomeView(d)}
	}
	if page.More {
		out.NextCursor = cursorsOf(w).encode(cursorDeliveries, string(page.Next))
	}
	linkPages(w, r, out.NextCursor, "")
	return writeJSON(w, http.StatusOK, out)
}
