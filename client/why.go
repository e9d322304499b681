package client

import (
	"context"
	"net/http"
	"net/url"
	"time"
)

// MessageWhy is the answer to Client.WhyMessage.
type MessageWhy struct {
	Message  string         `json:"message"`
	Client   string         `json:"client,omitempty"` // "" for a message to many as a whole
	Code     MessageWhyCode `json:"code"`
	Sentence string         `json:"sentence"` // English
	Now      time.Time      `json:"now"`      // the gateway's clock
	Facts    MessageFacts   `json:"facts"`
	Sample   *WhySample     `json:"sample,omitempty"` // of a message to many that is not completed
}

// WhySample has the reasons of the first deliveries of a message to many that are not
// final, at most 100.
type WhySample struct {
	Size  int `json:"size"`
	Codes []struct {
		Code  MessageWhyCode `json:"code"`
		Count int            `json:"count"`
	} `json:"codes"` // the most frequent first
}

// MessageFacts are the facts about a delivery. Zero fields do not apply.
type MessageFacts struct {
	Status           Status         `json:"status,omitempty"`
	Reason           DeliveryReason `json:"reason,omitempty"`
	CreatedAt        time.Time      `json:"created_at,omitzero"`
	ExpiresAt        time.Time      `json:"expires_at,omitzero"`
	ExpiresIn        *int64         `json:"expires_in,omitempty"` // seconds; nil once it is final
	FinalAt          time.Time      `json:"final_at,omitzero"`
	Attempts         int            `json:"attempts,omitempty"`
	SentAt           time.Time      `json:"sent_at,omitzero"` // last transmission
	Result           *string        `json:"result,omitempty"` // the device's answer, if it is text
	ResultBase64     []byte         `json:"result_base64,omitempty"`
	Progress         *string        `json:"progress,omitempty"` // the device's last progress note, if it is text
	ProgressBase64   []byte         `json:"progress_base64,omitempty"`
	LateAckAt        time.Time      `json:"late_ack_at,omitzero"`
	LateVerdict      string         `json:"late_verdict,omitempty"` // "ok" or "reject"
	Unanswered       int            `json:"unanswered,omitempty"`   // WhyAttemptsUsedUp: transmissions without an answer in time
	Broken           int            `json:"broken,omitempty"`       // likewise those whose connection ended before an answer
	RetryLater       int            `json:"retry_later,omitempty"`  // answers retry later on this connection; 6 = 6 or more
	RetrySince       time.Time      `json:"retry_since,omitzero"`
	NextAt           time.Time      `json:"next_at,omitzero"` // next transmission
	WorkingAt        time.Time      `json:"working_at,omitzero"`
	MisackedAt       time.Time      `json:"misacked_at,omitzero"` // an ack in the wrong number space
	AskedAt          time.Time      `json:"asked_at,omitzero"`    // whether it has handled it
	Window           int            `json:"window,omitempty"`
	InFlight         int            `json:"in_flight,omitempty"`
	Behind           string         `json:"behind,omitempty"` // the message in front
	BehindAttempts   int            `json:"behind_attempts,omitempty"`
	BehindSentAt     time.Time      `json:"behind_sent_at,omitzero"`
	UnwrittenBytes   int            `json:"unwritten_bytes,omitempty"`
	OnlineSince      time.Time      `json:"online_since,omitzero"`
	OfflineSince     time.Time      `json:"offline_since,omitzero"`
	LastClose        *LastClose     `json:"last_close,omitempty"`
	BlockedUntil     time.Time      `json:"blocked_until,omitzero"`
	Refused          *Refusals      `json:"refused,omitempty"`
	LastSeenAt       time.Time      `json:"last_seen_at,omitzero"` // of a connected client that does not answer a heartbeat
	Disconnects      int            `json:"disconnects,omitempty"` // of the client in quick succession, from 5 on
	DisconnectsSince time.Time      `json:"disconnects_since,omitzero"`
	Counts           *Counts        `json:"counts,omitempty"` // of a message to many
}

// Refusals are the refused registrations or uplinks of a client.
type Refusals struct {
	Count      int       `json:"count"`
	Reason     string    `json:"reason"` // of the last one
	FirstAt    time.Time `json:"first_at"`
	LastAt     time.Time `json:"last_at"`
	RemoteAddr string    `json:"remote_addr,omitempty"` // of the last one; WhyClient only
}

