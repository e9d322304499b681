package client

// MessageWhyCode is the reason why a message, or its delivery to one client, is as it is.
// docs/guide/why.md has the meaning of each.
type MessageWhyCode string

// Reasons of messages. Others may be added.
const (
	WhyClientNeverConnected   MessageWhyCode = "client_never_connected"
	WhyClientOffline          MessageWhyCode = "client_offline"
	WhyClientBlocked          MessageWhyCode = "client_blocked"
	WhyClientRefused          MessageWhyCode = "client_refused"
	WhySentThenOffline        MessageWhyCode = "sent_then_offline"
	WhyClientSuspect          MessageWhyCode = "client_suspect"
	WhySentNotAcked           MessageWhyCode = "sent_not_acked"
	WhyResentNotAcked         MessageWhyCode = "resent_not_acked"
	WhyRetryLater             MessageWhyCode = "retry_later"
	WhyWorking                MessageWhyCode = "working"
	WhyAskedNotAnswered       MessageWhyCode = "asked_not_answered"
	WhyWrongNumberSpace       MessageWhyCode = "wrong_number_space"
	WhyOnlineWaits            MessageWhyCode = "online_waits"
	WhyWindowFull             MessageWhyCode = "window_full"
	WhyBehindAsk              MessageWhyCode = "behind_ask"
	WhyPaced                  MessageWhyCode = "paced"
	WhyRollout                MessageWhyCode = "rollout"
	WhyNotReading             MessageWhyCode = "not_reading"
	WhyAboutToSend            MessageWhyCode = "about_to_send"
	WhyAcked                  MessageWhyCode = "acked"
	WhyVerdictNotKept         MessageWhyCode = "verdict_not_kept"
	WhyLateAck                MessageWhyCode = "late_ack"
	WhyRejected               MessageWhyCode = "rejected"
	WhyTooLarge               MessageWhyCode = "too_large"
	WhyExpiredUnsent          MessageWhyCode = "expired_unsent"
	WhyExpiredSent            MessageWhyCode = "expired_sent"
	WhyExpiredRetryLater      MessageWhyCode = "expired_retry_later"
	WhyExpired                MessageWhyCode = "expired"
	WhyCanceled               MessageWhyCode = "canceled"
	WhyQueueCanceled          MessageWhyCode = "queue_canceled"
	WhyClientForgotten        MessageWhyCode = "client_forgotten"
	WhyAttemptsUsedUp         MessageWhyCode = "attempts_used_up"
	WhyUnknownClient          MessageWhyCode = "unknown_client"
	WhyTooManyClients         MessageWhyCode = "too_many_clients"
	WhyQueueFull              MessageWhyCode = "queue_full"
	WhyOnlineNoAck            MessageWhyCode = "online_no_ack"
	WhyOnlineWrongNumberSpace MessageWhyCode = "online_wrong_number_space"
	WhyOnlineConnectionLost   MessageWhyCode = "online_connection_lost"
	WhyOnlineNotSent          MessageWhyCode = "online_not_sent"
	WhyOnlineGatewayRestart   MessageWhyCode = "online_gateway_restart"
	WhyOnlineDraining         MessageWhyCode = "online_draining"
	WhyManyPending            MessageWhyCode = "many_pending"
	WhyManyCompleted          MessageWhyCode = "many_completed"
)

// ClientWhyCode is the reason why a client is there or not. docs/guide/why.md has the
// meaning of each.
type ClientWhyCode string

// Reasons of clients. Others may be added.
const (
	ClientWhyOnline               ClientWhyCode = "online"
	ClientWhyOnlineFlapping       ClientWhyCode = "online_flapping"
	ClientWhyOnlineTwinRefused    ClientWhyCode = "online_twin_refused"
	ClientWhyOnlineSuspect        ClientWhyCode = "online_suspect"
	ClientWhyOnlineUnstable       ClientWhyCode = "online_unstable"
	ClientWhyOnlineUplinksRefused ClientWhyCode = "online_uplinks_refused"
	ClientWhyNeverConnected       ClientWhyCode = "never_connected"
	ClientWhyClosedByDevice       ClientWhyCode = "closed_by_device"
	ClientWhyClosedByGateway      ClientWhyCode = "closed_by_gateway"
	ClientWhyClosedByNetwork      ClientWhyCode = "closed_by_network"
	ClientWhyClosedByOperator     ClientWhyCode = "closed_by_operator"
	ClientWhyBlocked              ClientWhyCode = "blocked"
	ClientWhyRefused              ClientWhyCode = "refused"
	ClientWhyForgotten            ClientWhyCode = "forgotten"
)
