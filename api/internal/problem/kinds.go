// Package problem has the error answers of the API (RFC 9457): the problem, the table
// of its types, and the translation of errors into problems. It writes nothing: the
// caller writes a problem as JSON, with the headers of SetHeaders.
package problem

import (
	"maps"
	"slices"

	"github.com/longwire/longwire/gateway"
)

// Kind is the stable last part of a problem's type.
type Kind string

// Problem types of the edge itself; the others are gateway.Code values.
const (
	MalformedJSON        Kind = "malformed-json"
	IncompleteBody       Kind = "incomplete-body"
	UnknownField         Kind = "unknown-field"
	InvalidParameter     Kind = "invalid-parameter"
	InvalidCursor        Kind = "invalid-cursor"
	Unauthenticated      Kind = "unauthenticated"
	HostNotAllowed       Kind = "host-not-allowed"
	CrossOrigin          Kind = "cross-origin"
	RouteNotFound        Kind = "route-not-found"
	MethodNotAllowed     Kind = "method-not-allowed"
	NotAcceptable        Kind = "not-acceptable"
	RequestTimeout       Kind = "request-timeout"
	UnsupportedMediaType Kind = "unsupported-media-type"
	RateLimited          Kind = "rate-limited"
	InsufficientScope    Kind = "insufficient-scope"
	KeyNotFound          Kind = "key-not-found"
	TooManyKeys          Kind = "too-many-keys"
	EventNotFound        Kind = "event-not-found"
	ConsumerNotFound     Kind = "consumer-not-found"
	TooManyConsumers     Kind = "too-many-consumers"
	LeaseHeld            Kind = "lease-held"
	WebhookNotFound      Kind = "webhook-not-found"
	TooManyWebhooks      Kind = "too-many-webhooks"
	ReplayUnderWay       Kind = "replay-under-way"
	TokenNotFound        Kind = "token-not-found"
	RefusedNotFound      Kind = "refused-not-found"
	TooManyTokens        Kind = "too-many-tokens"
	NoTokenFile          Kind = "no-token-file"
	TimelineOff          Kind = "timeline-off"
	TooManyTraces        Kind = "too-many-traces"
	UplinkNotFound       Kind = "uplink-not-found"
	RangeNotSatisfiable  Kind = "range-not-satisfiable"
	PreconditionFailed   Kind = "precondition-failed"
	SimulatorOff         Kind = "simulator-off"
	Overloaded           Kind = "overloaded"
	Internal             Kind = "internal"

	PayloadTooLarge  = Kind(gateway.CodePayloadTooLarge)
	ValidationFailed = Kind(gateway.CodeValidation)
)

// Status returns the HTTP status of a kind, 0 if there is no such kind.
func (k Kind) Status() int { return kinds[k].status }

// kind is a problem type: its status, its title and advice to the caller.
type kind struct {
	status int
	title  string
	help   string
}

