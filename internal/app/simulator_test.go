package app

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/longwire/longwire/client"
	"github.com/longwire/longwire/internal/auth/deviceauth"
	"github.com/longwire/longwire/internal/config"
)

// Simulated devices connect under every setting of the device port; a certificate of
// their own they do not have.
func TestSimulatedDevicesConnectUnderTheSettings(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	server := newIdentity(t, dir, "server")
	const key = "lwk_0123456789abcdef0123"
	for name, c := range map[string]struct {
		change  func(*config.Config)
		problem string // of each device, "" if they connect
	}{
		"by default": {func(*config.Config) {}, ""},
		"token":      {func(c *config.Config) { c.Auth.DeviceToken = "open sesame" }, ""},
		"file of tokens": {func(c *config.Config) {
			c.Auth.DeviceTokensFile = filepath.Join(dir, "tokens.json")
			newToken(t, c.Auth.DeviceTokensFile, deviceauth.TokenEntry{Client: "truck-17"})
		}, ""},
		"listed devices": {func(c *config.Config) { c.Auth.DeviceUnknown, c.Auth.DevicePatterns = "pattern", []string{"meter-*"} }, ""},
		"API key":        {func(c *config.Config) { c.Auth.APIKeys, c.Simulator.Enabled = []config.Secret{key}, config.On }, ""},
		"proxy":          {func(c *config.Config) { c.TCP.ProxyTrusted = []string{"127.0.0.0/8"} }, ""},
		"twins":          {func(c *config.Config) { c.TCP.DuplicateID = config.RejectDuplicate }, ""},
		"TLS and proxy": {func(c *config.Config) {
			c.TCP.TLS, c.TCP.TLSCertFile, c.TCP.TLSKeyFile = config.Required, server.cert, server.key
			c.TCP.ProxyTrusted = []string{"127.0.0.1"}
		}, ""},
		"certificates of devices": {func(c *config.Config) {
			c.TCP.TLS, c.TCP.TLSCertFile, c.TCP.TLSKeyFile = config.Required, server.cert, server.key
			c.TCP.TLSClientAuth, c.TCP.TLSClientCAFile = config.Required, server.cert
		}, "tcp.tls_client_auth is required"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := testConfig(filepath.Join(dir, strings.ReplaceAll(name, " ", "-")))
			c.change(cfg)
			if err := cfg.Validate(); err != nil {
				t.Fatal(err)
			}
			a := start(t, cfg)
			s, err := backend(t, a, client.WithAPIKey(key)).Simulate(t.Context(), 6, client.ProfileMixed)
			if err != nil {
				t.Fatal(err)
			}
			if c.problem == "" && s.Connected != 6 {
				t.Errorf("got %+v, want all connected", s)
			}
			for _, d := range s.Devices {
				if !strings.Contains(d.Problem, c.problem) || c.problem == "" && d.Problem != "" {
					t.Errorf("%s: problem %q, want %q", d.ID, d.Problem, c.problem)
				}
			}
		})
	}
}

// A key, once there is one, ends what the open API gave to everybody.
func TestTheSimulatorIsOffWhenTheAPINeedsAKey(t *testing.T) {
	cfg := testConfig(t.TempDir())
	a := start(t, cfg)
	open := backend(t, a)
	if _, err := open.Simulator(t.Context()); err != nil {
		t.Fatal(err)
	}
	k, err := open.CreateAPIKey(t.Context(), client.NewAPIKey{Name: "operator", Scopes: []string{"admin"}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = backend(t, a, client.WithAPIKey(k.Secret)).Simulate(t.Context(), 1, client.ProfileSteady)
	if p, ok := errors.AsType[*client.Problem](err); !ok || p.Code() != client.CodeSimulatorOff {
		t.Errorf("got %v", err)
	}
}

// The token of this process opens nothing but simulated ids.
func TestTheTokenOfSimulatedDevicesAdmitsNoOther(t *testing.T) {
	cfg := testConfig(t.TempDir())
	cfg.Auth.DeviceToken = "open sesame"
	a := start(t, cfg)
	wantAnswer(t, a, nil, "CLOSE 3501", "truck-17", a.simulatedToken)
	wantAnswer(t, a, nil, "CLOSE 3501", "sim-steady-1", "a-guess")
	wantAnswer(t, a, nil, "REGISTERED", "sim-steady-1", a.simulatedToken)
}
