package deviceauth

import (
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestChangedTokenFileComesIntoForce(t *testing.T) {
	file := writeFile(t, "tokens", "")
	synctest.Test(t, func(t *testing.T) {
		d := open(t, Config{TokensFile: file})
		d.Start()
		defer d.Close()
		d.wantOut(hello("m", ""), MethodNone, ReasonUnknownDevice)
		token := tokenFor(t, file, TokenEntry{Client: "m"})
		time.Sleep(reloadEvery + 1)
		synctest.Wait()
		d.wantIn(hello("m", token), time.Time{})
		if _, err := RevokeTokens(file, func(*TokenEntry) bool { return true }); err != nil {
			t.Fatal(err)
		}
		time.Sleep(reloadEvery + 1)
		synctest.Wait()
		d.wantOut(hello("m", token), MethodNone, ReasonUnknownDevice)
	})
}

// A file that is broken or gone leaves what was loaded in force, and is told
// once.
func TestBrokenFileKeepsTheOldOne(t *testing.T) {
	file := writeFile(t, "tokens", "")
	token := tokenFor(t, file, TokenEntry{Client: "m"})
	d := open(t, Config{TokensFile: file})
	steps := []struct {
		name   string
		change func() error
		errors uint64
	}{
		{"the same", func() error { return nil }, 0},
		{"broken", func() error { return os.WriteFile(file, []byte("{"), 0o600) }, 1},
		{"still broken", func() error { return nil }, 1},
		{"gone", func() error { return os.Remove(file) }, 2},
		{"still gone", func() error { return nil }, 2},
	}
	for _, s := range steps {
		if err := s.change(); err != nil {
			t.Fatal(err)
		}
		d.Reload()
		d.wantIn(hello("m", token), time.Time{})
		if st := d.Stats(); st.ReloadErrors != s.errors || st.Reloads != 0 {
			t.Errorf("%s: %d errors, %d reloads; want %d, 0", s.name, st.ReloadErrors, st.Reloads, s.errors)
		}
	}
	if n := strings.Count(d.log.String(), "stays in force"); n != 2 {
		t.Errorf("told %d times, want 2:\n%s", n, d.log)
	}
	writeFile(t, file, "")
	d.Reload()
	d.wantOut(hello("m", token), MethodNone, ReasonUnknownDevice)
	if st := d.Stats(); st.Reloads != 1 {
		t.Errorf("%d reloads, want 1", st.Reloads)
	}
}

// A new signing key comes in beside the old one, and the old one goes.
func TestKeysRotate(t *testing.T) {
	dir := t.TempDir()
	old, fresh := signers()["RS256"], signers()["EdDSA"]
	writeFile(t, filepath.Join(dir, "r1.pem"), old.pem)
	d := open(t, Config{JWTKeys: dir})
	d.wantOut(hello("m", fresh.sign(t, claims("m"))), MethodJWT, ReasonUnknownKey)
	writeFile(t, filepath.Join(dir, "d1.pem"), fresh.pem)
	d.Reload()
	for _, s := range []*signer{old, fresh} {
		if _, err := d.register(hello("m", s.sign(t, claims("m")))); err != nil {
			t.Errorf("while both are valid, %s: %v", s.kid, err)
		}
	}
	if err := os.Remove(filepath.Join(dir, "r1.pem")); err != nil {
		t.Fatal(err)
	}
	d.Reload()
	d.wantOut(hello("m", old.sign(t, claims("m"))), MethodJWT, ReasonUnknownKey)
}

// A file that was renamed into place may be as large and as old as the last one.
func TestReplacedFileIsAChange(t *testing.T) {
	file := writeFile(t, "tokens", "")
	tokenFor(t, file, TokenEntry{Client: "a"})
	d := open(t, Config{TokensFile: file})
	other := writeFile(t, file+".other", "")
	token := tokenFor(t, other, TokenEntry{Client: "b"})
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(other, time.Time{}, info.ModTime()); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(other, file); err != nil {
		t.Fatal(err)
	}
	d.Reload()
	d.wantIn(hello("b", token), time.Time{})
}

// Secrets are mounted as links into a directory that is swapped as a whole.
func TestSwappedLinkIsAChange(t *testing.T) {
	dir := t.TempDir()
	version := func(n int, s *signer) string {
		v := filepath.Join(dir, fmt.Sprint("..v", n))
		if err := os.Mkdir(v, 0o700); err != nil {
			t.Fatal(err)
		}
		writeFile(t, filepath.Join(v, "jwks.json"), jwksOf(t, s))
		return v
	}
	link := func(target, name string) {
		if err := os.Symlink(target, name); err != nil {
			t.Fatal(err)
		}
	}
	data := filepath.Join(dir, "..data")
	link(version(1, signers()["EdDSA"]), data)
	link(filepath.Join(data, "jwks.json"), filepath.Join(dir, "jwks.json"))
	d := open(t, Config{JWTKeys: filepath.Join(dir, "jwks.json")})
	link(version(2, signers()["ES256"]), data+".new")
	if err := os.Rename(data+".new", data); err != nil {
		t.Fatal(err)
	}
	d.Reload()
	if _, err := d.register(hello("m", signers()["ES256"].sign(t, claims("m")))); err != nil {
		t.Errorf("with the new key: %v", err)
	}
}

// The reason why a file cannot be read may pass without a change of the file.
func TestAFileThatCouldNotBeReadIsReadLater(t *testing.T) {
	for name, c := range map[string]struct{ fail, mend func(file string) error }{
		"a mode": {func(file string) error { return os.Chmod(file, 0o666) }, func(file string) error { return os.Chmod(file, 0o600) }},
		"the mode of its directory": {
			func(file string) error { return os.Chmod(filepath.Dir(file), 0o707) },
			func(file string) error { return os.Chmod(filepath.Dir(file), 0o700) },
		},
	} {
		dir := filepath.Join(t.TempDir(), "credentials")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		file := writeFile(t, filepath.Join(dir, "tokens"), "")
		token := tokenFor(t, file, TokenEntry{Client: "m"})
		d := open(t, Config{TokensFile: file})
		writeFile(t, file, "") // the token is revoked
		if err := c.fail(file); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			d.Reload()
		}
		d.wantIn(hello("m", token), time.Time{})
		if n := strings.Count(d.log.String(), "stays in force"); n != 1 {
			t.Errorf("%s: logged %d times, want once:\n%s", name, n, d.log)
		}
		if err := c.mend(file); err != nil {
			t.Fatal(err)
		}
		d.Reload()
		d.wantOut(hello("m", token), MethodNone, ReasonUnknownDevice)
	}
}

