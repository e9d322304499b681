package api

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"

	"github.com/longwire/longwire/api/internal/problem"
	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/simulator"
)

// simulatorOf returns a simulator whose devices find no listener.
func simulatorOf(t *testing.T, g *gateway.Gateway) *simulator.Simulator {
	t.Helper()
	sim := simulator.New(simulator.Config{
		Clients: g,
		Dial:    func(context.Context) (net.Conn, error) { return nil, errors.New("no listener") },
		Enabled: func() bool { return true },
		Token:   simulator.NewToken(),
	})
	t.Cleanup(sim.Close)
	return sim
}

func TestSimulatorShowsItsDevicesAndWhyTheyAreNotConnected(t *testing.T) {
	h := newHarness(t)
	s := decode[Simulator](h.call("PUT", "/v1/simulator", `{"count":3}`).want(200))
	if s.Count != 3 || s.Connected != 0 || s.Profile != "mixed" || len(s.Devices) != 3 {
		t.Fatalf("got %+v", s)
	}
	if d := s.Devices[1]; d.ID != "sim-chatty-2" || d.Profile != "chatty" || d.Problem != "connection_lost: no listener" {
		t.Errorf("got %+v", d)
	}
	if page := decode[ClientPage](h.call("GET", "/v1/clients?status=all&label=simulator=steady", "").want(200)); len(page.Items) != 1 || page.Items[0].ID != "sim-steady-1" {
		t.Errorf("labelled: %+v", page.Items)
	}
	h.call("DELETE", "/v1/simulator", "").want(204)
	if s = decode[Simulator](h.call("GET", "/v1/simulator", "").want(200)); s.Count != 0 || s.Profile != "" || s.Devices == nil {
		t.Errorf("after DELETE: %+v", s)
	}
	if page := decode[ClientPage](h.call("GET", "/v1/clients?status=all", "").want(200)); len(page.Items) != 0 {
		t.Errorf("clients are left: %+v", page.Items)
	}
}

func TestSimulatorRefusesWhatItCannotRun(t *testing.T) {
	h := newHarness(t)
	for _, body := range []string{`{}`, `{"count":0}`, `{"count":101}`, `{"count":1,"profile":"angry"}`} {
		p := h.call("PUT", "/v1/simulator", body).wantProblem(422, problem.ValidationFailed)
		if strings.Contains(p.Detail, "entries") {
			t.Errorf("%s: %q, and a number has no entries", body, p.Detail)
		}
	}
	h.known("sim-steady-1")
	h.call("PUT", "/v1/simulator", `{"count":1,"profile":"steady"}`).wantProblem(409, problem.Kind(gateway.CodeClientExists))
	h.call("DELETE", "/v1/simulator", "").want(204)
	h.call("GET", "/v1/clients/sim-steady-1", "").want(200) // is not simulated, so it stays
}

func TestSimulatorIsNotThereUnlessItIsOn(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"none": func(c *Config) { c.Simulator = nil },
		"off": func(c *Config) {
			c.Simulator = simulator.New(simulator.Config{Enabled: func() bool { return false }})
		},
	} {
		h := newHarness(t, change)
		for method, body := range map[string]string{"GET": "", "PUT": `{"count":1}`, "DELETE": ""} {
			if a := h.call(method, "/v1/simulator", body); a.status != 404 {
				t.Errorf("%s: %s answered %d", name, method, a.status)
			} else {
				a.wantProblem(404, problem.SimulatorOff)
			}
		}
	}
}
