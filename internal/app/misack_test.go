package app

import (
	"bufio"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// A device that acks an online push without the EPHEMERAL flag leaves its caller
// without an answer: the 504, the metrics and the log name the mistake.
func TestOnlineAckWithoutTheEphemeralFlag(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, register, delivery, ack string }{
		{"v2", "\x01\x02\x0a{\"id\":\"d\"}", "\x05\x22\x04\x01now", "\x06\x02\x02\x01\x00"},
		{"text", "REGISTER d\n", "DATA e1 now\n", "ACK 1\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, log := startLogged(t, testConfig(t.TempDir()))
			answerWith(t, a, c.register, c.delivery, c.ack)

			res, err := http.Post(a.url()+"/v1/clients/d/messages?mode=online&wait=1s", "text/plain", strings.NewReader("now"))
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			var p struct{ Detail string }
			if err := json.NewDecoder(res.Body).Decode(&p); err != nil {
				t.Fatal(err)
			}
			if want := "the device acked 1 without the EPHEMERAL flag"; res.StatusCode != 504 || !strings.Contains(p.Detail, want) {
				t.Errorf("answer %d %q, want 504 with %q", res.StatusCode, p.Detail, want)
			}
			page, err := http.Get(a.url() + "/metrics")
			if err != nil {
				t.Fatal(err)
			}
			defer page.Body.Close()
			text, err := io.ReadAll(page.Body)
			if want := `longwire_tcp_stale_acks_total{kind="ephemeral_flag_missing"} 1`; err != nil || !strings.Contains(string(text), want+"\n") {
				t.Errorf("metrics lack %s (%v)", want, err)
			}
			if got := log.String(); !strings.Contains(got, "EPHEMERAL") || !strings.Contains(got, `"client":"d"`) {
				t.Errorf("the log does not name the client's mistake:\n%s", got)
			}
		})
	}
}

// answerWith connects a device and returns when it is registered. It sends ack
// for the delivery, and then reads until the test ends.
func answerWith(t *testing.T, a *App, register, delivery, ack string) {
	t.Helper()
	nc, err := net.Dial("tcp", a.TCPAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(nc, register)
	registered, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		heard, r := "", bufio.NewReader(nc)
		for {
			c, err := r.ReadByte()
			if err != nil {
				return
			}
			if heard == "" {
				close(registered)
			}
			if heard += string([]byte{c}); strings.HasSuffix(heard, delivery) {
				io.WriteString(nc, ack)
			}
		}
	}()
	t.Cleanup(func() { nc.Close(); <-done })
	select {
	case <-registered:
	case <-done:
		t.Fatal("the connection ended before the registration was answered")
	}
}
