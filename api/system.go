package api

import (
	"net/http"

	"github.com/longwire/longwire/api/internal/problem"
	"github.com/longwire/longwire/docs"
	"github.com/longwire/longwire/gateway"
)

// Version names the source and the compiler of the binary.
type Version struct {
	Version string `json:"version" validate:"required" example:"0.1.0"` // of the release
	Commit  string `json:"commit,omitempty"`                            // of the source
	Date    string `json:"date,omitempty"`                              // of the commit
	Go      string `json:"go,omitempty" example:"go1.26.8"`             // version of the compiler
} //@name Version

// Health is an answer to a probe.
type Health struct {
	Status string        `json:"status" validate:"required" enums:"ok,unavailable"` // ok when all checks are
	Checks []HealthCheck `json:"checks,omitempty"`                                  // each thing that must be well
} //@name Health

// HealthCheck is one thing that must be well.
type HealthCheck struct {
	Name   string `json:"name" validate:"required" example:"store"`          // of the thing
	Status string `json:"status" validate:"required" enums:"ok,unavailable"` // of the thing
	Detail string `json:"detail,omitempty"`                                  // explanation
} //@name HealthCheck

const (
	healthOK          = "ok"
	healthUnavailable = "unavailable"
)

// livez answers 200 while the process serves.
//
//	@ID			livez
//	@Summary	Is the process alive
//	@Tags		system
//	@Produce	json
//	@Success	200	{object}	Health
//	@Router		/livez [get]
func (s *server) livez(w http.ResponseWriter, _ *http.Request) error {
	return writeJSON(w, http.StatusOK, Health{Status: healthOK})
}

// readyz reports by its status whether the gateway accepts messages.
//
//	@ID				readyz
//	@Summary		Does the server accept messages
//	@Description	503 while the store cannot confirm writes and while the server drains.
//	@Tags			system
//	@Produce		json
//	@Success		200	{object}	Health
//	@Failure		503	{object}	Health
//	@Router			/readyz [get]
func (s *server) readyz(w http.ResponseWriter, _ *http.Request) error {
	v := Health{Status: healthOK}
	status := http.StatusOK
	for _, c := range s.cfg.Ready() {
		check := HealthCheck{Name: c.Name, Status: healthOK}
		if c.Err != nil {
			check.Status, check.Detail = healthUnavailable, c.Err.Error()
			v.Status, status = healthUnavailable, http.StatusServiceUnavailable
		}
		v.Checks = append(v.Checks, check)
	}
	return writeJSON(w, status, v)
}

// healthz is readyz under the name that older tools ask for.
//
//	@Summary	Does the server accept messages
//	@ID			healthz
//	@Tags		system
//	@Produce	json
//	@Success	200	{object}	Health
//	@Failure	503	{object}	Health
//	@Router		/healthz [get]
func (s *server) healthz(w http.ResponseWriter, r *http.Request) error { return s.readyz(w, r) }

// version shows the version.
//
//	@ID			version
//	@Summary	Version of the server
//	@Tags		system
//	@Produce	json
//	@Success	200	{object}	Version
//	@Router		/version [get]
func (s *server) version(w http.ResponseWriter, _ *http.Request) error {
	return writeJSON(w, http.StatusOK, s.cfg.Version)
}

// metrics is the Prometheus page.
//
//	@ID			metrics
//	@Summary	Prometheus metrics
//	@Tags		system
//	@Produce	plain
//	@Success	200	{string}	string
//	@x-scope	"metrics:read"
//	@Router		/metrics [get]
func (s *server) metrics(w http.ResponseWriter, r *http.Request) error {
	if s.cfg.Metrics == nil {
		return problem.New(problem.RouteNotFound, "metrics are switched off")
	}
	s.cfg.Metrics.ServeHTTP(w, r)
	return nil
}

