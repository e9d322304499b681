package client

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestWhoAmI(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method != "GET" || r.URL.Path != "/v1/session" || r.Header.Get("Authorization") != "Bearer lwk_x" {
			t.Errorf("%s %s with %q", r.Method, r.URL, r.Header.Get("Authorization"))
		}
		answer(w, 200, `{"auth":"key","key":{"id":"key_1","name":"acme"},"scopes":["clients:read"],"prefix":"acme-","expires_at":"2027-01-01T00:00:00.000Z","features":["webhooks"],"limits":{"max_payload_bytes":262144},"now":"2026-11-30T00:00:00.000Z","version":"1","instance":"5f1c09ab"}`)
	}, WithAPIKey("lwk_x"))
	s, err := c.WhoAmI(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if s.Key.Name != "acme" || s.Prefix != "acme-" || s.Limits.MaxPayload != 262144 || s.ExpiresAt.Year() != 2027 || s.Now.IsZero() {
		t.Errorf("%+v", s)
	}
}

// An answer 101 leaves the connection open for another protocol, and no context ends a
// read from it. It is an error at once.
func TestAServerThatSwitchesProtocols(t *testing.T) {
	leave := make(chan bool)
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
		<-leave
	})
	t.Cleanup(func() { close(leave) })
	failed := make(chan error, 1)
	go func() {
		_, err := c.WhoAmI(t.Context())
		failed <- err
	}()
	select {
	case err := <-failed:
		if err == nil || !strings.Contains(err.Error(), "not a gateway's") {
			t.Errorf("the error is %v", err)
		}
	case <-time.After(10 * time.Second):
		leave <- true // which ends the request
		t.Errorf("no answer after 10s; then %v", <-failed)
	}
}

// A lost HTTP/2 connection to the gateway is noticed.
func TestLostConnectionsAreNoticed(t *testing.T) {
	if c := newTransport(nil).HTTP2; c == nil || c.SendPingTimeout <= 0 || c.SendPingTimeout+c.PingTimeout > 15*time.Second {
		t.Errorf("the settings of HTTP/2 are %+v, want that a silent connection closes within 15s", c)
	}
}
