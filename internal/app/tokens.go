package app

import (
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/longwire/longwire/api"
	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/apikey"
	"github.com/longwire/longwire/internal/auth/deviceauth"
)

// tokenStore gives the API the file of device tokens, which "longwire devices token"
// changes too.
type tokenStore struct {
	file   string
	reload func() // makes a change the one in force

	mu sync.Mutex // one edit of this process at a time
}

// tokenStore returns the store for the API, nil without a file.
func (a *App) tokenStore() api.TokenStore {
	if a.cfg.Auth.DeviceTokensFile == "" {
		return nil
	}
	return &tokenStore{file: a.cfg.Auth.DeviceTokensFile, reload: a.auth.Reload}
}

func stored(e *deviceauth.TokenEntry) api.StoredToken {
	return api.StoredToken{ID: e.ID(), Client: gateway.ClientID(e.Client), CreatedAt: e.CreatedAt, ExpiresAt: e.ExpiresAt, Groups: e.Groups, Note: e.Note}
}

// Tokens implements api.TokenStore.
func (s *tokenStore) Tokens(id gateway.ClientID) ([]api.StoredToken, error) {
	list, err := deviceauth.ReadTokens(s.file)
	if err != nil {
		return nil, err
	}
	var own []api.StoredToken
	for i := range list {
		if list[i].Client == string(id) {
			own = append(own, stored(&list[i]))
		}
	}
	return own, nil
}

// IssueToken implements api.TokenStore.
func (s *tokenStore) IssueToken(t api.StoredToken, replaces string) (api.StoredToken, string, error) {
	secret := deviceauth.NewToken()
	sum := deviceauth.HashToken(secret)
	e := deviceauth.TokenEntry{Client: string(t.Client), SHA256: hex.EncodeToString(sum[:]), CreatedAt: t.CreatedAt.UTC().Truncate(time.Second),
		Groups: t.Groups, Note: t.Note}
	if !t.ExpiresAt.IsZero() {
		e.ExpiresAt = apikey.WholeSecond(t.ExpiresAt)
	}
	err := s.edit(func() (err error) {
		e, err = deviceauth.IssueToken(s.file, e, deviceauth.IssueOptions{Replaces: replaces, Tenant: t.Tenant})
		return err
	})
	if errors.Is(err, deviceauth.ErrTokenUnknown) {
		err = api.ErrNoToken
	}
	for _, e := range []error{deviceauth.ErrTokensTooMany, deviceauth.ErrTokensFull, deviceauth.ErrTokensShare} {
		if errors.Is(err, e) {
			err = fmt.Errorf("%w: %w", api.ErrTooManyTokens, e)
		}
	}
	if err != nil {
		return api.StoredToken{}, "", err
	}
	return stored(&e), secret, nil
}

// RevokeToken implements api.TokenStore.
func (s *tokenStore) RevokeToken(client gateway.ClientID, id string) error {
	var revoked []deviceauth.TokenEntry
	err := s.edit(func() (err error) {
		revoked, err = deviceauth.RevokeTokens(s.file, func(e *deviceauth.TokenEntry) bool {
			return e.Client == string(client) && e.ID() == id
		})
		return err
	})
	if err == nil && len(revoked) == 0 {
		err = api.ErrNoToken
	}
	return err
}

// editPatience is how long an edit waits for another process to end its own.
var editPatience = []time.Duration{5 * time.Millisecond, 20 * time.Millisecond, 80 * time.Millisecond, 320 * time.Millisecond, 640 * time.Millisecond}

// edit changes the file and puts the change in force.
func (s *tokenStore) edit(change func() error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := change()
	for _, pause := range editPatience {
		if !errors.Is(err, deviceauth.ErrBusy) {
			break
		}
		time.Sleep(pause)
		err = change()
	}
	if unconfirmed := errors.Is(err, deviceauth.ErrNotDurable); err == nil || unconfirmed {
		s.reload()
		if unconfirmed {
			err = fmt.Errorf("%w: %w", api.ErrTokenUnconfirmed, err)
		}
	}
	return err
}
