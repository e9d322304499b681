package app

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/longwire/longwire/api"
	"github.com/longwire/longwire/internal/apikey"
	"github.com/longwire/longwire/internal/audit"
	"github.com/longwire/longwire/internal/config"
	"github.com/longwire/longwire/internal/metrics"
	"github.com/longwire/longwire/internal/openfiles"
)

// callers holds the keys of the API and the record of changes that callers make.
type callers struct {
	keys  *apikey.Keyset
	audit *audit.Log

	stop    context.CancelFunc // ends the goroutine that follows the file of keys
	running sync.WaitGroup
}

// openCallers reads the API keys and opens the audit log.
func (a *App) openCallers() error {
	c := a.cfg
	secrets := make([]string, len(c.Auth.APIKeys))
	for i, k := range c.Auth.APIKeys {
		secrets[i] = k.Reveal()
	}
	keys, err := apikey.Open(c.APIKeyFile(), a.log, secrets...)
	if err != nil {
		return err
	}
	if !keys.Required() && !c.Insecure && !config.IsLoopback(c.HTTP.Addr) {
		return fmt.Errorf("%s can be reached from other machines, and the API needs no key: %s holds none. "+
			`Create one with "longwire keys create", or accept it with --insecure`, c.HTTP.Addr, c.APIKeyFile())
	}
	for _, origin := range c.HTTP.CORSOrigins {
		if err := api.CheckOrigin(origin); err != nil {
			return fmt.Errorf("http.cors_origins: %w", err)
		}
	}
	record, err := audit.Open(c.Audit.File, a.log)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	a.callers = &callers{keys: keys, audit: record, stop: stop}
	a.opened.add("audit log", a.callers.close)
	a.callers.running.Go(func() { keys.Run(ctx) })
	return nil
}

// close writes the rest of the audit log. No caller is left.
func (c *callers) close() error {
	c.stop()
	c.running.Wait()
	return c.audit.Close()
}

func (c *callers) stats() metrics.AuditStats { return metrics.AuditStats{Lost: c.audit.Lost()} }

// restrict puts the keys and the limits of callers into the API's configuration.
// devices is tcp.max_connections.
func (c *callers) restrict(out *api.Config, h config.HTTP, devices int) {
	out.Authorizer, out.Audit = c.keys, c.audit
	out.Origins = h.CORSOrigins
	out.ProxyTrusted = trustedProxies(h.ProxyTrusted)
	out.Rate, out.Burst, out.AuthFailures = float64(h.RateLimit), h.RateBurst, h.AuthFailures
	out.MaxConnections, out.MaxConnectionsPerIP = httpConnections(h.MaxConnections, devices, openfiles.Limit()), h.MaxConnectionsPerIP
	out.MaxRequests, out.MaxBodies = h.MaxRequests, int64(h.MaxBodies)
	out.MaxStreams, out.MaxStreamsPerKey = h.MaxStreams, h.MaxStreamsPerKey
}

// operator names the holder of the data directory in the audit log.
const operator = "operator"

// serveKeys lets the holder of the data directory manage keys. The first key is
// made this way. stopped returns the warnings for the first key; it is not called before
// the start.
func (a *admin) serveKeys(keys *apikey.Keyset, record *audit.Log, now func() time.Time, stopped func() []string) {
	note := func(what, target string, err error) {
		e := audit.Entry{At: now(), Who: operator, What: what, Target: target, From: adminSocket, Result: audit.OK}
		if err != nil {
			e.Result = "error"
		}
		record.Record(e)
	}
	a.mux.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, map[string]any{"keys": keys.Infos(now())})
	})
	a.mux.HandleFunc("POST /keys", func(w http.ResponseWriter, r *http.Request) {
		var q apikey.Request
		if !readBody(w, r, &q) {
			return
		}
		open := !keys.Required()
		made, err := keys.Make(q, now())
		if err != nil {
			note(audit.CreateKey, q.Name, err)
			answer(w, keyStatus(err), adminError{err.Error()})
			return
		}
		note(audit.CreateKey, made.ID+" "+made.Name, nil)
		if open {
			made.Warnings = stopped()
		}
		answer(w, http.StatusOK, made)
	})
	a.mux.HandleFunc("DELETE /keys/{id}", func(w http.ResponseWriter, r *http.Request) {
		err := keys.Revoke(r.PathValue("id"))
		note(audit.RevokeKey, r.PathValue("id"), err)
		if err != nil {
			answer(w, keyStatus(err), adminError{err.Error()})
			return
		}
		answer(w, http.StatusOK, struct{}{})
	})
}

func keyStatus(err error) int {
	switch {
	case errors.Is(err, apikey.ErrNoKey):
		return http.StatusNotFound
	case errors.Is(err, apikey.ErrFull):
		return http.StatusConflict
	case errors.As(err, new(*apikey.SpecError)):
		return http.StatusBadRequest
	}
	return http.StatusInternalServerError
}
