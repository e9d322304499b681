package api

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"

	"github.com/longwire/longwire/api/internal/guard"
	"github.com/longwire/longwire/api/internal/problem"
	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/audit"
)

// Session is the caller, and the server that it talks to.
type Session struct {
	Auth      string        `json:"auth" validate:"required" enums:"open,key,cookie"`      // how the caller was let in: the API is open and needs no key; with a key; with the cookie of POST /v1/session
	Key       *SessionKey   `json:"key,omitempty"`                                         // the caller's key; absent while the API is open
	Scopes    []string      `json:"scopes" validate:"required" example:"messages:write"`   // that the caller has
	Prefix    string        `json:"prefix,omitempty" example:"acme-"`                      // the caller reaches clients whose ids begin so only
	Group     string        `json:"group,omitempty" example:"fleet-a"`                     // the caller reaches members of this group only
	ExpiresAt string        `json:"expires_at,omitempty" format:"date-time"`               // when the caller is no longer let in: the end of its cookie or of its key; absent for never
	Features  []string      `json:"features" validate:"required" example:"webhooks"`       // that are on: webhooks, consumers, device_tokens, timeline, simulator, refused, metrics. New ones may be added
	Limits    SessionLimits `json:"limits" validate:"required"`                            // bounds of this server
	Now       string        `json:"now" validate:"required" format:"date-time"`            // the server's clock
	Version   string        `json:"version" validate:"required" example:"0.1.0"`           // of the server
	Devices   string        `json:"device_addr,omitempty" example:"127.0.0.1:6666"`        // the address on which the server waits for devices
	Instance  string        `json:"instance" validate:"required" example:"5f1c09ab"`       // names the store behind this server, for people and for cookies
	Header    string        `json:"cookie_header,omitempty" example:"Longwire-Console: 1"` // only with this header a cookie counts; in the answer to POST
} //@name Session

// SessionKey is the key of the caller.
type SessionKey struct {
	ID        string `json:"id" validate:"required" example:"key_0193f2a0-7c1e-7d3a-9b1f-2f6d1c0a9e11"` // names the key; it is no secret
	Name      string `json:"name" validate:"required" example:"backend of acme"`                        // for people
	ExpiresAt string `json:"expires_at,omitempty" format:"date-time"`                                   // when it ends
} //@name SessionKey

// SessionLimits are bounds of the server.
type SessionLimits struct {
	MaxPayload       int     `json:"max_payload_bytes" validate:"required" example:"262144"` // of a message
	MaxBody          int64   `json:"max_body_bytes" validate:"required"`                     // of a request
	MaxWaitSeconds   float64 `json:"max_wait_seconds" validate:"required" example:"60"`      // of wait
	MaxTTLSeconds    float64 `json:"max_ttl_seconds" validate:"required"`                    // of a message
	MaxPage          int     `json:"max_page" validate:"required" example:"1000"`            // rows of a list's page
	MaxClientsInTo   int     `json:"max_clients_in_to" validate:"required" example:"1000"`   // named clients of one message
	MaxStreamsPerKey int     `json:"max_streams_per_key" validate:"required" example:"128"`  // callers of one key that wait for events
} //@name SessionLimits

// features are the features of Session.Features, by name. A server may lack some.
var features = []struct {
	name string
	on   func(*Config) bool
}{
	{"webhooks", func(c *Config) bool { return c.Webhooks.On() }},
	{"consumers", func(c *Config) bool { return c.Consumers != nil }},
	{"device_tokens", func(c *Config) bool { return c.Tokens != nil }},
	{"timeline", func(c *Config) bool { return c.Timeline != nil }},
	{"simulator", func(c *Config) bool { return c.Simulator != nil && c.Simulator.Enabled() }},
	{"refused", func(c *Config) bool { return c.Refusals != nil }},
	{"metrics", func(c *Config) bool { return c.Metrics != nil }},
}

// Values of Session.Auth.
const (
	authOpen   = "open"
	authKey    = "key"
	authCookie = "cookie"
)

// instanceOf names a store in 8 characters.
func instanceOf(log gateway.LogID) string {
	sum := sha256.Sum256([]byte("instance " + log))
	return hex.EncodeToString(sum[:4])
}

