package client

import (
	"context"
	"iter"
	"net/url"
	"time"
)

// Knock is a device that asked to register and was refused.
type Knock struct {
	Client     string    `json:"client"`
	Count      uint64    `json:"count"` // refusals since FirstAt
	FirstAt    time.Time `json:"first_at"`
	LastAt     time.Time `json:"last_at"`
	RemoteAddr string    `json:"remote_addr,omitempty"` // of the last time, as are the next two
	Dialect    string    `json:"dialect,omitempty"`
	Reason     string    `json:"reason"`
}

// KnockQuery selects refused devices.
type KnockQuery struct {
	Prefix string // of the id
	Limit  int    // in all; 0 = no bound
}

// Knocks lists devices that were refused lately, in the order of their ids.
func (c *Client) Knocks(ctx context.Context, q KnockQuery) iter.Seq2[Knock, error] {
	v := url.Values{}
	setIf(v, "prefix", q.Prefix)
	return pages[Knock](ctx, c, "/v1/knocks", v, q.Limit)
}
