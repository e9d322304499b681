package app

import (
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/longwire/longwire/internal/config"
)

func TestDurationsOfJSONLogsHaveTheirUnit(t *testing.T) {
	var b strings.Builder
	log := slog.New(newJSONHandler(&b, slog.LevelInfo)).With("pause", time.Minute)
	log.Debug("not shown")
	log.Info("request", "elapsed", 1500*time.Microsecond, slog.Group("g", "wait", time.Second), "n", 3)
	if _, got, _ := strings.Cut(b.String(), `"msg":`); got != `"request","pause":"1m0s","elapsed":"1.5ms","g":{"wait":"1s"},"n":3}`+"\n" {
		t.Errorf("logged %s", got)
	}
}

// "localhost" leads to 127.0.0.1 and ::1 only.
func TestGreetingNamesAddressesThatCanBeDialled(t *testing.T) {
	for listener, want := range map[string]string{
		"127.0.0.1": "localhost:80", "::1": "localhost:80", "0.0.0.0": "localhost:80", "::": "localhost:80",
		"127.0.0.2": "127.0.0.2:80", "192.0.2.1": "192.0.2.1:80",
	} {
		if got := dialable(&net.TCPAddr{IP: net.ParseIP(listener), Port: 80}); got != want {
			t.Errorf("a listener on %s: %s, want %s", listener, got, want)
		}
	}
}

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