// ClientWhy is the answer to Client.WhyClient.
type ClientWhy struct {
	Client   string        `json:"client"`
	Code     ClientWhyCode `json:"code"`
	Sentence string        `json:"sentence"` // English
	Now      time.Time     `json:"now"`      // the gateway's clock
	Facts    ClientFacts   `json:"facts"`
}

// ClientFacts are the facts about a client's presence. Zero fields do not apply.
type ClientFacts struct {
	OnlineSince      time.Time  `json:"online_since,omitzero"`
	OfflineSince     time.Time  `json:"offline_since,omitzero"`
	LastClose        *LastClose `json:"last_close,omitempty"`
	BlockedUntil     time.Time  `json:"blocked_until,omitzero"`
	Refused          *Refusals  `json:"refused,omitempty"`
	ForgottenAt      time.Time  `json:"forgotten_at,omitzero"`
	LastSeenAt       time.Time  `json:"last_seen_at,omitzero"` // of a connected one that does not answer a heartbeat
	Disconnects      int        `json:"disconnects,omitempty"` // in quick succession, from 5 on
	DisconnectsSince time.Time  `json:"disconnects_since,omitzero"`
	Takeovers        int        `json:"takeovers,omitempty"`       // in quick succession
	UplinksRefused   *Refusals  `json:"uplinks_refused,omitempty"` // for a share of the store: uplinks_full or events_full
	Claims           []Claim    `json:"claims,omitempty"`          // of its id by several connections in turn; the latest first, at most 8
}

// Claim is an address from which connections have claimed the id of a client.
type Claim struct {
	RemoteAddr string    `json:"remote_addr"` // of the last connection from this address
	Dialect    string    `json:"dialect,omitempty"`
	Count      int       `json:"count"` // connections, also refused ones
	LastAt     time.Time `json:"last_at"`
}

// DeliveryDetail is one delivery with its history.
type DeliveryDetail struct {
	Message   string    `json:"message"`
	CreatedAt time.Time `json:"created_at,omitzero"`
	ExpiresAt time.Time `json:"expires_at,omitzero"`
	Delivery
	History []HistoryLine `json:"history"` // the oldest line first
}

// HistoryLine is one line of a delivery's history.
type HistoryLine struct {
	At   time.Time `json:"at,omitzero"` // zero if the time is not kept
	Code string    `json:"code"`
	What string    `json:"what"` // English
}

// CanceledQueue is the result of CancelQueue.
type CanceledQueue struct {
	Canceled int `json:"canceled"`
	UnderWay int `json:"under_way"` // those of them that were sent and not answered: the device may handle them
}

// WhyMessage returns why a message is as it is. client names the recipient; "" is the
// recipient of a message to one client, or sums up a message to many.
func (c *Client) WhyMessage(ctx context.Context, id, client string) (*MessageWhy, error) {
	v := url.Values{}
	setIf(v, "client", client)
	return ask[MessageWhy](ctx, c, get("/v1/messages/"+url.PathEscape(id)+"/why", v))
}

// WhyClient returns whether a client is connected, and why not.
func (c *Client) WhyClient(ctx context.Context, id string) (*ClientWhy, error) {
	return ask[ClientWhy](ctx, c, get(clientPath(id)+"/why", nil))
}

// Delivery returns the delivery of a message to one client, with its history.
func (c *Client) Delivery(ctx context.Context, messageID, client string) (*DeliveryDetail, error) {
	path := "/v1/messages/" + url.PathEscape(messageID) + "/deliveries/" + url.PathEscape(client)
	return ask[DeliveryDetail](ctx, c, get(path, nil))
}

// CancelQueue cancels the queue of a client, up to and including the message through;
// "" = everything. The connection stays.
func (c *Client) CancelQueue(ctx context.Context, id, through string) (*CanceledQueue, error) {
	v := url.Values{}
	setIf(v, "through", through)
	// A repeat after a lost answer would count nothing, so the request is not repeated.
	return ask[CanceledQueue](ctx, c, request{method: http.MethodDelete, path: clientPath(id) + "/messages", query: v})
}
