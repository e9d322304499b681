package client

import (
	"context"
	"time"
)

// Severities of a Finding.
const (
	Critical = "critical" // the gateway does not do its work, or data is in danger
	Warning  = "warning"  // it soon will not, or a part of it does not
	Info     = "info"     // to be known
)

// Finding is one thing that needs attention.
type Finding struct {
	Code     string         `json:"code"`
	Severity string         `json:"severity"`
	Since    time.Time      `json:"since"`
	Count    int            `json:"count"`
	Text     string         `json:"text"` // a sentence in English
	Facts    map[string]any `json:"facts"`
	Link     string         `json:"link,omitempty"` // a call that shows more
}

// Findings returns the findings that the key may see, the worst first.
func (c *Client) Findings(ctx context.Context) ([]Finding, error) {
	return askList[Finding](ctx, c, get("/v1/findings", nil))
}
