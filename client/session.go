package client

import (
	"context"
	"time"
)

// Session is the caller as the gateway knows it, and the gateway's abilities.
type Session struct {
	// Auth is "open" while the API needs no key, "key", or "cookie" for a browser.
	Auth      string      `json:"auth"`
	Key       *SessionKey `json:"key,omitempty"` // nil while the API is open
	Scopes    []string    `json:"scopes"`
	Prefix    string      `json:"prefix,omitempty"`    // limits the caller to clients whose id begins with it
	Group     string      `json:"group,omitempty"`     // limits the caller to clients in this group
	ExpiresAt time.Time   `json:"expires_at,omitzero"` // of the key or the cookie; zero = never
	Features  []string    `json:"features"`            // features that the gateway has switched on, such as webhooks
	Limits    Limits      `json:"limits"`              // of the gateway
	Now       time.Time   `json:"now"`                 // the gateway's clock
	Version   string      `json:"version"`             // of the gateway
	Instance  string      `json:"instance"`            // names the gateway's store
	Devices   string      `json:"device_addr"`         // address of the device port; "" if the gateway does not name it
}

// SessionKey is the key of a Session.
type SessionKey struct {
	ID        string    `json:"id"`
	Name      string    `json:"name"`
	ExpiresAt time.Time `json:"expires_at,omitzero"`
}

// Limits are bounds of a gateway.
type Limits struct {
	MaxPayload       int     `json:"max_payload_bytes"`
	MaxBody          int64   `json:"max_body_bytes"`
	MaxWaitSeconds   float64 `json:"max_wait_seconds"`
	MaxTTLSeconds    float64 `json:"max_ttl_seconds"`
	MaxPage          int     `json:"max_page"`
	MaxClientsInTo   int     `json:"max_clients_in_to"`
	MaxStreamsPerKey int     `json:"max_streams_per_key"`
}

// WhoAmI returns the caller's key with its scopes and limit. Every key may ask.
func (c *Client) WhoAmI(ctx context.Context) (*Session, error) {
	return ask[Session](ctx, c, get("/v1/session", nil))
}
