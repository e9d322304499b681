package protocol

import (
	"cmp"
	"math"
	"strings"
	"time"
	"unicode/utf8"
)

// CloseCode is the reason for the end of a session and says whether the device
// should reconnect (SPEC §7). Zero is an end without a code.
type CloseCode uint16

const (
	CloseShutdown           CloseCode = 3000
	CloseReplaced           CloseCode = 3001
	CloseKicked             CloseCode = 3002
	CloseHeartbeat          CloseCode = 3003 // no heartbeat answer or registration in time
	CloseSlowConsumer       CloseCode = 3004
	CloseOverloaded         CloseCode = 3005
	CloseCredentialsExpired CloseCode = 3006
	CloseRateExceeded       CloseCode = 3007

	CloseProtocol     CloseCode = 3500
	CloseUnauthorized CloseCode = 3501
	CloseBlocked      CloseCode = 3502
	CloseIDInUse      CloseCode = 3503
)

// Reconnect reports whether a device should connect again after a close with this
// code. It should not after 3500–3999.
func (c CloseCode) Reconnect() bool { return c < 3500 || c > 3999 }

// Reasons, a short fixed list that is fit for a metrics label. A code below 3500
// has its own reason; CloseProtocol has one that names the fault.
const (
	ReasonShutdown           = "shutdown"
	ReasonReplaced           = "replaced"
	ReasonKicked             = "kicked"
	ReasonHeartbeatTimeout   = "heartbeat_timeout"
	ReasonRegisterTimeout    = "register_timeout"
	ReasonSlowConsumer       = "slow_consumer"
	ReasonOverloaded         = "overloaded"
	ReasonTooManyClients     = "too_many_clients" // a new client, and there is no room for one
	ReasonCredentialsExpired = "credentials_expired"
	ReasonRateExceeded       = "rate_exceeded"
	ReasonUnauthorized       = "unauthorized"
	ReasonBlocked            = "blocked"
	ReasonIDInUse            = "id_in_use"

	ReasonProtocolError     = "protocol_error"     // a fault without its own reason
	ReasonFrameTooLarge     = "frame_too_large"    // a frame, line or v1 message above its limit
	ReasonBadClientID       = "bad_client_id"      //
	ReasonBadRegister       = "bad_register"       // a REGISTER that cannot be read or exceeds a bound
	ReasonNotRegistered     = "not_registered"     // another message before REGISTER
	ReasonAlreadyRegistered = "already_registered" // a second REGISTER
	ReasonInvalidUTF8       = "invalid_utf8"       // a text line
	ReasonUnknownCommand    = "unknown_command"    // a text line
	ReasonTooManyErrors     = "too_many_errors"    // refused text lines in a row
	ReasonInputOverflow     = "input_overflow"     // too much input before the registration was decided
	ReasonFrameTimeout      = "frame_timeout"      // a frame or line was begun and did not end in time
	ReasonHTTPRequest       = "http_request"       // an HTTP client on the device port
	ReasonTLSUnsupported    = "tls_unsupported"    // a TLS hello on a port without TLS
	ReasonTLSRequired       = "tls_required"       // no TLS hello on a port that requires TLS
	ReasonProxyUnexpected   = "proxy_unexpected"   // a PROXY header that is not expected
	ReasonProxyRequired     = "proxy_required"     // no valid PROXY header from a trusted proxy

	ReasonClientClosed    = "client_closed"    // the device closed the session
	ReasonServerClosed    = "server_closed"    // the server closed the session with an unknown code
	ReasonHungUp          = "hung_up"          // the device's side ended the stream without a CLOSE
	ReasonConnectionLost  = "connection_lost"  // a socket error; on the device also an end of the stream without a CLOSE
	ReasonRegisterRefused = "register_refused" // device: the server refused without a reason
	ReasonRemoteError     = "remote_error"     // device: the server answered a line with ERROR
)

// Close is the end of a session and its reason.
type Close struct {
	Code       CloseCode
	Remote     bool          // the peer ended it
	RetryAfter time.Duration // when to come back; whole milliseconds on the wire
	Reason     string        // one of the Reason constants
	Text       string        // for people, at most 256 bytes; "" = Reason
}

// codeReasons names the codes that have a single reason.
var codeReasons = map[CloseCode]string{
	CloseShutdown: ReasonShutdown, CloseReplaced: ReasonReplaced, CloseKicked: ReasonKicked,
	CloseHeartbeat: ReasonHeartbeatTimeout, CloseSlowConsumer: ReasonSlowConsumer, CloseOverloaded: ReasonOverloaded,
	CloseCredentialsExpired: ReasonCredentialsExpired, CloseRateExceeded: ReasonRateExceeded,
	CloseProtocol: ReasonProtocolError, CloseUnauthorized: ReasonUnauthorized, CloseBlocked: ReasonBlocked, CloseIDInUse: ReasonIDInUse,
}

// sentReasons are the other reasons that a server may send.
var sentReasons = []string{ReasonRegisterTimeout, ReasonFrameTooLarge, ReasonBadClientID, ReasonBadRegister,
	ReasonNotRegistered, ReasonAlreadyRegistered, ReasonInvalidUTF8, ReasonUnknownCommand, ReasonTooManyErrors, ReasonInputOverflow, ReasonTLSRequired,
	ReasonFrameTimeout, ReasonTooManyClients}

// Reasons returns every reason of refused input and of a refused registration.
func Reasons() []string {
	return append([]string{ReasonShutdown, ReasonOverloaded, ReasonUnauthorized, ReasonBlocked, ReasonIDInUse, ReasonProtocolError,
		ReasonHTTPRequest, ReasonTLSUnsupported, ReasonProxyUnexpected}, sentReasons...)
}

// closeText returns the text of a CLOSE (SPEC §7): the reason, then a colon and
// the text for people, if any.
func closeText(c Close) string {
	reason := cmp.Or(c.Reason, codeReasons[c.Code])
	if c.Text == "" || c.Text == reason {
		return cutText(reason)
	}
	if reason == "" {
		return cutText(c.Text)
	}
	return cutText(reason + ": " + c.Text)
}

// remoteClose is a received CLOSE. Its Reason is from the fixed list, whatever
// the peer has sent.
func remoteClose(c Close) Close {
	c.Remote = true
	word, _, _ := strings.Cut(c.Text, ":")
	c.Reason = cmp.Or(codeReasons[c.Code], ReasonServerClosed)
	for _, r := range sentReasons {
		if word == r {
			c.Reason = r
		}
	}
	return c
}

// cutText makes s printable on one line and at most maxCloseText bytes long.
func cutText(s string) string {
	s = oneLine(s)
	if len(s) <= maxCloseText {
		return s
	}
	n := maxCloseText
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// retryMillis returns RetryAfter in whole milliseconds, rounded up, so that no
// device reconnects too early.
func retryMillis(c Close) int64 {
	ms := (max(c.RetryAfter, 0) + time.Millisecond - 1) / time.Millisecond
	return int64(min(ms, math.MaxUint32))
}
