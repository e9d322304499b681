package deviceauth

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/longwire/longwire/gateway"
)

// inside lets a device in and returns what it was let in with.
func (d *door) inside(h gateway.Hello) gateway.Credential {
	d.t.Helper()
	g, err := d.register(h)
	if err != nil {
		d.t.Fatalf("%s is not let in: %v", h.Client, err)
	}
	return g.Credential
}

// wantHolds checks whether what a connected client was let in with still holds.
func (d *door) wantHolds(when string, c gateway.Credential, client gateway.ClientID, want bool) {
	d.t.Helper()
	if got := c.Holds(client); got != want {
		d.t.Errorf("%s: the credential of %s holds %v, want %v", when, client, got, want)
	}
}

// line is an entry of a token file as a program of somebody's would write it.
func line(client, token, more string) string {
	return fmt.Sprintf(`{"client":%q,"sha256":"%x"%s}`+"\n", client, HashToken(token), more)
}

func TestTokenHoldsAsItsLineDoes(t *testing.T) {
	token, other := NewToken(), NewToken()
	until := func(d time.Duration) string {
		return fmt.Sprintf(`,"expires_at":%q`, time.Now().Add(d).Format(time.RFC3339))
	}
	for _, c := range []struct {
		name, before, after string
		want                bool
	}{
		{"the same", line("m", token, ""), line("m", token, ""), true},
		{"another note", line("m", token, ""), line("m", token, `,"note":"rack 3"`), true},
		{"another line gone", line("m", token, "") + line("x", other, ""), line("m", token, ""), true},
		{"a second token", line("m", token, ""), line("m", token, "") + line("m", other, ""), true},
		{"gone", line("m", token, ""), "", false},
		{"replaced", line("m", token, ""), line("m", other, ""), false},
		{"somebody else's", line("m", token, ""), line("x", token, ""), false},
		{"for a pattern now", line("m", token, ""), fmt.Sprintf(`{"pattern":"m*","sha256":"%x"}`, HashToken(token)), true},
		{"for a pattern of others", line("m", token, ""), fmt.Sprintf(`{"pattern":"x*","sha256":"%x"}`, HashToken(token)), false},
		{"over", line("m", token, ""), line("m", token, until(-time.Second)), false},
		{"to end, which it was not", line("m", token, ""), line("m", token, until(time.Hour)), false},
		{"to end sooner", line("m", token, until(2*time.Hour)), line("m", token, until(time.Hour)), false},
		{"to end later", line("m", token, until(time.Hour)), line("m", token, until(2*time.Hour)), true},
		{"not to end", line("m", token, until(time.Hour)), line("m", token, ""), true},
		{"unreadable", line("m", token, ""), "{", true},
	} {
		file := writeFile(t, "tokens", c.before)
		d := open(t, Config{TokensFile: file})
		got := d.inside(hello("m", token))
		d.wantHolds("at first", got, "m", true)
		writeFile(t, file, c.after)
		d.wantHolds(c.name+", not loaded yet", got, "m", true)
		d.Reload()
		d.wantHolds(c.name, got, "m", c.want)
	}
}

// TestTheLastKeyCanBeTakenOut as any other, and a broken file is not the end of a key.
func TestTheLastKeyCanBeTakenOut(t *testing.T) {
	s := signers()["EdDSA"]
	for name, c := range map[string]struct {
		take func(file string) error
		want bool
	}{
		"a directory without files": {os.Remove, false},
		"a JWKS without keys":       {func(file string) error { return os.WriteFile(file, []byte(`{"keys":[]}`), 0o600) }, false},
		"a file that is empty":      {func(file string) error { return os.Truncate(file, 0) }, true},
		"a JWKS of other keys": {func(file string) error {
			return os.WriteFile(file, []byte(`{"keys":[{"kty":"EC","use":"enc"}]}`), 0o600)
		}, true},
		"a directory that is missing": {func(file string) error { return os.RemoveAll(filepath.Dir(file)) }, true},
	} {
		dir := filepath.Join(t.TempDir(), "keys")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir, "jwks.json")
		writeFile(t, file, jwksOf(t, s))
		d := open(t, Config{JWTKeys: dir})
		got := d.inside(hello("m", s.sign(t, claims("m"))))
		if err := c.take(file); err != nil {
			t.Fatal(err)
		}
		d.Reload()
		d.wantHolds(name, got, "m", c.want)
		if _, err := d.register(hello("m", s.sign(t, claims("m")))); (err == nil) != c.want {
			t.Errorf("%s: a new connection: %v, want it let in: %v", name, err, c.want)
		}
	}
	empty := t.TempDir()
	if _, err := New(Config{JWTKeys: empty, Logger: slog.New(slog.DiscardHandler)}); err == nil {
		t.Error("a start without a key is no error")
	}
}

func TestSignedTokenHoldsAsItsKeyDoes(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "keys")
	r, e, h := signers()["RS256"], signers()["ES256"], signers()["HS256"]
	writeFile(t, file, jwksOf(t, r, h))
	d := open(t, Config{JWTKeys: file})
	byR, byH := d.inside(hello("m", r.sign(t, claims("m")))), d.inside(hello("m", h.sign(t, claims("m"))))

	writeFile(t, file, jwksOf(t, r, h, e))
	d.Reload()
	d.wantHolds("a key more", byR, "m", true)
	writeFile(t, file, jwksOf(t, &signer{"renamed", r.method, r.key, r.jwk, r.pem}, e))
	d.Reload()
	d.wantHolds("under another name", byR, "m", true)
	d.wantHolds("the secret gone", byH, "m", false)
	writeFile(t, file, jwksOf(t, &signer{r.kid, e.method, e.key, e.jwk, e.pem}))
	d.Reload()
	d.wantHolds("another key under its name", byR, "m", false)
	if d.Stats().ReloadErrors != 0 {
		t.Error(d.log)
	}
}

