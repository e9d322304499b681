package app

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/longwire/longwire/client"
	"github.com/longwire/longwire/internal/auth/deviceauth"
	"github.com/longwire/longwire/internal/config"
)

// revocation is a way to take a credential back.
type revocation struct {
	configure func(t *testing.T, cfg *config.Config) // makes the credentials, before the start
	side      *tls.Config                            // of meter-1; nil = plain
	words     []string                               // with which meter-1 registers, its id left out
	revoke    func(t *testing.T)
	refused   string // the answer to the next REGISTER; "" = the handshake fails
}

// ofToken revokes as `longwire devices token revoke` does.
func ofToken() *revocation {
	r := &revocation{refused: "CLOSE 3501"}
	var file string
	r.configure = func(t *testing.T, cfg *config.Config) {
		file = filepath.Join(t.TempDir(), "tokens")
		cfg.Auth.DeviceTokensFile = file
		r.words = []string{newToken(t, file, deviceauth.TokenEntry{Client: "meter-1"})}
		newToken(t, file, deviceauth.TokenEntry{Client: "meter-2"})
	}
	r.revoke = func(t *testing.T) {
		own := func(e *deviceauth.TokenEntry) bool { return e.Client == "meter-1" }
		if list, err := deviceauth.RevokeTokens(file, own); err != nil || len(list) != 1 {
			t.Fatalf("revoked %v, %v", list, err)
		}
	}
	return r
}

