package client

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"time"
)

// Webhook is an endpoint that the gateway posts events to, with how far it has come.
// Calls about webhooks need the scopes webhooks:read and webhooks:write.
type Webhook struct {
	ID            string            `json:"id"`
	Name          string            `json:"name,omitempty"`
	URL           string            `json:"url"`
	Types         []string          `json:"types"` // empty = all
	Client        string            `json:"client,omitempty"`
	Prefix        string            `json:"prefix,omitempty"`
	Group         string            `json:"group,omitempty"`
	Labels        map[string]string `json:"labels,omitempty"`
	State         string            `json:"state"`            // active, paused or disabled
	Reason        string            `json:"reason,omitempty"` // why it is disabled
	Timeout       string            `json:"timeout"`
	Concurrency   int               `json:"concurrency"`
	Headers       []string          `json:"headers"` // names alone
	RetryFor      string            `json:"retry_for"`
	Settle        string            `json:"settle,omitempty"`
	Reply         bool              `json:"reply,omitempty"`
	Payloads      bool              `json:"payloads"` // its events have the payloads of devices
	CreatedAt     time.Time         `json:"created_at,omitzero"`
	Cursor        string            `json:"cursor"`
	LagEvents     uint64            `json:"lag_events"` // at most so many events lie behind the cursor
	LagSeconds    float64           `json:"lag_seconds"`
	Waiting       int               `json:"waiting"`
	ParkedClients int               `json:"parked_clients"`
	Down          bool              `json:"down,omitempty"`
	LastSuccessAt time.Time         `json:"last_success_at,omitzero"`
	LastError     string            `json:"last_error,omitempty"`
	Missed        uint64            `json:"missed,omitempty"`
	// Secret signs the requests. Only the answers to a creation and a rotation have it.
	Secret string `json:"secret,omitempty"`
}

// WebhookSpec describes a webhook to be created; zero values take the defaults of the
// gateway.
type WebhookSpec struct {
	Name        string            `json:"name,omitempty"`
	URL         string            `json:"url"`
	Types       []string          `json:"types,omitempty"` // such as message.acked or client.*
	Client      string            `json:"client,omitempty"`
	Prefix      string            `json:"prefix,omitempty"`
	Group       string            `json:"group,omitempty"`
	Labels      map[string]string `json:"labels,omitempty"`
	State       string            `json:"state,omitempty"`   // active or paused
	Timeout     string            `json:"timeout,omitempty"` // such as 10s
	Concurrency int               `json:"concurrency,omitempty"`
	Headers     map[string]string `json:"headers,omitempty"`
	RetryFor    string            `json:"retry_for,omitempty"`
	Settle      string            `json:"settle,omitempty"`
	Reply       bool              `json:"reply,omitempty"`
	Start       string            `json:"start,omitempty"` // now, earliest, a cursor, a time, or a duration that counts back
}

// WebhookAttempt is one request to an endpoint.
type WebhookAttempt struct {
	At       time.Time `json:"at"`
	Sequence string    `json:"sequence,omitempty"`
	Type     EventType `json:"type"`
	Client   string    `json:"client,omitempty"`
	Try      int       `json:"attempt"`
	Replay   bool      `json:"replay,omitempty"`
	Status   int       `json:"status,omitempty"` // 0 if there was no answer
	Millis   int64     `json:"duration_ms"`
	Answer   string    `json:"answer,omitempty"`
	Error    string    `json:"error,omitempty"`
}

// DeadLetter is an event that an endpoint has not taken in time.
type DeadLetter struct {
	Sequence string          `json:"sequence"`
	At       time.Time       `json:"at"`
	Status   int             `json:"status,omitempty"`
	Error    string          `json:"error"`
	Event    json.RawMessage `json:"event,omitempty"` // as it was sent
}

func webhookPath(id string) string { return "/v1/webhooks/" + url.PathEscape(id) }

// Webhooks returns all webhooks that the key may see.
func (c *Client) Webhooks(ctx context.Context) ([]Webhook, error) {
	return askList[Webhook](ctx, c, get("/v1/webhooks", nil))
}

// Webhook returns one webhook.
func (c *Client) Webhook(ctx context.Context, id string) (*Webhook, error) {
	return ask[Webhook](ctx, c, get(webhookPath(id), nil))
}

// CreateWebhook creates a webhook. It is not repeated after a lost answer, because the
// secret in that answer cannot be read again.
func (c *Client) CreateWebhook(ctx context.Context, s WebhookSpec) (*Webhook, error) {
	return ask[Webhook](ctx, c, request{method: http.MethodPost, path: "/v1/webhooks", in: s})
}

// UpdateWebhook changes members of a webhook by their names in the API, such as
// {"state": "paused"}; the others stay as they are.
func (c *Client) UpdateWebhook(ctx context.Context, id string, change map[string]any) (*Webhook, error) {
	return ask[Webhook](ctx, c, request{method: http.MethodPatch, path: webhookPath(id), idempotent: true, in: change})
}

// RotateWebhook gives a webhook a new secret; the old one signs too for a day.
func (c *Client) RotateWebhook(ctx context.Context, id string) (*Webhook, error) {
	return ask[Webhook](ctx, c, request{method: http.MethodPost, path: webhookPath(id) + "/rotate"})
}

// DeleteWebhook removes a webhook with its dead letters.
func (c *Client) DeleteWebhook(ctx context.Context, id string) error {
	return c.do(ctx, request{method: http.MethodDelete, path: webhookPath(id)})
}

// TestWebhook has the gateway send a signed sample now, and returns the answer.
func (c *Client) TestWebhook(ctx context.Context, id string) (*WebhookAttempt, error) {
	return ask[WebhookAttempt](ctx, c, request{method: http.MethodPost, path: webhookPath(id) + "/test", wait: 30 * time.Second})
}

// WebhookAttempts returns the last requests to an endpoint, newest first.
func (c *Client) WebhookAttempts(ctx context.Context, id string) ([]WebhookAttempt, error) {
	return askList[WebhookAttempt](ctx, c, get(webhookPath(id)+"/attempts", nil))
}

// ReplayRange selects events to be sent again: behind After or since Since, up to Until.
type ReplayRange struct {
	After string `json:"after,omitempty"` // a cursor, or earliest
	Since string `json:"since,omitempty"` // a time, or a duration that counts back
	Until string `json:"until,omitempty"` // likewise; "" = now
}

// ReplayWebhook has the gateway send events again, in the background.
func (c *Client) ReplayWebhook(ctx context.Context, id string, rg ReplayRange) error {
	return c.do(ctx, request{method: http.MethodPost, path: webhookPath(id) + "/replay", in: rg})
}

// DeadLetters returns the oldest dead letters of a webhook, at most 1,000.
func (c *Client) DeadLetters(ctx context.Context, id string) ([]DeadLetter, error) {
	return askList[DeadLetter](ctx, c, get(webhookPath(id)+"/dead", url.Values{"limit": {"1000"}}))
}

// Redeliver has the gateway send the dead letters of a webhook again, oldest first. It
// returns how many the endpoint has taken, and why it has not taken the next one.
func (c *Client) Redeliver(ctx context.Context, id string) (n int, failure string, err error) {
	var out struct {
		Delivered int    `json:"delivered"`
		Error     string `json:"error"`
	}
	_, err = c.call(ctx, request{method: http.MethodPost, path: webhookPath(id) + "/dead/redeliver", wait: time.Minute}, &out)
	return out.Delivered, out.Error, err
}
