package client

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"time"
)

// Payload is a message's payload. Make one with Text, JSON or Bytes; the zero
// value is no payload and is refused.
type Payload struct {
	text   *string
	json   any
	isJSON bool
	bytes  []byte
}

// Text is a payload of UTF-8 text.
func Text(s string) Payload { return Payload{text: &s} }

// JSON is a payload of v encoded as JSON. A json.RawMessage is sent as it is.
func JSON(v any) Payload { return Payload{json: v, isJSON: true} }

// Bytes is a payload of arbitrary bytes.
func Bytes(b []byte) Payload {
	if b == nil {
		b = []byte{}
	}
	return Payload{bytes: b}
}

// Mode decides whether a message to an offline client is stored.
type Mode string

const (
	// Durable stores the message before the gateway answers, and delivers it when
	// the client is online, until its time to live ends.
	Durable Mode = "durable"
	// Online delivers now or never: the gateway stores nothing and waits for the
	// device's answer.
	Online Mode = "online"
)

// Push is one message and how to deliver it. Only Payload is required.
type Push struct {
	Payload  Payload
	Mode     Mode              // "" = Durable
	TTL      time.Duration     // 0 = the gateway's default (24 h); 1 s to 30 d
	Wait     time.Duration     // for the final state, at most 60 s; 0 = answer when stored (Online: 10 s)
	Metadata map[string]string // kept with the message; not sent to the device
	// QueueUnknown stores the message for a client that was never seen
	// instead of answering client-not-found.
	QueueUnknown bool
	// OnlineOnly narrows a group, label or all audience to the online clients.
	OnlineOnly bool
	// MaxRecipients refuses a message of PushTo with too-many-recipients if its
	// audience is larger when the gateway accepts it; 0 = no bound.
	MaxRecipients int
	// Rate is the number of connected clients a second to which the delivery of a message
	// of PushTo begins, 1 to 100,000; 0 = no such limit.
	Rate int
	// IdempotencyKey is 1 to 255 characters of printable ASCII. Repeats with it
	// return the first message for 24 h. With "" the call makes a key, so that
	// its own retries are safe. In mode Online it makes none: with a key the
	// message is stored before it is sent, and sent at most once.
	IdempotencyKey string
}

// Audience selects the recipients of a message. Set exactly one field.
type Audience struct {
	Client  string            `json:"client,omitempty"`
	Clients []string          `json:"clients,omitempty"` // at most 1,000
	Group   string            `json:"group,omitempty"`
	Labels  map[string]string `json:"labels,omitempty"` // all of them
	All     bool              `json:"all,omitempty"`
}

// pushBody is the JSON of one push.
type pushBody struct {
	To         *Audience         `json:"to,omitempty"`
	Text       *string           `json:"text,omitempty"`
	JSON       json.RawMessage   `json:"json,omitempty"`
	Base64     *string           `json:"base64,omitempty"`
	TTL        string            `json:"ttl,omitempty"`
	Mode       Mode              `json:"mode,omitempty"`
	Metadata   map[string]string `json:"metadata,omitempty"`
	OnUnknown  string            `json:"on_unknown,omitempty"`
	OnlineOnly bool              `json:"online_only,omitempty"`
	Most       int               `json:"max_recipients,omitempty"`
	Rate       int               `json:"rate,omitempty"`
	DryRun     bool              `json:"dry_run,omitempty"`
	Key        string            `json:"key,omitempty"` // bulk only
}

func (p Push) body(to *Audience) (*pushBody, error) {
	b := &pushBody{To: to, Mode: p.Mode, Metadata: p.Metadata, OnlineOnly: p.OnlineOnly}
	if to != nil {
		b.Most, b.Rate = p.MaxRecipients, p.Rate
	}
	switch {
	case p.Payload.text != nil:
		b.Text = p.Payload.text
	case p.Payload.isJSON:
		raw, err := jsonBody(p.Payload.json)
		if err != nil {
			return nil, err
		}
		b.JSON = raw
	case p.Payload.bytes != nil:
		s := base64.StdEncoding.EncodeToString(p.Payload.bytes)
		b.Base64 = &s
	default:
		return nil, errors.New("push: no payload; use Text, JSON or Bytes")
	}
	if p.TTL != 0 {
		b.TTL = p.TTL.String()
	}
	if p.QueueUnknown {
		b.OnUnknown = "queue"
	}
	return b, nil
}

// Push sends one message to one client. If it returns without an error, a durable
// message is on stable storage; Message.Status is its state so far.
//
// Common problems: client-not-found, client-offline and ack-timeout (Online),
// queue-full, payload-too-large.
func (c *Client) Push(ctx context.Context, clientID string, p Push) (*Message, error) {
	return c.push(ctx, clientPath(clientID)+"/messages", p, nil)
}

// PushTo sends one message to an audience. Acceptance fixes the recipients.
func (c *Client) PushTo(ctx context.Context, to Audience, p Push) (*Message, error) {
	return c.push(ctx, "/v1/messages", p, &to)
}

// PushMany sends one message to the named clients, at most 1,000. It is stored
// once.
func (c *Client) PushMany(ctx context.Context, clientIDs []string, p Push) (*Message, error) {
	return c.PushTo(ctx, Audience{Clients: clientIDs}, p)
}

func (c *Client) push(ctx context.Context, path string, p Push, to *Audience) (*Message, error) {
	b, err := p.body(to)
	if err != nil {
		return nil, err
	}
	r := request{method: http.MethodPost, path: path, in: b, header: http.Header{}, query: waitQuery(p.Wait), wait: p.Wait}
	key := p.IdempotencyKey
	if key == "" && p.Mode != Online {
		key = rand.Text()
	}
	if key != "" {
		r.header.Set("Idempotency-Key", key)
		r.idempotent = true
	}
	m := &Message{}
	h, err := c.call(ctx, r, m)
	if err != nil {
		return nil, err
	}
	if m.ID == "" {
		return nil, &notGatewayError{errors.New("it has no message id")}
	}
	m.Replayed = h.Get("Idempotency-Replayed") == "true"
	return m, nil
}

// waitQuery is the query parameter for wait, nil for 0.
func waitQuery(wait time.Duration) url.Values {
	if wait <= 0 {
		return nil
	}
	return url.Values{"wait": {wait.String()}}
}
