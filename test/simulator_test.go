//go:build unix

package test

import (
	"net/http"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// simulate runs longwire simulate.
func simulate(t testing.TB, s *server, args ...string) (string, error) {
	t.Helper()
	out, err := exec.Command(longwire(t), append(append([]string{"simulate"}, args...), "--server", s.url)...).CombinedOutput()
	return string(out), err
}

func (s *server) putSimulator(t testing.TB, body string) answer {
	t.Helper()
	a, err := s.call(http.MethodPut, "/v1/simulator", "application/json", body)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// session returns the session of a client, "" while it is offline.
func (s *server) session(t testing.TB, client string) string {
	t.Helper()
	return s.get("/v1/clients/" + client).Session
}

// wantDelivery pushes and waits for a state of the message.
func (s *server) wantDelivery(t testing.TB, client, want string, within time.Duration) answer {
	t.Helper()
	m := s.push(client, "?ttl=1m", "open")
	var got answer
	waitWithin(t, within, "a message to "+client+" is "+want, func() bool {
		got = s.get("/v1/messages/" + m.ID)
		return string(got.Status) == want
	})
	return got
}

func TestSimulatedDevicesBehaveAsTheirProfilesSay(t *testing.T) {
	t.Parallel() // waits for the slow and the flaky one
	s := serve(t, "", t.TempDir())
	if a := s.putSimulator(t, `{"count":6}`); a.code != 200 || a.Connected < 5 { // a flaky one may be away
		t.Fatalf("answered %d with %d connected", a.code, a.Connected)
	}
	session := s.session(t, "sim-flaky-5")
	s.wantDelivery(t, "sim-steady-1", "acked", 2*time.Second)
	s.wantDelivery(t, "sim-chatty-2", "acked", 2*time.Second)
	s.wantDelivery(t, "sim-rejecting-4", "rejected", 2*time.Second)
	silent := s.push("sim-silent-6", "", "open")
	s.wantDelivery(t, "sim-slow-3", "acked", 15*time.Second)
	waitWithin(t, 15*time.Second, "the chatty one has sent an uplink", func() bool {
		list := s.get("/v1/uplinks?client=sim-chatty-2").Items
		return len(list) > 0 && strings.Contains(list[0].Text, "temperature")
	})
	waitWithin(t, 20*time.Second, "the flaky one has lost a connection", func() bool {
		return s.get("/v1/clients/sim-flaky-5").LastClose.Reason == "hung_up" || s.session(t, "sim-flaky-5") != session
	})
	waitWithin(t, 20*time.Second, "the flaky one is back", func() bool { return s.online("sim-flaky-5") })
	if got := s.get("/v1/messages/" + silent.ID).Status; got != "sent" {
		t.Errorf("the silent one's message is %s", got)
	}
	if p := s.wantProbe(t, "sim-silent-6", "online"); p.rtt <= 0 {
		t.Error("the silent one does not answer heartbeats")
	}
	if list := s.get("/v1/clients?status=all&label=simulator=slow").Items; len(list) != 1 || list[0].ID != "sim-slow-3" {
		t.Errorf("labelled slow: %v", list)
	}
}

func TestSimulateStartsListsAndStops(t *testing.T) {
	s := serve(t, "", t.TempDir())
	if out, err := simulate(t, s, "start", "--count", "2", "--profile", "steady"); err != nil || !strings.Contains(out, "sim-steady-2") || strings.Contains(out, "offline") {
		t.Fatalf("%v\n%s", err, out)
	}
	if out, err := simulate(t, s, "status"); err != nil || strings.Count(out, "online") != 2 {
		t.Errorf("%v\n%s", err, out)
	}
	if out, err := simulate(t, s, "stop"); err != nil || !strings.Contains(out, "no device is simulated") {
		t.Errorf("%v\n%s", err, out)
	}
	if list := s.get("/v1/clients?status=all").Items; len(list) != 0 {
		t.Errorf("clients are left: %v", list)
	}
	if out, err := simulate(t, s, "start", "--count", "101"); err == nil || !strings.Contains(out, "count") {
		t.Errorf("101 devices: %v\n%s", err, out)
	}
}

// A silent device speaks v2, as the others, and does not say there that it works.
func TestASilentDeviceAnswersNoDelivery(t *testing.T) {
	s := serve(t, "", t.TempDir())
	s.putSimulator(t, `{"count":1,"profile":"silent"}`)
	waitFor(t, "it is online", func() bool { return s.online("sim-silent-1") })
	a := s.push("sim-silent-1", "?mode=online&wait=2s", "now")
	if a.code != 504 || a.Reason != "ack_timeout" {
		t.Errorf("an online push = %d, reason %q; want 504, ack_timeout", a.code, a.Reason)
	}
	if d := s.get("/v1/clients/sim-silent-1").Dialect; d != "v2" {
		t.Errorf("it speaks %s, want v2 as the others", d)
	}
}

func TestSimulatedDevicesEndWithTheGatewayAndDoNotHoldItsStop(t *testing.T) {
	dir := t.TempDir()
	s := serve(t, "", dir)
	s.putSimulator(t, `{"count":100,"profile":"silent"}`)
	s.push("sim-silent-1", "", "open")
	began := time.Now()
	s.signal(t, syscall.SIGTERM)
	if code := s.exit(t, 15*time.Second); code != 0 {
		t.Errorf("ended with %d", code)
	}
	t.Logf("stopped after %v", time.Since(began))
	s = serve(t, "", dir)
	if a, err := s.call(http.MethodGet, "/v1/simulator", "", ""); err != nil || a.code != 200 || a.Connected != 0 {
		t.Errorf("after a restart: %d, %d connected, %v", a.code, a.Connected, err)
	}
	if _, err := simulate(t, s, "stop"); err != nil {
		t.Error(err)
	}
	if list := s.get("/v1/clients?status=all").Items; len(list) != 0 {
		t.Errorf("%d clients of the earlier process are left", len(list))
	}
}

func TestSimulatorIsOffOnAPublicListenerAndByASetting(t *testing.T) {
	off := serve(t, "", t.TempDir(), "--simulator-enabled", "off")
	if a := off.putSimulator(t, `{"count":1}`); a.code != 404 {
		t.Errorf("off: answered %d", a.code)
	}
	addr := ":" + strings.Split(off.tcpAddr, ":")[1]
	public := run(t, longwire(t), "serve", "--tcp-addr", addr, "--data-dir", t.TempDir(), "--insecure", "--simulator-enabled", "on")
	if code := public.exit(t, 10*time.Second); code != 2 || !strings.Contains(public.output(), "simulator.enabled") {
		t.Errorf("on, on a public listener: exit code %d\n%s", code, public.output())
	}
	off.signal(t, syscall.SIGTERM)
	off.exit(t, 10*time.Second)
	open := serve(t, addr, t.TempDir(), "--insecure")
	if a := open.putSimulator(t, `{"count":1}`); a.code != 404 {
		t.Errorf("on a public listener: answered %d", a.code)
	}
}
