package api

import (
	"errors"
	"net/http"
	"time"

	"github.com/longwire/longwire/api/internal/problem"
	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/audit"
)

// TokenStore keeps the tokens that devices register with. It may be shared with other
// processes. A change is durable and in force when the call returns.
type TokenStore interface {
	// Tokens returns the tokens of one client, without tokens for a pattern of ids.
	Tokens(gateway.ClientID) ([]StoredToken, error)
	// IssueToken makes a token of t.Client and returns its secret, which is not
	// kept. Unless replaces is "", the same step revokes that token of the client,
	// and t takes its groups or note if t has none. Errors: ErrNoToken,
	// ErrTooManyTokens, ErrTokenUnconfirmed.
	IssueToken(t StoredToken, replaces string) (token StoredToken, secret string, err error)
	// RevokeToken ends a token of a client, and the connections that were made
	// with it. Errors: ErrNoToken, ErrTokenUnconfirmed.
	RevokeToken(client gateway.ClientID, id string) error
}

// Errors of a TokenStore. Any other error means that the change could not be made.
var (
	ErrNoToken       = errors.New("the client has no such token")
	ErrTooManyTokens = errors.New("there is no room for another token")
	// ErrTokenUnconfirmed means that the change is in force, but a power cut may undo it.
	ErrTokenUnconfirmed = errors.New("the disk did not confirm the change")
)

// StoredToken is a token without its secret.
type StoredToken struct {
	ID        string
	Client    gateway.ClientID
	CreatedAt time.Time
	ExpiresAt time.Time // zero = never
	Groups    []string  // that the device may enter and leave
	Note      string
	Tenant    string // prefix of the ids of the key that asks for it; "" = none
}

// DeviceToken is a token of one device. Only the answer to its creation shows the token
// itself.
type DeviceToken struct {
	ID        string   `json:"id" validate:"required" example:"dtk_0123456789abcdef"` // names the token; it is no secret
	Client    string   `json:"client" validate:"required" example:"truck-17"`         // that may register with it
	Status    string   `json:"status" validate:"required" enums:"active,expired"`     // whether the device may still register with it
	CreatedAt string   `json:"created_at,omitempty" format:"date-time"`               // when it was made
	ExpiresAt string   `json:"expires_at,omitempty" format:"date-time"`               // when it ends
	Groups    []string `json:"groups,omitempty" example:"fleet-a"`                    // that the device may enter and leave when it registers
	Note      string   `json:"note,omitempty" example:"rack 3"`                       // for people
	Token     string   `json:"token,omitempty" example:"lwd_"`                        // the token itself; only the answer to its creation has it
} //@name DeviceToken

// DeviceTokenList has the tokens of one device.
type DeviceTokenList struct {
	Items []DeviceToken `json:"items" validate:"required"` // all tokens of the device
} //@name DeviceTokenList

// DeviceTokenCreate asks for a token of one device.
type DeviceTokenCreate struct {
	ExpiresIn *string  `json:"expires_in,omitempty" validate:"omitempty,keylife" example:"90d"`                          // how long it lives; without it, for ever
	Groups    []string `json:"groups,omitempty" validate:"omitempty,max=32,dive,group" example:"fleet-a"`                // that the device may enter and leave when it registers
	Note      string   `json:"note,omitempty" validate:"omitempty,bytes=256,max=256" example:"rack 3"`                   // for people
	Replaces  string   `json:"replaces,omitempty" empty:"no" validate:"omitempty,max=64" example:"dtk_0123456789abcdef"` // a token of the device that is revoked in the same step; its groups and note are kept where none are given
} //@name DeviceTokenCreate

func tokenView(t *StoredToken, now time.Time) DeviceToken {
	v := DeviceToken{ID: t.ID, Client: string(t.Client), Status: keyActive, CreatedAt: stamp(t.CreatedAt), ExpiresAt: stamp(t.ExpiresAt),
		Groups: t.Groups, Note: t.Note}
	if !t.ExpiresAt.IsZero() && !now.Before(t.ExpiresAt) {
		v.Status = keyExpired
	}
	return v
}

// tokensOf returns the client in the path and the tokens, if the caller may manage them.
func (s *server) tokensOf(w http.ResponseWriter, r *http.Request) (gateway.ClientID, TokenStore, error) {
	id, err := clientInPath(r)
	if err != nil {
		return "", nil, err
	}
	if err := viewOf(w).MayManage(id); err != nil {
		return id, nil, err
	}
	if s.cfg.Tokens == nil {
		return id, nil, problem.New(problem.NoTokenFile, "no tokens are kept: auth.device_tokens_file is not set")
	}
	return id, s.cfg.Tokens, nil
}

