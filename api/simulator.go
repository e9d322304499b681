package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/longwire/longwire/api/internal/problem"
	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/audit"
	"github.com/longwire/longwire/internal/simulator"
)

// Simulator shows the simulated devices.
type Simulator struct {
	Count     int               `json:"count" validate:"required" example:"3"`                                     // devices that run
	Connected int               `json:"connected" validate:"required" example:"3"`                                 // of them, connected now
	Profile   string            `json:"profile,omitempty" enums:"mixed,steady,chatty,slow,rejecting,flaky,silent"` // absent without devices
	Devices   []SimulatedDevice `json:"devices" validate:"required"`                                               // each of them
} //@name Simulator

// SimulatedDevice is one simulated device.
type SimulatedDevice struct {
	ID        string `json:"id" validate:"required" example:"sim-steady-1"`                                 // of the client
	Profile   string `json:"profile" validate:"required" enums:"steady,chatty,slow,rejecting,flaky,silent"` // its behaviour
	Connected bool   `json:"connected" validate:"required"`                                                 // now
	Problem   string `json:"problem,omitempty" example:"blocked"`                                           // why it is not connected
} //@name SimulatedDevice

// SimulatorPut asks for simulated devices.
type SimulatorPut struct {
	Count   int    `json:"count" validate:"required,min=1,max=100" example:"3"`                                                                     // devices in all
	Profile string `json:"profile,omitempty" empty:"no" validate:"omitempty,oneof=mixed steady chatty slow rejecting flaky silent" example:"mixed"` // their behaviour; mixed without it
} //@name SimulatorPut

func simulatorView(st *simulator.Status) Simulator {
	v := Simulator{Count: len(st.Devices), Connected: st.Connected(), Profile: string(st.Profile), Devices: make([]SimulatedDevice, len(st.Devices))}
	for i, d := range st.Devices {
		v.Devices[i] = SimulatedDevice{ID: string(d.ID), Profile: string(d.Profile), Connected: d.Connected, Problem: d.Problem}
	}
	return v
}

// simulatorOn returns the simulator, or the problem of one that is off.
func (s *server) simulatorOn() (*simulator.Simulator, error) {
	if s.cfg.Simulator == nil || !s.cfg.Simulator.Enabled() {
		return nil, problem.New(problem.SimulatorOff, "simulated devices are off: simulator.enabled is off, a listener is not on loopback, or the API needs a key and simulator.enabled is not on")
	}
	return s.cfg.Simulator, nil
}

// getSimulator shows the simulated devices.
//
//	@ID				getSimulator
//	@Summary		Show the simulated devices
//	@Description	Simulated devices are connected to this gateway's own device port. They have the label `simulator` with their profile.
//	@Description	404 `simulator-off` unless `simulator.enabled` allows them, by default while the API is open on loopback.
//	@Tags			simulator
//	@Produce		json
//	@Success		200	{object}	Simulator
//	@x-scope		"admin"
//	@Router			/v1/simulator [get]
func (s *server) getSimulator(w http.ResponseWriter, r *http.Request) error {
	sim, err := s.simulatorOn()
	if err != nil {
		return err
	}
	st := sim.Status()
	return writeJSON(w, http.StatusOK, simulatorView(&st))
}

// putSimulator runs simulated devices.
//
//	@ID				putSimulator
//	@Summary		Run simulated devices
//	@Description	Makes this many devices of the profile run, in place of those that run now; devices that fit stay. The answer comes when they are connected, or after 2 s.
//	@Description	steady acks at once. chatty also sends an uplink every 5 s. slow acks after 3 to 8 s. rejecting rejects each delivery. flaky loses its connection after 3 to 10 s. silent answers heartbeats and no delivery. mixed has one of each in turn.
//	@Description	Their ids are sim-, the profile and a number. They end with the gateway. A client that is not simulated and has one of the ids is left alone: 409.
//	@Tags			simulator
//	@Accept			json
//	@Produce		json
//	@Param			simulator	body		SimulatorPut	true	"the devices to run"
//	@Success		200			{object}	Simulator
//	@x-scope		"admin"
//	@Router			/v1/simulator [put]
func (s *server) putSimulator(w http.ResponseWriter, r *http.Request) error {
	var body SimulatorPut
	if err := s.bodyOf(w, r, `{"count":3,"profile":"mixed"}`, &body); err != nil {
		return err
	}
	if body.Profile == "" {
		body.Profile = string(simulator.Mixed)
	}
	sim, err := s.simulatorOn()
	var st simulator.Status
	if err == nil {
		st, err = sim.Set(context.WithoutCancel(r.Context()), body.Count, simulator.Profile(body.Profile))
		err = simulatorProblem(err)
	}
	viewOf(w).Record(audit.PutSimulator, fmt.Sprintf("%d %s", body.Count, body.Profile), err)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, simulatorView(&st))
}

// deleteSimulator ends the simulated devices.
//
//	@ID				deleteSimulator
//	@Summary		End the simulated devices
//	@Description	Removes their clients, too, with all that is queued for them, also those that an earlier process has left.
//	@Tags			simulator
//	@Success		204
//	@x-scope		"admin"
//	@Router			/v1/simulator [delete]
func (s *server) deleteSimulator(w http.ResponseWriter, r *http.Request) error {
	sim, err := s.simulatorOn()
	if err == nil {
		err = simulatorProblem(sim.Clear(context.WithoutCancel(r.Context())))
	}
	viewOf(w).Record(audit.DeleteSimulator, "", err)
	return noContent(w, err)
}

// simulatorProblem translates the errors of the simulator.
func simulatorProblem(err error) error {
	if errors.Is(err, simulator.ErrClosed) {
		return problem.New(problem.Kind(gateway.CodeDraining), "the gateway is shutting down")
	}
	return err
}