// ofKey replaces the key that signs tokens.
func ofKey() *revocation {
	r := &revocation{refused: "CLOSE 3501"}
	var file string
	good := map[string]any{"sub": "meter-1", "exp": time.Now().Add(time.Hour).Unix()}
	r.configure = func(t *testing.T, cfg *config.Config) {
		var token string
		token, file = signedToken(t, good)
		r.words, cfg.Auth.DeviceJWTKeys = []string{token}, file
	}
	r.revoke = func(t *testing.T) {
		_, another := signedToken(t, good)
		if err := os.Rename(another, file); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

// ofAuthority replaces the client CA.
func ofAuthority() *revocation {
	r := &revocation{}
	var file string
	r.configure = func(t *testing.T, cfg *config.Config) {
		ca := newAuthority(t)
		ca.serving(&cfg.TCP)
		file, cfg.Auth.DeviceCertificateID = cfg.TCP.TLSClientCAFile, "cn"
		r.side = ca.device("meter-1", time.Now().Add(time.Hour))
	}
	r.revoke = func(t *testing.T) {
		text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: newAuthority(t).cert.Raw})
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

// ofCertificate puts the device's certificate on its authority's list.
func ofCertificate() *revocation { return ofListed(0) }

// ofIntermediate does so with an authority between the two.
func ofIntermediate() *revocation { return ofListed(1) }

// ofListed lists a certificate of the chain that the device shows.
func ofListed(which int) *revocation {
	r := &revocation{refused: "CLOSE 3501"}
	var file string
	var ca *authority
	list := func(t *testing.T, serials ...*big.Int) {
		l := &x509.RevocationList{Number: big.NewInt(int64(len(serials) + 1)), ThisUpdate: time.Now(), NextUpdate: time.Now().Add(time.Hour)}
		for _, serial := range serials {
			l.RevokedCertificateEntries = append(l.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: serial, RevocationTime: time.Now()})
		}
		der, err := x509.CreateRevocationList(rand.Reader, l, ca.cert, ca.key)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r.configure = func(t *testing.T, cfg *config.Config) {
		ca = newAuthority(t)
		ca.serving(&cfg.TCP)
		file = filepath.Join(t.TempDir(), "crl.pem")
		list(t)
		cfg.Auth.DeviceRevokedFile, cfg.Auth.DeviceCertificateID = file, "cn"
		r.side = ca.device("meter-1", time.Now().Add(time.Hour))
		if which > 0 {
			between := &authority{t: t}
			var own tls.Certificate
			between.cert, between.key, own = ca.sign(&x509.Certificate{Subject: pkix.Name{CommonName: "plant 7"}, IsCA: true, BasicConstraintsValid: true,
				KeyUsage: x509.KeyUsageCertSign, NotAfter: time.Now().Add(time.Hour)})
			r.side.Certificates = between.device("meter-1", time.Now().Add(time.Hour)).Certificates
			r.side.Certificates[0].Certificate = append(r.side.Certificates[0].Certificate, own.Certificate[0])
		}
		r.side.ClientSessionCache = tls.NewLRUClientSessionCache(1) // a resumed session is none the better
	}
	r.revoke = func(t *testing.T) {
		c, err := x509.ParseCertificate(r.side.Certificates[0].Certificate[which])
		if err != nil {
			t.Fatal(err)
		}
		list(t, c.SerialNumber)
	}
	return r
}

var wantRevoked = regexp.MustCompile(`^CLOSE 3006 [0-9]{1,4} credentials_expired: the credential was revoked\n$`)

// Whatever takes the credential back ends the connection, within seconds and
// without a restart, on each driver; and it does not come back.
func TestRevokedCredentialEndsTheConnection(t *testing.T) {
	drivers := []string{"portable"}
	if runtime.GOOS == "linux" {
		drivers = append(drivers, "epoll")
	}
	for kind, of := range map[string]func() *revocation{"token": ofToken, "key": ofKey, "authority": ofAuthority, "certificate": ofCertificate,
		"intermediate": ofIntermediate} {
		for _, driver := range drivers {
			t.Run(kind+" on "+driver, func(t *testing.T) {
				t.Parallel() // waits for the watcher
				r := of()
				cfg := testConfig(t.TempDir())
				cfg.TCP.Driver = driver
				r.configure(t, cfg)
				a, log := startLogged(t, cfg)
				l := wantAnswer(t, a, r.side, "REGISTERED", append([]string{"meter-1"}, r.words...)...)
				r.revoke(t)
				if got := l.hear(); !wantRevoked.MatchString(got) {
					t.Errorf("the device heard %q", got)
				}
				if r.refused != "" {
					wantAnswer(t, a, r.side, r.refused, append([]string{"meter-1"}, r.words...)...)
				}
				wantMetric(t, a, `longwire_client_disconnects_total{reason="credentials_expired"} 1`)
				// The line comes after the connections have ended.
				waitFor(t, func() bool { return strings.Contains(log.String(), "credentials of their devices were revoked") })
			})
		}
	}
}

// What a device has not acked when it is cut off waits for it, and reaches it
// when it comes with its next token; nobody else notices.
func TestRevokedDeviceComesBackWithAnotherToken(t *testing.T) {
	cfg := testConfig(t.TempDir())
	cfg.Auth.DeviceTokensFile = filepath.Join(t.TempDir(), "tokens")
	old := newToken(t, cfg.Auth.DeviceTokensFile, deviceauth.TokenEntry{Client: "meter-1", Note: "old"})
	others := newToken(t, cfg.Auth.DeviceTokensFile, deviceauth.TokenEntry{Client: "meter-2"})
	a := start(t, cfg)
	l := wantAnswer(t, a, nil, "REGISTERED", "meter-1", old)
	other := wantAnswer(t, a, nil, "REGISTERED", "meter-2", others)
	if _, err := backend(t, a).Push(t.Context(), "meter-1", client.Push{Payload: client.Text("open")}); err != nil {
		t.Fatal(err)
	}
	if got := l.hear(); !strings.HasSuffix(got, " open\n") {
		t.Fatalf("the device heard %q", got)
	}
	fresh := newToken(t, cfg.Auth.DeviceTokensFile, deviceauth.TokenEntry{Client: "meter-1"})
	a.auth.Reload()
	if _, err := deviceauth.RevokeTokens(cfg.Auth.DeviceTokensFile, func(e *deviceauth.TokenEntry) bool { return e.Note == "old" }); err != nil {
		t.Fatal(err)
	}
	a.auth.Reload()
	if got := l.hear(); !wantRevoked.MatchString(got) {
		t.Errorf("with the old token it heard %q", got)
	}
	again := wantAnswer(t, a, nil, "REGISTERED", "meter-1", fresh)
	if got := again.hear(); !strings.HasSuffix(got, " open\n") {
		t.Errorf("with the new token it heard %q", got)
	}
	other.say("PING\n")
	if got := other.hear(); got != "PONG\n" {
		t.Errorf("another device heard %q", got)
	}
}
