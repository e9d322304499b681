package client

import (
	"context"
	"iter"
	"net/http"
	"net/url"
	"strconv"
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

// UnnamedRegistration is an address from which registrations without a valid id came.
type UnnamedRegistration struct {
	RemoteAddr string    `json:"remote_addr"` // of the last one
	Count      uint64    `json:"count"`       // since FirstAt
	FirstAt    time.Time `json:"first_at"`
	LastAt     time.Time `json:"last_at"`
	Dialect    string    `json:"dialect,omitempty"` // of the last one, as are the next two
	Reason     string    `json:"reason"`
	Sample     string    `json:"sample,omitempty"` // the start of what stood in the place of the id, as printable ASCII
}

// RefusedUnnamed lists the registrations of the last day that were refused because they have
// no valid id or cannot be read, by their address, the latest first. A limited key gets none.
func (c *Client) RefusedUnnamed(ctx context.Context) ([]UnnamedRegistration, error) {
	var list struct {
		Unnamed []UnnamedRegistration `json:"unnamed"`
	}
	query := url.Values{"limit": {strconv.Itoa(pageSize)}}
	if _, err := c.call(ctx, get("/v1/refused", query), &list); err != nil {
		return nil, err
	}
	return list.Unnamed, nil
}

// DismissRefused removes a device from the list of refused ones. If it asks again, it is
// listed again, with a count of 1. Errors: CodeRefusedNotFound.
func (c *Client) DismissRefused(ctx context.Context, id string) error {
	return c.do(ctx, request{method: http.MethodDelete, path: "/v1/refused/" + url.PathEscape(id)})
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