// Stats are totals of this process since it started, and its present state.
type Stats struct {
	StartedAt    string            `json:"started_at" validate:"required" format:"date-time"` // when this process started
	Draining     bool              `json:"draining" validate:"required"`                      // it is stopping and accepts nothing
	Online       int               `json:"online" validate:"required"`                        // clients that are connected
	Suspect      int               `json:"suspect" validate:"required"`                       // of the online clients: those that have not answered a heartbeat for a second
	InFlight     int               `json:"in_flight" validate:"required"`                     // deliveries that devices have not answered
	Accepted     uint64            `json:"accepted" validate:"required"`                      // messages accepted
	Delivered    uint64            `json:"delivered" validate:"required"`                     // transmissions flushed to sockets
	Redelivered  uint64            `json:"redelivered" validate:"required"`                   // repeated transmissions
	Settled      map[string]uint64 `json:"settled" validate:"required"`                       // deliveries that became final, by state
	LateAcks     uint64            `json:"late_acks" validate:"required"`                     // answers after that
	Uplinks      uint64            `json:"uplinks" validate:"required"`                       // payloads from devices
	Connects     uint64            `json:"connects" validate:"required"`                      // registrations
	Takeovers    uint64            `json:"takeovers" validate:"required"`                     // registrations that replaced a connection
	Disconnects  map[string]uint64 `json:"disconnects" validate:"required"`                   // connections that ended, by reason
	EventStreams int64             `json:"event_streams" validate:"required"`                 // callers that wait for events
	Store        StoreStats        `json:"store" validate:"required"`                         // totals of the store
} //@name Stats

// StoreStats are totals of the store.
type StoreStats struct {
	Engine    string `json:"engine" validate:"required" example:"pebble"` // that stores
	Durable   bool   `json:"durable" validate:"required"`                 // whether a 202 survives the process
	Clients   int    `json:"clients" validate:"required"`                 // that are known
	Messages  int    `json:"messages" validate:"required"`                // that are kept
	Queued    int    `json:"queued" validate:"required"`                  // deliveries that are not final
	OldestAt  string `json:"oldest_at,omitempty" format:"date-time"`      // acceptance of the oldest queued message
	DiskBytes int64  `json:"disk_bytes" validate:"required"`              // that the store takes
} //@name StoreStats

// stats shows totals.
//
//	@ID			stats
//	@Summary	Totals of this server
//	@Tags		system
//	@Produce	json
//	@Success	200		{object}	Stats
//	@x-scope	"metrics:read"
//	@Router		/v1/stats [get]
func (s *server) stats(w http.ResponseWriter, r *http.Request) error {
	if err := queryOf(r).done(); err != nil {
		return err
	}
	g, err := viewOf(w).Stats()
	if err != nil {
		return err
	}
	v := Stats{
		StartedAt: stamp(g.StartedAt), Draining: g.Draining, Online: g.Online, Suspect: g.Suspect, InFlight: g.InFlight,
		Accepted: g.Accepted, Delivered: g.Delivered, Redelivered: g.Redelivered, LateAcks: g.LateAcks, Uplinks: g.Uplinks,
		Connects: g.Connects, Takeovers: g.Takeovers, Disconnects: g.DisconnectsByReason, EventStreams: s.streams.Load(),
		Settled: make(map[string]uint64),
		Store: StoreStats{Engine: g.Store.Engine, Durable: g.Store.Durable, Clients: g.Store.Clients, Messages: g.Store.Messages,
			Queued: g.Store.Queued, OldestAt: stamp(g.Store.OldestAt), DiskBytes: g.Store.DiskBytes},
	}
	for st := gateway.Acked; st <= gateway.Failed; st++ {
		v.Settled[st.String()] = g.Settled[st]
	}
	if v.Disconnects == nil {
		v.Disconnects = map[string]uint64{}
	}
	return writeJSON(w, http.StatusOK, v)
}

// index names the entry points.
func (s *server) index(w http.ResponseWriter, _ *http.Request) error {
	return writeJSON(w, http.StatusOK, struct {
		Name     string            `json:"name"`
		Version  string            `json:"version"`
		URLs     map[string]string `json:"urls"`
		TryFirst string            `json:"try_first"`
	}{"longwire", s.cfg.Version.Version, map[string]string{
		"clients": "/v1/clients", "messages": "/v1/messages", "events": "/v1/events", "stats": "/v1/stats",
		"api documentation": "/swagger/", "openapi": "/openapi.json", "problem types": "/docs/problems",
		"ready": "/readyz", "metrics": "/metrics",
	}, "longwire connect --id demo, then POST /v1/clients/demo/messages?wait=5s"})
}

func (s *server) openapi(w http.ResponseWriter, r *http.Request) error {
	return serveStatic(w, r, "application/json", docs.OpenAPI)
}
