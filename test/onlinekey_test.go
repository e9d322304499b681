//go:build unix

package test

import (
	"strings"
	"syscall"
	"testing"
	"time"
)

// An online push with a key whose gateway is killed before the answer is not sent again:
// its outcome is unknown, for the caller that repeats it and for a reader.
func TestOnlineKeyOverAKill(t *testing.T) {
	data := t.TempDir()
	s := serve(t, "", data)
	k := nc(t, s.tcpAddr)
	k.types("REGISTER door")
	k.sees("REGISTERED ses_")
	push := func(s *server, key string) (answer, error) {
		return s.callWithKey("POST", "/v1/clients/door/messages?mode=online&wait=30s", "text/plain", "open", key)
	}
	lost := make(chan error, 1)
	go func() {
		_, err := push(s, "k-1")
		lost <- err
	}()
	if rest := k.sees("DATA "); !strings.HasPrefix(rest, "e") || !strings.HasSuffix(rest, " open") {
		t.Fatalf("the device got DATA %s", rest)
	}
	s.signal(t, syscall.SIGKILL)
	<-s.ended
	if err := <-lost; err == nil {
		t.Error("the caller got an answer from a killed gateway")
	}

	next := serve(t, "", data)
	k = nc(t, next.tcpAddr)
	k.types("REGISTER door")
	k.sees("REGISTERED ses_")
	a, err := push(next, "k-1")
	if err != nil || a.code != 504 || a.Reason != "gateway_restart" {
		t.Fatalf("the repeat: %+v, %v, want 504 gateway_restart", a, err)
	}
	if m := next.get("/v1/messages/" + a.MessageID); m.Status != "unknown" || m.Reason != "gateway_restart" || m.Text != "open" {
		t.Errorf("the message: %+v, want unknown, gateway_restart", m)
	}
	answered := make(chan answer, 1)
	go func() {
		a, err := push(next, "k-2")
		if err != nil {
			t.Error(err)
		}
		answered <- a
	}()
	seq, _, _ := strings.Cut(k.sees("DATA "), " ")
	if seq != "e1" {
		t.Errorf("the device got %s next, want e1: the repeat has sent nothing", seq)
	}
	k.types("ACK " + seq + " is open")
	first := <-answered
	again, err := push(next, "k-2")
	if err != nil || first.code != 200 || again.code != 200 || again.ID != first.ID || again.Result != "is open" {
		t.Errorf("a new key: %+v, and again: %+v, %v, want one outcome", first, again, err)
	}
}

// A caller whose client is forgotten during the push is told at once that the connection
// was lost, and so are a repeat and a reader.
func TestOnlineKeyOfAClientThatIsForgottenDuringThePush(t *testing.T) {
	s := serve(t, "", t.TempDir())
	k := nc(t, s.tcpAddr)
	k.types("REGISTER door")
	k.sees("REGISTERED ses_")
	push := func() answer {
		a, err := s.callWithKey("POST", "/v1/clients/door/messages?mode=online&wait=30s", "text/plain", "open", "k-1")
		if err != nil {
			t.Error(err)
		}
		return a
	}
	first := make(chan answer, 1)
	go func() { first <- push() }()
	k.sees("DATA ")
	begun := time.Now()
	if a, err := s.call("DELETE", "/v1/clients/door?forget=true", "", ""); err != nil || a.code != 204 {
		t.Fatalf("forgetting: %+v, %v", a, err)
	}
	lost := <-first
	if took := time.Since(begun); lost.code != 504 || lost.Reason != "connection_lost" || took > 4*time.Second {
		t.Errorf("the push: %+v after %v, want 504 connection_lost at once", lost, took)
	}
	if again := push(); again.code != 504 || again.Reason != "connection_lost" || again.MessageID != lost.MessageID {
		t.Errorf("the repeat: %+v, want the outcome of the first call", again)
	}
	if m := s.get("/v1/messages/" + lost.MessageID); m.Status != "unknown" || m.Reason != "connection_lost" {
		t.Errorf("the message: %+v, want unknown, connection_lost", m)
	}
}
