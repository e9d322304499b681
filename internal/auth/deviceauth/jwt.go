package deviceauth

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/golang-jwt/jwt/v5"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/private"
)

// looksSigned reports whether token has the three parts of a JWS.
func looksSigned(token string) bool {
	return strings.HasPrefix(token, "eyJ") && strings.Count(token, ".") == 2
}

// Errors of the key look-up. The parser wraps them.
var (
	errUnknownKey = errors.New("no such key")
	errAlgorithm  = errors.New("the algorithm is not the key's")
	errCritical   = errors.New("the token needs an extension")
)

// lastSecond is the end of the year 9999 in seconds since 1970. The parser's arithmetic
// overflows for times that are far beyond it, and then a time to come is in the past.
const lastSecond = 253_402_300_799

// exactClaims are the registered claims by their exact names. encoding/json would
// also take SUB for sub, and the parser takes a string for a time.
type exactClaims struct{ jwt.RegisteredClaims }

func (c *exactClaims) UnmarshalJSON(text []byte) error {
	all, err := private.Members(text)
	if err != nil {
		return err
	}
	for _, name := range []string{"exp", "nbf", "iat"} {
		var seconds float64
		if v := all[name]; v != nil {
			err = json.Unmarshal(v, &seconds)
		}
		if err != nil || math.Abs(seconds) > lastSecond {
			return fmt.Errorf("%s is not a number of seconds up to the year 9999", name)
		}
	}
	return private.Pick(text, &c.RegisteredClaims, "iss", "sub", "aud", "exp", "nbf", "iat", "jti")
}

// checkSigned verifies a signed token offline: signature, time, issuer, audience,
// and that its subject is the id. The grant ends at exp plus the leeway, because
// until then another gateway might still accept the token.
func (a *Authenticator) checkSigned(keys *KeySet, h *gateway.Hello) verdict {
	var claims exactClaims
	var key signingKey
	find := func(t *jwt.Token) (_ any, err error) {
		key, err = keys.find(t)
		return key.key, err
	}
	if _, err := a.parser.ParseWithClaims(h.Token, &claims, find); err != nil {
		return refused(MethodJWT, reasonOf(err))
	}
	if claims.Subject != string(h.Client) {
		return refused(MethodJWT, ReasonOtherClient)
	}
	return verdict{method: MethodJWT, reason: ReasonAccepted, bound: true, expires: claims.ExpiresAt.Add(a.cfg.JWTLeeway),
		credential: &keyCredential{a, key.print}}
}

func newParser(cfg *Config) *jwt.Parser {
	options := []jwt.ParserOption{
		jwt.WithValidMethods(algorithms),
		jwt.WithExpirationRequired(),
		jwt.WithStrictDecoding(),
		jwt.WithLeeway(cfg.JWTLeeway),
		jwt.WithTimeFunc(cfg.Now),
	}
	if cfg.JWTIssuer != "" {
		options = append(options, jwt.WithIssuer(cfg.JWTIssuer))
	}
	if cfg.JWTAudience != "" {
		options = append(options, jwt.WithAudience(cfg.JWTAudience))
	}
	return jwt.NewParser(options...)
}

// find returns the key for an unverified token. The token's kid selects the key;
// without kid there must be only one. The algorithm comes from the key: a public
// key never serves as an HMAC secret, and no key has the algorithm "none".
//
// A token with critical extensions is not for a reader that knows none (RFC 7515,
// §4.1.11).
func (s *KeySet) find(t *jwt.Token) (signingKey, error) {
	head, _, _ := strings.Cut(t.Raw, ".")
	text, _ := base64.RawURLEncoding.DecodeString(head) // the parser has read it
	if _, err := private.Members(text); err != nil {
		return signingKey{}, fmt.Errorf("%w: %w", jwt.ErrTokenMalformed, err)
	}
	if _, ok := t.Header["crit"]; ok {
		return signingKey{}, errCritical
	}
	k, ok := signingKey{}, false
	id, named := t.Header["kid"]
	switch name, isText := id.(string); {
	case isText:
		k, ok = s.keys[name]
	case !named && len(s.keys) == 1:
		for _, k = range s.keys {
			ok = true
		}
	}
	if !ok {
		return signingKey{}, errUnknownKey
	}
	if t.Method.Alg() != k.alg {
		return signingKey{}, errAlgorithm
	}
	return k, nil
}

// reasonOf returns the reason for a parser's error. The error's text may quote the
// token and is dropped.
func reasonOf(err error) Reason {
	switch {
	case errors.Is(err, errUnknownKey):
		return ReasonUnknownKey
	case errors.Is(err, errAlgorithm):
		return ReasonAlgorithm
	case errors.Is(err, jwt.ErrTokenMalformed):
		return ReasonMalformed
	case errors.Is(err, jwt.ErrTokenSignatureInvalid), errors.Is(err, jwt.ErrTokenUnverifiable):
		return ReasonSignature
	case errors.Is(err, jwt.ErrTokenRequiredClaimMissing):
		return ReasonClaims
	case errors.Is(err, jwt.ErrTokenExpired):
		return ReasonExpired
	case errors.Is(err, jwt.ErrTokenNotValidYet):
		return ReasonNotYetValid
	}
	return ReasonClaims
}
