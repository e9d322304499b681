package deviceauth

import (
	"crypto/sha256"
	"slices"
	"time"

	"github.com/longwire/longwire/gateway"
)

// What can take a credential back from a connected device is a file that has
// changed. A shared token is a setting and cannot change; a hook says how long
// its yes holds.

// fingerprint stands for a token, a key or an authority. Only that is kept with a
// connection.
type fingerprint [sha256.Size]byte

// tokenCredential is a line of the token file. The line holds as long as it is
// there, names the client, and does not end sooner than it did.
type tokenCredential struct {
	a       *Authenticator
	hash    fingerprint
	expires time.Time
}

func (c *tokenCredential) Holds(client gateway.ClientID) bool {
	v := c.a.tokens.Load().find(c.hash, client, c.a.cfg.Now())
	return v.accepted() && (v.expires.IsZero() || !c.expires.IsZero() && !v.expires.Before(c.expires))
}

// keyCredential is the key that has signed a token.
type keyCredential struct {
	a   *Authenticator
	key fingerprint
}

func (c *keyCredential) Holds(gateway.ClientID) bool { return c.a.keys.Load().prints[c.key] }

// certificateCredential is a certificate and the client CA that vouches for it.
type certificateCredential struct {
	a           *Authenticator
	authority   fingerprint
	certificate serialPrint
}

func (c *certificateCredential) Holds(gateway.ClientID) bool {
	if revoked := c.a.revoked.Load(); revoked != nil && (*revoked)[c.certificate] {
		return false
	}
	return (*c.a.authorities.Load())[c.authority]
}

// unasked is what a device has that was let in because nothing is asked of its
// id. It holds until the token file names the id.
type unasked struct{ a *Authenticator }

func (c unasked) Holds(client gateway.ClientID) bool { return !c.a.tokens.Load().covers(client) }

// credentials are all required.
type credentials []gateway.Credential

func (all credentials) Holds(client gateway.ClientID) bool {
	return !slices.ContainsFunc(all, func(c gateway.Credential) bool { return !c.Holds(client) })
}

// together is what holds as long as both do; either may be nil.
func together(a, b gateway.Credential) gateway.Credential {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	}
	return credentials{a, b}
}
