package config

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A listener that other machines reach needs a guard, or --insecure.
func TestExposedListeners(t *testing.T) {
	const key, token = "lwk_0123456789abcdef", "t"
	for _, c := range []struct {
		name string
		args []string
		want []string // settings that are refused
	}{
		{"loopback", []string{"--http-addr=localhost:1", "--tcp-addr=[::1]:2"}, nil},
		{"mapped loopback", []string{"--http-addr=[::ffff:127.0.0.1]:1", "--tcp-addr=127.9.9.9:2"}, nil},
		{"all interfaces", []string{"--http-addr=:1", "--tcp-addr=0.0.0.0:2"}, []string{"http.addr", "tcp.addr"}},
		{"IPv6", []string{"--http-addr=[::]:1", "--tcp-addr=[2001:db8::1]:2"}, []string{"http.addr", "tcp.addr"}},
		{"a name", []string{"--http-addr=gateway:1", "--tcp-addr=localhost.example:2"}, []string{"http.addr", "tcp.addr"}},
		{"guarded API", []string{"--http-addr=:1", "--auth-api-keys", key}, nil},
		{"guarded devices", []string{"--tcp-addr=:2", "--auth-device-token", token}, nil},
		{"tokens of devices", []string{"--tcp-addr=:2", "--auth-device-tokens-file=x"}, nil},
		{"tokens of some devices", []string{"--tcp-addr=:2", "--auth-device-tokens-file=x", "--auth-device-unknown=open"}, []string{"tcp.addr"}},
		{"known ids only", []string{"--tcp-addr=:2", "--auth-device-unknown=listed"}, []string{"tcp.addr"}},
		{"signed tokens", []string{"--tcp-addr=:2", "--auth-device-jwt-keys=x"}, nil},
		{"a hook", []string{"--tcp-addr=:2", "--auth-device-hook-url=https://hook.example"}, nil},
		{"a hook that only watches", []string{"--tcp-addr=:2", "--auth-device-hook-url=https://hook.example", "--auth-device-hook-mode=monitor"}, []string{"tcp.addr"}},
		{"the other's guard", []string{"--http-addr=:1", "--auth-device-token", token}, []string{"http.addr"}},
		{"insecure", []string{"--http-addr=:1", "--tcp-addr=:2", "--insecure"}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []string
			_, _, err := Load(LoadOptions{Flags: flags(t, c.args...)})
			if e, ok := errors.AsType[*Error](err); ok {
				for _, p := range e.Problems {
					got = append(got, p.Setting)
					if !strings.Contains(p.Text, "LONGWIRE_AUTH_") || !strings.Contains(p.Text, "--insecure") {
						t.Errorf("%s does not say what to do", p.Text)
					}
				}
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("refused (-want +got):\n%s", diff)
			}
		})
	}
}

func TestValidateTogether(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Config)
		want   string
	}{
		"same address":            {func(c *Config) { c.HTTP.Addr = c.TCP.Addr }, "http.addr"},
		"no directory":            {func(c *Config) { c.Data.Dir = "" }, "data.dir"},
		"read timeouts":           {func(c *Config) { c.HTTP.ReadTimeout = second }, "http.read_timeout"},
		"per address":             {func(c *Config) { c.TCP.MaxUnregistered = 10 }, "tcp.max_unregistered_per_ip"},
		"no port":                 {func(c *Config) { c.TCP.Addr = "127.0.0.1" }, "tcp.addr"},
		"port too high":           {func(c *Config) { c.TCP.Addr = "127.0.0.1:65536" }, "tcp.addr"},
		"short key":               {func(c *Config) { c.Auth.APIKeys = []Secret{"lwk_0123456789abcdef", "lwk_short"} }, "auth.api_keys"},
		"TLS without certificate": {func(c *Config) { c.TCP.TLS = Required }, "tcp.tls"},
		"certificate without key": {func(c *Config) { c.TCP.TLSCertFile = "c" }, "tcp.tls_key_file"},
		"key without certificate": {func(c *Config) { c.HTTP.TLSKeyFile = "k" }, "http.tls_cert_file"},
		"nobody to vouch": {func(c *Config) {
			c.TCP.TLS, c.TCP.TLSCertFile, c.TCP.TLSKeyFile, c.TCP.TLSClientAuth = Required, "c", "k", Required
		}, "tcp.tls_client_auth"},
		"certificates in the clear":  {func(c *Config) { c.TCP.TLSClientAuth, c.TCP.TLSClientCAFile = Required, "ca" }, "tcp.tls_client_auth"},
		"nobody is asked":            {func(c *Config) { c.TCP.TLSClientCAFile = "ca" }, "tcp.tls_client_ca_file"},
		"network":                    {func(c *Config) { c.TCP.ProxyTrusted = []string{"10.0.0.0/8", "10.0.0.0/40"} }, "tcp.proxy_trusted"},
		"zone":                       {func(c *Config) { c.TCP.ProxyTrusted = []string{"fe80::1%eth0"} }, "tcp.proxy_trusted"},
		"hook without a scheme":      {func(c *Config) { c.Auth.DeviceHookURL = "hook.example/x" }, "auth.device_hook_url"},
		"hook with a password":       {func(c *Config) { c.Auth.DeviceHookURL = "https://me:secret@hook.example" }, "auth.device_hook_url"},
		"tokens in the clear":        {func(c *Config) { c.Auth.DeviceHookURL = "http://hook.example" }, "auth.device_hook_url"},
		"no patterns":                {func(c *Config) { c.Auth.DeviceUnknown = "pattern" }, "auth.device_patterns"},
		"a bad pattern":              {func(c *Config) { c.Auth.DevicePatterns = []string{"a["} }, "auth.device_patterns"},
		"an issuer of nothing":       {func(c *Config) { c.Auth.DeviceJWTIssuer = "x" }, "auth.device_jwt_keys"},
		"a group that is none":       {func(c *Config) { c.Auth.DeviceGroups = []string{"a b"} }, "auth.device_groups"},
		"revoked, and no credential": {func(c *Config) { c.Auth.DeviceRevokedFile = "crl" }, "auth.device_revoked_file"},
		"ids of no certificates":     {func(c *Config) { c.Auth.DeviceCertificateID = "cn" }, "auth.device_certificate_id"},
		"simulated devices outside": {func(c *Config) {
			c.Simulator.Enabled, c.TCP.Addr, c.Insecure = On, ":6666", true
		}, "simulator.enabled"},
		"key prefix": {func(c *Config) { c.Auth.APIKeys = []Secret{"0123456789abcdef01234"} }, "auth.api_keys"},
	} {
		cfg := Default()
		c.change(cfg)
		e, ok := errors.AsType[*Error](cfg.Validate())
		if !ok || len(e.Problems) != 1 || e.Problems[0].Setting != c.want {
			t.Errorf("%s: %v, want one problem with %s", name, e, c.want)
		}
	}
	both := Default()
	both.TCP.Addr, both.HTTP.Addr = "127.0.0.1:0", "127.0.0.1:0"
	if err := both.Validate(); err != nil {
		t.Errorf("two free ports: %v", err)
	}
}

// A query of a URL may hold a secret.
func TestShownURLsHaveNoQuery(t *testing.T) {
	c := Default()
	c.Auth.DeviceHookURL = "https://hook.example/ask?token=TOPSECRET"
	for _, r := range Rows(c, Provenance{}) {
		if r.Key == "auth.device_hook_url" && (strings.Contains(r.Value, "TOPSECRET") || !strings.HasPrefix(r.Value, "https://hook.example/ask?")) {
			t.Errorf("shown as %q, want the query masked", r.Value)
		}
	}
}
