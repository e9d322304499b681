package client

import (
	"context"
	"net/http"
	"time"
)

// Probe is the answer of a device to the question for a sign of life.
type Probe struct {
	ID string `json:"id"`
	// Presence is PresenceOnline if the device has sent something since it was asked,
	// PresenceSuspect if it has not, PresenceOffline if it is not connected.
	Presence Presence `json:"presence"`
	// RTTMS is the time from the heartbeat to its answer, in milliseconds; 0 if the
	// sign of life was something else.
	RTTMS float64 `json:"rtt_ms,omitempty"`
	// Asked is false if no heartbeat could be sent: the client is offline, has just
	// registered, or is a v1 device with an unanswered delivery.
	Asked bool `json:"asked"`
	// Confirmed is as in ClientInfo: a suspect text client that is not confirmed may
	// be a person.
	Confirmed  *bool      `json:"confirmed,omitempty"`
	LastSeenAt time.Time  `json:"last_seen_at,omitzero"`
	LastClose  *LastClose `json:"last_close,omitempty"`
}

// Probe asks a client's device for a sign of life now. The answer comes within 2 s.
// A device that does not answer within the gateway's grace is disconnected. With too
// many probes under way the problem is CodeTooManyProbes.
func (c *Client) Probe(ctx context.Context, id string) (*Probe, error) {
	return ask[Probe](ctx, c, request{method: http.MethodPost, path: clientPath(id) + "/probe", idempotent: true})
}