// listTokens lists the tokens of one device.
//
//	@ID				listDeviceTokens
//	@Summary		List the tokens of a device
//	@Description	Without their secrets, which are not kept. Tokens for a pattern of ids are not among them. The client need not have registered yet.
//	@Tags			clients
//	@Produce		json
//	@Param			id	path		string	true	"client id"
//	@Success		200	{object}	DeviceTokenList
//	@x-scope		"devices:write"
//	@Router			/v1/clients/{id}/tokens [get]
func (s *server) listTokens(w http.ResponseWriter, r *http.Request) error {
	id, tokens, err := s.tokensOf(w, r)
	if err != nil {
		return err
	}
	all, err := tokens.Tokens(id)
	if err != nil {
		return tokenProblem(err, id, "")
	}
	list := DeviceTokenList{Items: make([]DeviceToken, len(all))}
	for i := range all {
		list.Items[i] = tokenView(&all[i], s.cfg.Now())
	}
	return writeJSON(w, http.StatusOK, list)
}

// createToken makes a token of one device.
//
//	@ID				createDeviceToken
//	@Summary		Create a token of a device
//	@Description	The answer has the token, which is not kept and not shown again. It is valid at once. From the first token of its id on, a device needs one.
//	@Description	To rotate a token, create its successor, bring it to the device, and revoke the old one: until then both are valid. `replaces` revokes the old one at once, which ends the connections that were made with it.
//	@Description	A limited key creates tokens of clients within its limit, without a group that another key is limited to.
//	@Tags			clients
//	@Accept			json
//	@Produce		json
//	@Param			id		path		string				true	"client id"
//	@Param			token	body		DeviceTokenCreate	true	"the token to make"
//	@Success		201		{object}	DeviceToken
//	@x-scope		"devices:write"
//	@Router			/v1/clients/{id}/tokens [post]
func (s *server) createToken(w http.ResponseWriter, r *http.Request) error {
	id, tokens, err := s.tokensOf(w, r)
	if err != nil {
		viewOf(w).Record(audit.CreateToken, string(id), err)
		return err
	}
	var body DeviceTokenCreate
	if err := s.bodyOf(w, r, `{"expires_in":"90d"}`, &body); err != nil {
		return err
	}
	t, secret, err := s.issue(w, tokens, id, &body)
	if body.Replaces != "" && (err == nil || errors.Is(err, ErrTokenUnconfirmed)) {
		viewOf(w).Record(audit.RevokeToken, string(id)+" "+body.Replaces, err)
	}
	if err != nil {
		viewOf(w).Record(audit.CreateToken, string(id), err)
		return err
	}
	viewOf(w).Record(audit.CreateToken, string(id)+" "+t.ID, nil)
	v := tokenView(&t, s.cfg.Now())
	v.Token = secret
	return writeJSON(w, http.StatusCreated, v)
}

// issue makes the token that a validated body asks for.
func (s *server) issue(w http.ResponseWriter, tokens TokenStore, id gateway.ClientID, body *DeviceTokenCreate) (StoredToken, string, error) {
	if err := viewOf(w).MayGrant(body.Groups); err != nil {
		return StoredToken{}, "", err
	}
	t := StoredToken{Client: id, CreatedAt: s.cfg.Now(), Groups: body.Groups, Note: body.Note, Tenant: viewOf(w).Key().Limit.Prefix}
	if body.ExpiresIn != nil {
		d, _ := parseDuration(*body.ExpiresIn) // validated
		t.ExpiresAt = t.CreatedAt.Add(d)
	}
	t, secret, err := tokens.IssueToken(t, body.Replaces)
	return t, secret, tokenProblem(err, id, body.Replaces)
}

// revokeToken ends a token of one device.
//
//	@ID				revokeDeviceToken
//	@Summary		Revoke a token of a device
//	@Description	At once: the device cannot register with it, and connections that were made with it end.
//	@Tags			clients
//	@Produce		json
//	@Param			id		path	string	true	"client id"
//	@Param			token	path	string	true	"token id"
//	@Success		204
//	@x-scope		"devices:write"
//	@Router			/v1/clients/{id}/tokens/{token} [delete]
func (s *server) revokeToken(w http.ResponseWriter, r *http.Request) error {
	name := pathParam(r, "token")
	id, tokens, err := s.tokensOf(w, r)
	if err == nil {
		err = tokenProblem(tokens.RevokeToken(id, name), id, name)
	}
	viewOf(w).Record(audit.RevokeToken, string(id)+" "+name, err)
	return noContent(w, err)
}

// tokenProblem translates the errors of a TokenStore.
func tokenProblem(err error, client gateway.ClientID, id string) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrNoToken):
		return problem.New(problem.TokenNotFound, "client %q has no token %q", client, id)
	case errors.Is(err, ErrTooManyTokens):
		return problem.New(problem.TooManyTokens, "%s", err)
	case errors.Is(err, ErrTokenUnconfirmed):
		return &gateway.Error{Code: gateway.CodeUnavailable, Cause: err,
			Message: "the change of the device tokens is in force, but the disk did not confirm it: list the tokens before you repeat the call"}
	}
	return &gateway.Error{Code: gateway.CodeUnavailable, Message: "the file of device tokens could not be changed or read", Cause: err, RetryAfter: time.Second}
}
