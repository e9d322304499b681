package gateway

import (
	"math/rand/v2"
	"time"
)

// Recheck asks each credential of a connected client whether it still holds. It
// ends the connections whose credential does not, and returns how many. Call it
// after the keys or certificates have changed. Connect checks the clients that
// register during a Recheck again.
//
// It visits one shard of the hub at a time and holds no lock while it asks, so
// registrations and deliveries continue.
func (g *Gateway) Recheck() (ended int) {
	var list []admitted
	for i := range g.hub.shards {
		list = g.hub.shards[i].admitted(list[:0])
		for _, a := range list {
			if !a.credential.Holds(a.session.client) {
				a.session.link.Close(credentialRevoked(ended))
				ended++
			}
		}
	}
	return ended
}

// admitted is a live session and its credential.
type admitted struct {
	session    *Session
	credential Credential
}

// admitted appends the shard's sessions with a revocable credential to list.
func (sh *hubShard) admitted(list []admitted) []admitted {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for client, c := range sh.credentials {
		list = append(list, admitted{sh.sessions[client], c})
	}
	return list
}

// keepCredentialLocked stores the credential of client's live session; nil
// removes the one before.
func (sh *hubShard) keepCredentialLocked(client ClientID, c Credential) {
	switch {
	case c == nil:
		delete(sh.credentials, client)
		return
	case sh.credentials == nil:
		sh.credentials = make(map[ClientID]Credential)
	}
	sh.credentials[client] = c
}

// checkAgain ends a session whose credential was revoked while it registered:
// Recheck may have visited its shard before it was there.
func (g *Gateway) checkAgain(s *Session, c Credential) {
	if c != nil && !c.Holds(s.client) {
		s.link.Close(credentialRevoked(0))
	}
}

// Revoked clients may reconnect with a new credential. Their retry delay is
// spread over a range that grows with the number disconnected.
const (
	revokedRetry = 5 * time.Second
	revokedEach  = time.Second / 5000
)

// credentialRevoked is the Close for one revoked client; before is how many were
// disconnected earlier in the same Recheck.
func credentialRevoked(before int) Close {
	return Close{Code: CloseCredentialsExpired, Reason: ReasonCredentialsExpired, Text: "the credential was revoked",
		RetryAfter: rand.N(revokedRetry + time.Duration(before)*revokedEach)}
}
