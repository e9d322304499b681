package deviceauth

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// signer is a private key with its public side in the forms of key files.
type signer struct {
	kid    string
	method jwt.SigningMethod
	key    any
	jwk    map[string]string
	pem    string
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// signers has one key of each kind; an RSA key takes a while to make.
var signers = sync.OnceValue(func() map[string]*signer {
	r, err1 := rsa.GenerateKey(rand.Reader, 2048)
	e, err2 := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	public, ed, err3 := ed25519.GenerateKey(rand.Reader)
	point, err4 := e.PublicKey.Bytes()
	if err1 != nil || err2 != nil || err3 != nil || err4 != nil {
		panic(fmt.Sprint(err1, err2, err3, err4))
	}
	secret := make([]byte, 32)
	rand.Read(secret)
	return map[string]*signer{
		"RS256": {"r1", jwt.SigningMethodRS256, r, map[string]string{"kty": "RSA", "n": b64(r.N.Bytes()), "e": "AQAB"}, pemOf(&r.PublicKey)},
		"ES256": {"e1", jwt.SigningMethodES256, e, map[string]string{"kty": "EC", "crv": "P-256", "x": b64(point[1:33]), "y": b64(point[33:])}, pemOf(&e.PublicKey)},
		"EdDSA": {"d1", jwt.SigningMethodEdDSA, ed, map[string]string{"kty": "OKP", "crv": "Ed25519", "x": b64(public)}, pemOf(public)},
		"HS256": {"h1", jwt.SigningMethodHS256, secret, map[string]string{"kty": "oct", "k": b64(secret)}, ""},
	}
})

func pemOf(public crypto.PublicKey) string {
	b, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		panic(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: b}))
}

