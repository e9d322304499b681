//go:build unix

package certs

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A private key or an authority that other users can change is refused; the
// certificate is public and does not fit another key.
func TestKeysThatOthersCanWriteAreRefused(t *testing.T) {
	p := newPair(t, "a")
	dir := t.TempDir()
	files := Files{Cert: filepath.Join(dir, "tls.crt"), Key: filepath.Join(dir, "tls.key"), ClientCA: filepath.Join(dir, "ca.crt")}
	write(t, files.Cert, p.cert)
	write(t, files.Key, p.key)
	write(t, files.ClientCA, p.cert)
	for name, refused := range map[string]bool{files.Cert: false, files.Key: true, files.ClientCA: true} {
		if err := os.Chmod(name, 0o620); err != nil {
			t.Fatal(err)
		}
		_, err := Open(Options{Listener: "tcp", Files: files})
		if refused != (err != nil) || refused && !strings.Contains(err.Error(), "run: chmod go-w "+name) {
			t.Errorf("%s with mode 0620: %v, want it refused: %t", name, err, refused)
		}
		if err := os.Chmod(name, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