// kinds is the one table from codes to HTTP.
var kinds = map[Kind]kind{
	MalformedJSON:        {400, "Malformed body", "The body is not one JSON object of the expected types. errors[0].pointer names the member when it is known."},
	IncompleteBody:       {400, "Incomplete body", "The body ended before its announced length or its last chunk. Nothing was stored, except the complete lines of a bulk request, which have their answers."},
	UnknownField:         {400, "Unknown member", "The body has a member that this call does not know. Check its spelling against /openapi.json."},
	InvalidParameter:     {400, "Invalid parameter", "A query parameter, part of the path or header is unknown, out of range, or there more than once. errors names it."},
	InvalidCursor:        {400, "Invalid cursor", "Cursors are opaque and belong to the list that gave them. Start again without one."},
	Unauthenticated:      {401, "Not authenticated", "Send Authorization: Bearer <API key>, or X-API-Key."},
	HostNotAllowed:       {403, "Host not allowed", "Without API keys the server answers only to loopback names. Configure an API key, or allow the host name."},
	CrossOrigin:          {403, "Cross-origin request refused", "A browser sent this request from another origin. Call from the same origin, or from a back end."},
	RouteNotFound:        {404, "No such resource", "The path is not part of the API. / names the entry points."},
	MethodNotAllowed:     {405, "Method not allowed", "The Allow header names the methods of this path."},
	NotAcceptable:        {406, "Not acceptable", "The stream is served as text/event-stream or application/x-ndjson."},
	RequestTimeout:       {408, "Body too slow", "The body did not arrive in time. Nothing was accepted."},
	UnsupportedMediaType: {415, "Unsupported media type", "Send the content type that the detail names."},
	RateLimited:          {429, "Too many requests", "Try again after Retry-After seconds."},
	InsufficientScope:    {403, "Insufficient scope", "The API key may not do this. Use one with the scope that the detail names."},
	KeyNotFound:          {404, "No such API key", "No key has this id: it was revoked, or is one of the settings, which cannot be managed here."},
	TooManyKeys:          {409, "Too many API keys", "Revoke keys that are no longer used."},
	WebhookNotFound:      {404, "No such webhook", "The id is unknown, or the webhook was made under another limit than the API key's."},
	TooManyWebhooks:      {409, "Too many webhooks", "Delete webhooks that are no longer used."},
	ReplayUnderWay:       {409, "Replay under way", "A webhook has one replay at a time. Wait until it has ended."},
	ConsumerNotFound:     {404, "No such consumer", "PUT /v1/consumers/{name} creates it. A consumer is its creator's limit's own: a key with another limit has other consumers."},
	TooManyConsumers:     {409, "Too many consumers", "Delete consumers that are no longer used."},
	LeaseHeld:            {409, "Another puller has the consumer", "A consumer has one puller at a time. Its lease ends 30 seconds after its last call."},
	EventNotFound:        {404, "No such event", "The id is unknown, or the event is older than events.retain, or about a client beyond the API key's limit."},
	TokenNotFound:        {404, "No such device token", "The client has no token with this id. Tokens for a pattern of ids are not managed here."},
	RefusedNotFound:      {404, "No such refused device", "The list of refused devices has no entry of this id: the device was not refused, was let in since, was dismissed, or gave way to others; or the id is beyond the API key's limit."},
	UplinkNotFound:       {404, "No such uplink", "The sequence is unknown, or the uplink is older than uplinks are kept, or from a client beyond the API key's limit."},
	RangeNotSatisfiable:  {416, "Range not satisfiable", "The payload is shorter than the first byte that Range asks for. Content-Range has its length."},
	PreconditionFailed:   {412, "Precondition failed", "If-Match has none of the entity tags of the payload, which ETag names. Leave it out to get the payload."},
	TooManyTokens:        {409, "Too many device tokens", "Revoke tokens of the client that its device no longer uses. If it has few, the file of tokens is full."},
	NoTokenFile:          {409, "No file of device tokens", "The gateway keeps device tokens when auth.device_tokens_file is set. From then on it refuses devices without a token, unless auth.device_unknown says otherwise."},
	TimelineOff:          {409, "No timelines", "The gateway keeps timelines of clients unless events.timeline is false."},
	TooManyTraces:        {409, "Too many traces", "GET /v1/traces lists the traces that are on. Wait until one ends, or end one: DELETE /v1/clients/{id}/trace."},
	SimulatorOff:         {404, "Simulated devices are off", "They run on a gateway whose listeners are on loopback, while the API needs no key or simulator.enabled is on."},
	Overloaded:           {503, "Overloaded", "The server has as many requests under way as it can hold. Nothing was done. Try again after Retry-After seconds."},
	Internal:             {500, "Internal error", "A defect of the server. Its log has the cause under the request id in instance."},

	PayloadTooLarge:  {413, "Too large", "limit has the bound in bytes, if there is one number for it."},
	ValidationFailed: {422, "Validation failed", "The body is well-formed but breaks rules. errors lists each, up to 100."},

	Kind(gateway.CodeClientNotFound):      {404, "No such client", `The client has never registered. A push with on_unknown "queue" keeps the message for it, and POST /v1/clients creates it.`},
	Kind(gateway.CodeClientExists):        {409, "Client exists", "A client with this id is known. PATCH changes its labels and groups."},
	Kind(gateway.CodeMessageNotFound):     {404, "No such message", "The id is unknown, or the message was final for longer than statuses are kept."},
	Kind(gateway.CodeClientOffline):       {409, "Client offline", "mode=online delivers now or never; nothing was stored. Push with mode=durable to have it wait."},
	Kind(gateway.CodeAlreadyFinal):        {409, "Already final", "Every delivery of the message has a final state; nothing can be canceled."},
	Kind(gateway.CodeIdempotencyMismatch): {422, "Idempotency key used before", "The key belongs to another request of the last 24 h. Use a new key for a new message."},
	Kind(gateway.CodeQueueFull):           {409, "Queue full", "The queue has as much as it may hold; limit is that bound. For one client it is delivery.max_queued messages, or delivery.max_queued_bytes bytes. The queue has room again when the client has taken some messages, or when some are canceled or expire."},
	Kind(gateway.CodeTooManyClients):      {409, "Too many clients", "The push would make a client known, and there is no room for one: clients.max are known, or the key or tenant has made as many known as are free for all. Nothing was stored. Forget clients that are no longer used: DELETE /v1/clients/{id}?forget=true."},
	Kind(gateway.CodeTooManyRecipients):   {412, "Too many recipients", "When the gateway fixed the audience it had more clients than max_recipients, which is limit. Nothing was stored. Look at the audience with dry_run, and push with the new number."},
	Kind(gateway.CodeTooManyProbes):       {429, "Too many probes", "As many probes as may wait at once wait for their devices. The device was not asked. Try again after Retry-After seconds."},
	Kind(gateway.CodeEventsFull):          {429, "Share of the event log used up", "The tenant of the key has caused more events in this hour of the clock than its share of the event log holds, and the hour has no more room. Nothing was stored. Try again after Retry-After seconds. The operator can raise events.max_bytes."},
	Kind(gateway.CodeDraining):            {503, "Draining", "The server is shutting down and accepts nothing more. Nothing was stored."},
	Kind(gateway.CodeUnavailable):         {503, "Store unavailable", "The store could not confirm the change: it may or may not have happened. Repeat with the same Idempotency-Key."},
	Kind(gateway.CodeDiskFull):            {503, "Disk full", "The gateway takes no messages, because its disk has no room (data.min_free) or its store has reached data.max_disk. Nothing was stored. There is room again when acked messages and uplinks have reached their retention, or when the operator gives more."},
	Kind(gateway.CodeAckTimeout):          {504, "No ack in time", "The device did not answer within wait. It may have got the message."},
	Kind(gateway.CodeUnauthorized):        {403, "Refused", "The credentials do not allow this."},
	Kind(gateway.CodeBlocked):             {403, "Client blocked", "The client is blocked until its block ends."},
	Kind(gateway.CodeIDInUse):             {409, "Client id in use", "Another connection holds the id."},
}

// Path is the path below which this server explains its problem types.
const Path = "/docs/problems/"

// Page explains a problem type.
type Page struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Help   string `json:"help"`
}

// PageOf returns the page of a kind; ok is false if there is no such kind.
func PageOf(name Kind) (page Page, ok bool) {
	k, ok := kinds[name]
	return Page{Type: Path + string(name), Title: k.title, Status: k.status, Help: k.help}, ok
}

// Pages returns the page of every kind, in the order of their types.
func Pages() []Page {
	var all []Page
	for _, name := range slices.Sorted(maps.Keys(kinds)) {
		page, _ := PageOf(name)
		all = append(all, page)
	}
	return all
}
