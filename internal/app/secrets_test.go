package app

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/longwire/longwire/internal/auth/deviceauth"
	"github.com/longwire/longwire/internal/config"
)

// One process with every kind of credential, used rightly and wrongly in every
// dialect: none of them is in its logs, its answers to devices, its metrics,
// its API or its settings as they are shown.
func TestNoSecretIsTold(t *testing.T) {
	t.Parallel()
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, `{"allow":false}`) }))
	defer hook.Close()
	signed, keys := signedToken(t, map[string]any{"sub": "meter-1", "exp": time.Now().Add(time.Hour).Unix()})
	cfg := testConfig(t.TempDir())
	cfg.Log.Level = "debug"
	cfg.Auth.APIKeys = []config.Secret{"lwk_SECRET0123456789abcdef"}
	cfg.Auth.DeviceToken = "SECRET-shared"
	cfg.Auth.DeviceTokensFile = filepath.Join(t.TempDir(), "tokens")
	cfg.Auth.DeviceJWTKeys = keys
	cfg.Auth.DeviceHookURL, cfg.Auth.DeviceHookSecret = hook.URL+"/?key=SECRET-query", "SECRET-hook"
	cfg.Auth.DeviceV1Token = true
	own := newToken(t, cfg.Auth.DeviceTokensFile, deviceauth.TokenEntry{Client: "meter-1"})
	a, log := startLogged(t, cfg)

	var told strings.Builder
	secrets := []string{"SECRET"}
	for _, token := range []string{"SECRET-shared", "SECRET-guess", own, deviceauth.NewToken(), signed, signed + "SECRET", "SECRET.SECRET.SECRET"} {
		secrets = append(secrets, token)
		for _, id := range []string{"meter-1", "meter-2"} {
			_, l := register(t, a, nil, id, token)
			l.say("BYE\n")
			rest, _ := io.ReadAll(l.in)
			told.Write(rest)
			for _, hello := range []string{"\x01#" + id + " " + token, v2Register(id, token)} {
				l := dial(t, a, nil)
				l.say(hello)
				first := make([]byte, 4)
				if _, err := io.ReadFull(l.in, first); err != nil {
					t.Fatalf("%q is not answered: %v", hello, err)
				}
				told.Write(first)
				l.nc.Close()
			}
		}
	}
	for _, path := range []string{"/metrics", "/v1/refused", "/v1/clients?status=all", "/v1/stats"} {
		for _, key := range []string{"lwk_SECRET0123456789abcdef", "lwk_SECRET0123456789wrong"} {
			fmt.Fprintln(&told, get(t, a.url()+path, key))
		}
	}
	var shown bytes.Buffer
	if err := config.Show(&shown, cfg, nil); err != nil {
		t.Fatal(err)
	}
	// The address of a service is shown to whoever may read the settings.
	told.WriteString(strings.ReplaceAll(strings.ReplaceAll(shown.String(), "key=SECRET-query", ""), "HOOK_SECRET", ""))
	if err := a.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	told.WriteString(log.String())
	for _, secret := range secrets {
		for _, form := range []string{secret, base64.StdEncoding.EncodeToString([]byte(secret))} {
			if i := strings.Index(told.String(), form); i >= 0 {
				t.Errorf("%q is told: …%q", secret, told.String()[max(0, i-150):i+len(form)])
			}
		}
	}
	for _, want := range []string{"registration refused", "longwire_device_auth_total", `"client":"meter-2"`, "auth.device_hook_secret"} {
		if !strings.Contains(told.String(), want) {
			t.Errorf("nothing says %s: this test looks in the wrong place", want)
		}
	}
}

// v2Register is the frame of a REGISTER (SPEC §4).
func v2Register(id, token string) string {
	body := fmt.Sprintf(`{"id":%q,"token":%q}`, id, token)
	return string(binary.AppendUvarint([]byte{1, 2}, uint64(len(body)))) + body
}

func get(t *testing.T, url, key string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+key)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%v %s", res.Header, body)
}
