package gateway

// Reasons of a delivery that was rejected, has failed, was canceled, waits, or
// was acked without a verdict. An online delivery has those of CodeAckTimeout too.
// There are no others: the text that a device
// rejects with is the delivery's result.
const (
	ReasonTooLargeForProtocol = "too_large_for_protocol" // the client's dialect cannot carry the payload
	ReasonDeviceRejected      = "device_rejected"        // the device rejected it; its text is the result
	ReasonUnknownClient       = "unknown_client"         // named in a list, never registered
	ReasonTooManyClients      = "too_many_clients"       // named in a list, unknown, and there is no room for another client
	ReasonQueueFull           = "queue_full"             // the recipient's queue had no room at acceptance
	ReasonAttemptsUsedUp      = "attempts_used_up"       // sent MaxAttempts times without an ack
	ReasonPurged              = "purged"                 // the client's queue was purged
	ReasonRetryLater          = "retry_later"            // queued, while the device is connected: it wants the delivery later
	ReasonGatewayRestart      = "gateway_restart"        // unknown: the gateway ended while the online delivery was under way
	ReasonClientForgotten     = "client_forgotten"       // an operator had the client forgotten
	ReasonVerdictNotKept      = "verdict_not_kept"       // acked: the device has handled it and no longer knows its verdict
)

// Reasons for the end of a registered client's connection. Reasons that the
// protocol also knows are spelled as there.
const (
	ReasonClientClosed       = "client_closed"
	ReasonReplaced           = "replaced"
	ReasonHungUp             = "hung_up" // the device's side ended the stream without a goodbye
	ReasonConnectionLost     = "connection_lost"
	ReasonKicked             = "kicked"
	ReasonHeartbeatTimeout   = "heartbeat_timeout"
	ReasonRegisterTimeout    = "register_timeout"
	ReasonSlowConsumer       = "slow_consumer"
	ReasonCredentialsExpired = "credentials_expired"
	ReasonRateExceeded       = "rate_exceeded"
	ReasonProtocolError      = "protocol_error"
	ReasonFrameTooLarge      = "frame_too_large"
	ReasonBadClientID        = "bad_client_id"
	ReasonBadRegister        = "bad_register"
	ReasonAlreadyRegistered  = "already_registered"
	ReasonTooManyErrors      = "too_many_errors"
	ReasonInputOverflow      = "input_overflow"
	ReasonFrameTimeout       = "frame_timeout"
	ReasonShutdown           = "shutdown"
	ReasonInternalError      = "internal_error" // a defect: the log has the cause
	ReasonServerStopped      = "server_stopped" // the client was online when the process was killed
)

// ClosedBy is the side that ended a connection.
type ClosedBy string

// The sides that end connections.
const (
	ClosedByDevice   ClosedBy = "device"
	ClosedByGateway  ClosedBy = "gateway"
	ClosedByNetwork  ClosedBy = "network" // the connection broke: neither side closed it
	ClosedByOperator ClosedBy = "operator"
)

// closes is the one list of close reasons, each with the side that closes.
var closes = [...]struct {
	reason string
	by     ClosedBy
}{
	{ReasonClientClosed, ClosedByDevice},
	{ReasonReplaced, ClosedByDevice},
	{ReasonHungUp, ClosedByDevice},
	{ReasonConnectionLost, ClosedByNetwork},
	{ReasonKicked, ClosedByOperator},
	{ReasonHeartbeatTimeout, ClosedByGateway},
	{ReasonRegisterTimeout, ClosedByGateway},
	{ReasonSlowConsumer, ClosedByGateway},
	{ReasonCredentialsExpired, ClosedByGateway},
	{ReasonRateExceeded, ClosedByGateway},
	{ReasonProtocolError, ClosedByGateway},
	{ReasonFrameTooLarge, ClosedByGateway},
	{ReasonBadClientID, ClosedByGateway},
	{ReasonBadRegister, ClosedByGateway},
	{ReasonAlreadyRegistered, ClosedByGateway},
	{ReasonTooManyErrors, ClosedByGateway},
	{ReasonInputOverflow, ClosedByGateway},
	{ReasonFrameTimeout, ClosedByGateway},
	{ReasonShutdown, ClosedByGateway},
	{ReasonInternalError, ClosedByGateway},
	{ReasonServerStopped, ClosedByGateway},
}

// CloserOf returns the side that ends connections for reason, "" when reason is
// not a close reason.
func CloserOf(reason string) ClosedBy {
	for _, c := range closes {
		if c.reason == reason {
			return c.by
		}
	}
	return ""
}

// CloseReasons returns every close reason.
func CloseReasons() []string {
	list := make([]string, len(closes))
	for i, c := range closes {
		list[i] = c.reason
	}
	return list
}

// Closers returns every side that ends connections.
func Closers() []string {
	return []string{string(ClosedByDevice), string(ClosedByGateway), string(ClosedByNetwork), string(ClosedByOperator)}
}

// DeliveryReasons returns every reason of a delivery.
func DeliveryReasons() []string {
	return append([]string{ReasonTooLargeForProtocol, ReasonDeviceRejected, ReasonUnknownClient, ReasonTooManyClients, ReasonQueueFull, ReasonAttemptsUsedUp,
		ReasonPurged, ReasonClientForgotten, ReasonRetryLater, ReasonVerdictNotKept}, NoAckReasons()...)
}

// NoAckReasons returns every reason of a CodeAckTimeout.
func NoAckReasons() []string {
	return []string{ReasonAckTimeout, ReasonEphemeralFlagMissing, ReasonNotSent, ReasonDraining, ReasonConnectionLost,
		ReasonGatewayRestart}
}
