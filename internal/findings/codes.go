package findings

import "slices"

// Code is the kind of a finding. The list is in the API's description and on the page
// docs/guide/findings.md; a test compares them.
type Code string

// The codes of findings.
const (
	StoreUnavailable     Code = "store_unavailable"
	DiskNearlyFull       Code = "disk_nearly_full"
	StoreRepaired        Code = "store_repaired"
	SyncTooFast          Code = "sync_too_fast"
	ClockStep            Code = "clock_step"
	JustStarted          Code = "just_started"
	AuthHookFailing      Code = "auth_hook_failing"
	DevicesRefused       Code = "devices_refused"
	RegistrationsInvalid Code = "registrations_invalid"
	ClientsFlapping      Code = "clients_flapping"
	DuplicateIDs         Code = "duplicate_ids"
	DevicesSilent        Code = "devices_silent"
	QueueOld             Code = "queue_old"
	UplinksUnread        Code = "uplinks_unread"
	UplinksRefused       Code = "uplinks_refused"
	WebhookFailing       Code = "webhook_failing"
	WebhookParked        Code = "webhook_clients_parked"
	WebhookDisabled      Code = "webhook_disabled"
	ConsumerBehind       Code = "consumer_behind"
	CertificateExpiring  Code = "certificate_expiring"
	KeyExpiring          Code = "key_expiring"
	ClientsFull          Code = "clients_full"
	ConnectionsFull      Code = "connections_full"
	TracesLeft           Code = "traces_left"
)

// kind is a code with its fixed part.
type kind struct {
	code  Code
	scope string // that a caller needs to see it
	// text is the sentence in English. {count} and {name} stand for the count and for
	// facts.
	text string
}

// limitedText is the sentence of DiskNearlyFull for a store that has a limit of its own: the
// disk itself may have much room.
const limitedText = "The store has little room left: it takes {used_bytes} of {limit_bytes} (data.max_disk), and {free_bytes} of {total_bytes} of its disk are free."

// uncountedText is the sentence of JustStarted while the gateway does not know the count.
const uncountedText = "The gateway started at {started_at}, and still counts the clients that are not back."

// kinds has every code, in the order of the documentation.
var kinds = []kind{
	{StoreUnavailable, "metrics:read", "The store accepts no messages: {cause}."},
	{DiskNearlyFull, "metrics:read", "The disk of the store is nearly full: {free_bytes} of {total_bytes} are free, and the store takes {used_bytes}."},
	{StoreRepaired, "metrics:read", "The store continues from a repair or a backup. The newest messages and answers may be lost."},
	{SyncTooFast, "metrics:read", "The disk of the store confirms a write in {p50_us} µs, which is too fast to be true. Messages may be lost in a power cut."},
	{ClockStep, "metrics:read", "The clock of the gateway was set by {by_seconds} s. Expiry and retention follow it."},
	{JustStarted, "clients:read", "The gateway started at {started_at}. Clients that its stop disconnected and that are not back: {count}."},
	{AuthHookFailing, "metrics:read", "The service that decides about devices (auth.device_hook_url) gives no answer: {last_error}. Devices that were turned away: {count}."},
	{DevicesRefused, "clients:read", "Refused devices: {count}. The last one is {client}, with the reason {reason}."},
	{RegistrationsInvalid, "clients:read", "Addresses that send invalid registrations: {count}. The last one is {remote_addr}, with the reason {reason}."},
	{ClientsFlapping, "clients:read", "Clients that connect and disconnect again and again: {count}. One of them is {client}, which last ended with {reason}."},
	{DuplicateIDs, "clients:read", "Ids that two devices claim in turn: {count}. One of them is {client}."},
	{DevicesSilent, "clients:read", "Devices that missed their heartbeats and have not come back: {count}. One of them is {client}."},
	{QueueOld, "metrics:read", "The oldest queued message has waited since {oldest_at}. Queued deliveries: {count}."},
	{UplinksUnread, "metrics:read", "Uplinks that no backend has read: {count}."},
	{UplinksRefused, "clients:read", "Devices whose uplinks are refused for now, because a share of the store is used up: {count}. The last one is {client}, with the reason {reason}."},
	{WebhookFailing, "webhooks:read", "The webhook {id} does not reach its endpoint: {last_error}."},
	{WebhookParked, "webhooks:read", "The webhook {id} does not take the events of some clients, and tries them again: {count}."},
	{WebhookDisabled, "webhooks:read", "The webhook {id} is disabled: {cause}."},
	{ConsumerBehind, "events:read", "The consumer {name} is {lag} events behind."},
	{CertificateExpiring, "metrics:read", "The certificate of the port {listener} expires at {expires_at}."},
	{KeyExpiring, "admin", "The API key {name} expires at {expires_at}."},
	{ClientsFull, "metrics:read", "{count} clients are known, and there may be {limit}."},
	{ConnectionsFull, "metrics:read", "{count} connections of devices are open, and there may be {limit}."},
	{TracesLeft, "clients:read", "A trace records every frame of {client} until {ends_at}."},
}

// Codes returns every code, in the order of the documentation.
func Codes() (all []Code) {
	for _, k := range kinds {
		all = append(all, k.code)
	}
	return all
}

// indexOf returns the place of a code in kinds, -1 if there is no such code.
func indexOf(c Code) int {
	return slices.IndexFunc(kinds, func(k kind) bool { return k.code == c })
}

// ScopeOf returns the scope that a caller needs to see findings of a code.
func ScopeOf(c Code) string { return kinds[indexOf(c)].scope }
