package client

import (
	"context"
	"net/http"
	"net/url"
	"time"
)

// DeviceToken is a token that one device registers with, without its secret.
type DeviceToken struct {
	ID        string    `json:"id"`
	Client    string    `json:"client"`
	Status    string    `json:"status"` // active or expired
	CreatedAt time.Time `json:"created_at,omitzero"`
	ExpiresAt time.Time `json:"expires_at,omitzero"` // zero = never
	Groups    []string  `json:"groups,omitempty"`    // that the device may enter and leave when it registers
	Note      string    `json:"note,omitempty"`      // for people
}

// NewDeviceToken describes a token to be created.
type NewDeviceToken struct {
	ExpiresIn time.Duration // 0 = never
	Groups    []string      // that the device may enter and leave
	Note      string
	// Replaces is a token of the device that is revoked in the same step. Its
	// groups and its note are kept where none are given.
	Replaces string
}

// CreatedDeviceToken is a new token with its secret, which is not shown again.
type CreatedDeviceToken struct {
	DeviceToken
	Token string `json:"token"`
}

// DeviceTokens returns the tokens of a device, without those for a pattern of ids. This
// and the next two calls need the scope devices:write, and a gateway with
// auth.device_tokens_file.
func (c *Client) DeviceTokens(ctx context.Context, id string) ([]DeviceToken, error) {
	return askList[DeviceToken](ctx, c, get(clientPath(id)+"/tokens", nil))
}

// CreateDeviceToken creates a token of a device, which need not be known yet. It is not
// repeated after a lost answer, because the token in that answer cannot be read again.
func (c *Client) CreateDeviceToken(ctx context.Context, id string, t NewDeviceToken) (*CreatedDeviceToken, error) {
	in := map[string]any{}
	if t.ExpiresIn != 0 { // one in the past is refused
		in["expires_in"] = t.ExpiresIn.String()
	}
	if t.Groups != nil {
		in["groups"] = t.Groups
	}
	if t.Note != "" {
		in["note"] = t.Note
	}
	if t.Replaces != "" {
		in["replaces"] = t.Replaces
	}
	return ask[CreatedDeviceToken](ctx, c, request{method: http.MethodPost, path: clientPath(id) + "/tokens", in: in})
}

// RevokeDeviceToken ends a token, and the connections that were made with it.
func (c *Client) RevokeDeviceToken(ctx context.Context, id, token string) error {
	return c.do(ctx, request{method: http.MethodDelete, path: clientPath(id) + "/tokens/" + url.PathEscape(token)})
}
