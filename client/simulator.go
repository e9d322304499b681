package client

import (
	"context"
	"net/http"
)

// Profile is the behaviour of simulated devices.
type Profile string

const (
	ProfileMixed     Profile = "mixed"     // one of each of the others in turn
	ProfileSteady    Profile = "steady"    // acks at once
	ProfileChatty    Profile = "chatty"    // acks at once, and sends an uplink every 5 s
	ProfileSlow      Profile = "slow"      // acks after 3 to 8 s
	ProfileRejecting Profile = "rejecting" // rejects each delivery
	ProfileFlaky     Profile = "flaky"     // loses its connection after 3 to 10 s
	ProfileSilent    Profile = "silent"    // answers heartbeats, and no delivery
)

// Simulator has the simulated devices of a gateway.
type Simulator struct {
	Count     int               `json:"count"`
	Connected int               `json:"connected"`
	Profile   Profile           `json:"profile,omitempty"` // "" without devices
	Devices   []SimulatedDevice `json:"devices"`
}

// SimulatedDevice is one simulated device.
type SimulatedDevice struct {
	ID        string  `json:"id"`
	Profile   Profile `json:"profile"`
	Connected bool    `json:"connected"`
	Problem   string  `json:"problem,omitempty"` // why it is not connected
}

const simulatorPath = "/v1/simulator"

// Simulator shows the simulated devices. If the gateway may have none, it returns the
// problem CodeSimulatorOff, as do the other calls.
func (c *Client) Simulator(ctx context.Context) (*Simulator, error) {
	return ask[Simulator](ctx, c, get(simulatorPath, nil))
}

// Simulate replaces the simulated devices by count devices, 1 to 100, of the profile.
// Devices that fit stay. An empty profile is ProfileMixed.
func (c *Client) Simulate(ctx context.Context, count int, p Profile) (*Simulator, error) {
	return ask[Simulator](ctx, c, request{method: http.MethodPut, path: simulatorPath, in: struct {
		Count   int     `json:"count"`
		Profile Profile `json:"profile,omitempty"`
	}{count, p}, idempotent: true})
}

// StopSimulator ends the simulated devices and removes their clients.
func (c *Client) StopSimulator(ctx context.Context) error {
	return c.do(ctx, request{method: http.MethodDelete, path: simulatorPath, idempotent: true})
}
