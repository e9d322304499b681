package app

import (
	"testing"

	"github.com/longwire/longwire/internal/config"
)

func TestGreetingNamesCommandsThatWork(t *testing.T) {
	open := config.Default()
	guarded := config.Default()
	guarded.Auth.DeviceToken = "a-token-of-devices"
	sealed := config.Default()
	sealed.TCP.TLS, sealed.Auth.DeviceTokensFile = config.Required, "tokens.yaml"
	for _, test := range []struct {
		cfg  *config.Config
		want string
	}{
		{open, "nc localhost 6666            then type: REGISTER demo    (or: longwire connect --id demo)"},
		{guarded, `longwire connect --id demo --addr localhost:6666 --token "$TOKEN"`},
		{sealed, `longwire connect --id demo --addr localhost:6666 --tls --token "$TOKEN"`},
	} {
		if got := deviceCommand(test.cfg, "localhost:6666"); got != test.want {
			t.Errorf("got  %s\nwant %s", got, test.want)
		}
	}
	if got, want := pushCommand("https://localhost:8080", true),
		`curl -H "Authorization: Bearer $KEY" -d 'hello' 'https://localhost:8080/v1/clients/demo/messages?wait=30s'`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
