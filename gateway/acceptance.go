package gateway

import (
	"iter"
	"time"
)

// Acceptance is a message to be stored.
type Acceptance struct {
	ID        MessageID
	To        Audience
	Payload   []byte // the caller does not keep it after the call
	Encoding  Encoding
	Metadata  map[string]string
	Owner     string // Message.Owner
	CreatedAt time.Time
	ExpiresAt time.Time

	// Online stores a message to one client that the caller is about to send with
	// mode=online. Its delivery is not queued: it is Unknown with
	// ReasonGatewayRestart until its outcome is settled.
	Online bool

	// QueueUnknown stores deliveries for clients that were never seen. They
	// become known clients without a last seen.
	QueueUnknown bool
	// Among, if set, narrows a group, label or all audience to the clients that
	// it yields, each once and in any order, with their ClientRecord.Ref or 0.
	Among iter.Seq2[ClientID, uint32]
	// Only, if set, narrows such an audience further. It is called at acceptance,
	// once for each member (of Among if that is set). Both must be quick.
	Only func(ClientID) bool

	// MaxRecipients refuses the message if its audience, as the log fixes it, has more
	// clients; 0 = no bound.
	MaxRecipients int

	// Rate is passed on with AcceptedMany and not stored.
	Rate int

	// Account is the key or tenant that a message to a large audience is counted for, and the
	// clients that QueueUnknown makes known; see TooManyClients and TooManyBroadcasts.
	Account string

	// IdempotencyKey is "" for none. Scope is the principal that the key belongs
	// to, Fingerprint a hash of the request that a repeat must match. They are
	// remembered for 24 h.
	IdempotencyKey string
	Scope          string
	Fingerprint    [32]byte
}

// Audience selects the recipients of a message. Exactly one of the fields is set.
type Audience struct {
	Client  ClientID
	Clients []ClientID        // 1 to 1,000, duplicates count once
	Group   string            // every member at acceptance
	Labels  map[string]string // every client that has all of them at acceptance
	All     bool              // every known client
}

// Receipt is the result of an acceptance.
type Receipt struct {
	Message  Message // without Payload
	Replayed bool    // the idempotency key, or the message id, was known already
}
