package deviceauth

import (
	"strings"
	"testing"
	"time"
)

// Whatever stands in a line, it is refused or it is an entry that can be
// written, read again and used.
func FuzzTokenLine(f *testing.F) {
	sum := strings.Repeat("0123456789abcdef", 4)
	f.Add(`{"client":"meter-7","sha256":"` + sum + `","created_at":"2026-11-22T08:00:00Z","expires_at":"2027-02-20T08:00:00Z","note":"rack 3"}`)
	f.Add(`{"pattern":"truck-*","sha256":"` + sum + `"}`)
	f.Add(`{"pattern":"[a-","sha256":"` + sum + `"}`)
	f.Add(`{"client":"d","sha256":null}`)
	f.Add(`null`)
	f.Fuzz(func(t *testing.T, line string) {
		e, err := parseTokenLine([]byte(line))
		if err != nil {
			return
		}
		if (e.Client == "") == (e.Pattern == "") || len(e.ID()) != len("dtk_")+16 || e.hash() == [32]byte{} && !strings.HasPrefix(e.SHA256, "0000") {
			t.Fatalf("%q is read as %+v", line, e)
		}
		if e.Pattern != "" {
			matches(e.Pattern, "meter-7")
		}
	})
}

// A key set is refused or every key of it has one algorithm.
func FuzzKeys(f *testing.F) {
	for _, s := range allSigners() {
		f.Add(jwksOf(f, s))
		f.Add(s.pem)
	}
	f.Add(`{"keys":[{"kty":"RSA","n":"AQAB","e":"AAAAAAAA"},{"kty":"EC","crv":"P-256","x":"","y":"A"}]}`)
	f.Fuzz(func(t *testing.T, text string) {
		s := newKeySet()
		err := s.loadJWKS([]byte(text))
		if err != nil {
			err = s.loadPEM("k", []byte(text))
		}
		for id, k := range s.keys {
			if k.alg == "" || k.key == nil || err == nil && len(s.keys) > maxKeys {
				t.Fatalf("key %q is %+v", id, k)
			}
		}
	})
}

// No token that our keys have not signed is let in, and none ends the process.
func FuzzSignedToken(f *testing.F) {
	s := signers()["EdDSA"]
	a, err := New(Config{JWTKeys: writeFile(f, "jwks.json", jwksOf(f, allSigners()...)), SharedToken: "shared"})
	if err != nil {
		f.Fatal(err)
	}
	good := s.sign(f, claims("m"))
	f.Add(good)
	f.Add("eyJhbGciOiJub25lIn0." + strings.Split(good, ".")[1] + ".")
	f.Add("eyJ..")
	f.Fuzz(func(t *testing.T, token string) {
		h := hello("m", token)
		if v := a.decide(t.Context(), &h); v.accepted() && token != good && token != "shared" || v.undecided() {
			t.Fatalf("%q: %+v", token, v)
		}
	})
}

// What a hook answers is a verdict or no answer.
func FuzzAnswer(f *testing.F) {
	for _, b := range []string{`{"allow":true,"expires_in":3600}`, `{"allow":false}`, `{"allow":true,"expires_in":9223372036854775807}`, `{"allow":1}`, `[]`, ``} {
		f.Add(b)
	}
	now := time.Unix(1e9, 0)
	f.Fuzz(func(t *testing.T, b string) {
		v, err := readAnswer([]byte(b), now)
		if (err != nil) != v.undecided() || !v.expires.IsZero() && !v.expires.After(now) {
			t.Fatalf("%q: %+v, %v", b, v, err)
		}
	})
}
