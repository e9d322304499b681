package deviceauth

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// Whatever devices present, right or wrong, by whatever method, is in no log
// line, error, metric and list entry.
func TestSecretsGoNowhere(t *testing.T) {
	file := writeFile(t, "tokens", "")
	right := tokenFor(t, file, TokenEntry{Client: "m", Note: "rack 3"})
	s := startService(t, 500, "")
	d := open(t, Config{
		SharedToken: "SECRET-shared", TokensFile: file,
		JWTKeys: writeFile(t, "jwks.json", jwksOf(t, allSigners()...)), JWTIssuer: "i",
		CertificateID: CertificateCN,
		Hook:          HookConfig{URL: s.URL + "/?key=SECRET-query", Secret: "SECRET-hook", Timeout: time.Second},
	})
	es := signers()["ES256"]
	good := es.sign(t, claims("m"))
	secrets := []string{"SECRET", right, right[8:30], good, good[len(good)-40:], signers()["HS256"].jwk["k"]}
	var said strings.Builder
	present := func(token string) {
		secrets = append(secrets, token)
		for _, id := range []string{"m", "n"} {
			if _, err := d.register(hello(id, token)); err != nil {
				fmt.Fprintln(&said, err, fmt.Sprintf("%+v", err))
			}
		}
	}
	for _, status := range []int{200, 403, 500} {
		s.answers(status, `{"allow":true}`)
		present("SECRET-shared")
		present("SECRET-wrong")
		present(right)
		present(NewToken())
		present(right[:41] + "-")
		present(good)
		present(good + "SECRET")
		present(b64([]byte(`{"alg":"SECRET","kid":"SECRET"}`)) + ".SECRET.SECRET")
	}
	s.Close()
	unreachable := open(t, Config{Hook: HookConfig{URL: s.URL + "/?key=SECRET-query"}})
	for range breakerFailures {
		unreachable.register(hello("m", "SECRET-later"))
	}
	said.WriteString(unreachable.log.String())
	writeFile(t, file, `{"client":"m","sha256":"`+right+`"}`)
	d.Reload()
	fmt.Fprintf(&said, "%+v %+v %+v\n%s", d.Refused(), d.Stats(), *d.Stats().Hook, d.log)
	for _, secret := range secrets {
		if i := strings.Index(said.String(), secret); i >= 0 {
			t.Errorf("%q is told: …%s", secret, said.String()[max(0, i-100):i+len(secret)])
		}
	}
	for _, want := range []string{"device tokens loaded", "stays in force", "does not answer", "connection refused", "hook: denied"} {
		if !strings.Contains(strings.ToLower(said.String()), want) {
			t.Errorf("nothing says %q: this test looks in the wrong place", want)
		}
	}
}
