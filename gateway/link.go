package gateway

import (
	"crypto/x509"
	"net/netip"
	"time"
)

// Link is the gateway's hold on one live connection. It is implemented by
// tcpserver. No method blocks; all may be called from any goroutine. A Link
// never calls into the gateway from inside one of these methods, Flush
// excepted.
type Link interface {
	// Deliver puts one parcel into the window and its frame into the output;
	// Flush must follow.
	// It does not keep p.Payload after the call. When the bytes have been
	// flushed the link calls Session.Sent.
	//
	// Errors: ErrWindowFull (try again after the next ack), ErrLinkBusy (the
	// output budget is used up or the dialect is pausing; the link calls
	// Session.Writable), ErrTooLarge (this dialect cannot carry the payload),
	// ErrLinkClosed.
	Deliver(p Parcel) error

	// Flush writes what Deliver has put into the output since, in as few writes
	// as possible. The gateway calls it after one or several Delivers with no
	// lock held, for it may report to the session what happens on the way.
	Flush()

	// Forget drops a parcel that is final for another reason (expired,
	// canceled) from the window, so that it is not timed any longer. Its ack
	// may still arrive. A dialect without ids may keep the slot until it
	// cannot be mistaken for the next parcel's.
	Forget(seq Seq, ephemeral bool)

	// Close tells the device why, where its dialect can, and ends the
	// connection. The link calls Session.Closed afterwards, as always.
	Close(c Close)

	// Stats describes the connection now.
	Stats() LinkStats

	// MaxPayload is the largest payload in bytes that Deliver can take. It is
	// asked for at Gateway.Connect and does not change.
	MaxPayload() int

	// Window is how many deliveries may be unacked at once, 1 to 256. It is asked
	// for at Session.Start and does not change.
	Window() int
}

// Close says why a connection ends. Code 3000–3499 invites the device to
// reconnect (after RetryAfter), 3500–3999 tells it not to.
type Close struct {
	Code       uint16
	Reason     string // one of the Reason constants
	RetryAfter time.Duration
	Text       string // for people; "" = Reason
}

// Close codes. The lower half invites to reconnect, the upper does not.
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
	LastSeen    time.Time     // when anything last came, with its monotonic reading; never zero
	RTT         time.Duration // last measured; 0 = not yet
	Confirmed   bool          // silence for heartbeat + grace ends the connection; false: only a longer one does
	BytesIn     uint64
	BytesOut    uint64
	MessagesIn  uint64
	MessagesOut uint64
}

// Hello is a client that asks to be registered.
type Hello struct {
	Client ClientID
	Token  string
	Labels map[string]string // nil keeps the known ones
	Groups []string          // nil keeps the known ones
	Log    LogID             // the log that AskThrough belongs to, "" for none
	// Asks is set when the device answers an ASK: up to AskThrough it has handled
	// what reached it.
	Asks       bool
	AskThrough Seq
	Dialect    string
	// Transport is "tcp" or "tls". Certificate is the leaf that the device has
	// proven to hold under the client CA, nil where it has shown none.
	Transport   string
	Certificate *x509.Certificate
	Authority   *x509.Certificate // the one of the client CAs that vouches for Certificate
	Remote      netip.AddrPort
}

// Grant is what a device that may register is given.
type Grant struct {
	// ExpiresAt is when its credentials end, and with them the connection; zero
	// for never.
	ExpiresAt time.Time
	// Credential is what it was let in with, where that can be taken back while
	// it is connected; nil where it cannot. See Gateway.Recheck.
	Credential Credential
	// Groups are those that the device may enter and leave by naming them, beside
	// Config.DeviceGroups. They may be guarded.
	Groups []string
}

// Credential is what a device was let in with. It does not change; what it is
// compared with may.
type Credential interface {
	// Holds reports whether it still lets the client in. It must not wait.
	Holds(client ClientID) bool
}

// Welcome is the answer to a Hello.
type Welcome struct {
	Session SessionID
	Log     LogID
	// Resumed is set when Hello.Log is this log and may have given out a sequence
	// at or above Hello.AskThrough. Otherwise the device must forget its AskThrough, and
	// the session asks nothing.
	Resumed bool
	// Ask is set when device and gateway use ASK and the codes that answer it.
	Ask bool
	// Time is the gateway's clock, zero to leave it out.
	Time time.Time
	// ExpiresAt is the Grant's: the link closes then, with
	// CloseCredentialsExpired. Zero = never.
	ExpiresAt time.Time
}

// AckCode is a device's answer to a payload or to an ASK. The codes from AckSend
// on come only where Welcome.Ask is set.
type AckCode uint8

const (
	AckOK      AckCode = 0
	AckReject  AckCode = 1
	AckRetry   AckCode = 2
	AckSend    AckCode = 3 // not handled: send the payload
	AckNotKept AckCode = 4 // handled, but the device no longer knows its verdict
	AckWorking AckCode = 5 // under way; no verdict yet
)
