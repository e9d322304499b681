package config

import (
	"fmt"
	"net/netip"
	"strings"
)

// tlsProblems finds settings that give no TLS, or less of it than they seem to.
func (c *Config) tlsProblems() []Problem {
	var list []Problem
	wrong := func(key, text string) { list = append(list, Problem{Setting: key, Text: text}) }
	pair := func(port, cert, key string) {
		switch {
		case cert == "" && key != "":
			wrong(port+".tls_cert_file", "is not set, but "+port+".tls_key_file is")
		case cert != "" && key == "":
			wrong(port+".tls_key_file", "is not set, but "+port+".tls_cert_file is")
		}
	}
	pair("tcp", c.TCP.TLSCertFile, c.TCP.TLSKeyFile)
	pair("http", c.HTTP.TLSCertFile, c.HTTP.TLSKeyFile)
	if c.TCP.TLS != Off && c.TCP.TLSCertFile == "" && c.TCP.TLSKeyFile == "" {
		wrong("tcp.tls", fmt.Sprintf("%q needs tcp.tls_cert_file and tcp.tls_key_file", c.TCP.TLS))
	}
	switch asks, ca := c.TCP.TLSClientAuth != Off, c.TCP.TLSClientCAFile != ""; {
	case asks && !ca:
		wrong("tcp.tls_client_auth", fmt.Sprintf("%q needs tcp.tls_client_ca_file", c.TCP.TLSClientAuth))
	case !asks && ca:
		wrong("tcp.tls_client_ca_file", "is set, but tcp.tls_client_auth is off: no certificate would be asked for")
	case asks && c.TCP.TLS == Off:
		wrong("tcp.tls_client_auth", fmt.Sprintf("%q needs tcp.tls: certificates are shown over TLS only", c.TCP.TLSClientAuth))
	}
	return list
}

// ParseNetwork reads a network, "10.0.0.0/8", or one address.
func ParseNetwork(s string) (netip.Prefix, error) {
	if !strings.Contains(s, "/") {
		a, err := netip.ParseAddr(s)
		if err != nil || a.Zone() != "" {
			return netip.Prefix{}, notANetwork(s)
		}
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil || p.Addr().Is4In6() {
		return netip.Prefix{}, notANetwork(s)
	}
	return p.Masked(), nil
}

func notANetwork(s string) error {
	return fmt.Errorf("%q is no address or network: want 10.1.2.3, 10.0.0.0/8 or fd00::/8", s)
}

func wrongNetworks(list []string) string {
	for _, s := range list {
		if _, err := ParseNetwork(s); err != nil {
			return err.Error()
		}
	}
	return ""
}
