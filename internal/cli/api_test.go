package cli

import (
	"encoding/pem"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
)

// Editors on Windows begin a file with a byte order mark.
func TestFilesOfTheCallerMayBeginWithAMark(t *testing.T) {
	s := httptest.NewTLSServer(nil)
	defer s.Close()
	dir := t.TempDir()
	for name, text := range map[string]string{"key": "lwk_secret\r\n", "ca": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}))} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("\ufeff"+text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	e := &environ{env: []string{"LONGWIRE_API_KEY_FILE=" + filepath.Join(dir, "key")}}
	if key, err := e.key(); key != "lwk_secret" {
		t.Errorf("the key is %q, %v", key, err)
	}
	if _, err := readCAs(filepath.Join(dir, "ca")); err != nil {
		t.Error(err)
	}
}
