package deviceauth

import (
	"crypto/sha256"
	"slices"
	"time"

	"github.com/longwire/longwire/gateway"
)

// Only a changed file revokes the credential of a connected device. A shared token
// is a setting and cannot change; the hook's Answer limits how long its yes holds.

// fingerprint identifies a token, a key or an authority. A connection keeps the
// fingerprint alone.
type fingerprint [sha256.Size]byte

// tokenCredential is a line of the token file. It holds while the line exists,
// names the client, and does not end earlier than before.
type tokenCredential struct {
	a       *Authenticator
	hash    fingerprint
	expires time.Time
}

func (c *tokenCredential) Holds(client gateway.ClientID) bool {
	v := c.a.tokens.Load().find(c.hash, client, c.a.cfg.Now())
	return v.accepted() && (v.expires.IsZero() || !c.expires.IsZero() && !v.expires.Before(c.expires))
}

// keyCredential is the key that signed a token.
type keyCredential struct {
	a   *Authenticator
	key fingerprint
}

func (c *keyCredential) Holds(gateway.ClientID) bool { return c.a.keys.Load().prints[c.key] }

// certificateCredential is a certificate of a device's chain and the client CA at its end.
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

// noCredential is the credential of a device that was admitted because its id needs
// none. It holds until the token file names the id.
type noCredential struct{ a *Authenticator }

func (c noCredential) Holds(client gateway.ClientID) bool { return !c.a.tokens.Load().covers(client) }

// credentials hold if all of them do.
type credentials []gateway.Credential

func (all credentials) Holds(client gateway.ClientID) bool {
	return !slices.ContainsFunc(all, func(c gateway.Credential) bool { return !c.Holds(client) })
}

// together returns a credential that holds while both do. Either may be nil.
func together(a, b gateway.Credential) gateway.Credential {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	}
	return credentials{a, b}
}
