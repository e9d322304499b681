//go:build unix

package test

import (
	"strings"
	"syscall"
	"testing"
)

// A push to the first client program while it is away outlives the gateway, and
// is acked when both are back.
func TestPushToAnOfflineSeedClientSurvivesAKill(t *testing.T) {
	data := t.TempDir()
	addr := seedAddr(t)
	s := serve(t, addr, data)
	seed := seedProgram(t, "client")
	first := startSeed(t, s, seed)
	first.signal(t, syscall.SIGKILL)
	waitFor(t, "client 2 is offline", func() bool { return !s.online("2") })

	a := s.push("2", "", "for later")
	if a.code != 202 || a.Status != "queued" {
		t.Fatalf("push to the offline client = %d %s, want 202 queued", a.code, a.Status)
	}
	s.signal(t, syscall.SIGKILL)
	<-s.ended

	next := serve(t, addr, data)
	if m := next.get("/v1/messages/" + a.ID); m.Status != "queued" || m.Attempts != 0 {
		t.Errorf("after the kill the message is %s with %d attempts, want queued with none", m.Status, m.Attempts)
	}
	second := startSeed(t, next, seed)
	m := next.get("/v1/messages/" + a.ID + "?wait=10s")
	if m.Status != "acked" || m.Attempts != 1 || m.SentAt == "" || m.FinalAt < m.SentAt {
		t.Errorf("the message is %+v, want it acked at the first attempt, with its times", m)
	}
	waitFor(t, "the client prints it", func() bool { return strings.Contains(second.output(), "for later") })
}
