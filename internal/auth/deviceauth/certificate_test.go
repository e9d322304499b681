package deviceauth

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"math/big"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/longwire/longwire/gateway"
)

// leaf is a certificate as it comes out of a handshake that has verified it.
func leaf(t *testing.T, until time.Time) *x509.Certificate {
	t.Helper()
	c := &x509.Certificate{Raw: []byte("raw"), SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "meter-1"}, NotAfter: until,
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

// A subject with two common names is two devices', and which of them is shown
// depends on who reads it.
func TestTwoCommonNamesAreNone(t *testing.T) {
	c := leaf(t, time.Now().Add(time.Hour))
	for _, name := range []string{"meter-7", "meter-1"} {
		c.Subject.Names = append(c.Subject.Names, pkix.AttributeTypeAndValue{Type: commonName, Value: name})
	}
	d := open(t, Config{CertificateID: CertificateCN})
	for _, id := range []string{"meter-1", "meter-7"} {
		d.wantOut(with(hello(id, ""), c), MethodCertificate, ReasonMalformed)
	}
}

// A list that no known authority has signed changes nothing.
func TestListsOfRevokedCertificatesAreTheAuthoritys(t *testing.T) {
	own, strange := newListSigner(t), newListSigner(t)
	ca := writeFile(t, "ca.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: own.cert.Raw})))
	for name, c := range map[string]struct {
		list []byte
		want string // of the error, "" for none
	}{
		"signed":               {own.revoke(t, 7), ""},
		"signed by another":    {strange.revoke(t, 7), "not signed by an authority"},
		"no list":              {nil, "no list of revoked certificates"},
		"a list that is short": {own.revoke(t, 7)[:40], "list 1"},
	} {
		text := ""
		if c.list != nil {
			text = string(pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: c.list}))
		}
		_, err := New(Config{CertificateID: CertificateCN, ClientCA: ca, RevokedFile: writeFile(t, "crl.pem", text)})
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// A list revokes certificates of its issuer also if it writes the name in another encoding.
func TestTheNameOfAListMayBeEncodedInAnotherWay(t *testing.T) {
	s := newListSigner(t)
	ca := writeFile(t, "ca.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.cert.Raw})))
	own := s.cert.RawSubject
	issuer := *s.cert
	issuer.RawSubject = bytes.Replace(own, []byte("\x13\x08plant CA"), []byte("\x0c\x08plant CA"), 1) // UTF8String for PrintableString
	if bytes.Equal(issuer.RawSubject, own) {
		t.Fatalf("the name is %x", own)
	}
	lists := writeFile(t, "crl.pem", string(pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: (&listSigner{&issuer, s.key}).revoke(t, 1)})))
	d := open(t, Config{CertificateID: CertificateCN, ClientCA: ca, RevokedFile: lists})
	c := leaf(t, time.Now().Add(time.Hour))
	c.RawIssuer = own
	h := with(hello("meter-1", ""), c)
	h.Authority = s.cert
	d.wantOut(h, MethodCertificate, ReasonRevoked)

	issuer.RawSubject = bytes.Replace(own, []byte("plant CA"), []byte("other CA"), 1)
	writeFile(t, lists, string(pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: (&listSigner{&issuer, s.key}).revoke(t, 2)})))
	d.Reload()
	if !strings.Contains(d.log.String(), "of CN=other CA, is not signed by an authority of that name") {
		t.Errorf("a list in the name of another authority: %s", d.log)
	}
}

// A list of changes in the place of the whole would take back revocations without a word,
// and an entry of another issuer would revoke the wrong certificate.
func TestListsThatAreNotTheIssuersOwn(t *testing.T) {
	s := newListSigner(t)
	ca := writeFile(t, "ca.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.cert.Raw})))
	number := []byte{2, 1, 1} // INTEGER 1
	for name, change := range map[string]func(*x509.RevocationList){
		"delta": func(l *x509.RevocationList) {
			l.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 27}, Critical: true, Value: number}}
		},
		"indirect": func(l *x509.RevocationList) {
			l.RevokedCertificateEntries[0].ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 29}, Critical: true, Value: number}}
		},
	} {
		l := &x509.RevocationList{Number: big.NewInt(2), ThisUpdate: time.Now(), NextUpdate: time.Now().Add(time.Hour),
			RevokedCertificateEntries: []x509.RevocationListEntry{{SerialNumber: big.NewInt(7), RevocationTime: time.Now()}}}
		change(l)
		der, err := x509.CreateRevocationList(rand.Reader, l, s.cert, s.key)
		if err != nil {
			t.Fatal(err)
		}
		lists := writeFile(t, "crl.pem", string(pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der})))
		if _, err := New(Config{CertificateID: CertificateCN, ClientCA: ca, RevokedFile: lists}); err == nil || !strings.Contains(err.Error(), "only changes since another list") {
			t.Errorf("%s: %v, want it refused", name, err)
		}
	}
}

// The listener and the Authenticator read the file of authorities at different times.
func TestAnAuthorityThatTheListenerKnowsFirst(t *testing.T) {
	old, next := newListSigner(t), newListSigner(t)
	text := func(s *listSigner) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.cert.Raw}))
	}
	ca := writeFile(t, "ca.pem", text(old))
	d := open(t, Config{CertificateID: CertificateCN, ClientCA: ca})
	until := time.Now().Add(time.Hour)
	h := with(hello("meter-1", ""), leaf(t, until))
	h.Authority = next.cert
	writeFile(t, ca, text(old)+text(next))
	d.wantIn(h, until)
	writeFile(t, ca, text(old))
	d.Reload()
	d.wantOut(h, MethodCertificate, ReasonRevoked)
}

// Devices of an authority that is not in the file do not have the files read for each of them.
func TestManyDevicesOfAnUnknownAuthority(t *testing.T) {
	known, strange := newListSigner(t), newListSigner(t)
	ca := writeFile(t, "ca.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: known.cert.Raw})))
	tokens := writeFile(t, "tokens", "")
	d := open(t, Config{CertificateID: CertificateCN, ClientCA: ca, TokensFile: tokens})
	loads := 0
	d.files[0].Load = func() error { loads++; return errors.New("a mistake in the file of tokens") }
	writeFile(t, tokens, "a mistake")
	h := with(hello("meter-1", ""), leaf(t, time.Now().Add(time.Hour)))
	h.Authority = strange.cert
	for range 50 {
		d.wantOut(h, MethodCertificate, ReasonRevoked)
	}
	if loads > 2 {
		t.Errorf("the file of tokens was read %d times", loads)
	}
}

// listSigner is an authority of certificates.
type listSigner struct {
	cert *x509.Certificate
	key  ed25519.PrivateKey
}

func newListSigner(t *testing.T) *listSigner {
	t.Helper()
	public, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "plant CA"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, public, key)
	if err != nil {
		t.Fatal(err)
	}
	if c, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return &listSigner{c, key}
}

func (s *listSigner) revoke(t *testing.T, serial int64) []byte {
	t.Helper()
	der, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: time.Now(), NextUpdate: time.Now().Add(time.Hour),
		RevokedCertificateEntries: []x509.RevocationListEntry{{SerialNumber: big.NewInt(serial), RevocationTime: time.Now()}}}, s.cert, s.key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}
