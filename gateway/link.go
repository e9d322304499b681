package gateway

import (
	"crypto/x509"
	"net/netip"
	"time"
)

// Link is one live connection, implemented by tcpserver. No method blocks; all
// may be called from any goroutine. A Link never calls into the gateway from
// inside one of these methods, except from Flush.
type Link interface {
	// Deliver puts one transmission into the window and its frame into the output;
	// Flush must follow. It does not keep p.Payload after the call. The link
	// calls Session.Sent when the bytes have been flushed.
	//
	// Errors: ErrWindowFull (try again after the next ack), ErrLinkBusy (the
	// output budget is used up or the dialect is pausing; the link calls
	// Session.Writable), ErrTooLarge (this dialect cannot carry the payload),
	// ErrLinkClosed.
	Deliver(p Transmission) error

	// Flush writes the output of the Delivers before it, in as few writes as
	// possible. The gateway calls it after one or several Delivers and holds no
	// lock, because Flush may report events to the session.
	Flush()

	// Forget drops a transmission that is final for another reason (expired, canceled)
	// from the window and stops its ack timeout. Its ack may still arrive. A
	// dialect without ids may keep the slot until that ack cannot be mistaken for
	// the next transmission's. Forget returns true if the link knows that the
	// transmission has not left and never will.
	Forget(seq Seq, ephemeral bool) (unsent bool)

	// Close sends the reason to the device, if the dialect can, and ends the
	// connection. The link calls Session.Closed afterwards, as always.
	Close(c Close)

	// Probe asks the device for a heartbeat now, or joins one that is unanswered.
	// Session.Alive follows if the device answers. It returns false if the device
	// cannot be asked now: a dialect may forbid it while a delivery is unanswered.
	Probe() (asked bool)

	// Stats describes the connection now.
	Stats() LinkStats

	// MaxPayload is the largest payload in bytes that Deliver takes.
	// Gateway.Connect reads it once; it does not change.
	MaxPayload() int

	// Window is how many deliveries may be unacked at once, 1 to 256.
	// Session.Start reads it once; it does not change.
	Window() int
}

// Close says why a connection ends. Codes 3000–3499 ask the device to reconnect
// (after RetryAfter), codes 3500–3999 ask it not to.
type Close struct {
	Code       uint16
	Reason     string // one of the Reason constants
	RetryAfter time.Duration
	Text       string // for people; "" = Reason
}

// Close codes. The lower half asks the device to reconnect, the upper half asks
// it not to.
const (
	CloseShutdown           = 3000
	CloseReplaced           = 3001
	CloseKicked             = 3002
	CloseHeartbeat          = 3003
	CloseSlowConsumer       = 3004
	CloseOverloaded         = 3005
	CloseCredentialsExpired = 3006
	CloseProtocol           = 3500
	CloseUnauthorized       = 3501
	CloseBlocked            = 3502
	CloseIDInUse            = 3503
)

// LinkStats describes a live connection.
type LinkStats struct {
	RemoteAddr  netip.AddrPort
	Dialect     string        // "v1", "v2", "text"
	Transport   string        // "tcp", "tls"
	LastSeen    time.Time     // when the last bytes came, with a monotonic reading; never zero
	RTT         time.Duration // last measured; 0 = not yet
	Confirmed   bool          // whether silence for heartbeat + grace ends the connection; if not, a longer silence does
	BytesIn     uint64
	BytesOut    uint64
	MessagesIn  uint64
	MessagesOut uint64
	Paced       bool // the delivery rates hold back deliveries now
	Unwritten   int  // bytes of output that the socket has not taken yet
}

// Hello is a client's request to be registered.
type Hello struct {
	Client ClientID
	Token  string
	Labels map[string]string // nil keeps the stored ones
	Groups []string          // nil keeps the stored ones
	Log    LogID             // the log of AskThrough, "" for none
	// Asks is set when the device answers an ASK. It has handled every delivery
	// up to AskThrough that reached it.
	Asks       bool
	AskThrough Seq
	Dialect    string
	// Transport is "tcp" or "tls". Certificate is the leaf that the device has
	// proven to hold under the client CA; nil if it has shown none.
	Transport   string
	Certificate *x509.Certificate
	Authority   *x509.Certificate // the client CA that vouches for Certificate
	// Between are the certificates from Certificate to Authority, both left out.
	Between []*x509.Certificate
	Remote  netip.AddrPort
	// Lost reports whether the connection is known to be lost; nil = no. Connect asks
	// when it has decided, which may have taken long.
	Lost func() bool
}

// Grant is the result of a successful authentication.
type Grant struct {
	// ExpiresAt is when the credentials end; the connection ends with them. Zero
	// for never.
	ExpiresAt time.Time
	// Credential is the credential the device showed, if it can be revoked during
	// the connection; else nil. See Gateway.Recheck.
	Credential Credential
	// Groups are those that the device may enter and leave by naming them, beside
	// Config.DeviceGroups. They may be guarded.
	Groups []string
	// Unchecked is set when the device was admitted without a check of credentials.
	Unchecked bool
}

// Credential is a credential that admitted a device. It does not change; the keys
// or certificates it is checked against may.
type Credential interface {
	// Holds reports whether it still admits the client. It must not wait.
	Holds(client ClientID) bool
}

// Welcome is the answer to a Hello.
type Welcome struct {
	Session SessionID
	Log     LogID
	// Resumed is set when Hello.Log is this log and the log may have given out a
	// sequence at or above Hello.AskThrough. Otherwise the device must forget its
	// AskThrough, and the session sends no ASK.
	Resumed bool
	// Ask is set when device and gateway use ASK and the codes that answer it.
	Ask bool
	// Time is the gateway's clock; zero leaves it out.
	Time time.Time
	// ExpiresAt is that of the Grant: the link closes then, with
	// CloseCredentialsExpired. Zero = never.
	ExpiresAt time.Time
	// TokenUnchecked is set when Hello has a Token that the gateway did not check.
	TokenUnchecked bool
}

// AckCode is a device's answer to a payload or to an ASK. Codes from AckSend on
// come only if Welcome.Ask is set.
type AckCode uint8

const (
	AckOK      AckCode = 0
	AckReject  AckCode = 1
	AckRetry   AckCode = 2
	AckSend    AckCode = 3 // not handled: send the payload
	AckNotKept AckCode = 4 // handled, but the device no longer knows its verdict
	AckWorking AckCode = 5 // in progress; no verdict yet
)
