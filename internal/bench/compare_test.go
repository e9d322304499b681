package bench

import (
	"math"
	"testing"
	"time"
)

func TestRatiosAreThoseOfTheRounds(t *testing.T) {
	second := func(done ...int) (s []sample) {
		for _, n := range done {
			s = append(s, sample{done: n, elapsed: time.Second})
		}
		return s
	}
	// In the second round something else slowed down both, in the third our side only.
	m := match{second(500, 50, 10), second(1000, 100, 1000)}
	if got, want := median(m.ratios(0, (*sample).perSecond)), Figure(0.5); got != want {
		t.Errorf("ratio is %v, want %v", got, want)
	}
	if got := m.ratios(0, (*sample).cpuEach); !got[0].none() {
		t.Errorf("CPU time that is not known has the ratio %v", got[0])
	}
}

func TestStateOfTheClientsIsNamed(t *testing.T) {
	s := side{spec: spec{role: gatewayServer, connected: 5000, queued: 1_000_000}}
	if got, want := s.label(), "longwire, 5,000 connected, 1,000,000 queued for others"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	for _, s := range new(Options).scenarios() {
		if s.State == "" || s.Load == "" {
			t.Errorf("%s does not name the state of its clients and its load", s.Name)
		}
	}
}

func TestHeartbeatCost(t *testing.T) {
	quiet := &sample{elapsed: 2e9, cpu: 4e6} // 0.2 %
	w := &sample{elapsed: 4e9, cpu: 88e6, done: 4000}
	if got, want := w.percent(), Figure(2.2); math.Abs(float64(got-want)) > 1e-9 {
		t.Errorf("share of a core is %v %%, want %v", got, want)
	}
	if got, want := beatCost(w, quiet), Figure(20); math.Abs(float64(got-want)) > 1e-9 { // 2 % for 1,000 a second
		t.Errorf("a heartbeat costs %v µs, want %v", got, want)
	}
}
