package api

import "github.com/longwire/longwire/internal/apikey"

// public is the need of documents and probes: anybody may ask, and nothing of
// the gateway's clients can be reached.
const public apikey.Scope = 1 << 15

// endpoint is one row of the routing table. need is the scope that a caller's
// key must have; a row without one is a defect that stops the server. head adds
// HEAD beside GET, stream is a body that is read line by line.
type endpoint struct {
	method  string
	pattern string
	need    apikey.Scope
	handler handler
	head    bool
	stream  bool
}

// takesBody reports whether the handler reads the request's body. Of other
// requests it must be there too, before anything is done.
func (e *endpoint) takesBody() bool { return e.method == "POST" || e.method == "PATCH" }

// endpoints is every route of the API, in the order of the documentation.
func (s *server) endpoints() []endpoint {
	return []endpoint{
		{method: "GET", pattern: "/v1/clients", need: apikey.ClientsRead, handler: s.listClients, head: true},
		{method: "GET", pattern: "/v1/clients/{id}", need: apikey.ClientsRead, handler: s.getClient},
		{method: "HEAD", pattern: "/v1/clients/{id}", need: apikey.ClientsRead, handler: s.headClient},
		{method: "PATCH", pattern: "/v1/clients/{id}", need: apikey.ClientsWrite, handler: s.patchClient},
		{method: "DELETE", pattern: "/v1/clients/{id}", need: apikey.ClientsWrite, handler: s.disconnectClient},
		{method: "GET", pattern: "/v1/clients/{id}/messages", need: apikey.MessagesRead, handler: s.clientMessages, head: true},
		{method: "POST", pattern: "/v1/clients/{id}/messages", need: apikey.MessagesWrite, handler: s.pushOne},

		{method: "GET", pattern: "/v1/refused", need: apikey.ClientsRead, handler: s.listRefused, head: true},

		{method: "GET", pattern: "/v1/messages", need: apikey.MessagesRead, handler: s.listMessages, head: true},
		{method: "POST", pattern: "/v1/messages", need: apikey.MessagesWrite, handler: s.pushMany},
		{method: "POST", pattern: "/v1/messages/bulk", need: apikey.MessagesWrite, handler: s.bulk, stream: true},
		{method: "GET", pattern: "/v1/messages/{id}", need: apikey.MessagesRead, handler: s.getMessage, head: true},
		{method: "DELETE", pattern: "/v1/messages/{id}", need: apikey.MessagesWrite, handler: s.cancelMessage},
		{method: "GET", pattern: "/v1/messages/{id}/deliveries", need: apikey.MessagesRead, handler: s.listDeliveries, head: true},

		{method: "GET", pattern: "/v1/uplinks", need: apikey.MessagesRead, handler: s.listUplinks, head: true},
		{method: "GET", pattern: "/v1/events", need: apikey.EventsRead, handler: s.events},

		{method: "GET", pattern: "/v1/keys", need: apikey.Admin, handler: s.listKeys, head: true},
		{method: "POST", pattern: "/v1/keys", need: apikey.Admin, handler: s.createKey},
		{method: "GET", pattern: "/v1/keys/{id}", need: apikey.Admin, handler: s.getKey, head: true},
		{method: "DELETE", pattern: "/v1/keys/{id}", need: apikey.Admin, handler: s.revokeKey},

		{method: "GET", pattern: "/v1/stats", need: apikey.MetricsRead, handler: s.stats, head: true},
		{method: "GET", pattern: "/metrics", need: apikey.MetricsRead, handler: s.metrics, head: true},

		{method: "GET", pattern: "/livez", need: public, handler: s.livez, head: true},
		{method: "GET", pattern: "/readyz", need: public, handler: s.readyz, head: true},
		{method: "GET", pattern: "/healthz", need: public, handler: s.healthz, head: true},
		{method: "GET", pattern: "/version", need: public, handler: s.version, head: true},

		{method: "GET", pattern: "/", need: public, handler: s.index, head: true},
		{method: "GET", pattern: "/openapi.json", need: public, handler: s.openapi, head: true},
		{method: "GET", pattern: "/swagger", need: public, handler: redirectTo("/swagger/"), head: true},
		{method: "GET", pattern: "/swagger/", need: public, handler: s.swaggerPage, head: true},
		{method: "GET", pattern: "/swagger/{file}", need: public, handler: s.swaggerFile, head: true},
		{method: "GET", pattern: "/docs", need: public, handler: redirectTo("/swagger/"), head: true},
		{method: "GET", pattern: "/docs/", need: public, handler: redirectTo("/swagger/"), head: true},
		{method: "GET", pattern: "/docs/problems", need: public, handler: s.problemIndex, head: true},
		{method: "GET", pattern: "/docs/problems/{slug}", need: public, handler: s.problemPage, head: true},
	}
}
