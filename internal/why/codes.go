// Package why judges: it takes the facts about a delivery or a client and returns the one
// reason why it is as it is, as a code, as facts and as an English sentence. It is a pure
// function of its input: no clock, no store.
package why

// Code is the reason of a verdict. New ones may be added.
type Code string

// Codes of a delivery that is not final.
const (
	// The client is not connected.
	ClientNeverConnected Code = "client_never_connected"
	ClientOffline        Code = "client_offline"
	ClientBlocked        Code = "client_blocked"
	ClientRefused        Code = "client_refused"
	SentThenOffline      Code = "sent_then_offline"

	// The client is connected, and the delivery has left for it.
	ClientSuspect    Code = "client_suspect"
	SentNotAcked     Code = "sent_not_acked"
	ResentNotAcked   Code = "resent_not_acked"
	RetryLater       Code = "retry_later"
	Working          Code = "working"
	AskedNotAnswered Code = "asked_not_answered"
	WrongNumberSpace Code = "wrong_number_space"
	OnlineWaits      Code = "online_waits"

	// The client is connected, and the delivery waits in the gateway.
	WindowFull  Code = "window_full"
	BehindAsk   Code = "behind_ask"
	Paced       Code = "paced"
	Rollout     Code = "rollout"
	NotReading  Code = "not_reading"
	AboutToSend Code = "about_to_send"
)

// Codes of a final delivery.
const (
	Acked              Code = "acked"
	VerdictNotKept     Code = "verdict_not_kept"
	LateAck            Code = "late_ack"
	Rejected           Code = "rejected"
	TooLarge           Code = "too_large"
	ExpiredUnsent      Code = "expired_unsent"
	ExpiredSent        Code = "expired_sent"
	ExpiredRetryLater  Code = "expired_retry_later"
	Expired            Code = "expired"
	Canceled           Code = "canceled"
	QueueCanceled      Code = "queue_canceled"
	CanceledForgotten  Code = "client_forgotten"
	AttemptsUsedUp     Code = "attempts_used_up"
	UnknownClient      Code = "unknown_client"
	TooManyClients     Code = "too_many_clients"
	QueueFull          Code = "queue_full"
	OnlineNoAck        Code = "online_no_ack"
	OnlineWrongNumber  Code = "online_wrong_number_space"
	OnlineDisconnected Code = "online_connection_lost"
	OnlineNotSent      Code = "online_not_sent"
	OnlineRestart      Code = "online_gateway_restart"
	OnlineDraining     Code = "online_draining"
)

// Codes of a message to many, as a whole.
const (
	ManyPending   Code = "many_pending"
	ManyCompleted Code = "many_completed"
)

// Codes of a client.
const (
	Online           Code = "online"
	OnlineFlapping   Code = "online_flapping"
	OnlineTwin       Code = "online_twin_refused"
	OnlineSuspect    Code = "online_suspect"
	OnlineUnstable   Code = "online_unstable"
	OnlineNoUplinks  Code = "online_uplinks_refused"
	NeverConnected   Code = "never_connected"
	ClosedByDevice   Code = "closed_by_device"
	ClosedByGateway  Code = "closed_by_gateway"
	ClosedByNetwork  Code = "closed_by_network"
	ClosedByOperator Code = "closed_by_operator"
	Blocked          Code = "blocked"
	Refused          Code = "refused"
	Forgotten        Code = "forgotten"
)

// MessageCodes returns every code of a message or a delivery.
func MessageCodes() []Code {
	return []Code{ClientNeverConnected, ClientOffline, ClientBlocked, ClientRefused, SentThenOffline,
		ClientSuspect, SentNotAcked, ResentNotAcked, RetryLater, Working, AskedNotAnswered, WrongNumberSpace, OnlineWaits,
		WindowFull, BehindAsk, Paced, Rollout, NotReading, AboutToSend,
		Acked, VerdictNotKept, LateAck, Rejected, TooLarge, ExpiredUnsent, ExpiredSent, ExpiredRetryLater, Expired,
		Canceled, QueueCanceled, CanceledForgotten, AttemptsUsedUp, UnknownClient, TooManyClients, QueueFull,
		OnlineNoAck, OnlineWrongNumber, OnlineDisconnected, OnlineNotSent, OnlineRestart, OnlineDraining,
		ManyPending, ManyCompleted}
}

// ClientCodes returns every code of a client.
func ClientCodes() []Code {
	return []Code{Online, OnlineFlapping, OnlineTwin, OnlineSuspect, OnlineUnstable, OnlineNoUplinks, NeverConnected, ClosedByDevice, ClosedByGateway,
		ClosedByNetwork, ClosedByOperator, Blocked, Refused, Forgotten}
}