// plant is an authority, as its certificate says.
func plant(t *testing.T, name string, key *ecdsa.PrivateKey) (c *x509.Certificate, text string) {
	t.Helper()
	template := &x509.Certificate{Subject: pkix.Name{CommonName: name}, SerialNumber: big.NewInt(time.Now().UnixNano()),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	if c, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return c, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestCertificateHoldsAsItsAuthorityDoes(t *testing.T) {
	key := newKey(t)
	old, oldText := plant(t, "plant", key)
	_, renewed := plant(t, "plant", key)
	_, sameName := plant(t, "plant", newKey(t))
	_, sameKey := plant(t, "other plant", key)
	file := writeFile(t, "ca.pem", oldText)
	d := open(t, Config{CertificateID: CertificateCN, ClientCA: file})
	h := with(hello("meter-1", ""), leaf(t, time.Now().Add(time.Hour)))
	h.Authority = old
	c := d.inside(h)
	for _, now := range []struct {
		name, text string
		want       bool
	}{
		{"beside another", sameName + oldText, true},
		{"renewed", renewed, true},
		{"another of that name", sameName, false},
		{"another with that key", sameKey, false},
		{"back", "# the old one again\n" + oldText, true},
		{"no certificate in it", "nothing", true}, // the file before stays in force
	} {
		writeFile(t, file, now.text)
		d.Reload()
		d.wantHolds(now.name, c, "meter-1", now.want)
	}
	if n := d.Stats().ReloadErrors; n != 1 {
		t.Errorf("%d errors, want 1", n)
	}
}

// Who was let in with nothing, for nothing was asked of its id, has to come
// again when something is.
func TestNothingHoldsUntilItIsAsked(t *testing.T) {
	file := writeFile(t, "tokens", line("other", NewToken(), ""))
	d := open(t, Config{TokensFile: file, Unknown: UnknownOpen})
	c := d.inside(hello("m", ""))
	d.wantHolds("at first", c, "m", true)
	tokenFor(t, file, TokenEntry{Client: "n"})
	d.Reload()
	d.wantHolds("another id has a token", c, "m", true)
	tokenFor(t, file, TokenEntry{Pattern: "m*"})
	d.Reload()
	d.wantHolds("a token is asked", c, "m", false)
}

// All kinds of credentials are needed: each of them ends the connection.
func TestAllCredentialsHold(t *testing.T) {
	key := newKey(t)
	authority, text := plant(t, "plant", key)
	_, another := plant(t, "another", newKey(t))
	for name, revoke := range map[string]func(tokens, ca string){
		"the token":     func(tokens, _ string) { writeFile(t, tokens, "") },
		"the authority": func(_, ca string) { writeFile(t, ca, another) },
	} {
		tokens, ca := writeFile(t, "tokens", ""), writeFile(t, "ca.pem", text)
		token := tokenFor(t, tokens, TokenEntry{Client: "meter-1"})
		d := open(t, Config{CertificateID: CertificateCN, ClientCA: ca, TokensFile: tokens, RequireAll: true})
		h := with(hello("meter-1", token), leaf(t, time.Now().Add(time.Hour)))
		h.Authority = authority
		c := d.inside(h)
		d.wantHolds("at first", c, "meter-1", true)
		revoke(tokens, ca)
		d.Reload()
		d.wantHolds(name, c, "meter-1", false)
	}
}

// What no file can take back is not kept with the connection.
func TestWhatCannotBeTakenBackIsNotKept(t *testing.T) {
	s := startService(t, 200, `{"allow":true}`)
	for name, cfg := range map[string]Config{
		"nothing is asked":       {},
		"the shared token":       {SharedToken: "s"},
		"the hook":               {Hook: HookConfig{URL: s.URL}},
		"beside a file, shared":  {SharedToken: "s", TokensFile: writeFile(t, "tokens", "")},
		"no file of authorities": {CertificateID: CertificateCN, SharedToken: "s"},
	} {
		if c := open(t, cfg).inside(hello("m", "s")); c != nil {
			t.Errorf("%s: the credential is %v, want none", name, c)
		}
	}
}

// Whoever has to know is told once of each change that came into force.
func TestChangesAreTold(t *testing.T) {
	file := writeFile(t, "tokens", "")
	synctest.Test(t, func(t *testing.T) {
		told := 0
		d := open(t, Config{TokensFile: file, Changed: func() { told++ }})
		d.Start()
		defer d.Close()
		after := func(what string, want int) {
			t.Helper()
			time.Sleep(reloadEvery + 1)
			synctest.Wait()
			if told != want {
				t.Errorf("%s: told %d times, want %d", what, told, want)
			}
		}
		after("no change", 0)
		token := tokenFor(t, file, TokenEntry{Client: "m"})
		after("a token more", 1)
		after("no change", 1)
		c := d.inside(hello("m", token))
		writeFile(t, file, "broken")
		after("a broken file", 1)
		writeFile(t, file, "")
		after("revoked", 2)
		d.wantHolds("revoked", c, "m", false)
	})
}

// What is kept of each connection that has a credential, beside its place in the
// gateway's table.
func TestCredentialsAreSmall(t *testing.T) {
	for kind, got := range map[string]uintptr{"token": unsafe.Sizeof(tokenCredential{}), "signed token": unsafe.Sizeof(keyCredential{}),
		"certificate": unsafe.Sizeof(certificateCredential{})} {
		if got > 64 {
			t.Errorf("the credential of a %s takes %d bytes, want at most 64", kind, got)
		}
	}
}
