package gateway

import "time"

// EventType is the type of an event, as the API shows it.
type EventType string

const (
	EventClientConnected    EventType = "client.connected"
	EventClientDisconnected EventType = "client.disconnected"
	EventClientReplaced     EventType = "client.replaced" // the client stays online, on another connection
	EventClientForgotten    EventType = "client.forgotten"
	EventMessageQueued      EventType = "message.queued_for_absent" // accepted for a client that is offline
	EventMessageReceived    EventType = "message.received"
	EventMessageAcked       EventType = "message.acked"
	EventMessageRejected    EventType = "message.rejected"
	EventMessageExpired     EventType = "message.expired"
	EventMessageCanceled    EventType = "message.canceled"
	EventMessageFailed      EventType = "message.failed"
	EventMessageLateAck     EventType = "message.late_ack"
	EventMessageCompleted   EventType = "message.completed" // every delivery of a message to many is final
	EventGroupChanged       EventType = "group.changed"     // the client has entered or left groups
	EventWebhookDisabled    EventType = "webhook.disabled"
	EventStoreRepaired      EventType = "store.repaired" // events before this one may be missing
)

// FinalEvent returns the type of the event of a delivery that became final.
func FinalEvent(s State) EventType {
	switch s {
	case Acked:
		return EventMessageAcked
	case Rejected:
		return EventMessageRejected
	case Expired:
		return EventMessageExpired
	case Canceled:
		return EventMessageCanceled
	}
	return EventMessageFailed
}

// Event is one event of the log. Events of one client are in order. The type
// decides which fields are set; zero means not applicable.
type Event struct {
	Seq     uint64 // place in the log; rises, and numbers may be left out
	Type    EventType
	At      time.Time
	Client  ClientID
	Epoch   uint64 // connected, replaced, disconnected: ClientRecord.Epoch; 0 if the process of the session ended before it
	Session SessionID
	Reason  string // disconnected, replaced, rejected, failed

	Dialect string // connected, replaced
	Remote  string // connected, replaced: address and port

	Uplink   *Uplink // received
	Message  MessageID
	State    State
	Attempts int
	Result   []byte
	Counts   *Counts // completed
	Groups   []string
	Detail   string // for people

	Repair *StoreRepair // store.repaired

	// Gone is set if the event refers to an uplink, a result or counts that the store
	// has removed since.
	Gone bool
}

// Kinds of damage that a repair of the store has mended, as the reason of store.repaired.
const (
	DamageLog        = "log_damaged" // a log was cut at its first damage
	DamageLogMissing = "log_missing" // a log was not there
	DamageLogShort   = "log_short"   // the log ended too early
	DamageMark       = "mark_lost"   // MARK or FORMAT was not there or not readable; perhaps nothing else is lost
)

// DamageReasons returns every kind of damage.
func DamageReasons() []string {
	return []string{DamageLog, DamageLogMissing, DamageLogShort, DamageMark}
}

// StoreRepair describes the end of the log that a repair of the store has given up.
type StoreRepair struct {
	After uint64    // the last event that is kept: later ones up to that of the repair may be missing
	Since time.Time // the lost records were written after it; zero if that is not known
}

// maxEventPayload bounds the payload of an uplink that an event keeps, so that a
// device with large ones does not push the events of others out of the cache.
const maxEventPayload = 1 << 10

// OmitLarge leaves out a payload that an event does not keep.
func (u *Uplink) OmitLarge() {
	if len(u.Payload) > maxEventPayload {
		u.Payload, u.Omitted = nil, true
	}
}
