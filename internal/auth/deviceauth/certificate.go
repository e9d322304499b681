package deviceauth

import (
	"crypto/x509"
	"encoding/asn1"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/longwire/longwire/gateway"
)

// CertificateRule selects the name of a certificate that is the device's id. If a
// certificate has several names of that kind, the device may register under any.
type CertificateRule string

const (
	CertificateNone     CertificateRule = "none" // certificates are not credentials
	CertificateCN       CertificateRule = "cn"
	CertificateSANDNS   CertificateRule = "san_dns"
	CertificateSANURI   CertificateRule = "san_uri" // the whole URI, or the part after its last slash
	CertificateSANEmail CertificateRule = "san_email"
)

func (r CertificateRule) asks() bool { return r != "" && r != CertificateNone }

// certificate checks the certificate of h's connection.
func (a *Authenticator) certificate(h *gateway.Hello) verdict {
	v := a.cfg.CertificateID.check(h, a.cfg.Now())
	if v.accepted() && a.authorities.Load() != nil && h.Authority != nil {
		authority := authorityPrint(h.Authority)
		if !(*a.authorities.Load())[authority] {
			a.early.Do(a.Reload) // the listener may have read the file of authorities since
		}
		v.credential = &certificateCredential{a, authority, certificatePrint(h.Certificate)}
		for _, c := range h.Between { // an authority may revoke one below it
			v.credential = together(v.credential, &certificateCredential{a, authority, certificatePrint(c)})
		}
		if !v.credential.Holds(h.Client) {
			return refused(MethodCertificate, ReasonRevoked)
		}
	}
	return v
}

// check compares the names of h's certificate with the id. The TLS handshake has
// verified its chain.
func (r CertificateRule) check(h *gateway.Hello, now time.Time) verdict {
	c := h.Certificate
	if c == nil {
		return refused(MethodCertificate, ReasonNoCredentials)
	}
	switch {
	case r == CertificateCN && commonNames(c) > 1: // parsers differ about which of several counts
		return refused(MethodCertificate, ReasonMalformed)
	case !r.names(c, string(h.Client)):
		return refused(MethodCertificate, ReasonOtherClient)
	case now.After(c.NotAfter): // the handshake may be long ago
		return refused(MethodCertificate, ReasonExpired)
	}
	return verdict{method: MethodCertificate, reason: ReasonAccepted, bound: true, expires: c.NotAfter}
}

// names reports whether c names id. It compares byte for byte, so a wildcard
// matches no id.
func (r CertificateRule) names(c *x509.Certificate, id string) bool {
	switch r {
	case CertificateCN:
		return c.Subject.CommonName == id
	case CertificateSANDNS:
		return slices.Contains(c.DNSNames, id)
	case CertificateSANEmail:
		return slices.Contains(c.EmailAddresses, id)
	case CertificateSANURI:
		return slices.ContainsFunc(c.URIs, func(u *url.URL) bool {
			whole := u.String()
			return whole == id || whole[strings.LastIndexByte(whole, '/')+1:] == id
		})
	}
	return false
}

// commonNames counts the common names of a parsed certificate.
func commonNames(c *x509.Certificate) (n int) {
	for _, name := range c.Subject.Names {
		if name.Type.Equal(commonName) {
			n++
		}
	}
	return n
}

var commonName = asn1.ObjectIdentifier{2, 5, 4, 3}
