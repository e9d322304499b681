package app

import (
	"errors"
	"fmt"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/auth/deviceauth"
	"github.com/longwire/longwire/internal/config"
	"github.com/longwire/longwire/internal/metrics"
)

// openAuth reads the credentials of devices. The store must be open. The files are
// watched from auth.Start on, when the gateway can act on changes.
func (a *App) openAuth() error {
	c := a.cfg.Auth
	auth, err := deviceauth.New(deviceauth.Config{
		SharedToken:   c.DeviceToken.Reveal(),
		TokensFile:    c.DeviceTokensFile,
		JWTKeys:       c.DeviceJWTKeys,
		JWTIssuer:     c.DeviceJWTIssuer,
		JWTAudience:   c.DeviceJWTAudience,
		JWTLeeway:     c.DeviceJWTLeeway.Std(),
		CertificateID: deviceauth.CertificateRule(c.DeviceCertificateID),
		ClientCA:      a.cfg.TCP.TLSClientCAFile,
		RevokedFile:   c.DeviceRevokedFile,
		Hook: deviceauth.HookConfig{
			URL:         c.DeviceHookURL,
			Secret:      c.DeviceHookSecret.Reveal(),
			Timeout:     c.DeviceHookTimeout.Std(),
			Concurrency: c.DeviceHookConcurrency,
			AllowTTL:    c.DeviceHookAllowTTL.Std(),
			DenyTTL:     c.DeviceHookDenyTTL.Std(),
			Monitor:     c.DeviceHookMode == config.HookMonitor,
		},
		RequireAll:        c.DeviceRequire == config.RequireAll,
		Unknown:           deviceauth.UnknownPolicy(c.DeviceUnknown),
		Patterns:          c.DevicePatterns,
		Known:             a.remembers,
		FailuresPerMinute: c.DeviceFailures,
		Changed:           a.recheck,
		Now:               a.now,
		Logger:            a.log,
	})
	if err != nil {
		return fmt.Errorf("device authentication: %w", err)
	}
	a.auth = auth
	a.opened.addQuiet("device authentication", auth.Close)
	return nil
}

// recheck ends the connections of devices whose credentials were revoked.
func (a *App) recheck() {
	if ended := a.gw.Recheck(); ended > 0 {
		a.log.Warn("connections ended because the credentials of their devices were revoked", "connections", ended)
	}
}

// remembers reports whether the store knows a client.
func (a *App) remembers(id gateway.ClientID) (bool, error) {
	_, err := a.store.Client(id)
	if errors.Is(err, &gateway.Error{Code: gateway.CodeClientNotFound}) {
		return false, nil
	}
	return err == nil, err
}

func (a *App) authStats() metrics.AuthStats {
	s := a.auth.Stats()
	out := metrics.AuthStats{Results: s.Results, Refused: s.Refused, Reloads: s.Reloads, ReloadErrors: s.ReloadErrors}
	if s.Hook != nil {
		out.Hook = (*metrics.HookStats)(s.Hook)
	}
	return out
}
