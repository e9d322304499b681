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

// CertificateRule says which name of a certificate a device has to register
// under. A certificate with several names of that kind lets it choose.
type CertificateRule string

const (
	CertificateNone     CertificateRule = "none" // certificates are not credentials
	CertificateCN       CertificateRule = "cn"
	CertificateSANDNS   CertificateRule = "san_dns"
	CertificateSANURI   CertificateRule = "san_uri" // the whole URI, or what follows its last slash
	CertificateSANEmail CertificateRule = "san_email"
)

func (r CertificateRule) asks() bool { return r != "" && r != CertificateNone }

// certificate looks at the one that h has come with.
func (a *Authenticator) certificate(h *gateway.Hello) verdict {
	v := a.cfg.CertificateID.check(h, a.cfg.Now())
	if v.accepted() && a.authorities.Load() != nil && h.Authority != nil {
		v.credential = &certificateCredential{a, authorityPrint(h.Authority), certificatePrint(h.Certificate.RawIssuer, h.Certificate.SerialNumber)}
		if !v.credential.Holds(h.Client) {
			return refused(MethodCertificate, ReasonRevoked)
		}
	}
	return v
}

// check compares h's certificate, whose chain the TLS handshake has verified,
// with the id.
func (r CertificateRule) check(h *gateway.Hello, now time.Time) verdict {
	c := h.Certificate
	if c == nil {
		return refused(MethodCertificate, ReasonNoCredentials)
	}
	switch {
	case r == CertificateCN && commonNames(c) > 1: // which of them counts is a matter of the parser
		return refused(MethodCertificate, ReasonMalformed)
	case !r.names(c, string(h.Client)):
		return refused(MethodCertificate, ReasonOtherClient)
	case now.After(c.NotAfter): // the handshake may have been a while ago
		return refused(MethodCertificate, ReasonExpired)
	}
	return verdict{method: MethodCertificate, reason: ReasonAccepted, bound: true, expires: c.NotAfter}
}

// names reports whether c is id's. Names are compared byte for byte, so a
// wildcard names nobody.
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

// commonNames counts the common names of a certificate that was parsed.
func commonNames(c *x509.Certificate) (n int) {
	for _, name := range c.Subject.Names {
		if name.Type.Equal(commonName) {
			n++
		}
	}
	return n
}

var commonName = asn1.ObjectIdentifier{2, 5, 4, 3}
