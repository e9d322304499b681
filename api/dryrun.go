package api

import (
	"net/http"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/apikey"
)

// DryRun is the audience of a push that was not made.
type DryRun struct {
	DryRun     bool               `json:"dry_run" validate:"required"`                  // always true: nothing was stored
	Recipients int                `json:"recipients" validate:"required" example:"182"` // deliveries that the push would make now
	Failed     int                `json:"failed" validate:"required"`                   // of them, those that would fail at once: the client is unknown, or its queue is full
	Sample     []gateway.ClientID `json:"sample,omitempty" swaggertype:"array,string"`  // some of the recipients, at most 20; a key needs clients:read for it
	Unknown    []gateway.ClientID `json:"unknown,omitempty" swaggertype:"array,string"` // named clients that a limited key cannot reach; they are not among the recipients
	Now        string             `json:"now" validate:"required" format:"date-time"`   // when the audience was so
} //@name DryRun

// PushAnswer describes the answers of POST /v1/messages with 200: one of its members
// without the name.
type PushAnswer struct {
	Message Message `json:"message"`
	DryRun  DryRun  `json:"dry_run"`
} //@name PushAnswer

// dryRun answers with the audience of a push.
func (s *server) dryRun(w http.ResponseWriter, p *push) error {
	view := viewOf(w)
	r, unknown, err := view.Recipients(&p.PushRequest)
	if err != nil {
		return err
	}
	v := DryRun{DryRun: true, Recipients: r.Total, Failed: r.Failed, Unknown: unknown, Now: s.now()}
	if view.Key().Scopes.Allows(apikey.ClientsRead) { // to write does not include to read
		v.Sample = r.Sample
	}
	return writeJSON(w, http.StatusOK, v)
}
