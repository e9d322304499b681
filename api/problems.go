package api

import (
	"html/template"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/go-chi/chi/v5"

	"github.com/longwire/longwire/gateway"
)

// slug is the stable last part of a problem's type.
type slug string

// Problem types of the edge itself; the others are gateway.Code values.
const (
	malformedJSON        slug = "malformed-json"
	incompleteBody       slug = "incomplete-body"
	unknownField         slug = "unknown-field"
	invalidParameter     slug = "invalid-parameter"
	invalidCursor        slug = "invalid-cursor"
	unauthenticated      slug = "unauthenticated"
	hostNotAllowed       slug = "host-not-allowed"
	crossOrigin          slug = "cross-origin"
	routeNotFound        slug = "route-not-found"
	methodNotAllowed     slug = "method-not-allowed"
	notAcceptable        slug = "not-acceptable"
	requestTimeout       slug = "request-timeout"
	unsupportedMediaType slug = "unsupported-media-type"
	rateLimited          slug = "rate-limited"
	insufficientScope    slug = "insufficient-scope"
	keyNotFound          slug = "key-not-found"
	tooManyKeys          slug = "too-many-keys"
	overloaded           slug = "overloaded"
	internal             slug = "internal"

	payloadTooLarge  = slug(gateway.CodePayloadTooLarge)
	validationFailed = slug(gateway.CodeValidation)
)

// kind is a problem type: its status, its title and advice to the caller.
type kind struct {
	status int
	title  string
	help   string
}

// kinds is the one table from codes to HTTP.
var kinds = map[slug]kind{
	malformedJSON:        {400, "Malformed body", "The body is not one JSON object of the expected types. errors[0].pointer names the member when it is known."},
	incompleteBody:       {400, "Incomplete body", "The body ended before its announced length or its last chunk. Nothing was stored, but for the complete lines of a bulk request, which have their answers."},
	unknownField:         {400, "Unknown member", "The body has a member that this call does not know. Check its spelling against /openapi.json."},
	invalidParameter:     {400, "Invalid parameter", "A query parameter or path part is unknown or out of range. errors names it."},
	invalidCursor:        {400, "Invalid cursor", "Cursors are opaque and belong to the list that gave them. Start again without one."},
	unauthenticated:      {401, "Not authenticated", "Send Authorization: Bearer <API key>, or X-API-Key."},
	hostNotAllowed:       {403, "Host not allowed", "Without API keys the server answers only to loopback names. Configure an API key, or allow the host name."},
	crossOrigin:          {403, "Cross-origin request refused", "A browser sent this request from another origin. Call from the same origin, or from a back end."},
	routeNotFound:        {404, "No such resource", "The path is not part of the API. / names the entry points."},
	methodNotAllowed:     {405, "Method not allowed", "The Allow header names the methods of this path."},
	notAcceptable:        {406, "Not acceptable", "The stream is served as text/event-stream or application/x-ndjson."},
	requestTimeout:       {408, "Body too slow", "The body did not arrive in time. Nothing was accepted."},
	unsupportedMediaType: {415, "Unsupported media type", "Send the content type that the detail names."},
	rateLimited:          {429, "Too many requests", "Try again after Retry-After seconds."},
	insufficientScope:    {403, "Insufficient scope", "The API key may not do this. Use one with the scope that the detail names."},
	keyNotFound:          {404, "No such API key", "No key has this id: it was revoked, or is one of the settings, which cannot be managed here."},
	tooManyKeys:          {409, "Too many API keys", "Revoke keys that are no longer used."},
	overloaded:           {503, "Overloaded", "The server has as many requests under way as it can hold. Nothing was done. Try again after Retry-After seconds."},
	internal:             {500, "Internal error", "A defect of the server. Its log has the cause under the request id in instance."},

	payloadTooLarge:  {413, "Too large", "limit has the bound in bytes, where one number says it all."},
	validationFailed: {422, "Validation failed", "The body is well-formed but breaks rules. errors lists each, up to 100."},

	slug(gateway.CodeClientNotFound):      {404, "No such client", `The client has never registered. A push with on_unknown "queue" keeps the message for it.`},
	slug(gateway.CodeMessageNotFound):     {404, "No such message", "The id is unknown, or the message was final for longer than statuses are kept."},
	slug(gateway.CodeClientOffline):       {409, "Client offline", "mode=online delivers now or never; nothing was stored. Push with mode=durable to have it wait."},
	slug(gateway.CodeAlreadyFinal):        {409, "Already final", "Every delivery of the message has a final state; nothing can be canceled."},
	slug(gateway.CodeIdempotencyMismatch): {422, "Idempotency key used before", "The key belongs to another request of the last 24 h. Use a new key for a new message."},
	slug(gateway.CodeQueueFull):           {409, "Queue full", "The queue has as much as it may hold; limit is that bound. For one client it is delivery.max_queued messages, or delivery.max_queued_bytes bytes. The queue has room again when the client has taken some messages, or when some are canceled or expire."},
	slug(gateway.CodeDraining):            {503, "Draining", "The server is shutting down and accepts nothing more. Nothing was stored."},
	slug(gateway.CodeUnavailable):         {503, "Store unavailable", "The store could not confirm the change: it may or may not have happened. Repeat with the same Idempotency-Key."},
	slug(gateway.CodeAckTimeout):          {504, "No ack in time", "The device did not answer within wait. It may have got the message."},
	slug(gateway.CodeUnauthorized):        {403, "Refused", "The credentials do not allow this."},
	slug(gateway.CodeBlocked):             {403, "Client blocked", "The client is blocked until its block ends."},
	slug(gateway.CodeIDInUse):             {409, "Client id in use", "Another connection holds the id."},
}

const problemPath = "/docs/problems/"

// ProblemTypes returns the type of every problem, in order.
func ProblemTypes() []string {
	var types []string
	for _, name := range slices.Sorted(maps.Keys(kinds)) {
		types = append(types, problemPath+string(name))
	}
	return types
}

// problemPage explains one problem type, as HTML to a browser, else as JSON.
func (s *server) problemPage(w http.ResponseWriter, r *http.Request) error {
	name := slug(chi.URLParam(r, "slug"))
	k, ok := kinds[name]
	if !ok {
		return problem(routeNotFound, "there is no problem type %q", name)
	}
	page := problemPageView{Type: problemPath + string(name), Title: k.title, Status: k.status, Help: k.help}
	if !strings.Contains(r.Header.Get("Accept"), "text/html") {
		return writeJSON(w, http.StatusOK, page)
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	return problemHTML.Execute(w, page)
}

func (s *server) problemIndex(w http.ResponseWriter, _ *http.Request) error {
	var all []problemPageView
	for _, name := range slices.Sorted(maps.Keys(kinds)) {
		k := kinds[name]
		all = append(all, problemPageView{Type: problemPath + string(name), Title: k.title, Status: k.status, Help: k.help})
	}
	return writeJSON(w, http.StatusOK, map[string]any{"items": all})
}

type problemPageView struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Help   string `json:"help"`
}

var problemHTML = template.Must(template.New("problem").Parse(
	`<!doctype html><html lang="en"><meta charset="utf-8"><title>{{.Title}}</title>` +
		`<h1>{{.Title}}</h1><p>HTTP {{.Status}}, <code>{{.Type}}</code></p><p>{{.Help}}</p></html>
`))
