package api

import (
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/longwire/longwire/api/internal/problem"
	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/apikey"
	"github.com/longwire/longwire/internal/audit"
)

// Key is an API key. Only the answer to its creation shows the secret.
type Key struct {
	ID         string   `json:"id" validate:"required" example:"key_0193f2a0-7c1e-7d3a-9b1f-2f6d1c0a9e11"` // names the key; it is no secret
	Name       string   `json:"name" validate:"required" example:"backend of acme"`                        // for people
	Scopes     []string `json:"scopes" validate:"required" example:"messages:write"`                       // scopes of the key
	Prefix     string   `json:"prefix,omitempty" example:"acme-"`                                          // it reaches clients whose ids begin so only
	Group      string   `json:"group,omitempty" example:"fleet-a"`                                         // it reaches members of this group only
	Status     string   `json:"status" validate:"required" enums:"active,expired"`                         // whether it opens anything
	CreatedAt  string   `json:"created_at" validate:"required" format:"date-time"`                         // when it was made
	ExpiresAt  string   `json:"expires_at,omitempty" format:"date-time"`                                   // when it ends
	LastUsedAt string   `json:"last_used_at,omitempty" format:"date-time"`                                 // when it was last used, to a minute or so
	Secret     string   `json:"secret,omitempty" example:"lwk_"`                                           // the key itself; only the answer to its creation has it
	Warnings   []string `json:"warnings,omitempty"`                                                        // what works no more because the API needs a key now; only the answer to the creation of the first key has some
} //@name Key

// KeyPage is one page of keys.
type KeyPage struct {
	Items      []Key  `json:"items" validate:"required"`                  // of this page
	NextCursor string `json:"next_cursor,omitempty"`                      // the cursor of the next page; absent on the last one
	Now        string `json:"now" validate:"required" format:"date-time"` // the server's clock
} //@name KeyPage

// KeyCreate asks for a key. Prefix or group limit it to clients whose id begins
// with prefix, or that are members of group. An empty one is refused: it would
// limit nothing.
type KeyCreate struct {
	Name      string   `json:"name" validate:"required,bytes=100,max=100" example:"backend of acme"`       // for people
	Scopes    []string `json:"scopes" validate:"required,min=1,max=9,dive,scope" example:"messages:write"` // scopes of the key
	Prefix    *string  `json:"prefix,omitempty" validate:"omitempty,clientid" example:"acme-"`             // limit it to clients whose ids begin so
	Group     *string  `json:"group,omitempty" validate:"omitempty,group"`                                 // limit it to members of this group
	ExpiresIn *string  `json:"expires_in,omitempty" validate:"omitempty,keylife" example:"90d"`            // how long it lives; without it, for ever
} //@name KeyCreate

const (
	keyActive  = "active"
	keyExpired = "expired"
)

func keyView(k *apikey.Key, now time.Time) Key {
	v := Key{ID: k.ID, Name: k.Name, Scopes: k.Scopes.Names(), Prefix: k.Limit.Prefix, Group: k.Limit.Group, Status: keyActive,
		CreatedAt: stamp(k.CreatedAt), ExpiresAt: stamp(k.ExpiresAt), LastUsedAt: stamp(k.LastUsed())}
	if !k.Alive(now) {
		v.Status = keyExpired
	}
	return v
}

// listKeys lists the keys.
//
//	@ID				listKeys
//	@Summary		List API keys
//	@Description	In the order of their creation. Keys of the settings (`auth.api_keys`) are not among them.
//	@Tags			keys
//	@Produce		json
//	@Param			limit	query		int		false	"page size"	minimum(1)	maximum(1000)	default(100)
//	@Param			cursor	query		string	false	"next_cursor of the page before"
//	@Success		200		{object}	KeyPage
//	@x-scope		"admin"
//	@Router			/v1/keys [get]
func (s *server) listKeys(w http.ResponseWriter, r *http.Request) error {
	q := queryOf(r)
	limit := q.limit()
	after := q.cursor(cursorsOf(w), cursorKeys, validKey)
	if err := q.done(); err != nil {
		return err
	}
	now := s.cfg.Now()
	page := KeyPage{Items: []Key{}, Now: s.now()}
	for _, k := range s.keyset.List() {
		if k.ID <= after {
			continue
		}
		if len(page.Items) == limit {
			page.NextCursor = cursorsOf(w).encode(cursorKeys, page.Items[limit-1].ID)
			break
		}
		page.Items = append(page.Items, keyView(k, now))
	}
	linkPages(w, r, page.NextCursor, "")
	return writeJSON(w, http.StatusOK, page)
}

func validKey(id string) bool {
	rest, ok := strings.CutPrefix(id, "key_")
	return ok && plainToken(rest, 64)
}

