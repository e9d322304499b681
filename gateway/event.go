package gateway

import "time"

// EventType is the type of an event, as the API shows it.
type EventType string

const (
	EventClientConnected    EventType = "client.connected"
	EventClientDisconnected EventType = "client.disconnected"
	EventClientReplaced     EventType = "client.replaced" // the client stays online, on another connection
	EventMessageReceived    EventType = "message.received"
	EventMessageAcked       EventType = "message.acked"
	EventMessageRejected    EventType = "message.rejected"
	EventMessageExpired     EventType = "message.expired"
	EventMessageCanceled    EventType = "message.canceled"
	EventMessageFailed      EventType = "message.failed"
	EventMessageLateAck     EventType = "message.late_ack"
	EventMessageCompleted   EventType = "message.completed" // every delivery of a message to many is final
)

// Event is one event of the stream. Events of one client are in order. The type
// decides which fields are set; zero means not applicable.
type Event struct {
	Seq     uint64 // position in the stream; rises without gaps within one process
	Type    EventType
	At      time.Time
	Client  ClientID
	Session SessionID
	Reason  string // disconnected, replaced, rejected, failed

	Dialect string // connected, replaced
	Remote  string // connected, replaced: address and port

	Uplink   *Uplink // received
	Message  MessageID
	State    State
	Attempts int
	Result   []byte
	Counts   *Counts // completed; also expired and canceled, if many deliveries ended in one step
}
