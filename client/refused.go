package client

import (
	"context"
	"iter"
	"net/http"
	"net/url"
	"time"
)

// RefusedRegistration is a device whose registration was refused.
type RefusedRegistration struct {
	Client     string    `json:"client"`
	Count      uint64    `json:"count"` // refusals since FirstAt
	FirstAt    time.Time `json:"first_at"`
	LastAt     time.Time `json:"last_at"`
	RemoteAddr string    `json:"remote_addr,omitempty"` // of the last refusal, as are the next two
	Dialect    string    `json:"dialect,omitempty"`
	Reason     string    `json:"reason"`
}

// DismissRefused removes a device from the list of refused ones. If it asks again, it is
// listed again, with a count of 1. Errors: CodeRefusedNotFound.
func (c *Client) DismissRefused(ctx context.Context, id string) error {
	_, err := c.call(ctx, request{method: http.MethodDelete, path: "/v1/refused/" + url.PathEscape(id)}, nil)
	return err
}

// RefusedQuery selects refused devices.
type RefusedQuery struct {
	Prefix string // of the id
	Limit  int    // in all; 0 = no bound
}

// Refused lists recently refused devices in the order of their ids.
func (c *Client) Refused(ctx context.Context, q RefusedQuery) iter.Seq2[RefusedRegistration, error] {
	v := url.Values{}
	setIf(v, "prefix", q.Prefix)
	return pages[RefusedRegistration](ctx, c, "/v1/refused", v, q.Limit)
}
