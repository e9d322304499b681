package gateway

import "time"

// PushRequest is a request to store a message for one client or many.
type PushRequest struct {
	To         Audience
	Payload    []byte
	Encoding   Encoding
	TTL        time.Duration // 0 = Config.DefaultTTL; 1 s to 30 d
	Metadata   map[string]string
	OnlineOnly bool // narrows a group, label or all audience to the online clients
	// Only, if set, narrows a group, label or all audience further. It is called
	// once for each member; see Acceptance.Only.
	Only         func(ClientID) bool
	QueueUnknown bool

	// Rate is how many online recipients of a message to many get their first
	// transmission each second, 1 to MaxRate; 0 = no limit. It is not stored. A
	// recipient that connects or gets another message gets this one at once,
	// because messages to one client keep their order. After a restart, and with
	// more than a thousand unfinished messages to many, there is no limit.
	Rate int

	// Linger is how long PushAndAwait still waits after its context has ended.
	Linger time.Duration

	Owner          string // Message.Owner; at most MaxOwner bytes
	IdempotencyKey string
	Scope          string // the principal that the key belongs to
	Fingerprint    [32]byte
}

// OnlineRequest is a request for an online delivery to one client.
type OnlineRequest struct {
	Client   ClientID
	Payload  []byte
	Wait     time.Duration // for the ack; 0 = Config.OnlineWait
	Linger   time.Duration // how long PushOnline still waits after its context has ended
	Metadata map[string]string
}

// OnlineResult is the device's answer.
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

// Client is a client as the API shows it: its stored record and, if it is online,
// its live session.
type Client struct {
	ClientRecord
	Online      bool
	Session     SessionID
	ConnectedAt time.Time
	InFlight    int
	Link        LinkStats // zero when offline
}

// ClientStatus selects clients by presence or block.
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

// DisconnectOptions are the options of Gateway.Disconnect.
type DisconnectOptions struct {
	Purge bool          // cancel its queued deliveries
	Block time.Duration // how long to refuse its registrations; 0 = not at all
}

// Limits of a request.
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