func (s *server) sessionView(w http.ResponseWriter) Session {
	view := viewOf(w)
	key := view.Key()
	v := Session{Auth: authKey, Scopes: key.Scopes.Names(), Prefix: key.Limit.Prefix, Group: key.Limit.Group, ExpiresAt: stamp(view.Until()),
		Features: []string{}, Now: s.now(), Version: s.cfg.Version.Version, Devices: s.cfg.DeviceAddr, Instance: s.instance,
		Limits: SessionLimits{MaxPayload: gateway.MaxPayload, MaxBody: s.cfg.MaxBody, MaxWaitSeconds: s.cfg.MaxWait.Seconds(),
			MaxTTLSeconds: gateway.MaxTTL.Seconds(), MaxPage: gateway.MaxListLimit, MaxClientsInTo: gateway.MaxClientsInTo, MaxStreamsPerKey: s.perKey(w)}}
	for _, f := range features {
		if f.on(&s.cfg) {
			v.Features = append(v.Features, f.name)
		}
	}
	switch {
	case !s.keyset.Required():
		v.Auth = authOpen
		return v
	case view.Via() == audit.Console:
		v.Auth = authCookie
	}
	v.Key = &SessionKey{ID: key.ID, Name: key.Name, ExpiresAt: stamp(key.ExpiresAt)}
	return v
}

// getSession shows the caller.
//
//	@ID				getSession
//	@Summary		Who am I
//	@Description	The caller's key with its scopes, limit and end, and what this server has and allows. While the API is open `auth` says so and `key` is absent.
//	@Tags			keys
//	@Produce		json
//	@Success		200	{object}	Session
//	@x-scope		"any"
//	@Router			/v1/session [get]
func (s *server) getSession(w http.ResponseWriter, r *http.Request) error {
	return writeJSON(w, http.StatusOK, s.sessionView(w))
}

// openSession gives a browser a cookie for its key.
//
//	@ID				openSession
//	@Summary		Log a browser in
//	@Description	Sets a cookie that stands for the key of this request, so that a page need not keep the key. It counts for 12 hours or until the key ends, only together with the header `Longwire-Console: 1`, and never for a page of another origin, a listed one of `http.cors_origins` included.
//	@Description	The cookie is HttpOnly and SameSite=Strict, over TLS also Secure. Its name has the instance: several gateways on one host do not disturb each other. While the API is open there is no cookie.
//	@Tags			keys
//	@Produce		json
//	@Success		200	{object}	Session
//	@Header			200	{string}	Set-Cookie	"the cookie"
//	@x-scope		"any"
//	@Router			/v1/session [post]
func (s *server) openSession(w http.ResponseWriter, r *http.Request) error {
	x := exchangeOf(w)
	err := mayOpen(x, r)
	if s.keyset.Required() {
		viewOf(w).Record(audit.OpenSession, viewOf(w).Key().ID, err)
	}
	if err != nil {
		return err
	}
	v := s.sessionView(w)
	if v.Auth != authOpen {
		cookie, until := s.sessions.Open(viewOf(w).Key(), x.secure, s.cfg.Now())
		http.SetCookie(w, cookie)
		v.ExpiresAt, v.Header = stamp(until), guard.ConsoleHeader+": 1"
	}
	return writeJSON(w, http.StatusOK, v)
}

// mayOpen returns an error if a request may not open a session. A cookie may not, because
// it would live for ever.
func mayOpen(x *exchange, r *http.Request) error {
	switch {
	case !guard.OwnPage(r, x.secure):
		return problem.New(problem.CrossOrigin, "a session is for pages of this server; a page of another origin sends a key")
	case viewOf(x).Via() == audit.Console:
		return problem.New(problem.Unauthenticated, "a session starts with the API key itself: send Authorization: Bearer <key>")
	}
	return nil
}

// closeSession makes the browser forget its cookie.
//
//	@ID				closeSession
//	@Summary		Log a browser out
//	@Description	Makes the browser forget the cookie. A copy of the cookie counts until its end: revoke the key to end it before.
//	@Tags			keys
//	@Success		204
//	@Header			204	{string}	Set-Cookie	"the cookie, empty"
//	@x-scope		"any"
//	@Router			/v1/session [delete]
func (s *server) closeSession(w http.ResponseWriter, r *http.Request) error {
	if s.keyset.Required() {
		viewOf(w).Record(audit.CloseSession, viewOf(w).Key().ID, nil)
	}
	http.SetCookie(w, s.sessions.Cleared(exchangeOf(w).secure))
	return noContent(w, nil)
}

// now is the server's clock in an answer, against which a reader computes ages.
func (s *server) now() string { return stamp(s.cfg.Now()) }
