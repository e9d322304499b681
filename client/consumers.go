package client

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Consumer is a place in the log of events that the gateway keeps for a backend that
// pulls. Calls about consumers need the scope events:read.
type Consumer struct {
	Name      string            `json:"name"`
	Types     []string          `json:"types"` // empty = all
	Client    string            `json:"client,omitempty"`
	Prefix    string            `json:"prefix,omitempty"`
	Group     string            `json:"group,omitempty"`
	Labels    map[string]string `json:"labels,omitempty"`
	Cursor    string            `json:"cursor"`           // events up to it are acked
	LagEvents uint64            `json:"lag_events"`       // at most so many events lie behind the cursor
	Holder    string            `json:"holder,omitempty"` // address of the puller that has the lease
	CreatedAt time.Time         `json:"created_at,omitzero"`
}

// ConsumerSpec says which events a consumer gets; the zero value selects all.
type ConsumerSpec struct {
	Types  []string          `json:"types,omitempty"` // such as message.acked or client.*
	Client string            `json:"client,omitempty"`
	Prefix string            `json:"prefix,omitempty"`
	Group  string            `json:"group,omitempty"`
	Labels map[string]string `json:"labels,omitempty"`
	// Start is now, earliest, a cursor, a time, or a duration that counts back. "" = now
	// for a new consumer; an existing one keeps its place.
	Start string `json:"start,omitempty"`
}

// Pull asks for the next events of a consumer.
type Pull struct {
	Max   int           // events, 1 to 1,000; 0 = 100
	Wait  time.Duration // for the first event, at most 60 s
	Lease string        // of the Batch before; "" for the first
}

// Batch has events of a consumer, oldest first. The next pull returns them again until
// they are acked.
type Batch struct {
	Events  []Event `json:"items"`
	Through string  `json:"through"` // to be acked when all of them are handled
	Lease   string  `json:"lease"`   // ends 30 s after the last call with it
	Gap     bool    `json:"gap"`     // the store has removed events that were not pulled
}

func consumerPath(name string) string { return "/v1/consumers/" + url.PathEscape(name) }

// Consumers returns the consumers that were made under the limit of the key, by name.
func (c *Client) Consumers(ctx context.Context) ([]Consumer, error) {
	return askList[Consumer](ctx, c, get("/v1/consumers", nil))
}

// Consumer returns one consumer. A consumer that does not exist is a *Problem with
// CodeConsumerNotFound.
func (c *Client) Consumer(ctx context.Context, name string) (*Consumer, error) {
	return ask[Consumer](ctx, c, get(consumerPath(name), nil))
}

// CreateConsumer creates a consumer, or replaces the filter of an existing one. The name
// has 1 to 64 of A-Z a-z 0-9 . _ -.
func (c *Client) CreateConsumer(ctx context.Context, name string, s ConsumerSpec) (*Consumer, error) {
	return ask[Consumer](ctx, c, request{method: http.MethodPut, path: consumerPath(name), in: s, idempotent: true})
}

// DeleteConsumer removes a consumer with its place.
func (c *Client) DeleteConsumer(ctx context.Context, name string) error {
	return c.do(ctx, request{method: http.MethodDelete, path: consumerPath(name)})
}

// Pull returns the next events of a consumer. A *Problem with CodeLeaseHeld means that
// another puller has it; its RetryAfter is the rest of that lease. Consume pulls and acks
// in a loop.
func (c *Client) Pull(ctx context.Context, name string, p Pull) (*Batch, error) {
	b, err := ask[Batch](ctx, c, p.request(name))
	if err != nil {
		return nil, err
	}
	b.setPositions()
	return b, nil
}

func (p Pull) request(name string) request {
	q := url.Values{}
	if p.Max > 0 {
		q.Set("max", strconv.Itoa(p.Max))
	}
	if p.Wait > 0 {
		q.Set("wait", p.Wait.String())
	}
	setIf(q, "lease", p.Lease)
	return request{method: http.MethodGet, path: consumerPath(name) + "/events", query: q, idempotent: true, wait: p.Wait}
}

// setPositions makes the events resume a stream, too.
func (b *Batch) setPositions() {
	for i := range b.Events {
		b.Events[i].Position = b.Events[i].Sequence
	}
}

// Ack acks the events of a consumer up to through: the Through of a Batch, or the
// Sequence of one of its events. It returns when that is durable.
func (c *Client) Ack(ctx context.Context, name, through, lease string) (*Consumer, error) {
	return ask[Consumer](ctx, c, ackRequest(name, consumerAck{through, lease, false}))
}

type consumerAck struct {
	Through string `json:"through"`
	Lease   string `json:"lease"`
	Release bool   `json:"release,omitempty"`
}

func ackRequest(name string, a consumerAck) request {
	return request{method: http.MethodPost, path: consumerPath(name) + "/ack", in: a, idempotent: true}
}
