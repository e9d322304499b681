package client

import (
	"context"
	"net/http"
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
	var list struct {
		Items []Finding `json:"items"`
	}
	if _, err := c.call(ctx, request{method: http.MethodGet, path: "/v1/findings", idempotent: true}, &list); err != nil {
		return nil, err
	}
	return list.Items, nil
}
