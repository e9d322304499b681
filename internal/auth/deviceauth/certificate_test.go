package deviceauth

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"net/url"
	"testing"
	"time"

	"github.com/longwire/longwire/gateway"
)

// leaf is a certificate as it comes out of a handshake that has verified it.
func leaf(t *testing.T, until time.Time) *x509.Certificate {
	t.Helper()
	c := &x509.Certificate{Raw: []byte("raw"), Subject: pkix.Name{CommonName: "meter-1"}, NotAfter: until,
		DNSNames: []string{"meter-2", "*.example"}, EmailAddresses: []string{"meter@3"}}
	for _, u := range []string{"urn:dev:mac:0024befffe804ff1", "spiffe://plant.example/meter/meter-4"} {
		parsed, err := url.Parse(u)
		if err != nil {
			t.Fatal(err)
		}
		c.URIs = append(c.URIs, parsed)
	}
	return c
}

func with(h gateway.Hello, c *x509.Certificate) gateway.Hello {
	h.Certificate, h.Transport = c, "tls"
	return h
}

func TestIDHasToBeTheCertificates(t *testing.T) {
	until := time.Now().Add(time.Hour).Truncate(time.Second)
	c := leaf(t, until)
	all := []string{"meter-1", "meter-2", "meter@3", "urn:dev:mac:0024befffe804ff1", "meter-4"}
	for rule, own := range map[CertificateRule][]string{
		CertificateCN: {"meter-1"}, CertificateSANDNS: {"meter-2"}, CertificateSANEmail: {"meter@3"},
		CertificateSANURI: {"urn:dev:mac:0024befffe804ff1", "meter-4"},
	} {
		d := open(t, Config{CertificateID: rule})
		for _, id := range all {
			mine := false
			for _, x := range own {
				mine = mine || x == id
			}
			if mine {
				d.wantIn(with(hello(id, ""), c), until)
			} else {
				d.wantOut(with(hello(id, ""), c), MethodCertificate, ReasonOtherClient)
			}
		}
		d.wantOut(with(hello("x.example", ""), c), MethodCertificate, ReasonOtherClient) // a wildcard is nobody
		d.wantOut(hello(own[0], ""), MethodNone, ReasonNoCredentials)
		d.wantOut(with(hello(own[0], ""), leaf(t, time.Now().Add(-time.Second))), MethodCertificate, ReasonExpired)
	}
}

func TestCertificateAndTokens(t *testing.T) {
	until := time.Now().Add(time.Hour).Truncate(time.Second)
	sooner := until.Add(-time.Minute)
	c := leaf(t, until)
	file := writeFile(t, "tokens", "")
	token := tokenFor(t, file, TokenEntry{Client: "meter-1", ExpiresAt: sooner})
	others := tokenFor(t, file, TokenEntry{Client: "meter-9"})

	either := open(t, Config{CertificateID: CertificateCN, TokensFile: file})
	either.wantIn(with(hello("meter-1", ""), c), until)
	either.wantIn(hello("meter-1", token), sooner)
	either.wantOut(with(hello("meter-9", others), c), MethodCertificate, ReasonOtherClient) // it has proven to be meter-1

	both := open(t, Config{CertificateID: CertificateCN, TokensFile: file, RequireAll: true})
	both.wantIn(with(hello("meter-1", token), c), sooner) // the first to end
	lasting := tokenFor(t, file, TokenEntry{Client: "meter-1"})
	both.Reload()
	both.wantIn(with(hello("meter-1", lasting), c), until)
	both.wantIn(with(hello("meter-1", token), leaf(t, sooner.Add(-time.Minute))), sooner.Add(-time.Minute))
	both.wantOut(with(hello("meter-1", ""), c), MethodNone, ReasonNoCredentials)
	both.wantOut(hello("meter-1", token), MethodCertificate, ReasonNoCredentials)
	both.wantOut(with(hello("meter-1", others), c), MethodToken, ReasonOtherClient)
	both.wantOut(with(hello("meter-9", others), c), MethodCertificate, ReasonOtherClient)

	// Without a rule a certificate is no credential.
	open(t, Config{CertificateID: CertificateNone, SharedToken: "s"}).wantOut(with(hello("meter-1", ""), c), MethodNone, ReasonNoCredentials)
}
