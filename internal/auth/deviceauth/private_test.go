//go:build unix

package deviceauth

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Anyone who can write a file of credentials lets in any device: such a file is
// refused at the start, and at a reload it changes nothing.
func TestCredentialsThatOthersCanWriteAreRefused(t *testing.T) {
	for name, make := range map[string]func(file string) Config{
		"tokens": func(file string) Config {
			tokenFor(t, file, TokenEntry{Client: "m"})
			return Config{TokensFile: file}
		},
		"signing keys": func(file string) Config {
			writeFile(t, file, signers()["RS256"].pem)
			return Config{JWTKeys: file}
		},
		"a directory of signing keys": func(file string) Config {
			writeFile(t, file, signers()["RS256"].pem)
			return Config{JWTKeys: filepath.Dir(file)}
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "credentials")
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(dir, "file.pem")
			cfg := make(file)
			open(t, cfg)
			for wide, modes := range map[string][2]os.FileMode{file: {0o620, 0o600}, dir: {0o702, 0o700}} {
				if err := os.Chmod(wide, modes[0]); err != nil {
					t.Fatal(err)
				}
				if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), "run: chmod go-w "+wide) {
					t.Errorf("%s with mode %o: %v, want it refused with the command that mends it", wide, modes[0], err)
				}
				if err := os.Chmod(wide, modes[1]); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

func TestReloadRefusesTokensThatOthersCanWrite(t *testing.T) {
	file := writeFile(t, "tokens", "")
	token := tokenFor(t, file, TokenEntry{Client: "m"})
	d := open(t, Config{TokensFile: file})
	forged := writeFile(t, file+".forged", "")
	intruder := tokenFor(t, forged, TokenEntry{Client: "intruder"})
	if err := os.Chmod(forged, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(forged, file); err != nil {
		t.Fatal(err)
	}
	d.Reload()
	d.wantIn(hello("m", token), time.Time{})
	d.wantOut(hello("intruder", intruder), MethodNone, ReasonUnknownDevice)
	if !strings.Contains(d.log.String(), "run: chmod go-w "+file) {
		t.Errorf("the log does not tell how to mend it:\n%s", d.log)
	}
}

// No token is put where others can replace it.
func TestNoTokenWhereOthersCanWrite(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o707); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "tokens")
	err := AddToken(file, TokenEntry{Client: "m", SHA256: strings.Repeat("0", 64)})
	if err == nil || !strings.Contains(err.Error(), "run: chmod go-w "+dir) {
		t.Errorf("added a token: %v", err)
	}
	if _, err := os.Stat(file); !os.IsNotExist(err) {
		t.Errorf("the file was made: %v", err)
	}
}

// Public keys may be read by all; a secret that signs tokens is named.
func TestSecretsThatOthersCanReadAreNamed(t *testing.T) {
	for alg, named := range map[string]bool{"HS256": true, "ES256": false} {
		file := writeFile(t, "jwks.json", jwksOf(t, signers()[alg]))
		if err := os.Chmod(file, 0o644); err != nil {
			t.Fatal(err)
		}
		d := open(t, Config{JWTKeys: file})
		if got := strings.Count(d.log.String(), `mend="chmod go= `+file+`"`); (got == 1) != named || got > 1 {
			t.Errorf("%s: named %d times, want it named: %t\n%s", alg, got, named, d.log)
		}
	}
}
