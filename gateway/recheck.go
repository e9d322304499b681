package gateway

import (
	"math/rand/v2"
	"time"
)

// Recheck asks every credential that a connected client was let in with whether
// it still holds, and ends the connections of those whose does not; it returns
// how many. Call it after what credentials are compared with has changed: who
// registers meanwhile is looked at again by Connect.
//
// It goes through the clients one shard of the hub at a time and holds no lock
// while it asks, so that registrations and deliveries go on.
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

// admitted is a live session and what it was let in with.
type admitted struct {
	session    *Session
	credential Credential
}

// admitted appends the shard's sessions that can be taken back to list.
func (sh *hubShard) admitted(list []admitted) []admitted {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for client, c := range sh.credentials {
		list = append(list, admitted{sh.sessions[client], c})
	}
	return list
}

// keepCredential notes what the live session of client was let in with; nil
// forgets the one before. sh.mu is held.
func (sh *hubShard) keepCredential(client ClientID, c Credential) {
	switch {
	case c == nil:
		delete(sh.credentials, client)
		return
	case sh.credentials == nil:
		sh.credentials = make(map[ClientID]Credential)
	}
	sh.credentials[client] = c
}

// checkAgain ends a session whose credential was taken back while it
// registered: Recheck may have been past its shard before it was there.
func (g *Gateway) checkAgain(s *Session, c Credential) {
	if c != nil && !c.Holds(s.client) {
		s.link.Close(credentialRevoked(0))
	}
}

// Whoever is cut off comes back, for it may have another credential by now, and
// a fleet that was cut off at once comes back over a time that grows with it.
const (
	revokedRetry = 5 * time.Second
	revokedEach  = time.Second / 5000
)

// credentialRevoked is what the device is told, which is one of several: so many
// were told before.
func credentialRevoked(before int) Close {
	return Close{Code: CloseCredentialsExpired, Reason: ReasonCredentialsExpired, Text: "the credential was revoked",
		RetryAfter: rand.N(revokedRetry + time.Duration(before)*revokedEach)}
}
