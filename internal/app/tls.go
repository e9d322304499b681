package app

import (
	"crypto/tls"
	"net"
	"net/netip"

	"github.com/longwire/longwire/internal/certs"
	"github.com/longwire/longwire/internal/config"
	"github.com/longwire/longwire/internal/metrics"
)

// openCerts reads the certificates of the listeners that have one and begins to
// watch their files.
func (a *App) openCerts() (err error) {
	c := a.cfg
	if c.TCP.TLS != config.Off {
		a.tcpCerts, err = certs.Open(certs.Options{
			Listener:   "tcp",
			Files:      certs.Files{Cert: c.TCP.TLSCertFile, Key: c.TCP.TLSKeyFile, ClientCA: c.TCP.TLSClientCAFile},
			ClientAuth: clientAuth(c.TCP.TLSClientAuth),
			Logger:     a.log,
		})
		if err != nil {
			return err
		}
		a.tcpCerts.Start()
		a.opened.addQuiet("certificates of the device port", a.tcpCerts.Stop)
	}
	if c.HTTP.TLSCertFile != "" {
		a.httpCerts, err = certs.Open(certs.Options{
			Listener:  "http",
			Files:     certs.Files{Cert: c.HTTP.TLSCertFile, Key: c.HTTP.TLSKeyFile},
			Protocols: []string{"h2", "http/1.1"},
			Logger:    a.log,
		})
		if err != nil {
			return err
		}
		a.httpCerts.Start()
		a.opened.addQuiet("certificates of the API", a.httpCerts.Stop)
	}
	return nil
}

func clientAuth(setting string) tls.ClientAuthType {
	switch setting {
	case config.Required:
		return tls.RequireAndVerifyClientCert
	case config.Optional:
		return tls.VerifyClientCertIfGiven
	}
	return tls.NoClientCert
}

// deviceTLS returns the TLS configuration of the device port, nil for none.
func (a *App) deviceTLS() *tls.Config {
	if a.tcpCerts == nil {
		return nil
	}
	return a.tcpCerts.Config()
}

// serveHTTP serves the API on ln, with TLS if it has a certificate.
func (a *App) serveHTTP(ln net.Listener) error {
	if a.httpCerts == nil {
		return a.http.Serve(ln)
	}
	a.http.TLSConfig = a.httpCerts.Config()
	return a.http.ServeTLS(ln, "", "")
}

// scheme returns the scheme of the API's URL.
func (a *App) scheme() string {
	if a.httpCerts != nil {
		return "https"
	}
	return "http"
}

// certStats returns the state of the certificates, by listener.
func (a *App) certStats() map[string]metrics.CertStats {
	all := map[string]metrics.CertStats{}
	for listener, k := range map[string]*certs.Reloader{"tcp": a.tcpCerts, "http": a.httpCerts} {
		if k != nil {
			all[listener] = metrics.CertStats(k.Stats())
		}
	}
	return all
}

// trustedProxies parses networks, which are validated.
func trustedProxies(networks []string) []netip.Prefix {
	var list []netip.Prefix
	for _, s := range networks {
		if p, err := config.ParseNetwork(s); err == nil {
			list = append(list, p)
		}
	}
	return list
}
