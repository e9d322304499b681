package api

import (
	"net/http"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/apikey"
	"github.com/longwire/longwire/internal/findings"
)

// Finding is one thing that needs attention.
type Finding struct {
	Code     string         `json:"code" validate:"required" example:"devices_refused"`         // the kind of the problem; docs/guide/findings.md has a remedy for each
	Severity string         `json:"severity" validate:"required" enums:"critical,warning,info"` // critical: the gateway does not do its work, or data is in danger; warning: it soon will not; info: to be known
	Since    string         `json:"since" validate:"required" format:"date-time"`               // when it began, as far as is known
	Count    int            `json:"count" validate:"required"`                                  // of the things that it is about
	Text     string         `json:"text" validate:"required"`                                   // a sentence for people, in English
	Facts    map[string]any `json:"facts" validate:"required" swaggertype:"object"`             // the values in the sentence; their names depend on the code
	Link     string         `json:"link,omitempty" example:"/v1/refused"`                       // a call that shows more
} //@name Finding

// FindingList is what needs attention.
type FindingList struct {
	Now     string    `json:"now" validate:"required" format:"date-time"` // the gateway's clock
	Items   []Finding `json:"items" validate:"required"`                  // the worst first
	Omitted int       `json:"omitted" validate:"required"`                // findings beyond the first 200
} //@name FindingList

// maxChecked bounds the clients of a finding that are looked up for a caller with a
// limit to a group.
const maxChecked = 200

// listFindings lists what needs attention.
//
//	@ID				listFindings
//	@Summary		List what needs attention
//	@Description	The worst first. A finding is here as long as its cause lasts; the answers are up to 5 s old. A caller sees the findings that the scopes of its key cover: `metrics:read` those of the process and the store, `clients:read` those about devices, `webhooks:read` and `events:read` those about webhooks and consumers, `admin` all. A limited key sees those about its own clients, webhooks and consumers.
//	@Tags			system
//	@Produce		json
//	@Success		200		{object}	FindingList
//	@x-scope		"any"
//	@Router			/v1/findings [get]
func (s *server) listFindings(w http.ResponseWriter, r *http.Request) error {
	view := viewOf(w)
	key := view.Key()
	caller := findings.Caller{Owner: key.Limit.Owner(), Allows: func(scope string) bool {
		need, err := apikey.ParseScopes([]string{scope})
		return err == nil && key.Scopes.Allows(need)
	}}
	if key.Limit.Group != "" {
		caller.Most = maxChecked
	}
	caller.Sees = func(id string) bool {
		in, err := view.Inside(gateway.ClientID(id))
		return err == nil && in // the findings are read while the store fails, too
	}
	list, omitted := s.cfg.Findings.List(caller)
	v := FindingList{Now: s.now(), Items: make([]Finding, 0, len(list)), Omitted: omitted}
	for i := range list {
		f := &list[i]
		v.Items = append(v.Items, Finding{Code: string(f.Code), Severity: string(f.Severity), Since: stamp(f.Since), Count: f.Count,
			Text: f.Text, Facts: f.Facts, Link: f.Link})
	}
	return writeJSON(w, http.StatusOK, v)
}