// A file of a directory that cannot be looked at takes no key from the others.
func TestADirectoryWithAFileThatCannotBeReadChangesNothing(t *testing.T) {
	dir, store := t.TempDir(), t.TempDir()
	s := signers()["EdDSA"]
	writeFile(t, filepath.Join(dir, "r1.pem"), signers()["RS256"].pem)
	writeFile(t, filepath.Join(store, "d1.pem"), s.pem)
	if err := os.Symlink(filepath.Join(store, "d1.pem"), filepath.Join(dir, "d1.pem")); err != nil {
		t.Fatal(err)
	}
	d := open(t, Config{JWTKeys: dir})
	h := hello("m", s.sign(t, claims("m")))
	c := d.inside(h)
	if err := os.Rename(store, store+".away"); err != nil {
		t.Fatal(err)
	}
	d.Reload()
	d.wantHolds("its file is not to be reached", c, "m", true)
	if _, err := d.register(h); err != nil {
		t.Errorf("with a key whose file is not to be reached: %v", err)
	}
	if n := d.Stats().ReloadErrors; n != 1 {
		t.Errorf("%d errors, want 1", n)
	}
}

// A file may be written again with the same size within one step of the file system's clock.
func TestASecondChangeAtTheSameTimeIsSeen(t *testing.T) {
	old, fresh := NewToken(), NewToken()
	file := writeFile(t, "tokens", line("m", old, ""))
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	d := open(t, Config{TokensFile: file})
	writeFile(t, file, line("m", fresh, ""))
	if err := os.Chtimes(file, time.Time{}, info.ModTime()); err != nil {
		t.Fatal(err)
	}
	d.Reload()
	d.wantIn(hello("m", fresh), time.Time{})
	d.Reload()
	if n := d.Stats().Reloads; n != 1 {
		t.Errorf("%d reloads, want 1", n)
	}
}

// A list of revoked certificates may arrive before the authority that has signed it.
func TestAListIsReadAgainWithItsAuthority(t *testing.T) {
	old, next := newListSigner(t), newListSigner(t)
	text := func(kind string, der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	ca, lists := writeFile(t, "ca.pem", text("CERTIFICATE", old.cert.Raw)), writeFile(t, "crl.pem", text("X509 CRL", old.revoke(t, 7)))
	d := open(t, Config{CertificateID: CertificateCN, ClientCA: ca, RevokedFile: lists})
	c := leaf(t, time.Now().Add(time.Hour))
	c.RawIssuer = next.cert.RawSubject
	h := with(hello("meter-1", ""), c)
	h.Authority = next.cert
	writeFile(t, lists, text("X509 CRL", old.revoke(t, 7))+text("X509 CRL", next.revoke(t, 1)))
	d.Reload()
	writeFile(t, ca, text("CERTIFICATE", old.cert.Raw)+text("CERTIFICATE", next.cert.Raw))
	d.Reload()
	d.wantOut(h, MethodCertificate, ReasonRevoked)
}

// The log names a list that passes its next update while the gateway runs.
func TestAListThatEndsWhileItIsInForceIsLogged(t *testing.T) {
	s := newListSigner(t)
	ca := writeFile(t, "ca.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.cert.Raw})))
	lists := writeFile(t, "crl.pem", string(pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: s.revoke(t, 7)})))
	now := time.Now()
	d := open(t, Config{CertificateID: CertificateCN, ClientCA: ca, RevokedFile: lists, Now: func() time.Time { return now }})
	d.Reload()
	if strings.Contains(d.log.String(), "older than its authority allows") {
		t.Errorf("logged before its end: %s", d.log)
	}
	now = now.Add(366 * 24 * time.Hour)
	for range 3 {
		d.Reload()
	}
	if n := strings.Count(d.log.String(), "older than its authority allows"); n != 1 {
		t.Errorf("logged %d times, want once: %s", n, d.log)
	}
}
