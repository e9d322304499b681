package cli

import (
	"bytes"
	"encoding/json"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/longwire/longwire/internal/apikey"
)

// startHolder serves the operator's socket of a data directory until the test ends.
func startHolder(t *testing.T, answer http.HandlerFunc) (dir string) {
	t.Helper()
	dir = t.TempDir()
	ln, err := net.Listen("unix", filepath.Join(dir, adminSocket))
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: answer}
	go srv.Serve(ln) // ends with Close
	t.Cleanup(func() { srv.Close() })
	return dir
}

// A running gateway may have as many API keys as a file holds, and each is listed.
func TestKeysListHasEachKeyOfARunningGateway(t *testing.T) {
	keys := make([]apikey.Info, apikey.MaxKeys)
	for i := range keys {
		keys[i] = apikey.Info{ID: "key_01a22f36-b2e1-747f-8e03-88256d8f8635", Name: strings.Repeat("<", apikey.MaxName),
			Scopes: apikey.ScopeNames(), Prefix: strings.Repeat("p", 128), Status: "active"}
	}
	dir := startHolder(t, func(w http.ResponseWriter, _ *http.Request) {
		json.NewEncoder(w).Encode(map[string]any{"keys": keys})
	})
	var out, errs bytes.Buffer
	code := Main(t.Context(), Program{Out: &out, Err: &errs, In: strings.NewReader(""), Env: []string{}}, []string{"keys", "list", "--data-dir", dir})
	if got := strings.Count(out.String(), "\nkey_"); code != exitOK || got != apikey.MaxKeys {
		t.Errorf("exit code %d with %d of %d keys: %s", code, got, apikey.MaxKeys, errs.String())
	}
}

// An id that is given twice is revoked once.
func TestKeysRevokeTakesAnIDTwice(t *testing.T) {
	var revoked []string
	dir := startHolder(t, func(w http.ResponseWriter, r *http.Request) {
		revoked = append(revoked, strings.TrimPrefix(r.URL.Path, "/keys/"))
		w.Write([]byte("{}"))
	})
	code := Main(t.Context(), Program{Out: t.Output(), Err: t.Output(), In: strings.NewReader(""), Env: []string{}},
		[]string{"keys", "revoke", "key_a", "key_b", "key_a", "--data-dir", dir})
	if got := strings.Join(revoked, " "); code != exitOK || got != "key_a key_b" {
		t.Errorf("exit code %d, revoked %s, want each once", code, got)
	}
}

// The command names each key that it has revoked, also if a later one is unknown.
func TestKeysRevokeNamesTheRevokedKeys(t *testing.T) {
	dir := startHolder(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/keys/key_a" {
			http.Error(w, `{"error":"no such API key"}`, http.StatusNotFound)
			return
		}
		w.Write([]byte("{}"))
	})
	var errs bytes.Buffer
	code := Main(t.Context(), Program{Out: t.Output(), Err: &errs, In: strings.NewReader(""), Env: []string{}},
		[]string{"keys", "revoke", "key_a", "key_b", "--data-dir", dir})
	if got := errs.String(); code != exitFailed || !strings.HasPrefix(got, "key_a revoked\nlongwire: revoke key_b: ") {
		t.Errorf("exit code %d, printed %q, want that key_a is revoked and key_b is not", code, got)
	}
}
