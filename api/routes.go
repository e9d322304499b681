package api

import (
	"slices"

	"github.com/longwire/longwire/api/internal/problem"
	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/apikey"
)

// public is the scope of documents and probes. Every caller has it, and it opens no
// way to the gateway's clients.
const public apikey.Scope = 1 << 15

// anyKey is the scope of calls that every key may make. The handler selects its answer by
// the scopes of the key.
const anyKey apikey.Scope = 1 << 14

// endpoint is one row of the routing table. need is the scope that a caller's key
// must have; register panics on a row without one. head adds HEAD to a GET. stream marks
// a body that is read line by line. fails are the problems of the handler, in
// addition to those of every call.
type endpoint struct {
	method  string
	pattern string
	need    apikey.Scope
	handler handler
	head    bool
	stream  bool
	noBody  bool // the handler takes no body although the method may have one
	noQuery bool // the handler takes no parameters, and a request with one is refused
	fails   []problem.Kind
}

// takesBody reports whether the handler reads the request's body. The server reads
// the body of every other request before it calls the handler.
func (e *endpoint) takesBody() bool {
	return (e.method == "POST" || e.method == "PATCH" || e.method == "PUT") && !e.noBody
}

// Problems of handlers, named after their causes.
var (
	ofStore  = problem.Kind(gateway.CodeUnavailable)
	ofClient = problem.Kind(gateway.CodeClientNotFound)
	ofLimits = problem.Kind(gateway.CodeUnauthorized) // of the key
	ofPush   = []problem.Kind{ofStore, problem.Kind(gateway.CodeDiskFull), ofClient, problem.Kind(gateway.CodeClientOffline), problem.Kind(gateway.CodeQueueFull), problem.Kind(gateway.CodeTooManyClients), problem.Kind(gateway.CodeEventsFull),
		problem.Kind(gateway.CodeIdempotencyMismatch), problem.Kind(gateway.CodeAckTimeout)}
	ofPushMany = append(slices.Clone(ofPush), problem.Kind(gateway.CodeTooManyRecipients))
	ofTokens   = []problem.Kind{ofStore, ofClient, problem.NoTokenFile}
	ofMessage  = []problem.Kind{ofStore, problem.Kind(gateway.CodeMessageNotFound)}
	ofConsumer = []problem.Kind{problem.ConsumerNotFound}
	ofWebhook  = []problem.Kind{ofStore, problem.WebhookNotFound}
	// Reads of webhooks are of memory, but for dead letters.
	ofWebhookRead = []problem.Kind{problem.WebhookNotFound}
)

// problems returns every problem that the route may answer, by status.
func (e *endpoint) problems() map[int][]problem.Kind {
	switch {
	case e.pattern == "/version":
		return map[int][]problem.Kind{problem.HostNotAllowed.Status(): {problem.HostNotAllowed}}
	case e.need == public: // probes, and documents, which are not described
		return nil
	}
	all := append([]problem.Kind{problem.Unauthenticated, problem.HostNotAllowed, problem.RateLimited, problem.Overloaded, problem.Internal, problem.InvalidParameter}, e.fails...)
	if e.need != anyKey {
		all = append(all, problem.InsufficientScope)
	}
	if !e.stream { // whose answer has begun by then
		all = append(all, problem.IncompleteBody, problem.RequestTimeout, problem.PayloadTooLarge)
	}
	if e.method != "GET" && e.method != "HEAD" {
		all = append(all, problem.CrossOrigin)
	}
	if e.takesBody() {
		all = append(all, problem.UnsupportedMediaType, problem.Kind(gateway.CodeDraining))
	}
	if e.takesBody() && !e.stream { // the lines of a stream have their own
		all = append(all, problem.MalformedJSON, problem.UnknownField, problem.ValidationFailed)
	}
	slices.Sort(all)
	byStatus := map[int][]problem.Kind{}
	for _, kind := range slices.Compact(all) {
		byStatus[kind.Status()] = append(byStatus[kind.Status()], kind)
	}
	return byStatus
}

