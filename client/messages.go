package client

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"iter"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"
)

// Status is the state of a delivery, or of a message to one client.
type Status string

const (
	Queued   Status = "queued"   // stored, waiting for the client
	Sent     Status = "sent"     // flushed to the client's socket: no proof that it arrived
	Acked    Status = "acked"    // the device acked it
	Rejected Status = "rejected" // the device rejected it or cannot take it
	Expired  Status = "expired"  // its time to live ended first
	Canceled Status = "canceled" // withdrawn
	Failed   Status = "failed"   // attempts used up, or no such client
	Unknown  Status = "unknown"  // mode Online: it may have been sent, and was not answered

	// A message to many is one of these; Message.Counts has the details.
	Pending   Status = "pending"
	Completed Status = "completed"
)

// Final reports whether the status can no longer change. After Unknown a late answer of
// the device can still come.
func (s Status) Final() bool {
	switch s {
	case Acked, Rejected, Expired, Canceled, Failed, Unknown, Completed:
		return true
	}
	return false
}

// Data is bytes in the API's form: text if they are UTF-8, otherwise base64, or
// the JSON of the caller.
type Data struct {
	Text   *string         `json:"text,omitempty"`
	JSON   json.RawMessage `json:"json,omitempty"`
	Base64 *string         `json:"base64,omitempty"`
}

// Bytes returns the plain bytes, nil if there are none.
func (d Data) Bytes() []byte {
	switch {
	case d.Text != nil:
		return []byte(*d.Text)
	case d.JSON != nil:
		return d.JSON
	case d.Base64 != nil:
		b, err := base64.StdEncoding.DecodeString(*d.Base64)
		if err == nil {
			return b
		}
	}
	return nil
}

// Display returns the text, or base64 if the bytes are not text.
func (d Data) Display() string { return textOrBase64(d.Bytes()) }

func textOrBase64(b []byte) string {
	if utf8.Valid(b) {
		return string(b)
	}
	return base64.StdEncoding.EncodeToString(b)
}

// Message is a message and its state.
type Message struct {
	ID          string            `json:"id"`
	Status      Status            `json:"status"`
	Mode        Mode              `json:"mode,omitempty"`
	Client      string            `json:"client,omitempty"` // the only recipient, "" for many
	Outcome                       // of a message to one client
	CreatedAt   time.Time         `json:"created_at,omitzero"`
	ExpiresAt   time.Time         `json:"expires_at,omitzero"`
	CompletedAt time.Time         `json:"completed_at,omitzero"` // when the last delivery became final
	RTTMS       float64           `json:"rtt_ms,omitempty"`      // Mode Online
	Counts      *Counts           `json:"counts,omitempty"`      // of a message to many
	Metadata    map[string]string `json:"metadata,omitempty"`
	Data                          // the payload, if the answer has it (Client.Message)
	Digest                        // if MessageQuery.Fields names its members

	// Replayed is set when the idempotency key was known: this is the message of
	// the first request.
	Replayed bool `json:"replayed,omitempty"`
}

// Outcome is the state of one delivery.
type Outcome struct {
	Reason           DeliveryReason `json:"reason,omitempty"` // why it was rejected or failed, was purged or comes later
	Attempts         int            `json:"attempts,omitempty"`
	SentAt           time.Time      `json:"sent_at,omitzero"` // last transmission
	FinalAt          time.Time      `json:"final_at,omitzero"`
	Result           *string        `json:"result,omitempty"` // the device's answer, if it is text
	ResultBase64     []byte         `json:"result_base64,omitempty"`
	Progress         *string        `json:"progress,omitempty"` // the device's last progress note, if it is text
	ProgressBase64   []byte         `json:"progress_base64,omitempty"`
	LateAckAt        time.Time      `json:"late_ack_at,omitzero"`   // when the device acked after another final state
	LateVerdict      string         `json:"late_verdict,omitempty"` // "ok" or "reject"
	LateResult       *string        `json:"late_result,omitempty"`
	LateResultBase64 []byte         `json:"late_result_base64,omitempty"`
}

// Answer returns the bytes of the device's answer, nil if there are none.
func (o *Outcome) Answer() []byte {
	if o.Result != nil {
		return []byte(*o.Result)
	}
	return o.ResultBase64
}

// Counts has the number of deliveries of a message in each state.
type Counts struct {
	Total    int `json:"total"`
	Queued   int `json:"queued"`
	Sent     int `json:"sent"`
	Acked    int `json:"acked"`
	Rejected int `json:"rejected"`
	Expired  int `json:"expired"`
	Canceled int `json:"canceled"`
	Failed   int `json:"failed"`
}

// Delivery is one message for one client.
type Delivery struct {
	Client string `json:"client"`
	Status Status `json:"status"`
	Outcome
}

// Message returns a message. With wait the gateway answers when the message is
// final, or with the message as it stands after wait (at most 60 s).
func (c *Client) Message(ctx context.Context, id string, wait time.Duration) (*Message, error) {
	return ask[Message](ctx, c, request{method: http.MethodGet, path: "/v1/messages/" + url.PathEscape(id),
		query: waitQuery(wait), wait: wait, idempotent: true})
}

// Cancel withdraws the deliveries that are not final and returns the message as
// it then is. If all are final, it returns the problem already-final.
func (c *Client) Cancel(ctx context.Context, id string) (*Message, error) {
	// A repeat after a lost answer would find the message canceled. already-final
	// would hide the first answer, so the request is not repeated.
	return ask[Message](ctx, c, request{method: http.MethodDelete, path: "/v1/messages/" + url.PathEscape(id)})
}

// MessageQuery selects messages. Zero fields select all.
type MessageQuery struct {
	// Client selects the messages to one client, including those to many, each
	// with the state of its own delivery.
	Client string
	// Status Pending selects messages that are not completed; a final one selects
	// completed messages with at least one such delivery.
	Status Status
	Since  time.Time // created at or after
	Limit  int       // in all; 0 = no bound
	// OldestFirst reverses the order; not with Client.
	OldestFirst bool
	// Before selects the messages before the one with this id, or without Client before a
	// time as time.RFC3339; "" = all.
	Before string
	// Fields are the members to read, such as status, payload_bytes, content and preview;
	// nil = all but those of Digest. The others stay zero.
	Fields []string
}

// Messages lists messages without their payloads, newest first.
func (c *Client) Messages(ctx context.Context, q MessageQuery) iter.Seq2[Message, error] {
	v := url.Values{}
	setIf(v, "client", q.Client)
	setIf(v, "status", string(q.Status))
	setTime(v, "since", q.Since)
	if q.OldestFirst {
		v.Set("order", "asc")
	}
	setIf(v, "before", q.Before)
	setIf(v, "fields", strings.Join(q.Fields, ","))
	return pages[Message](ctx, c, "/v1/messages", v, q.Limit)
}

// DeliveryQuery selects deliveries of one message.
type DeliveryQuery struct {
	Status Status // "" = all
	Limit  int    // in all; 0 = no bound
}

// Deliveries lists the deliveries of a message, one per recipient.
func (c *Client) Deliveries(ctx context.Context, messageID string, q DeliveryQuery) iter.Seq2[Delivery, error] {
	v := url.Values{}
	setIf(v, "status", string(q.Status))
	return pages[Delivery](ctx, c, "/v1/messages/"+url.PathEscape(messageID)+"/deliveries", v, q.Limit)
}
