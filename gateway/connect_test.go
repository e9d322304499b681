package gateway_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/gatewaytest"
)

// door admits devices by their token: "until" for an hour, "anybody" for ever.
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

// A stranger that knows only an id does not disturb its device.
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

// A device enters the groups that the settings or its token name, and leaves no
// other: the rest is the operator's, while callers' keys come and go.
func TestDevicesEnterTheGroupsThatAreTheirs(t *testing.T) {
	grant := gateway.Grant{}
	for _, c := range []struct {
		name    string
		setting []string
		own     []string // of the token
		first   []string // groups of the operator
		wanted  []string
		want    []string
	}{
		{"by itself none", []string{}, nil, nil, []string{"canary"}, nil},
		{"and leaves none", []string{}, nil, []string{"ops"}, []string{}, []string{"ops"}},
		{"by the setting", []string{"yard"}, nil, []string{"ops"}, []string{"yard", "canary"}, []string{"ops", "yard"}},
		{"and leaves it", []string{"yard"}, nil, []string{"ops", "yard"}, []string{}, []string{"ops"}},
		{"by its token", []string{}, []string{"fleet"}, []string{"ops"}, []string{"fleet", "yard"}, []string{"fleet", "ops"}},
		{"by both", []string{"yard"}, []string{"fleet"}, nil, []string{"fleet", "yard", "ops"}, []string{"fleet", "yard"}},
		{"any but a tenant's", []string{gateway.AnyGroup}, nil, nil, []string{"acme", "yard"}, []string{"yard"}},
		{"a tenant's by its token", []string{gateway.AnyGroup}, []string{"acme"}, nil, []string{"acme"}, []string{"acme"}},
		{"names none", []string{"yard"}, nil, []string{"yard"}, nil, []string{"yard"}},
	} {
		cfg := gateway.Config{DeviceGroups: c.setting, GuardedGroups: func() map[string]bool { return map[string]bool{"acme": true} },
			Authenticate: func(context.Context, gateway.Hello) (gateway.Grant, error) { return grant, nil }}
		bubble(t, cfg, func(t *testing.T, g *gateway.Gateway) {
			gatewaytest.Connect(t, g, "a", gatewaytest.Options{})
			if _, err := g.UpdateClient(t.Context(), "a", gateway.ClientChange{Groups: &c.first}); err != nil {
				t.Fatal(err)
			}
			grant.Groups = c.own
			gatewaytest.Connect(t, g, "a", gatewaytest.Options{Hello: gateway.Hello{Groups: c.wanted}})
			got, err := g.Client("a")
			if err != nil || !slices.Equal(got.Groups, c.want) {
				t.Errorf("%s: in %v, %v; want %v", c.name, got.Groups, err, c.want)
			}
		})
	}
}

// A group that some caller is limited to is not for devices to choose.
func TestDevicesNeitherEnterNorLeaveGuardedGroups(t *testing.T) {
	guarded := map[string]bool{"acme": true, "other": true}
	cfg := gateway.Config{GuardedGroups: func() map[string]bool { return guarded }}
	bubble(t, cfg, func(t *testing.T, g *gateway.Gateway) {
		register := func(groups []string) []string {
			t.Helper()
			gatewaytest.Connect(t, g, "a", gatewaytest.Options{Hello: gateway.Hello{Groups: groups}})
			c, err := g.Client("a")
			if err != nil {
				t.Fatal(err)
			}
			return c.Groups
		}
		if got := register([]string{"acme", "fleet"}); !slices.Equal(got, []string{"fleet"}) {
			t.Errorf("a device that names a guarded group is in %v", got)
		}
		if _, err := g.UpdateClient(t.Context(), "a", gateway.ClientChange{Groups: &[]string{"acme", "fleet"}}); err != nil {
			t.Fatal(err)
		}
		if got := register([]string{"other", "yard"}); !slices.Equal(got, []string{"acme", "yard"}) {
			t.Errorf("after a caller put it into acme: %v", got)
		}
		if got := register(nil); !slices.Equal(got, []string{"acme", "yard"}) {
			t.Errorf("a device that names none: %v", got)
		}
		if got := register([]string{}); !slices.Equal(got, []string{"acme"}) {
			t.Errorf("a device that leaves all: %v", got)
		}
		guarded = nil
		if got := register([]string{"other"}); !slices.Equal(got, []string{"other"}) {
			t.Errorf("with nothing guarded: %v", got)
		}
	})
}
