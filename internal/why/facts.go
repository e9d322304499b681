package why

import (
	"time"

	"github.com/longwire/longwire/gateway"
)

// Verdict is the answer to the question why.
type Verdict struct {
	Code     Code
	Sentence string // English
	Facts    Facts
}

// Facts are the facts that a verdict rests on. Zero fields do not apply.
type Facts struct {
	// Of the delivery.
	State      gateway.State
	Reason     string // Delivery.Reason
	CreatedAt  time.Time
	ExpiresAt  time.Time
	FinalAt    time.Time
	Attempts   int
	SentAt     time.Time // last transmission
	Result     []byte
	Progress   []byte
	LateAckAt  time.Time
	LateReject bool
	Unanswered int             // attempts without an answer in time, of a delivery that has used them up
	Broken     int             // likewise attempts whose connection ended before
	Counts     *gateway.Counts // of a message to many

	// Of its place at the connection.
	RetryLater     int // answers retry later on this connection; on all, if the attempts are used up
	RetrySince     time.Time
	NextAt         time.Time // next transmission
	WorkingAt      time.Time
	MisackedAt     time.Time
	AskedAt        time.Time // for its verdict
	Window         int
	InFlight       int
	Behind         gateway.MessageID // the first message in the window
	BehindAttempts int
	BehindSentAt   time.Time
	Unwritten      int // bytes that the socket has not taken

	// Of the client.
	OnlineSince      time.Time
	OfflineSince     time.Time
	CloseReason      string
	ClosedBy         gateway.ClosedBy
	BlockedUntil     time.Time
	ForgottenAt      time.Time
	LastSeenAt       time.Time // of a connected client that does not answer a heartbeat
	Disconnects      int       // closes in quick succession, from 5 on
	DisconnectsSince time.Time
	Takeovers        int             // quick ones in a row
	Claims           []gateway.Claim // of its id by two connections in turn
	Refused          *gateway.RefusedRegistration
	UplinksRefused   *gateway.UplinksRefused
}

// Delivery is the question about one delivery.
type Delivery struct {
	Now      time.Time
	Delivery gateway.Delivery
	Sent     gateway.Transmissions // of a final delivery
	// Client is nil when it is not known any more, or not to the caller.
	Client   *gateway.Client
	Standing gateway.Standing
	// Refused is the last refusal of the client, nil for none.
	Refused *gateway.RefusedRegistration
	// Unstable is nil for a client whose connections last.
	Unstable *gateway.Unstable
}

// Client is the question about one client.
type Client struct {
	Now         time.Time
	ID          gateway.ClientID
	Client      *gateway.Client // nil when it is not known
	Flaps       int
	Claims      []gateway.Claim   // of the id by two connections in turn
	Unstable    *gateway.Unstable // nil when its connections last
	Refused     *gateway.RefusedRegistration
	NoUplinks   *gateway.UplinksRefused // nil when none were refused lately
	ForgottenAt time.Time               // zero = not known to be forgotten
}
