package api

import (
	"errors"
	"net/http"
	"time"

	"github.com/longwire/longwire/api/internal/problem"
	"github.com/longwire/longwire/internal/audit"
	"github.com/longwire/longwire/internal/timeline"
)

// TraceStart asks for a trace of one client.
type TraceStart struct {
	For string `json:"for,omitempty" empty:"no" example:"10m"` // how long, 1s to 1h; 10m without it
} //@name TraceStart

// Trace records every frame of one client with its bytes.
type Trace struct {
	Client    string `json:"client" validate:"required" example:"truck-17"`     // that is traced
	Key       string `json:"key,omitempty" example:"key_0123456789abcdef"`      // id of the API key that has it on
	Name      string `json:"name,omitempty" example:"support"`                  // the key's name
	StartedAt string `json:"started_at" validate:"required" format:"date-time"` // when it was made
	EndsAt    string `json:"ends_at" validate:"required" format:"date-time"`    // when it ends
	Frames    int    `json:"frames" validate:"required" example:"12"`           // recorded so far
	Bytes     int    `json:"bytes" validate:"required" example:"480"`           // of these frames
} //@name Trace

// TraceList has the traces that are on.
type TraceList struct {
	Items []Trace `json:"items" validate:"required"`                  // by client
	Now   string  `json:"now" validate:"required" format:"date-time"` // the server's clock
} //@name TraceList

func traceView(t *timeline.Trace) Trace {
	return Trace{Client: string(t.Client), Key: t.Key, Name: t.Name, StartedAt: stamp(t.StartedAt), EndsAt: stamp(t.EndsAt), Frames: t.Frames, Bytes: t.Bytes}
}

// defaultTrace is the time of a trace that names none.
const defaultTrace = 10 * time.Minute

// startTrace traces a client.
//
//	@ID				startTrace
//	@Summary		Trace a client
//	@Description	Records every frame of the client with its bytes for up to an hour; the timeline shows them, and a stream of it follows them. Credentials in registrations are masked. A trace ends by itself; a second call sets a new end.
//	@Description	At most 16 traces are on at once, 4 of them of keys with one limit. A trace keeps up to 2,000 entries and 1 MiB; then the oldest go.
//	@Description	Only keys with `messages:read` see the bytes of payloads.
//	@Tags			clients
//	@Accept			json
//	@Produce		json
//	@Param			id		path		string		true	"client id"
//	@Param			trace	body		TraceStart	true	"how long"
//	@Success		200		{object}	Trace
//	@x-scope		"clients:write"
//	@Router			/v1/clients/{id}/trace [post]
func (s *server) startTrace(w http.ResponseWriter, r *http.Request) error {
	id, err := clientInPath(r)
	if err != nil {
		return err
	}
	var body TraceStart
	if err := s.bodyOf(w, r, `{"for":"10m"}`, &body); err != nil {
		return err
	}
	d := defaultTrace
	if body.For != "" {
		if d, err = parseDuration(body.For); err != nil || d < time.Second || d > timeline.MaxTraceTime {
			return problem.InvalidBody("/for", "must be a duration from 1s to 1h, such as 10m")
		}
	}
	t, err := s.trace(w, timeline.Trace{Client: id, For: d})
	viewOf(w).Record(audit.StartTrace, string(id)+" for="+d.String(), err)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, traceView(&t))
}

// trace starts a trace, or returns a problem.
func (s *server) trace(w http.ResponseWriter, t timeline.Trace) (timeline.Trace, error) {
	if s.cfg.Timeline == nil {
		if _, err := viewOf(w).Client(t.Client); err != nil {
			return t, err
		}
		return t, timelineOff()
	}
	t, err := viewOf(w).StartTrace(s.cfg.Timeline, t)
	if errors.Is(err, timeline.ErrTooManyTraces) {
		err = problem.New(problem.TooManyTraces, "%d traces are on, or %d of the limit of this API key", timeline.MaxTraces, timeline.MaxTracesOfTenant)
	}
	return t, err
}

func timelineOff() error {
	return problem.New(problem.TimelineOff, "no timelines are kept: events.timeline is false")
}

// endTrace ends the trace of a client.
//
//	@ID				endTrace
//	@Summary		End a trace
//	@Description	At once, and the recorded bytes go. It is no error if none is on.
//	@Tags			clients
//	@Produce		json
//	@Param			id	path	string	true	"client id"
//	@Success		204
//	@x-scope		"clients:write"
//	@Router			/v1/clients/{id}/trace [delete]
func (s *server) endTrace(w http.ResponseWriter, r *http.Request) error {
	id, err := clientInPath(r)
	if err != nil {
		return err
	}
	if err := viewOf(w).EndTrace(s.cfg.Timeline, id); err != nil {
		return err
	}
	if s.cfg.Timeline == nil {
		return timelineOff()
	}
	return noContent(w, nil)
}

// listTraces lists the traces that are on.
//
//	@ID				listTraces
//	@Summary		List traces
//	@Description	Those that are on, of clients that the caller may see, and who has them on.
//	@Tags			clients
//	@Produce		json
//	@Success		200	{object}	TraceList
//	@x-scope		"clients:read"
//	@Router			/v1/traces [get]
func (s *server) listTraces(w http.ResponseWriter, r *http.Request) error {
	list := TraceList{Items: []Trace{}, Now: s.now()}
	if s.cfg.Timeline != nil {
		all, err := viewOf(w).Traces(s.cfg.Timeline)
		if err != nil {
			return err
		}
		for i := range all {
			list.Items = append(list.Items, traceView(&all[i]))
		}
	}
	return writeJSON(w, http.StatusOK, list)
}
