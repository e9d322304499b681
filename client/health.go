package client

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
)

// Version is the gateway's version.
type Version struct {
	Version string `json:"version"`          // tag, module version or "dev"
	Commit  string `json:"commit,omitempty"` // full hash
	Date    string `json:"date,omitempty"`   // of the commit
	Go      string `json:"go,omitempty"`
	OS      string `json:"os,omitempty"`
	Arch    string `json:"arch,omitempty"`
}

// Version returns the gateway's version.
func (c *Client) Version(ctx context.Context) (*Version, error) {
	return ask[Version](ctx, c, get("/version", nil))
}

// Ready returns nil when the gateway accepts messages: its store is writable and
// it is not draining. It asks once. A *Problem gives the reason why it is not
// ready; any other error means that no answer came.
func (c *Client) Ready(ctx context.Context) error {
	var body json.RawMessage
	once := *c
	once.retry.Attempts = 1
	_, err := once.call(ctx, request{method: http.MethodGet, path: "/readyz"}, &body)
	if _, ok := errors.AsType[*notGatewayError](err); ok {
		return nil // any 2xx counts
	}
	return err
}
