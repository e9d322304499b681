package client

import (
	"context"
	"net/http"
	"time"
)

// DryRun is the audience that a push would have.
type DryRun struct {
	Recipients int       `json:"recipients"`        // deliveries that the push would make
	Failed     int       `json:"failed"`            // of them, those that would fail at once
	Sample     []string  `json:"sample,omitempty"`  // some of the recipients; the key needs clients:read
	Unknown    []string  `json:"unknown,omitempty"` // named clients that a limited key cannot reach
	Now        time.Time `json:"now"`               // when the audience was so
}

// DryRun returns the audience that PushTo would have now, and pushes nothing. Recipients
// is a good Push.MaxRecipients. With it the gateway refuses the push if the audience has
// grown.
func (c *Client) DryRun(ctx context.Context, to Audience, p Push) (*DryRun, error) {
	b, err := p.body(&to)
	if err != nil {
		return nil, err
	}
	b.DryRun = true
	return ask[DryRun](ctx, c, request{method: http.MethodPost, path: "/v1/messages", in: b, idempotent: true})
}
