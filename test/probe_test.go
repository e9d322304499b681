//go:build unix

package test

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// probed is the result of a probe, and the time that the call took.
type probed struct {
	presence string
	rtt      float64 // ms
	asked    bool
	took     time.Duration
}

func (s *server) probe(t testing.TB, client string) probed {
	t.Helper()
	began := time.Now()
	a, err := s.call(http.MethodPost, "/v1/clients/"+client+"/probe", "", "")
	if err != nil || a.code != http.StatusOK {
		t.Fatalf("probe of %s: %d, %v", client, a.code, err)
	}
	return probed{a.Presence, a.RTT, a.Asked, time.Since(began)}
}

// wantProbe fails unless the answer is right and comes within 2 s.
func (s *server) wantProbe(t testing.TB, client, presence string) probed {
	t.Helper()
	p := s.probe(t, client)
	if p.presence != presence || p.took > 2*time.Second {
		t.Errorf("%s is %s after %v, want %s within 2s", client, p.presence, p.took, presence)
	}
	return p
}

// presences polls a client until it is offline, and returns each state that it had.
func (s *server) presences(t testing.TB, client string) []string {
	t.Helper()
	var seen []string
	waitWithin(t, 20*time.Second, client+" is offline", func() bool {
		p := s.get("/v1/clients/" + client).Presence
		if len(seen) == 0 || seen[len(seen)-1] != p {
			seen = append(seen, p)
		}
		return p == "offline"
	})
	return seen
}

// device starts a longwire device and waits until it is online.
func (s *server) device(t testing.TB, dialect, id string, args ...string) *process {
	t.Helper()
	p := run(t, longwire(t), append([]string{"connect", "--dialect", dialect, "--id", id, "--addr", s.tcpAddr}, args...)...)
	waitFor(t, id+" is online", func() bool { return s.online(id) })
	return p
}

// freeze stops the process, and waits until none of its threads runs on.
func (p *process) freeze(t testing.TB) {
	t.Helper()
	p.signal(t, syscall.SIGSTOP)
	if runtime.GOOS != "linux" {
		return
	}
	waitFor(t, "the process has stopped", func() bool {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
		return err != nil || strings.Contains(string(status), "State:\tT")
	})
}

func TestAProbeOfALivingDeviceHasItsRoundTrip(t *testing.T) {
	s := serve(t, "", t.TempDir())
	for _, dialect := range []string{"v1", "v2", "text"} {
		s.device(t, dialect, "living-"+dialect)
		if p := s.wantProbe(t, "living-"+dialect, "online"); p.rtt <= 0 || p.rtt > 1000 || !p.asked {
			t.Errorf("%s: %+v", dialect, p)
		}
	}
	if got := s.get("/v1/clients?status=suspect").Items; len(got) != 0 {
		t.Errorf("suspect: %v", got)
	}
	out, err := exec.Command(longwire(t), "clients", "probe", "living-v2", "--server", s.url).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "online") || !strings.Contains(string(out), "rtt") {
		t.Errorf("longwire clients probe: %v\n%s", err, out)
	}
}

func TestAProbeOfAFrozenDeviceSaysSuspectAndThenItIsOffline(t *testing.T) {
	s := serve(t, "", t.TempDir())
	for _, dialect := range []string{"v1", "v2"} {
		t.Run(dialect, func(t *testing.T) {
			t.Parallel() // waits for the end of the silence
			id := "frozen-" + dialect
			s.device(t, dialect, id).freeze(t)
			if p := s.wantProbe(t, id, "suspect"); !p.asked {
				t.Errorf("%s was not asked", id)
			}
			if seen := fmt.Sprint(s.presences(t, id)); seen != "[suspect offline]" {
				t.Errorf("%s was %s", id, seen)
			}
			s.wantLastClose(t, id, closed{"heartbeat_timeout", "gateway"})
			s.wantProbe(t, id, "offline")
		})
	}
}

// The delivery is the question: a v1 device must not be asked before its ack.
func TestAProbeOfAFrozenV1DeviceWithADeliverySaysThatItCouldNotAsk(t *testing.T) {
	s := serve(t, "", t.TempDir())
	s.device(t, "v1", "1").freeze(t)
	m := s.push("1", "", "open")
	waitFor(t, "the delivery is out", func() bool { return s.get("/v1/messages/"+m.ID).Status == "sent" })
	if p := s.wantProbe(t, "1", "suspect"); p.asked {
		t.Error("a v1 device with an unanswered delivery was asked")
	}
}

func TestASlowDeviceIsSuspectForAMomentAndThenOnline(t *testing.T) {
	s := serve(t, "", t.TempDir())
	run(t, program(t, "slowdevice", "./testdata/slowdevice"), s.tcpAddr, "slow", "1200ms")
	waitFor(t, "it is online", func() bool { return s.online("slow") })
	var probing sync.WaitGroup
	probing.Go(func() {
		if p := s.wantProbe(t, "slow", "online"); p.rtt < 1200 || p.rtt > 1500 {
			t.Errorf("its round trip is %v ms", p.rtt)
		}
	})
	waitFor(t, "it is suspect", func() bool {
		list := s.get("/v1/clients?status=suspect").Items
		return len(list) == 1 && list[0].Presence == "suspect" && list[0].Online
	})
	probing.Wait()
	if a := s.get("/v1/clients/slow"); a.Presence != "online" {
		t.Errorf("it is %s after its answer", a.Presence)
	}
}

func TestAFrozenDeviceIsSuspectBeforeItIsOfflineWithoutAProbe(t *testing.T) {
	s := serve(t, "", t.TempDir(), "--tcp-heartbeat", "1s")
	for _, dialect := range []string{"v1", "v2", "text"} {
		t.Run(dialect, func(t *testing.T) {
			t.Parallel() // waits for the end of the silence
			id := "frozen-" + dialect
			p := s.device(t, dialect, id)
			waitFor(t, id+" has answered a heartbeat", func() bool {
				a := s.get("/v1/clients/" + id)
				return a.RTT > 0 && a.Confirmed != nil && *a.Confirmed
			})
			p.freeze(t)
			if seen := fmt.Sprint(s.presences(t, id)); seen != "[online suspect offline]" {
				t.Errorf("%s was %s", id, seen)
			}
		})
	}
}