// createKey makes a key.
//
//	@ID				createKey
//	@Summary		Create an API key
//	@Description	The answer has the secret, which is not kept and not shown again. To rotate a key, create its successor, and revoke it when no caller uses it any more. Until then both are valid.
//	@Description	`prefix` or `group` limit the key to some clients: it sees and touches nothing else. The scope admin cannot be limited, and metrics:read only to a prefix.
//	@Description	From the first key on the API needs one. Webhooks to the gateway's own machine then get no events unless `webhooks.allow_networks` lists its address; `warnings` names them.
//	@Tags			keys
//	@Accept			json
//	@Produce		json
//	@Param			key		body		KeyCreate	true	"the key to make"
//	@Success		201		{object}	Key
//	@Header			201		{string}	Location	"the key"
//	@x-scope		"admin"
//	@Router			/v1/keys [post]
func (s *server) createKey(w http.ResponseWriter, r *http.Request) error {
	var body KeyCreate
	if err := s.bodyOf(w, r, `{"name":"backend","scopes":["messages:write"]}`, &body); err != nil {
		return err
	}
	now := s.cfg.Now()
	spec, err := body.spec(now)
	if err != nil {
		return err
	}
	open := !s.keyset.Required()
	key, secret, err := s.keyset.Create(spec, now)
	if err = keyProblem(err, ""); err != nil {
		viewOf(w).Record(audit.CreateKey, body.Name, err)
		return err
	}
	viewOf(w).Record(audit.CreateKey, key.ID+" "+key.Name, nil)
	v := keyView(key, now)
	v.Secret = secret
	if open {
		v.Warnings = s.cfg.Webhooks.Stopped()
	}
	w.Header().Set("Location", "/v1/keys/"+key.ID)
	return writeJSON(w, http.StatusCreated, v)
}

// spec returns the key that a validated body asks for.
func (b *KeyCreate) spec(now time.Time) (apikey.Spec, error) {
	scopes, err := apikey.ParseScopes(b.Scopes)
	if err != nil {
		return apikey.Spec{}, problem.InvalidBody("/scopes", "%s", err)
	}
	s := apikey.Spec{Name: b.Name, Scopes: scopes}
	set(&s.Limit.Prefix, b.Prefix)
	set(&s.Limit.Group, b.Group)
	if b.ExpiresIn != nil {
		d, _ := parseDuration(*b.ExpiresIn) // validated
		s.ExpiresAt = now.Add(d)
	}
	return s, nil
}

// getKey shows a key.
//
//	@ID			getKey
//	@Summary	Get an API key
//	@Tags		keys
//	@Produce	json
//	@Param		id		path		string	true	"key id"
//	@Success	200		{object}	Key
//	@x-scope	"admin"
//	@Router		/v1/keys/{id} [get]
func (s *server) getKey(w http.ResponseWriter, r *http.Request) error {
	id := pathParam(r, "id")
	key, err := s.keyset.Get(id)
	if err != nil {
		return keyProblem(err, id)
	}
	return writeJSON(w, http.StatusOK, keyView(key, s.cfg.Now()))
}

// revokeKey ends a key.
//
//	@ID				revokeKey
//	@Summary		Revoke an API key
//	@Description	At once: requests with it are answered 401, its event streams end. A key may revoke itself.
//	@Tags			keys
//	@Produce		json
//	@Param			id	path	string	true	"key id"
//	@Success		204
//	@x-scope		"admin"
//	@Router			/v1/keys/{id} [delete]
func (s *server) revokeKey(w http.ResponseWriter, r *http.Request) error {
	id := pathParam(r, "id")
	err := keyProblem(s.keyset.Revoke(id), id)
	viewOf(w).Record(audit.RevokeKey, id, err)
	return noContent(w, err)
}

// keyProblem translates the errors of the keyset. An error that the caller did not
// cause comes from the disk.
func keyProblem(err error, id string) error {
	spec, refused := errors.AsType[*apikey.SpecError](err)
	switch {
	case err == nil:
		return nil
	case refused:
		return problem.InvalidBody("/"+keyMembers[spec.Member], "%s", spec.Text)
	case errors.Is(err, apikey.ErrNoKey):
		return problem.New(problem.KeyNotFound, "no API key %q is known", id)
	case errors.Is(err, apikey.ErrFull):
		return problem.New(problem.TooManyKeys, "%s", err)
	}
	return &gateway.Error{Code: gateway.CodeUnavailable, Message: "the change could not be written", Cause: err, RetryAfter: time.Second}
}

// keyMembers are the members of a Spec as the body has them.
var keyMembers = map[string]string{"name": "name", "scopes": "scopes", "prefix": "prefix", "group": "group", "expires_at": "expires_in"}
