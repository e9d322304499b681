package api

// endpoint is one row of the routing table. head adds HEAD beside GET.
type endpoint struct {
	method  string
	pattern string
	access  access
	handler handler
	head    bool
}

// endpoints is every route of the API, in the order of the documentation.
func (s *server) endpoints() []endpoint {
	return []endpoint{
		{"GET", "/v1/clients", private, s.listClients, false},
		{"GET", "/v1/clients/{id}", private, s.getClient, false},
		{"HEAD", "/v1/clients/{id}", private, s.headClient, false},
		{"PATCH", "/v1/clients/{id}", private, s.patchClient, false},
		{"DELETE", "/v1/clients/{id}", private, s.disconnectClient, false},
		{"GET", "/v1/clients/{id}/messages", private, s.clientMessages, false},
		{"POST", "/v1/clients/{id}/messages", private, s.pushOne, false},

		{"GET", "/v1/messages", private, s.listMessages, false},
		{"POST", "/v1/messages", private, s.pushMany, false},
		{"POST", "/v1/messages/bulk", private, s.bulk, false},
		{"GET", "/v1/messages/{id}", private, s.getMessage, false},
		{"DELETE", "/v1/messages/{id}", private, s.cancelMessage, false},
		{"GET", "/v1/messages/{id}/deliveries", private, s.listDeliveries, false},

		{"GET", "/v1/uplinks", private, s.listUplinks, false},
		{"GET", "/v1/events", private, s.events, false},
		{"GET", "/v1/stats", private, s.stats, false},

		{"GET", "/livez", public, s.livez, true},
		{"GET", "/readyz", public, s.readyz, true},
		{"GET", "/healthz", public, s.healthz, true},
		{"GET", "/version", public, s.version, false},
		{"GET", "/metrics", private, s.metrics, false},

		{"GET", "/", public, s.index, true},
		{"GET", "/openapi.json", public, s.openapi, true},
		{"GET", "/swagger", public, redirectTo("/swagger/"), true},
		{"GET", "/swagger/", public, s.swaggerPage, true},
		{"GET", "/swagger/{file}", public, s.swaggerFile, true},
		{"GET", "/docs", public, redirectTo("/swagger/"), true},
		{"GET", "/docs/", public, redirectTo("/swagger/"), true},
		{"GET", "/docs/problems", public, s.problemIndex, true},
		{"GET", "/docs/problems/{slug}", public, s.problemPage, true},
	}
}
