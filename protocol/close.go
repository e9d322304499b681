package protocol

import (
	"cmp"
	"math"
	"strings"
	"time"
	"unicode/utf8"
)

// CloseCode says why a session ends and whether the device should come back
// (SPEC §7). Zero is the end of a connection without any code.
type CloseCode uint16

const (
	CloseShutdown           CloseCode = 3000
	CloseReplaced           CloseCode = 3001
	CloseKicked             CloseCode = 3002
	CloseHeartbeat          CloseCode = 3003 // heartbeat or registration not in time
	CloseSlowConsumer       CloseCode = 3004
	CloseOverloaded         CloseCode = 3005
	CloseCredentialsExpired CloseCode = 3006
	CloseRateExceeded       CloseCode = 3007

	CloseProtocol     CloseCode = 3500
	CloseUnauthorized CloseCode = 3501
	CloseBlocked      CloseCode = 3502
	CloseIDInUse      CloseCode = 3503
)

// Reconnect reports whether a device that was closed with this code should
// connect again. 3500–3999 say no.
func (c CloseCode) Reconnect() bool { return c < 3500 || c > 3999 }

// Reasons, a short fixed list that is fit for a metrics label. A code below
// 3500 has its own reason; CloseProtocol comes with what was wrong.
const (
	ReasonShutdown           = "shutdown"
	ReasonReplaced           = "replaced"
	ReasonKicked             = "kicked"
	ReasonHeartbeatTimeout   = "heartbeat_timeout"
	ReasonRegisterTimeout    = "register_timeout"
	ReasonSlowConsumer       = "slow_consumer"
	ReasonOverloaded         = "overloaded"
	ReasonCredentialsExpired = "credentials_expired"
	ReasonRateExceeded       = "rate_exceeded"
	ReasonUnauthorized       = "unauthorized"
	ReasonBlocked            = "blocked"
	ReasonIDInUse            = "id_in_use"

	ReasonProtocolError     = "protocol_error"     // anything without a name of its own
	ReasonFrameTooLarge     = "frame_too_large"    // a frame, line or v1 message above its limit
	ReasonBadClientID       = "bad_client_id"      //
	ReasonBadRegister       = "bad_register"       // a REGISTER that cannot be read or passes a bound
	ReasonNotRegistered     = "not_registered"     // something else before REGISTER
	ReasonAlreadyRegistered = "already_registered" // a second REGISTER
	ReasonInvalidUTF8       = "invalid_utf8"       // a text line
	ReasonUnknownCommand    = "unknown_command"    // a text line
	ReasonTooManyErrors     = "too_many_errors"    // refused lines or v1 messages in a row
	ReasonInputOverflow     = "input_overflow"     // too much input before the registration was decided
	ReasonFrameTimeout      = "frame_timeout"      // a frame or line that was begun did not end in time
	ReasonHTTPRequest       = "http_request"       // an HTTP client on the device port
	ReasonTLSUnsupported    = "tls_unsupported"    // a TLS hello where none is expected
	ReasonTLSRequired       = "tls_required"       // no TLS hello where nothing else is taken
	ReasonProxyUnexpected   = "proxy_unexpected"   // a PROXY header where none is expected
	ReasonProxyRequired     = "proxy_required"     // no good PROXY header from a trusted proxy

	ReasonClientClosed    = "client_closed"    // the device said goodbye
	ReasonServerClosed    = "server_closed"    // the server said goodbye with an unknown code
	ReasonConnectionLost  = "connection_lost"  // end of file or a socket error, without a word
	ReasonRegisterRefused = "register_refused" // device: the server refused without saying why
	ReasonRemoteError     = "remote_error"     // device: the server called a line bad
)

// Close says why a session ended, or is to end.
type Close struct {
	Code       CloseCode
	Remote     bool          // the peer ended it
	RetryAfter time.Duration // when to come back; whole milliseconds on the wire
	Reason     string        // one of the Reason constants
	Text       string        // for people, at most 256 bytes; "" = Reason
}

// codeReasons names the codes that need no further reason.
var codeReasons = map[CloseCode]string{
	CloseShutdown: ReasonShutdown, CloseReplaced: ReasonReplaced, CloseKicked: ReasonKicked,
	CloseHeartbeat: ReasonHeartbeatTimeout, CloseSlowConsumer: ReasonSlowConsumer, CloseOverloaded: ReasonOverloaded,
	CloseCredentialsExpired: ReasonCredentialsExpired, CloseRateExceeded: ReasonRateExceeded,
	CloseProtocol: ReasonProtocolError, CloseUnauthorized: ReasonUnauthorized, CloseBlocked: ReasonBlocked, CloseIDInUse: ReasonIDInUse,
}

// toldReasons are those a server may send besides codeReasons.
var toldReasons = []string{ReasonRegisterTimeout, ReasonFrameTooLarge, ReasonBadClientID, ReasonBadRegister,
	ReasonNotRegistered, ReasonAlreadyRegistered, ReasonInvalidUTF8, ReasonUnknownCommand, ReasonTooManyErrors, ReasonInputOverflow, ReasonTLSRequired,
	ReasonFrameTimeout}

// closeText returns what a CLOSE says (SPEC §7): the reason, and after a colon
// what there is for people.
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

// remoteClose is a CLOSE as its receiver reports it, with a Reason from the
// fixed list whatever the peer has sent.
func remoteClose(c Close) Close {
	c.Remote = true
	word, _, _ := strings.Cut(c.Text, ":")
	c.Reason = cmp.Or(codeReasons[c.Code], ReasonServerClosed)
	for _, r := range toldReasons {
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

// retryMillis returns RetryAfter in whole milliseconds, rounded up, so that
// nobody comes back too early.
func retryMillis(c Close) int64 {
	ms := (max(c.RetryAfter, 0) + time.Millisecond - 1) / time.Millisecond
	return int64(min(ms, math.MaxUint32))
}
