package config

import (
	"fmt"
	"net"
	"net/url"
	"path"
)

// Values of auth.device_require and auth.device_unknown.
const (
	RequireAny     = "any"
	RequireAll     = "all"
	HookEnforce    = "enforce"
	HookMonitor    = "monitor"
	UnknownAuto    = "auto"
	UnknownPattern = "pattern"
	CertificateID  = "none" // the default of auth.device_certificate_id
)

// deviceProblems finds settings of device authentication that contradict each
// other.
func (c *Config) deviceProblems() []Problem {
	var list []Problem
	wrong := func(key, format string, args ...any) {
		list = append(list, Problem{Setting: key, Text: fmt.Sprintf(format, args...)})
	}
	a := &c.Auth
	if a.DeviceRevokedFile != "" && a.DeviceCertificateID == CertificateID {
		wrong("auth.device_revoked_file", "is set, and certificates are no credentials: set auth.device_certificate_id")
	}
	if a.DeviceCertificateID != CertificateID && c.TCP.TLSClientAuth == Off {
		wrong("auth.device_certificate_id", "is %s, and no device is asked for a certificate: set tcp.tls_client_auth", a.DeviceCertificateID)
	}
	if a.DeviceJWTKeys == "" && a.DeviceJWTIssuer+a.DeviceJWTAudience != "" {
		wrong("auth.device_jwt_keys", "is needed to check the issuer or audience of signed tokens")
	}
	if a.DeviceUnknown == UnknownPattern && len(a.DevicePatterns) == 0 {
		wrong("auth.device_patterns", "is empty, and auth.device_unknown is pattern")
	}
	for _, p := range a.DevicePatterns {
		if _, err := path.Match(p, ""); err != nil {
			wrong("auth.device_patterns", "%q is not a pattern: want letters, * for any characters, ? for one, as in meter-*", p)
		}
	}
	if u, err := url.Parse(a.DeviceHookURL); err == nil && u.Scheme == "http" && !c.Insecure && !IsLoopback(net.JoinHostPort(u.Hostname(), "80")) {
		wrong("auth.device_hook_url", "the tokens of devices would go to %s in the clear: use https, or accept it with --insecure", u.Hostname())
	}
	return list
}

// DevicesAreGuarded reports whether each device needs a credential, so that the
// port may be open to other machines.
func (c *Config) DevicesAreGuarded() bool {
	a := &c.Auth
	everyone := a.DeviceToken != "" || a.DeviceJWTKeys != "" || a.DeviceCertificateID != CertificateID ||
		a.DeviceHookURL != "" && a.DeviceHookMode == HookEnforce
	return everyone || a.DeviceTokensFile != "" && a.DeviceUnknown == UnknownAuto
}

// wrongURL does not repeat the URL, which may contain a secret.
func wrongURL(text string) string {
	if text == "" {
		return ""
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil {
		return "want http:// or https://, a host, and no user name"
	}
	return ""
}
