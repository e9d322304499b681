package client

// DeliveryReason is why a delivery was rejected, has failed, was canceled or
// waits, or that it was acked without a verdict.
type DeliveryReason string

// Reasons of deliveries. Others may be added.
const (
	ReasonTooLargeForProtocol DeliveryReason = "too_large_for_protocol" // the device's dialect cannot carry the payload
	ReasonDeviceRejected      DeliveryReason = "device_rejected"        // the device rejected it; its text is the result
	ReasonUnknownClient       DeliveryReason = "unknown_client"         // named in a list, never registered
	ReasonQueueFull           DeliveryReason = "queue_full"             // the client's queue had no room
	ReasonAttemptsUsedUp      DeliveryReason = "attempts_used_up"       // sent as often as allowed, without an ack
	ReasonPurged              DeliveryReason = "purged"                 // the client's queue was purged
	ReasonTooManyClients      DeliveryReason = "too_many_clients"       // unknown, named in a list, and there is no room for another client
	ReasonClientForgotten     DeliveryReason = "client_forgotten"       // an operator had the client forgotten
	ReasonRetryLater          DeliveryReason = "retry_later"            // queued, while the device is connected: it wants the delivery later
	ReasonVerdictNotKept      DeliveryReason = "verdict_not_kept"       // acked: the device has handled it and no longer knows its verdict

	// Those of a NoAckReason, of a push with Mode Online and an idempotency key.
	UnansweredTimeout              DeliveryReason = "ack_timeout"
	UnansweredEphemeralFlagMissing DeliveryReason = "ephemeral_flag_missing"
	UnansweredNotSent              DeliveryReason = "not_sent"
	UnansweredDraining             DeliveryReason = "draining"
	UnansweredConnectionLost       DeliveryReason = "connection_lost"
	UnansweredGatewayRestart       DeliveryReason = "gateway_restart"
)

// NoAckReason is why a delivery with Mode Online has no ack (CodeAckTimeout).
type NoAckReason string

// Reasons of a missing ack. Others may be added.
const (
	NoAckTimeout              NoAckReason = "ack_timeout"            // the device did not ack in time
	NoAckEphemeralFlagMissing NoAckReason = "ephemeral_flag_missing" // its ack has the number of the online delivery, but not the flag
	NoAckNotSent              NoAckReason = "not_sent"               // earlier deliveries filled the window until the wait was over
	NoAckDraining             NoAckReason = "draining"               // the gateway stopped waiting
	NoAckConnectionLost       NoAckReason = "connection_lost"        // the connection ended before the ack
	NoAckGatewayRestart       NoAckReason = "gateway_restart"        // the gateway ended during the first push with the idempotency key
)

// CloseReason is why the connection of a client ended.
type CloseReason string

// Reasons of closed connections. Others may be added.
const (
	ReasonClientClosed       CloseReason = "client_closed"       // the device closed the connection in order
	ReasonReplaced           CloseReason = "replaced"            // the same id registered on another connection
	ReasonHungUp             CloseReason = "hung_up"             // the device's side closed the connection without a goodbye
	ReasonConnectionLost     CloseReason = "connection_lost"     // the connection broke: neither side closed it
	ReasonKicked             CloseReason = "kicked"              // DisconnectClient
	ReasonHeartbeatTimeout   CloseReason = "heartbeat_timeout"   // nothing came from the device in time
	ReasonRegisterTimeout    CloseReason = "register_timeout"    // the registration took too long
	ReasonSlowConsumer       CloseReason = "slow_consumer"       // the device read too slowly
	ReasonCredentialsExpired CloseReason = "credentials_expired" // its credential has ended or was revoked
	ReasonRateExceeded       CloseReason = "rate_exceeded"       // the device sent more than it may
	ReasonProtocolError      CloseReason = "protocol_error"      // the device broke the protocol, as with the next six
	ReasonFrameTooLarge      CloseReason = "frame_too_large"
	ReasonBadClientID        CloseReason = "bad_client_id"
	ReasonBadRegister        CloseReason = "bad_register"
	ReasonAlreadyRegistered  CloseReason = "already_registered"
	ReasonTooManyErrors      CloseReason = "too_many_errors"
	ReasonInputOverflow      CloseReason = "input_overflow"
	ReasonFrameTimeout       CloseReason = "frame_timeout"  // a frame that the device began did not end in time
	ReasonShutdown           CloseReason = "shutdown"       // the gateway was stopped in order
	ReasonInternalError      CloseReason = "internal_error" // a defect of the gateway
	ReasonServerStopped      CloseReason = "server_stopped" // the gateway was killed
)

// ClosedBy is the side that ended a connection.
type ClosedBy string

// The sides that end connections.
const (
	ClosedByDevice   ClosedBy = "device"
	ClosedByGateway  ClosedBy = "gateway"
	ClosedByNetwork  ClosedBy = "network"
	ClosedByOperator ClosedBy = "operator"
)

// LastClose is why a client's last connection ended, and by which side.
type LastClose struct {
	Reason CloseReason `json:"reason"`
	By     ClosedBy    `json:"by"`
}

// String is the reason and the side, "" if c is nil.
func (c *LastClose) String() string {
	if c == nil {
		return ""
	}
	return string(c.Reason) + ", by " + string(c.By)
}
