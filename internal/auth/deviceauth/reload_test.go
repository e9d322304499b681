package deviceauth

import (
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
