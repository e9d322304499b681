package gateway

import "time"

// PushRequest asks for a durable message to one or many.
type PushRequest struct {
	To         Audience
	Payload    []byte
	Encoding   Encoding
	TTL        time.Duration // 0 = Config.DefaultTTL; 1 s to 30 d
	Metadata   map[string]string
	OnlineOnly bool // narrow a group, label or all audience to who is online now
	// Only, when set, narrows a group, label or all audience further. It is
	// asked once for each member; see Acceptance.Only.
	Only         func(ClientID) bool
	QueueUnknown bool

	// Rate is how many of the recipients that are online a message to many is
	// begun for a second, 1 to MaxRate; 0 = no pace. The pace is not stored: a
	// recipient that connects or gets another message meanwhile has it at once,
	// for messages to one client keep their order, and so have all when the
	// process starts again. With more than a thousand unfinished messages to
	// many at a time it is not kept.
	Rate int

	// Linger is how long PushAndAwait still waits when its context has ended.
	Linger time.Duration

	Owner          string // Message.Owner; at most MaxOwner bytes
	IdempotencyKey string
	Scope          string // principal the key belongs to
	Fingerprint    [32]byte
}

// OnlineRequest asks for a delivery now or never to one client.
type OnlineRequest struct {
	Client   ClientID
	Payload  []byte
	Wait     time.Duration // for the ack; 0 = Config.OnlineWait
	Linger   time.Duration // how long PushOnline still waits when its context has ended
	Metadata map[string]string
}

// OnlineResult is what the device answered.
type OnlineResult struct {
	Message MessageID
	Client  ClientID
	State   State // Acked or Rejected
	Reason  string
	Result  []byte
	SentAt  time.Time
	At      time.Time
	RTT     time.Duration
}

// Client is a client as the API shows it: what is remembered and, when it is
// online, what is true now.
type Client struct {
	ClientRecord
	Online      bool
	Session     SessionID
	ConnectedAt time.Time
	InFlight    int
	Link        LinkStats // zero when offline
}

// ClientStatus selects clients by presence, or those that may not come back yet.
type ClientStatus uint8

const (
	StatusOnline ClientStatus = iota
	StatusOffline
	StatusAll
	StatusBlocked
)

// Includes reports whether c has the status at now.
func (s ClientStatus) Includes(c *Client, now time.Time) bool {
	switch s {
	case StatusAll:
		return true
	case StatusBlocked:
		return c.BlockedUntil.After(now)
	}
	return c.Online == (s == StatusOnline)
}

// ClientSelection is a ClientQuery with presence.
type ClientSelection struct {
	ClientQuery
	Status ClientStatus
}

// DisconnectOptions says how to disconnect a client.
type DisconnectOptions struct {
	Purge bool          // cancel what is queued
	Block time.Duration // refuse its return for so long; 0 = it may come back at once
}

// Limits of what a caller may hand in.
const (
	MaxPayload      = 256 << 10 // bytes
	MaxMetadata     = 16        // entries
	MaxMetadataKey  = 64        // bytes
	MaxMetadataVal  = 512       // bytes
	MaxOwner        = 160       // bytes
	MaxRate         = 100_000   // deliveries a second
	MinTTL          = time.Second
	MaxTTL          = 30 * 24 * time.Hour
	MaxClientsInTo  = 1000
	MaxWait         = 60 * time.Second
	MaxIdempotency  = 255 // bytes of an idempotency key
	MaxListLimit    = 1000
	DefaultListSize = 100

	DefaultMaxQueued      = 10_000   // messages queued for one client
	DefaultMaxQueuedBytes = 16 << 20 // their payloads
)
