package hostile

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/longwire/longwire/internal/auth/deviceauth"
	"github.com/longwire/longwire/internal/config"
)

// credentials is every kind of secret that a device can show, and the files
// that a gateway knows them by.
type credentials struct {
	shared, own string // the shared token; the token of the client "guarded"
	tokens      string // file
	keys        string // directory of keys that sign tokens
	signer      ed25519.PrivateKey
	publicRSA   string // PEM
	publicEd    ed25519.PublicKey
}

const audience = "the-gateway"

func newCredentials(t *testing.T) *credentials {
	t.Helper()
	dir := t.TempDir()
	c := &credentials{shared: "correct-horse-battery-staple", own: deviceauth.NewToken(), tokens: filepath.Join(dir, "tokens"), keys: filepath.Join(dir, "keys")}
	sum := deviceauth.HashToken(c.own)
	if err := deviceauth.AddToken(c.tokens, deviceauth.TokenEntry{Client: "guarded", SHA256: fmt.Sprintf("%x", sum)}); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(c.keys, 0o700); err != nil {
		t.Fatal(err)
	}
	var err error
	if c.publicEd, c.signer, err = ed25519.GenerateKey(rand.Reader); err != nil {
		t.Fatal(err)
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	c.write(t, "ed.pem", c.publicEd)
	c.publicRSA = c.write(t, "rsa.pem", &key.PublicKey)
	return c
}

func (c *credentials) write(t *testing.T, name string, public any) (text string) {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	b := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	if err := os.WriteFile(filepath.Join(c.keys, name), b, 0o600); err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func (c *credentials) configure(a *config.Auth) {
	a.DeviceToken, a.DeviceTokensFile = config.Secret(c.shared), c.tokens
	a.DeviceJWTKeys, a.DeviceJWTAudience, a.DeviceJWTLeeway = c.keys, audience, 0
}

// claims of a good signed token.
func claims(id string, life time.Duration) map[string]any {
	return map[string]any{"sub": id, "aud": audience, "exp": float64(time.Now().Add(life).UnixMilli()) / 1000}
}

// jwt makes a signed token, with whatever signature.
func jwt(header, claims map[string]any, sign func([]byte) []byte) string {
	part := func(v any) string {
		b, _ := json.Marshal(v) // maps of plain values
		return base64.RawURLEncoding.EncodeToString(b)
	}
	text := part(header) + "." + part(claims)
	return text + "." + base64.RawURLEncoding.EncodeToString(sign([]byte(text)))
}

func (c *credentials) sign(text []byte) []byte { return ed25519.Sign(c.signer, text) }

func (c *credentials) signed(claims map[string]any) string {
	return jwt(map[string]any{"alg": "EdDSA", "kid": "ed", "typ": "JWT"}, claims, c.sign)
}

func hs256(key string) func([]byte) []byte {
	return func(text []byte) []byte {
		h := hmac.New(sha256.New, []byte(key))
		h.Write(text)
		return h.Sum(nil)
	}
}

func TestHostileCredentials(t *testing.T) {
	onEachDriver(t, func(t *testing.T) {
		c := newCredentials(t)
		s := proxySite(t, func(cfg *config.Config) {
			c.configure(&cfg.Auth)
			cfg.Auth.DeviceFailures = 10
		})
		s.face([]behaviour{
			{"tokens that are forged", func(t *testing.T, s *site) { forgedTokens(t, s, c) }},
			{"signed tokens that are forged", func(t *testing.T, s *site) { forgedSignatures(t, s, c) }},
			{"a token that ends", func(t *testing.T, s *site) { endingToken(t, s, c) }},
			{"guesses without pause", func(t *testing.T, s *site) { guesses(t, s, c) }},
			{"thousands of unknown ids", refusedIDs},
		})
	})
}

// present registers with a token from an address of its own and returns what a
// refusal says, "" for none.
func (s *site) present(from, id, token string) (code int, text string) {
	s.Helper()
	p := s.dialFrom(from)
	defer p.Close()
	body, err := json.Marshal(map[string]string{"id": id, "token": token})
	if err != nil {
		s.Fatal(err)
	}
	_ = p.send(frame(tRegister, string(body)))
	typ, said, err := p.next()
	switch {
	case err == nil && typ == tRegisterAck:
		return 0, ""
	case err == nil && typ == tClose:
		return int(said[0])<<8 | int(said[1]), said[6:]
	}
	s.Fatalf("REGISTER of %s: frame %d %q, %v", id, typ, said, err)
	return 0, ""
}

func (s *site) wantUnauthorized(n int, name, id, token string) {
	s.Helper()
	code, text := s.present(fmt.Sprintf("198.51.100.%d", n), id, token)
	if code != 3501 || text != unauthorized {
		s.Errorf("%s: %d %q, want 3501 %q", name, code, text, unauthorized)
	}
}

// unauthorized is all that is told, whatever was wrong.
const unauthorized = "unauthorized"

func forgedTokens(t *testing.T, s *site, c *credentials) {
	if code, text := s.present("198.51.100.250", "guarded", c.own); code != 0 {
		t.Fatalf("the right token: %d %s", code, text)
	}
	file, err := os.ReadFile(c.tokens)
	if err != nil {
		t.Fatal(err)
	}
	hash := fmt.Sprintf("%x", deviceauth.HashToken(c.own))
	if !strings.Contains(string(file), hash) || strings.Contains(string(file), c.own) {
		t.Errorf("the file of tokens has %s, want hashes", file)
	}
	n := 0
	for name, token := range map[string]string{
		"none": "", "another": deviceauth.NewToken(), "cut off": c.own[:len(c.own)-1], "longer": c.own + "x", "its hash": hash,
		"in capitals": strings.ToUpper(c.own), "with a NUL": c.own + "\x00", "the prefix": "lwd_", "of 7 KiB": strings.Repeat("x", 7<<10),
	} {
		n++
		s.wantUnauthorized(n, name, "guarded", token)
		s.wantUnauthorized(n, name+", for an id that nobody knows", "nobody-knows", token)
	}
	s.wantUnauthorized(99, "another client's", "another", c.own)
}

func forgedSignatures(t *testing.T, s *site, c *credentials) {
	if code, text := s.present("198.51.100.251", "signed", c.signed(claims("signed", time.Hour))); code != 0 {
		t.Fatalf("the right token: %d %s", code, text)
	}
	with := func(name string, value any) map[string]any {
		m := claims("signed", time.Hour)
		if m[name] = value; value == nil {
			delete(m, name)
		}
		return m
	}
	good := c.signed(claims("signed", time.Hour))
	header := func(alg, kid string) map[string]any { return map[string]any{"alg": alg, "kid": kid} }
	nothing := func([]byte) []byte { return nil }
	n := 100
	for name, token := range map[string]string{
		"no algorithm":                  jwt(header("none", "ed"), claims("signed", time.Hour), nothing),
		"None":                          jwt(header("None", "rsa"), claims("signed", time.Hour), nothing),
		"no signature":                  jwt(header("EdDSA", "ed"), claims("signed", time.Hour), nothing),
		"the public key as secret":      jwt(header("HS256", "rsa"), claims("signed", time.Hour), hs256(c.publicRSA)),
		"the raw public key as secret":  jwt(header("HS256", "ed"), claims("signed", time.Hour), hs256(string(c.publicEd))),
		"an empty secret":               jwt(header("HS256", ""), claims("signed", time.Hour), hs256("")),
		"another key's id":              jwt(header("EdDSA", "rsa"), claims("signed", time.Hour), c.sign),
		"a key's id that is a path":     jwt(header("EdDSA", "../../../../etc/passwd"), claims("signed", time.Hour), c.sign),
		"a key of its own":              jwt(map[string]any{"alg": "EdDSA", "kid": "ed", "jku": "http://127.0.0.1:1/", "jwk": map[string]string{"kty": "OKP"}}, claims("signed", time.Hour), hs256("x")),
		"expired":                       c.signed(claims("signed", -time.Hour)),
		"without an end":                c.signed(with("exp", nil)),
		"with an end that is no number": c.signed(with("exp", "never")),
		"not yet":                       c.signed(with("nbf", time.Now().Add(time.Hour).Unix())),
		"for another gateway":           c.signed(with("aud", "another")),
		"for nobody":                    c.signed(with("aud", nil)),
		"of another device":             c.signed(claims("signed2", time.Hour)),
		"of all devices":                c.signed(claims("*", time.Hour)),
		"cut off":                       good[:len(good)-2],
		"of four parts":                 good + ".x",
		"of dots":                       strings.Repeat(".", 7000),
		"that is no JSON":               "e30.e30.",
	} {
		n++
		s.wantUnauthorized(n, name, "signed", token)
	}
}

// The connection ends with its credentials.
func endingToken(t *testing.T, s *site, c *credentials) {
	p := s.dialFrom("198.51.100.252")
	const life = 2 * time.Second
	end := time.Now().Add(life).Truncate(time.Second) // as the token says it
	p.register("ending", fmt.Sprintf(`"token":%q`, c.signed(claims("ending", life))))
	p.wantClose(3006, "credentials_expired")
	if early := time.Until(end); early > time.Second { // a connection counts whole seconds, and ends not late
		t.Errorf("the connection has ended %v before its credentials", early)
	}
}

// Guesses beyond the bound are told to come back. The right token passes, also
// from the guesser's address.
func guesses(t *testing.T, s *site, c *credentials) {
	for i := 0; ; i++ {
		code, text := s.present("203.0.113.66", "guarded", deviceauth.NewToken())
		if code == 3005 && isReason(text, "overloaded") {
			break
		}
		if code != 3501 || i > 100 {
			t.Fatalf("guess %d was answered %d %s", i, code, text)
		}
	}
	if code, text := s.present("203.0.113.66", "guarded", c.own); code != 0 {
		t.Errorf("the right token, behind too many wrong ones: %d %s", code, text)
	}
	if code, _ := s.present("203.0.113.66", "guarded", deviceauth.NewToken()); code != 3005 {
		t.Errorf("one more guess: %d, want 3005", code)
	}
	if code, text := s.present("203.0.113.67", "guarded", c.own); code != 0 {
		t.Errorf("from another address: %d %s", code, text)
	}
}

// The list of refused registrations has a bound, and one address cannot push all
// others out of it.
func refusedIDs(t *testing.T, s *site) {
	s.present("198.18.0.1", "first-refused", "")
	for i := range 600 {
		s.present(fmt.Sprintf("203.0.113.%d", 100+i%100), fmt.Sprintf("unknown-%d", i), "")
	}
	a := s.ask("GET", "/v1/refused?limit=1000", "")
	if n := strings.Count(a.body, `"first_at"`); n == 0 || n > 1000 {
		t.Errorf("%d %s: %d refused registrations, want 1 to 1000", a.status, clip(a.body), n)
	}
	if !strings.Contains(s.ask("GET", "/v1/refused?prefix=first-", "").body, "first-refused") {
		t.Error("the first refused registration is forgotten")
	}
}

// A service that decides about devices and fails lets nobody in, and those who
// are in stay.
func TestHostileHook(t *testing.T) {
	onEachDriver(t, func(t *testing.T) {
		for _, mood := range []string{"hang", "garbage", "endless", "redirect", "fail"} {
			t.Run(mood, func(t *testing.T) {
				h := newHook(t)
				under(t, h.configure, []behaviour{{"is no answer", func(t *testing.T, s *site) {
					h.mood.Store(mood)
					for i := range 2 {
						p := s.dial()
						_ = p.send(frame(tRegister, fmt.Sprintf(`{"id":"asked-%d"}`, i)))
						if retry := p.wantClose(3005, "overloaded"); retry <= 0 {
							t.Error("no delay in the refusal")
						}
					}
					h.CloseClientConnections()
				}}})
				if h.redirected.Load() {
					t.Error("a redirect was followed")
				}
			})
		}
		h := newHook(t)
		under(t, h.configure, []behaviour{
			// Nothing is read while the hook decides.
			{"input before the answer", func(_ *testing.T, s *site) {
				h.mood.Store("hang")
				s.counted(closedBy("overloaded"), 1, func() {
					p := s.dial()
					_ = p.send(frame(tRegister, `{"id":"impatient"}`))
					go func() {
						for p.send(strings.Repeat("x", 16<<10)) == nil {
						}
					}()
					p.wantGone()
				})
				h.CloseClientConnections()
			}},
			// A service that fails is left alone for a while.
			{"a service that is down", func(t *testing.T, s *site) {
				h.mood.Store("fail")
				before := h.asked.Load()
				for i := range 60 {
					p := s.dial()
					_ = p.send(frame(tRegister, fmt.Sprintf(`{"id":"asked-%d"}`, i)))
					p.wantClose(3005, "overloaded")
				}
				if n := h.asked.Load() - before; n > 20 {
					t.Errorf("a service that fails was asked %d times for 60 devices", n)
				}
				h.CloseClientConnections()
			}},
		})
	})
}

// hook is a service that lets everybody in until its mood changes.
type hook struct {
	*httptest.Server
	mood       atomic.Value // string
	asked      atomic.Int64
	redirected atomic.Bool
	ended      chan struct{}
}

func newHook(t *testing.T) *hook {
	t.Helper()
	h := &hook{ended: make(chan struct{})}
	h.mood.Store("allow")
	h.Server = httptest.NewServer(h)
	t.Cleanup(h.Close)
	t.Cleanup(func() { close(h.ended) })
	return h
}

func (h *hook) configure(c *config.Config) {
	c.Auth.DeviceHookURL = h.URL
	c.Auth.DeviceHookTimeout = config.Duration(300 * time.Millisecond)
	c.Auth.DeviceHookAllowTTL, c.Auth.DeviceHookDenyTTL = 0, 0
}

func (h *hook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.asked.Add(1)
	if r.URL.Path == "/elsewhere" {
		h.redirected.Store(true)
	}
	switch h.mood.Load() {
	case "allow":
		_, _ = w.Write([]byte(`{"allow":true}`)) // the gateway may have left
	case "hang":
		select {
		case <-r.Context().Done():
		case <-h.ended:
		}
	case "garbage":
		_, _ = w.Write([]byte(`{"allow":"yes"}`))
	case "endless":
		for range 1000 {
			if _, err := w.Write([]byte(strings.Repeat(" ", 64<<10))); err != nil {
				return
			}
		}
	case "redirect":
		http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
	case "fail":
		w.WriteHeader(http.StatusInternalServerError)
	}
}
