package gateway_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/gatewaytest"
)

// door lets in who says so: "until" for an hour, "anybody" for good.
func door(_ context.Context, h gateway.Hello) (gateway.Grant, error) {
	switch h.Token {
	case "anybody":
		return gateway.Grant{}, nil
	case "until":
		return gateway.Grant{ExpiresAt: time.Now().Add(time.Hour)}, nil
	case "later":
		return gateway.Grant{}, fmt.Errorf("ask the hook: %w", gateway.ErrUnavailable)
	}
	return gateway.Grant{}, errors.New("wrong token: " + h.Token)
}

func TestWhoMayRegister(t *testing.T) {
	bubble(t, gateway.Config{Authenticate: door}, func(t *testing.T, g *gateway.Gateway) {
		register := func(id gateway.ClientID, token string) (gateway.Welcome, error) {
			_, w, err := g.Connect(t.Context(), gateway.Hello{Client: id, Token: token, Dialect: "v2"}, gatewaytest.NewLink(gatewaytest.Options{}))
			return w, err
		}
		if w, err := register("a", "until"); err != nil || !w.ExpiresAt.Equal(time.Now().Add(time.Hour)) {
			t.Errorf("a grant for an hour: until %v, %v", w.ExpiresAt, err)
		}
		if w, err := register("b", "anybody"); err != nil || !w.ExpiresAt.IsZero() {
			t.Errorf("a grant without an end: until %v, %v", w.ExpiresAt, err)
		}
		_, err := register("c", "guess")
		if gateway.CodeOf(err) != gateway.CodeUnauthorized {
			t.Errorf("a refusal: %v", err)
		}
		if e, ok := errors.AsType[*gateway.Error](err); !ok || strings.Contains(e.Message, "guess") {
			t.Errorf("what the device is told: %v", e)
		}
		if _, err := register("c", "later"); gateway.CodeOf(err) != gateway.CodeUnavailable {
			t.Errorf("when nobody can tell: %v", err)
		}
		if _, err := g.Client("c"); gateway.CodeOf(err) != gateway.CodeClientNotFound {
			t.Errorf("who was refused is remembered: %v", err)
		}
	})
}

// Whoever knows an id and nothing else does not disturb its device.
func TestRefusedTwinTakesNothingOver(t *testing.T) {
	bubble(t, gateway.Config{Authenticate: door}, func(t *testing.T, g *gateway.Gateway) {
		l := gatewaytest.Connect(t, g, "a", gatewaytest.Options{Hello: gateway.Hello{Token: "anybody"}})
		for _, token := range []string{"", "guess", "later"} {
			if _, _, err := g.Connect(t.Context(), gateway.Hello{Client: "a", Token: token}, gatewaytest.NewLink(gatewaytest.Options{})); err == nil {
				t.Errorf("let in with %q", token)
			}
		}
		if c := l.Closes(); len(c) != 0 || !g.Online("a") {
			t.Errorf("closes %+v, online %v", c, g.Online("a"))
		}
	})
}
