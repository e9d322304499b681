package api

import (
	"net/http"

	"github.com/longwire/longwire/api/internal/problem"
	"github.com/longwire/longwire/docs"
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
	if err := viewOf(w).Unlimited(); err != nil {
		return err
	}
	s.cfg.Metrics.ServeHTTP(w, r)
	return nil
}

// index names the entry points. A browser goes to the console.
func (s *server) index(w http.ResponseWriter, r *http.Request) error {
	w.Header().Add("Vary", "Accept")
	if wantsPage(r) {
		return toConsole("console/")(w, r)
	}
	return writeJSON(w, http.StatusOK, struct {
		Name     string            `json:"name"`
		Version  string            `json:"version"`
		URLs     map[string]string `json:"urls"`
		TryFirst string            `json:"try_first"`
	}{"longwire", s.cfg.Version.Version, map[string]string{
		"clients": "/v1/clients", "messages": "/v1/messages", "events": "/v1/events", "stats": "/v1/stats", "console": "/console/",
		"api documentation": "/swagger/", "openapi": "/openapi.json", "problem types": "/docs/problems",
		"ready": "/readyz", "metrics": "/metrics",
	}, "longwire connect --id demo, then POST /v1/clients/demo/messages?wait=5s"})
}

func (s *server) openapi(w http.ResponseWriter, _ *http.Request) error {
	return serveStatic(w, "application/json", docs.OpenAPI)
}
