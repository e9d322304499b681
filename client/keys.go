package client

import (
	"context"
	"iter"
	"net/http"
	"net/url"
	"time"
)

// APIKey is a key of the API, without its secret.
type APIKey struct {
	ID         string    `json:"id"`
	Name       string    `json:"name"`
	Scopes     []string  `json:"scopes"`
	Prefix     string    `json:"prefix,omitempty"` // limits it to clients whose id begins with it
	Group      string    `json:"group,omitempty"`  // limits it to clients in this group
	Status     string    `json:"status"`           // active or expired
	CreatedAt  time.Time `json:"created_at,omitzero"`
	ExpiresAt  time.Time `json:"expires_at,omitzero"`
	LastUsedAt time.Time `json:"last_used_at,omitzero"` // to the minute
}

// NewAPIKey describes a key to be created. At most one of Prefix and Group is
// set.
type NewAPIKey struct {
	Name      string
	Scopes    []string // such as messages:write
	Prefix    string
	Group     string
	ExpiresIn time.Duration // 0 = never
}

// CreatedAPIKey is a new key with its secret, which is not shown again.
type CreatedAPIKey struct {
	APIKey
	Secret string `json:"secret"`
	// Warnings say what works no more because the API needs a key now. Only the first key
	// has some.
	Warnings []string `json:"warnings,omitempty"`
}

// APIKeys lists the stored keys in the order of their creation; keys in the
// gateway's settings are not included. This and all other calls about keys need
// the scope admin.
func (c *Client) APIKeys(ctx context.Context) iter.Seq2[APIKey, error] {
	return pages[APIKey](ctx, c, "/v1/keys", url.Values{}, 0)
}

// CreateAPIKey creates a key. It is not repeated after a lost answer, because the
// secret in that answer cannot be read again.
func (c *Client) CreateAPIKey(ctx context.Context, k NewAPIKey) (*CreatedAPIKey, error) {
	in := map[string]any{"name": k.Name, "scopes": k.Scopes}
	if k.Prefix != "" {
		in["prefix"] = k.Prefix
	}
	if k.Group != "" {
		in["group"] = k.Group
	}
	if k.ExpiresIn != 0 { // one in the past is refused
		in["expires_in"] = k.ExpiresIn.String()
	}
	return ask[CreatedAPIKey](ctx, c, request{method: http.MethodPost, path: "/v1/keys", in: in})
}

// RevokeAPIKey revokes a key at once.
func (c *Client) RevokeAPIKey(ctx context.Context, id string) error {
	return c.do(ctx, request{method: http.MethodDelete, path: "/v1/keys/" + url.PathEscape(id)})
}
