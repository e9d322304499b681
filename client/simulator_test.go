package client

import (
	"errors"
	"io"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSimulatorCalls(t *testing.T) {
	var asked []string
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		asked = append(asked, r.Method+" "+r.URL.RequestURI()+" "+string(body))
		if r.Method == http.MethodDelete {
			w.WriteHeader(204)
			return
		}
		answer(w, 200, `{"count":1,"connected":0,"profile":"slow","devices":[{"id":"sim-slow-1","profile":"slow","connected":false,"problem":"blocked"}]}`)
	})
	want := &Simulator{Count: 1, Profile: ProfileSlow, Devices: []SimulatedDevice{{ID: "sim-slow-1", Profile: ProfileSlow, Problem: "blocked"}}}
	got, err := c.Simulate(t.Context(), 1, ProfileSlow)
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	got, err = c.Simulator(t.Context())
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if err := c.StopSimulator(t.Context()); err != nil {
		t.Error(err)
	}
	calls := []string{`PUT /v1/simulator {"count":1,"profile":"slow"}`, "GET /v1/simulator ", "DELETE /v1/simulator "}
	if diff := cmp.Diff(calls, asked); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}
}

func TestASimulatorThatIsOffIsAProblemWithItsCode(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(404)
		w.Write([]byte(`{"type":"/docs/problems/simulator-off","title":"Simulated devices are off","status":404}`))
	})
	_, err := c.Simulator(t.Context())
	if p, ok := errors.AsType[*Problem](err); !ok || p.Code() != CodeSimulatorOff {
		t.Errorf("got %v", err)
	}
}