// jwksOf writes a key set of some signers.
func jwksOf(t testing.TB, list ...*signer) string {
	t.Helper()
	var keys []map[string]string
	for _, s := range list {
		k := map[string]string{"kid": s.kid, "use": "sig"}
		for name, v := range s.jwk {
			k[name] = v
		}
		keys = append(keys, k)
	}
	b, err := json.Marshal(map[string]any{"keys": keys})
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func allSigners() (list []*signer) {
	for _, alg := range []string{"RS256", "ES256", "EdDSA", "HS256"} {
		list = append(list, signers()[alg])
	}
	return list
}

// claims of a token that is good for an hour.
func claims(sub string) jwt.MapClaims {
	return jwt.MapClaims{"sub": sub, "exp": time.Now().Add(time.Hour).Unix()}
}

func (s *signer) sign(t testing.TB, c jwt.MapClaims) string {
	t.Helper()
	return signAs(t, s.method, s.kid, s.key, c)
}

func signAs(t testing.TB, m jwt.SigningMethod, kid string, key any, c jwt.MapClaims) string {
	t.Helper()
	token := jwt.NewWithClaims(m, c)
	if kid != "" {
		token.Header["kid"] = kid
	}
	text, err := token.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// TestClaimsAreReadByTheirNames: a claim in another case is another claim, a time is
// a number, and a token that needs an extension is refused.
func TestClaimsAreReadByTheirNames(t *testing.T) {
	s := signers()["EdDSA"]
	d := open(t, Config{JWTKeys: writeFile(t, "jwks.json", jwksOf(t, s))})
	now := time.Now().Truncate(time.Second)
	soon, past := now.Add(time.Hour), now.Add(-time.Hour).Unix()
	signed := func(head, body string) string {
		text := b64([]byte(head)) + "." + b64([]byte(body))
		sig, err := s.method.Sign(text, s.key)
		if err != nil {
			t.Fatal(err)
		}
		return text + "." + b64(sig)
	}
	const head = `{"alg":"EdDSA","kid":"d1"}`
	d.wantIn(hello("meter-1", signed(head, fmt.Sprintf(`{"sub":"meter-1","SUB":"meter-2","exp":%d,"EXP":%d,"Nbf":9e9}`, soon.Unix(), past))), soon)
	d.wantOut(hello("meter-2", signed(head, fmt.Sprintf(`{"sub":"meter-1","SUB":"meter-2","exp":%d}`, soon.Unix()))), MethodJWT, ReasonOtherClient)
	d.wantOut(hello("meter-1", signed(head, fmt.Sprintf(`{"Sub":"meter-1","exp":%d}`, soon.Unix()))), MethodJWT, ReasonOtherClient)
	d.wantOut(hello("meter-1", signed(head, fmt.Sprintf(`{"sub":"meter-1","EXP":%d}`, soon.Unix()))), MethodJWT, ReasonClaims)
	d.wantOut(hello("meter-1", signed(head, fmt.Sprintf(`{"sub":"meter-1","exp":%d,"EXP":%d}`, past, soon.Unix()))), MethodJWT, ReasonExpired)
	d.wantOut(hello("meter-1", signed(head, fmt.Sprintf(`{"sub":"meter-1","exp":"%d"}`, soon.Unix()))), MethodJWT, ReasonMalformed)
	d.wantOut(hello("meter-1", signed(head, fmt.Sprintf(`{"sub":"meter-2","sub":"meter-1","exp":%d}`, soon.Unix()))), MethodJWT, ReasonMalformed)
	for _, late := range []string{"1e13", "9223372036854775807", "1e19", "1e300", "1e400", "-1e300"} { // beyond the parser's arithmetic
		d.wantOut(hello("meter-1", signed(head, fmt.Sprintf(`{"sub":"meter-1","exp":%d,"nbf":%s}`, soon.Unix(), late))), MethodJWT, ReasonMalformed)
		d.wantOut(hello("meter-1", signed(head, fmt.Sprintf(`{"sub":"meter-1","exp":%s}`, late))), MethodJWT, ReasonMalformed)
	}
	d.wantIn(hello("meter-1", signed(head, `{"sub":"meter-1","exp":253402300799,"nbf":null}`)), time.Unix(253402300799, 0))
	d.wantOut(hello("meter-1", signed(head, fmt.Sprintf(`{"sub":"meter-1","exp":%d,"nbf":253402300799}`, soon.Unix()))), MethodJWT, ReasonNotYetValid)
	d.wantOut(hello("meter-1", signed(`{"alg":"EdDSA","kid":"other","kid":"d1"}`, fmt.Sprintf(`{"sub":"meter-1","exp":%d}`, soon.Unix()))), MethodJWT, ReasonMalformed)
	d.wantOut(hello("meter-1", signed(`{"alg":"EdDSA","kid":"d1","crit":["b64"],"b64":false}`, fmt.Sprintf(`{"sub":"meter-1","exp":%d}`, soon.Unix()))), MethodJWT, ReasonSignature)
}

func TestSignedTokens(t *testing.T) {
	d := open(t, Config{JWTKeys: writeFile(t, "jwks.json", jwksOf(t, allSigners()...)), JWTLeeway: 10 * time.Second})
	for alg, s := range signers() {
		t.Run(alg, func(t *testing.T) {
			d := &door{d.Authenticator, t, d.log}
			now := time.Now().Truncate(time.Second)
			in := func(change func(jwt.MapClaims)) string {
				c := claims("meter-1")
				change(c)
				return s.sign(t, c)
			}
			d.wantIn(hello("meter-1", s.sign(t, claims("meter-1"))), now.Add(time.Hour+10*time.Second))
			d.wantIn(hello("meter-1", in(func(c jwt.MapClaims) { c["exp"] = now.Unix() - 5 })), now.Add(5*time.Second))
			d.wantOut(hello("meter-2", s.sign(t, claims("meter-1"))), MethodJWT, ReasonOtherClient)
			d.wantOut(hello("meter-1", s.sign(t, claims("METER-1"))), MethodJWT, ReasonOtherClient)
			d.wantOut(hello("meter-1", in(func(c jwt.MapClaims) { delete(c, "sub") })), MethodJWT, ReasonOtherClient)
			d.wantOut(hello("meter-1", in(func(c jwt.MapClaims) { delete(c, "exp") })), MethodJWT, ReasonClaims)
			d.wantOut(hello("meter-1", in(func(c jwt.MapClaims) { c["exp"] = now.Unix() - 11 })), MethodJWT, ReasonExpired)
			d.wantOut(hello("meter-1", in(func(c jwt.MapClaims) { c["nbf"] = now.Unix() + 60 })), MethodJWT, ReasonNotYetValid)
			good := s.sign(t, claims("meter-1"))
			head, rest, _ := strings.Cut(good, ".")
			body, _, _ := strings.Cut(rest, ".")
			forged := b64([]byte(`{"sub":"meter-2","exp":99999999999}`))
			d.wantOut(hello("meter-2", strings.Replace(good, body, forged, 1)), MethodJWT, ReasonSignature)
			d.wantOut(hello("meter-1", head+"."+body+"."), MethodJWT, ReasonSignature)
			d.wantOut(hello("meter-1", head+"."+body), MethodToken, ReasonWrongToken)
			d.wantOut(hello("meter-1", "eyJ."+body+".x"), MethodJWT, ReasonMalformed)
		})
	}
	d.wantOut(hello("meter-1", ""), MethodNone, ReasonNoCredentials)
}

// The algorithm is the key's: nothing in a token's header changes it.
func TestAlgorithmsAreNotConfused(t *testing.T) {
	all := signers()
	d := open(t, Config{JWTKeys: writeFile(t, "jwks.json", jwksOf(t, allSigners()...))})
	c := claims("meter-1")
	public := []byte(all["RS256"].pem)
	der, err := x509.MarshalPKIXPublicKey(&all["RS256"].key.(*rsa.PrivateKey).PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string]struct {
		token  string
		reason Reason
	}{
		"none":                          {signAs(t, jwt.SigningMethodNone, "r1", jwt.UnsafeAllowNoneSignatureType, c), ReasonSignature},
		"none without a key id":         {signAs(t, jwt.SigningMethodNone, "", jwt.UnsafeAllowNoneSignatureType, c), ReasonSignature},
		"public key as secret, PEM":     {signAs(t, jwt.SigningMethodHS256, "r1", public, c), ReasonAlgorithm},
		"public key as secret, DER":     {signAs(t, jwt.SigningMethodHS256, "r1", der, c), ReasonAlgorithm},
		"secret named, public key used": {signAs(t, jwt.SigningMethodHS256, "h1", public, c), ReasonSignature},
		"RSA key for PSS":               {signAs(t, jwt.SigningMethodPS256, "r1", all["RS256"].key, c), ReasonSignature},
		"RSA key for RS512":             {signAs(t, jwt.SigningMethodRS512, "r1", all["RS256"].key, c), ReasonSignature},
		"secret for HS512":              {signAs(t, jwt.SigningMethodHS512, "h1", all["HS256"].key, c), ReasonSignature},
		"EdDSA under an ES256 key":      {signAs(t, jwt.SigningMethodEdDSA, "e1", all["EdDSA"].key, c), ReasonAlgorithm},
		"another's key id":              {signAs(t, jwt.SigningMethodES256, "d1", all["ES256"].key, c), ReasonAlgorithm},
		"unknown key id":                {signAs(t, jwt.SigningMethodES256, "e2", all["ES256"].key, c), ReasonUnknownKey},
		"no key id, several keys":       {signAs(t, jwt.SigningMethodES256, "", all["ES256"].key, c), ReasonUnknownKey},
	} {
		t.Run(name, func(t *testing.T) {
			(&door{d.Authenticator, t, d.log}).wantOut(hello("meter-1", bad.token), MethodJWT, bad.reason)
		})
	}
	numeric := jwt.NewWithClaims(jwt.SigningMethodES256, c)
	numeric.Header["kid"] = 7
	text, err := numeric.SignedString(all["ES256"].key)
	if err != nil {
		t.Fatal(err)
	}
	d.wantOut(hello("meter-1", text), MethodJWT, ReasonUnknownKey)
}

// A token may leave out the key's id where there is one key.
func TestOnlyKeyNeedsNoName(t *testing.T) {
	s := signers()["ES256"]
	d := open(t, Config{JWTKeys: writeFile(t, "jwks.json", jwksOf(t, s))})
	d.wantIn(hello("m", signAs(t, s.method, "", s.key, jwt.MapClaims{"sub": "m", "exp": 4e9})), time.Unix(4e9, 0))
	d.wantOut(hello("m", signAs(t, s.method, "other", s.key, claims("m"))), MethodJWT, ReasonUnknownKey)
	d.wantOut(hello("m", signAs(t, jwt.SigningMethodNone, "", jwt.UnsafeAllowNoneSignatureType, claims("m"))), MethodJWT, ReasonSignature)
	d.wantOut(hello("m", signAs(t, jwt.SigningMethodHS256, "", []byte(s.pem), claims("m"))), MethodJWT, ReasonAlgorithm)
}

func TestIssuerAndAudience(t *testing.T) {
	s := signers()["EdDSA"]
	d := open(t, Config{JWTKeys: writeFile(t, "jwks.json", jwksOf(t, s)), JWTIssuer: "https://id.example", JWTAudience: "longwire"})
	c := claims("m")
	for _, step := range []struct {
		iss, aud any
		ok       bool
	}{
		{"https://id.example", "longwire", true},
		{"https://id.example", []string{"other", "longwire"}, true},
		{"https://id.example", "other", false},
		{"https://id.example", nil, false},
		{"https://id.example/", "longwire", false},
		{nil, "longwire", false},
	} {
		c["iss"], c["aud"] = step.iss, step.aud
		_, err := d.register(hello("m", s.sign(t, c)))
		if ok := err == nil; ok != step.ok {
			t.Errorf("iss %v, aud %v: %v, want let in: %v", step.iss, step.aud, err, step.ok)
		}
	}
}

func TestKeyFiles(t *testing.T) {
	dir := t.TempDir()
	for _, s := range allSigners()[:3] {
		writeFile(t, filepath.Join(dir, s.kid+".pem"), s.pem)
	}
	writeFile(t, filepath.Join(dir, "more.json"), jwksOf(t, signers()["HS256"]))
	writeFile(t, filepath.Join(dir, ".hidden"), "junk")
	d := open(t, Config{JWTKeys: dir})
	for _, s := range allSigners() {
		if _, err := d.register(hello("m", s.sign(t, claims("m")))); err != nil {
			t.Errorf("key %s of a directory: %v", s.kid, err)
		}
	}
	if n := d.keys.Load().keys; len(n) != 4 {
		t.Errorf("%d keys, want 4", len(n))
	}

	private, err := x509.MarshalPKCS8PrivateKey(signers()["ES256"].key)
	if err != nil {
		t.Fatal(err)
	}
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	const k = "c2hvcnQ"
	for name, c := range map[string]struct{ text, want string }{
		"empty":                     {"", "neither a JWKS nor PEM"},
		"no keys":                   {`{"keys":[]}`, "no key for"},
		"not a set":                 {`{"kty":"oct","k":"` + k + `"}`, `"keys"`},
		"private PEM":               {string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})), "a private key"},
		"private JWK":               {`{"keys":[{"kty":"OKP","crv":"Ed25519","d":"x"}]}`, "a private key"},
		"two PEM blocks":            {signers()["ES256"].pem + signers()["EdDSA"].pem, "more than one"},
		"small RSA":                 {pemOf(&small.PublicKey), "1024 bits"},
		"P-384":                     {pemOf(&p384.PublicKey), "P-256"},
		"short secret":              {`{"keys":[{"kty":"oct","k":"` + k + `"}]}`, "shorter than 32 bytes"},
		"off the curve":             {`{"keys":[{"kty":"EC","crv":"P-256","x":"` + b64(make([]byte, 32)) + `","y":"` + b64(make([]byte, 32)) + `"}]}`, "not a point"},
		"twice":                     {jwksOf(t, signers()["EdDSA"], signers()["EdDSA"]), "a second key"},
		"kid twice":                 {`{"keys":[{"kty":"oct","kid":"a","kid":"b","k":"` + b64(make([]byte, 32)) + `"}]}`, "key 1 cannot be read"},
		"kid a number":              {`{"keys":[{"kty":"oct","kid":1,"k":"` + b64(make([]byte, 32)) + `"}]}`, "key 1 cannot be read"},
		"another case":              {`{"Keys":[{"kty":"oct","k":"` + b64(make([]byte, 32)) + `"}]}`, `"keys"`},
		"two sets":                  {`{"keys":[{"kty":"oct","k":"` + b64(make([]byte, 32)) + `"}],"keys":[]}`, `"keys"`},
		"other uses":                {`{"keys":[{"kty":"oct","key_ops":["wrapKey"],"k":"` + b64(make([]byte, 32)) + `"},{"kty":"oct","use":"enc","Use":"sig","kid":"b","k":"` + b64(make([]byte, 32)) + `"}]}`, "no key for"},
		"only short ones of others": {`{"keys":[{"kty":"oct","use":"enc","k":"` + k + `"},{"kty":"oct","alg":"A128KW","k":"` + k + `"}]}`, "no key for"},
		"only others":               {`{"keys":[{"kty":"EC","crv":"P-521","kid":"a"},{"kty":"oct","use":"enc","k":"` + b64(make([]byte, 32)) + `"}]}`, "no key for"},
	} {
		_, err := LoadKeys(writeFile(t, "keys", c.text))
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), k) {
			t.Errorf("%s: %v, want something about %q", name, err, c.want)
		}
	}
	large := writeFile(t, "large", "")
	if err := os.Truncate(large, maxKeyFile+1); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadKeys(large); err == nil || !strings.Contains(err.Error(), "larger than") {
		t.Errorf("a large file: %v", err)
	}
	marked := "\ufeff" + strings.Replace(jwksOf(t, signers()["EdDSA"]), `"use":"sig"`, `"key_ops":["verify"],"KID":"z"`, 1)
	if s, err := LoadKeys(writeFile(t, "keys", marked)); err != nil || len(s.keys) != 1 || s.keys["d1"].alg != "EdDSA" {
		t.Errorf("a set with a byte order mark: %+v, %v", s, err)
	}
	mixed := strings.Replace(jwksOf(t, signers()["EdDSA"]), `{"keys":[`, `{"keys":[{"kty":"EC","crv":"P-521","kid":"a"},`, 1)
	if s, err := LoadKeys(writeFile(t, "keys", mixed)); err != nil || s.Ignored != 1 || len(s.keys) != 1 {
		t.Errorf("a set with a key for others: %+v, %v", s, err)
	}
}
