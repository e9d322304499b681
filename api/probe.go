package api

import (
	"context"
	"net/http"
)

// Probe is the answer of a device to the question for a sign of life.
type Probe struct {
	ID         string     `json:"id" validate:"required" example:"truck-17"`                                    // of the client
	Presence   string     `json:"presence" validate:"required" enums:"online,suspect,offline"`                  // online: it has sent something since it was asked. suspect: nothing within 1.5 s. offline: it is not connected
	RTTMs      float64    `json:"rtt_ms,omitempty" example:"41.7"`                                              // from the heartbeat to its answer, in milliseconds; absent if the sign of life was something else
	Asked      bool       `json:"asked" validate:"required"`                                                    // it was sent a heartbeat. False while it is offline, when it has just registered, and for a v1 device that has an unanswered delivery, which is the question then
	Confirmed  *bool      `json:"confirmed,omitempty"`                                                          // while online: it has answered a heartbeat before. A suspect text client without that may be a person at a terminal
	LastSeenAt string     `json:"last_seen_at,omitempty" format:"date-time" example:"2026-11-22T08:31:04.120Z"` // when the last byte came from it
	LastClose  *LastClose `json:"last_close,omitempty"`                                                         // how its last connection ended; absent while it is online
} //@name Probe

// probeClient asks a device for a sign of life.
//
//	@ID				probeClient
//	@Summary		Ask a device for a sign of life now
//	@Description	The gateway sends a heartbeat and waits for the answer, at most 1.5 s. Calls for a client whose probe is under way share it and its answer.
//	@Description	A device that does not answer within the grace (`tcp.grace`, 2 s) is disconnected, as after any heartbeat: a probe of a dead connection ends it.
//	@Description	At most 1,024 probes wait at once, and a key, or all keys with one limit, may have as many under way as are free. The next one is answered 429 `too-many-probes`.
//	@Tags			clients
//	@Produce		json
//	@Param			id	path		string	true	"client id"
//	@Success		200	{object}	Probe
//	@x-scope		"clients:write"
//	@Router			/v1/clients/{id}/probe [post]
func (s *server) probeClient(w http.ResponseWriter, r *http.Request) error {
	id, err := clientInPath(r)
	if err != nil {
		return err
	}
	// A caller that has closed its direction still reads, and waits 1.5 s at most.
	p, err := viewOf(w).Probe(context.WithoutCancel(r.Context()), id)
	if err != nil {
		return err
	}
	c, err := viewOf(w).Client(id)
	if err != nil {
		return err
	}
	now := s.clientView(&c)
	return writeJSON(w, http.StatusOK, Probe{ID: string(id), Presence: p.Presence.String(), RTTMs: milliseconds(p.RTT),
		Asked: p.Asked, Confirmed: now.Confirmed, LastSeenAt: now.LastSeenAt, LastClose: now.LastClose})
}
