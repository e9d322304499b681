package client

import "context"

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
	once := *c
	once.retry.Attempts = 1
	return once.do(ctx, get("/readyz", nil)) // any 2xx counts
}