// Problems returns the types of problem that each operation may answer, by
// method and path, such as "GET /v1/clients", and by status.
func Problems() map[string]map[int][]string {
	all := map[string]map[int][]string{}
	for _, e := range newServer(Config{}).endpoints() {
		byStatus := map[int][]string{}
		for status, list := range e.problems() {
			for _, kind := range list {
				byStatus[status] = append(byStatus[status], problem.Path+string(kind))
			}
		}
		all[e.method+" "+e.pattern] = byStatus
	}
	return all
}

// endpoints returns every route of the API, in the order of the documentation.
func (s *server) endpoints() []endpoint {
	return []endpoint{
		{method: "GET", pattern: "/v1/clients", need: apikey.ClientsRead, handler: s.listClients, head: true, fails: []problem.Kind{problem.InvalidCursor, ofStore}},
		{method: "DELETE", pattern: "/v1/clients", need: apikey.ClientsWrite, handler: s.forgetClients, fails: []problem.Kind{ofStore, ofLimits}},
		{method: "GET", pattern: "/v1/clients/{id}", need: apikey.ClientsRead, handler: s.getClient, noQuery: true, fails: []problem.Kind{ofStore, ofClient}},
		{method: "HEAD", pattern: "/v1/clients/{id}", need: apikey.ClientsRead, handler: s.headClient, noQuery: true, fails: []problem.Kind{ofStore, ofClient}},
		{method: "POST", pattern: "/v1/clients", need: apikey.ClientsWrite, handler: s.createClient, noQuery: true, fails: []problem.Kind{ofStore, problem.Kind(gateway.CodeClientExists), problem.Kind(gateway.CodeTooManyClients), problem.Kind(gateway.CodeDiskFull), problem.Kind(gateway.CodeEventsFull), ofLimits}},
		{method: "PATCH", pattern: "/v1/clients/{id}", need: apikey.ClientsWrite, handler: s.patchClient, noQuery: true, fails: []problem.Kind{ofStore, ofClient, problem.Kind(gateway.CodeEventsFull), ofLimits}},
		{method: "DELETE", pattern: "/v1/clients/{id}", need: apikey.ClientsWrite, handler: s.disconnectClient, fails: []problem.Kind{ofStore, ofClient, ofLimits}},
		{method: "POST", pattern: "/v1/clients/{id}/probe", need: apikey.ClientsWrite, handler: s.probeClient, noQuery: true, noBody: true, fails: []problem.Kind{ofStore, ofClient, problem.Kind(gateway.CodeTooManyProbes)}},
		{method: "GET", pattern: "/v1/clients/{id}/why", need: apikey.ClientsRead, handler: s.whyClient, noQuery: true, head: true, fails: []problem.Kind{ofStore, ofClient}},
		{method: "GET", pattern: "/v1/clients/{id}/messages", need: apikey.MessagesRead, handler: s.clientMessages, head: true, fails: append([]problem.Kind{problem.InvalidCursor, ofClient}, ofMessage...)},
		{method: "POST", pattern: "/v1/clients/{id}/messages", need: apikey.MessagesWrite, handler: s.pushOne, fails: ofPush},

		{method: "GET", pattern: "/v1/clients/{id}/timeline", need: apikey.EventsRead, handler: s.timeline, fails: []problem.Kind{ofStore, ofClient, problem.NotAcceptable, problem.TimelineOff}},
		{method: "POST", pattern: "/v1/clients/{id}/trace", need: apikey.ClientsWrite, handler: s.startTrace, noQuery: true, fails: []problem.Kind{ofStore, ofClient, problem.TimelineOff, problem.TooManyTraces}},
		{method: "DELETE", pattern: "/v1/clients/{id}/trace", need: apikey.ClientsWrite, handler: s.endTrace, noQuery: true, fails: []problem.Kind{ofStore, ofClient, problem.TimelineOff}},
		{method: "GET", pattern: "/v1/traces", need: apikey.ClientsRead, handler: s.listTraces, noQuery: true, head: true, fails: []problem.Kind{ofStore}},

		{method: "GET", pattern: "/v1/clients/{id}/tokens", need: apikey.DevicesWrite, handler: s.listTokens, noQuery: true, head: true, fails: ofTokens},
		{method: "POST", pattern: "/v1/clients/{id}/tokens", need: apikey.DevicesWrite, handler: s.createToken, noQuery: true, fails: slices.Concat(ofTokens, []problem.Kind{ofLimits, problem.TokenNotFound, problem.TooManyTokens})},
		{method: "DELETE", pattern: "/v1/clients/{id}/tokens/{token}", need: apikey.DevicesWrite, handler: s.revokeToken, noQuery: true, fails: slices.Concat(ofTokens, []problem.Kind{problem.TokenNotFound})},

		{method: "GET", pattern: "/v1/refused", need: apikey.ClientsRead, handler: s.listRefused, head: true, fails: []problem.Kind{problem.InvalidCursor, ofStore}},
		{method: "DELETE", pattern: "/v1/refused/{client}", need: apikey.DevicesWrite, handler: s.dismissRefused, noQuery: true, fails: []problem.Kind{problem.RefusedNotFound, ofStore}},

		{method: "GET", pattern: "/v1/messages", need: apikey.MessagesRead, handler: s.listMessages, head: true, fails: append([]problem.Kind{problem.InvalidCursor}, ofMessage...)},
		{method: "POST", pattern: "/v1/messages", need: apikey.MessagesWrite, handler: s.pushMany, fails: ofPushMany},
		{method: "POST", pattern: "/v1/messages/bulk", need: apikey.MessagesWrite, handler: s.bulk, stream: true},
		{method: "GET", pattern: "/v1/messages/{id}", need: apikey.MessagesRead, handler: s.getMessage, head: true, fails: ofMessage},
		{method: "DELETE", pattern: "/v1/messages/{id}", need: apikey.MessagesWrite, handler: s.cancelMessage, noQuery: true, fails: slices.Concat(ofMessage, []problem.Kind{problem.Kind(gateway.CodeAlreadyFinal), ofLimits})},
		{method: "GET", pattern: "/v1/messages/{id}/payload", need: apikey.MessagesRead, handler: s.messagePayload, noQuery: true, head: true, fails: slices.Concat(ofMessage, []problem.Kind{problem.RangeNotSatisfiable, problem.PreconditionFailed})},
		{method: "GET", pattern: "/v1/messages/{id}/deliveries", need: apikey.MessagesRead, handler: s.listDeliveries, head: true, fails: slices.Concat(ofMessage, []problem.Kind{problem.InvalidCursor})},
		{method: "GET", pattern: "/v1/messages/{id}/deliveries/{client}", need: apikey.MessagesRead, handler: s.getDelivery, noQuery: true, head: true, fails: slices.Concat(ofMessage, []problem.Kind{ofClient})},
		{method: "GET", pattern: "/v1/messages/{id}/why", need: apikey.MessagesRead, handler: s.whyMessage, head: true, fails: slices.Concat(ofMessage, []problem.Kind{ofClient})},
		{method: "DELETE", pattern: "/v1/clients/{id}/messages", need: apikey.MessagesWrite, handler: s.cancelQueue, fails: []problem.Kind{ofStore, ofClient, problem.Kind(gateway.CodeMessageNotFound)}},

		{method: "GET", pattern: "/v1/uplinks", need: apikey.MessagesRead, handler: s.listUplinks, head: true, fails: []problem.Kind{ofStore}},
		{method: "GET", pattern: "/v1/uplinks/{seq}/payload", need: apikey.MessagesRead, handler: s.uplinkPayload, noQuery: true, head: true, fails: []problem.Kind{ofStore, problem.UplinkNotFound, problem.RangeNotSatisfiable, problem.PreconditionFailed}},
		{method: "GET", pattern: "/v1/events", need: apikey.EventsRead, handler: s.events, fails: []problem.Kind{problem.NotAcceptable, ofStore}},
		{method: "GET", pattern: "/v1/events/{id}", need: apikey.EventsRead, handler: s.getEvent, noQuery: true, head: true, fails: []problem.Kind{problem.EventNotFound, ofStore}},

		{method: "GET", pattern: "/v1/webhooks", need: apikey.WebhooksRead, handler: s.listWebhooks, noQuery: true, head: true},
		{method: "POST", pattern: "/v1/webhooks", need: apikey.WebhooksWrite, handler: s.createWebhook, noQuery: true, fails: []problem.Kind{ofStore, problem.TooManyWebhooks}},
		{method: "GET", pattern: "/v1/webhooks/{id}", need: apikey.WebhooksRead, handler: s.getWebhook, noQuery: true, head: true, fails: ofWebhookRead},
		{method: "PATCH", pattern: "/v1/webhooks/{id}", need: apikey.WebhooksWrite, handler: s.patchWebhook, noQuery: true, fails: ofWebhook},
		{method: "DELETE", pattern: "/v1/webhooks/{id}", need: apikey.WebhooksWrite, handler: s.deleteWebhook, noQuery: true, fails: ofWebhook},
		{method: "GET", pattern: "/v1/webhooks/{id}/attempts", need: apikey.WebhooksRead, handler: s.webhookAttempts, noQuery: true, head: true, fails: ofWebhookRead},
		{method: "GET", pattern: "/v1/webhooks/{id}/dead", need: apikey.WebhooksRead, handler: s.deadLetters, head: true, fails: ofWebhook},
		{method: "POST", pattern: "/v1/webhooks/{id}/dead/redeliver", need: apikey.WebhooksWrite, handler: s.redeliver, noQuery: true, noBody: true, fails: ofWebhook},
		{method: "POST", pattern: "/v1/webhooks/{id}/replay", need: apikey.WebhooksWrite, handler: s.replayWebhook, noQuery: true, fails: slices.Concat(ofWebhook, []problem.Kind{problem.ReplayUnderWay})},
		{method: "POST", pattern: "/v1/webhooks/{id}/rotate", need: apikey.WebhooksWrite, handler: s.rotateWebhook, noQuery: true, noBody: true, fails: ofWebhook},
		{method: "POST", pattern: "/v1/webhooks/{id}/test", need: apikey.WebhooksWrite, handler: s.testWebhook, noQuery: true, noBody: true, fails: ofWebhookRead},

		{method: "GET", pattern: "/v1/consumers", need: apikey.EventsRead, handler: s.listConsumers, noQuery: true, head: true},
		{method: "GET", pattern: "/v1/consumers/{name}", need: apikey.EventsRead, handler: s.getConsumer, noQuery: true, head: true, fails: ofConsumer},
		{method: "PUT", pattern: "/v1/consumers/{name}", need: apikey.EventsRead, handler: s.putConsumer, noQuery: true, fails: []problem.Kind{ofStore, problem.TooManyConsumers}},
		{method: "DELETE", pattern: "/v1/consumers/{name}", need: apikey.EventsRead, handler: s.deleteConsumer, noQuery: true, fails: slices.Concat(ofConsumer, []problem.Kind{ofStore})},
		{method: "GET", pattern: "/v1/consumers/{name}/events", need: apikey.EventsRead, handler: s.pullEvents, fails: slices.Concat(ofConsumer, []problem.Kind{ofStore, problem.LeaseHeld})},
		{method: "POST", pattern: "/v1/consumers/{name}/ack", need: apikey.EventsRead, handler: s.ackEvents, noQuery: true, fails: slices.Concat(ofConsumer, []problem.Kind{ofStore, problem.LeaseHeld})},

		{method: "GET", pattern: "/v1/session", need: anyKey, handler: s.getSession, noQuery: true, head: true},
		{method: "POST", pattern: "/v1/session", need: anyKey, handler: s.openSession, noQuery: true, noBody: true},
		{method: "DELETE", pattern: "/v1/session", need: anyKey, handler: s.closeSession, noQuery: true},

		{method: "GET", pattern: "/v1/keys", need: apikey.Admin, handler: s.listKeys, head: true, fails: []problem.Kind{problem.InvalidCursor}},
		{method: "POST", pattern: "/v1/keys", need: apikey.Admin, handler: s.createKey, noQuery: true, fails: []problem.Kind{ofStore, problem.TooManyKeys}},
		{method: "GET", pattern: "/v1/keys/{id}", need: apikey.Admin, handler: s.getKey, noQuery: true, head: true, fails: []problem.Kind{problem.KeyNotFound}},
		{method: "DELETE", pattern: "/v1/keys/{id}", need: apikey.Admin, handler: s.revokeKey, noQuery: true, fails: []problem.Kind{ofStore, problem.KeyNotFound}},

		{method: "GET", pattern: "/v1/simulator", need: apikey.Admin, handler: s.getSimulator, noQuery: true, head: true, fails: []problem.Kind{problem.SimulatorOff}},
		{method: "PUT", pattern: "/v1/simulator", need: apikey.Admin, handler: s.putSimulator, noQuery: true, fails: []problem.Kind{problem.SimulatorOff, ofStore, problem.Kind(gateway.CodeClientExists)}},
		{method: "DELETE", pattern: "/v1/simulator", need: apikey.Admin, handler: s.deleteSimulator, noQuery: true, fails: []problem.Kind{problem.SimulatorOff, ofStore}},

		{method: "GET", pattern: "/v1/stats", need: apikey.MetricsRead, handler: s.stats, noQuery: true, head: true},
		{method: "GET", pattern: "/v1/stats/history", need: apikey.MetricsRead, handler: s.statsHistory, head: true},
		{method: "GET", pattern: "/v1/findings", need: anyKey, handler: s.listFindings, noQuery: true, head: true},
		{method: "GET", pattern: "/v1/audit", need: apikey.Admin, handler: s.listAudit, head: true, fails: []problem.Kind{problem.InvalidCursor}},
		{method: "GET", pattern: "/metrics", need: apikey.MetricsRead, handler: s.metrics, head: true, fails: []problem.Kind{ofLimits}},

		{method: "GET", pattern: "/livez", need: public, handler: s.livez, head: true},
		{method: "GET", pattern: "/readyz", need: public, handler: s.readyz, head: true},
		{method: "GET", pattern: "/healthz", need: public, handler: s.healthz, head: true},
		{method: "GET", pattern: "/version", need: public, handler: s.version, head: true},

		{method: "GET", pattern: "/", need: public, handler: s.index, head: true},
		{method: "GET", pattern: "/openapi.json", need: public, handler: s.openapi, head: true},
		{method: "GET", pattern: "/swagger", need: public, handler: redirectTo("/swagger/"), head: true},
		{method: "GET", pattern: "/swagger/", need: public, handler: s.swaggerPage, head: true},
		{method: "GET", pattern: "/swagger/{file}", need: public, handler: s.swaggerFile, head: true},
		{method: "GET", pattern: "/console", need: public, handler: toConsole("console/"), head: true},
		{method: "GET", pattern: "/console/*", need: public, handler: s.console, head: true},
		{method: "GET", pattern: "/docs", need: public, handler: redirectTo("/swagger/"), head: true},
		{method: "GET", pattern: "/docs/", need: public, handler: redirectTo("/swagger/"), head: true},
		{method: "GET", pattern: "/docs/problems", need: public, handler: s.problemIndex, head: true},
		{method: "GET", pattern: "/docs/problems/{slug}", need: public, handler: s.problemPage, head: true},
	}
}
