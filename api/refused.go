package api

import (
	"net/http"
	"strings"

	"github.com/longwire/longwire/gateway"
)

// RefusedRegistration is a device that asked to register and was refused.
type RefusedRegistration struct {
	Client     string `json:"client" validate:"required" example:"meter-7"`        // the id that it asked for
	Count      uint64 `json:"count" validate:"required"`                           // times
	FirstAt    string `json:"first_at" validate:"required" format:"date-time"`     // the first time
	LastAt     string `json:"last_at" validate:"required" format:"date-time"`      // the last time
	RemoteAddr string `json:"remote_addr,omitempty" example:"192.0.2.7:40112"`     // its address the last time
	Dialect    string `json:"dialect,omitempty" enums:"v1,v2,text"`                // that it spoke the last time
	Reason     string `json:"reason" validate:"required" example:"unknown_device"` // why, the last time
} //@name RefusedRegistration

// RefusedRegistrationPage is one page of refused devices.
type RefusedRegistrationPage struct {
	Items      []RefusedRegistration `json:"items" validate:"required"`                  // of this page
	NextCursor string                `json:"next_cursor,omitempty"`                      // the cursor of the next page; absent on the last one
	Now        string                `json:"now" validate:"required" format:"date-time"` // the server's clock
} //@name RefusedRegistrationPage

func refusedView(k *gateway.RefusedRegistration) RefusedRegistration {
	v := RefusedRegistration{Client: string(k.Client), Count: k.Count, FirstAt: stamp(k.FirstAt), LastAt: stamp(k.LastAt), Dialect: k.Dialect, Reason: k.Reason}
	if k.Remote.IsValid() {
		v.RemoteAddr = k.Remote.String()
	}
	return v
}

// listRefused lists refused devices.
//
//	@ID				listRefused
//	@Summary		List devices that were refused
//	@Description	In the order of their ids, with the address, the dialect and the reason of the last time. The list is in memory and bounded: at most 1,000 ids, 100 of them from one address; one that is let in later leaves it.
//	@Tags			clients
//	@Produce		json
//	@Param			prefix	query		string	false	"ids that begin with this"
//	@Param			limit	query		int		false	"page size"	minimum(1)	maximum(1000)	default(100)
//	@Param			cursor	query		string	false	"next_cursor of the page before"
//	@Success		200		{object}	RefusedRegistrationPage
//	@x-scope		"clients:read"
//	@Router			/v1/refused [get]
func (s *server) listRefused(w http.ResponseWriter, r *http.Request) error {
	q := queryOf(r)
	prefix := q.one("prefix")
	limit := q.limit()
	after := q.cursor(cursorsOf(w), cursorRefused, validClient)
	if err := q.done(); err != nil {
		return err
	}
	page := RefusedRegistrationPage{Items: []RefusedRegistration{}, Now: s.now()}
	for _, k := range s.refusedRegistrations() {
		if string(k.Client) <= after || !strings.HasPrefix(string(k.Client), prefix) || !viewOf(w).MaySee(k.Client) {
			continue
		}
		if len(page.Items) == limit {
			page.NextCursor = cursorsOf(w).encode(cursorRefused, page.Items[limit-1].Client)
			break
		}
		page.Items = append(page.Items, refusedView(&k))
	}
	linkNext(w, r, page.NextCursor)
	return writeJSON(w, http.StatusOK, page)
}

// refusedRegistrations returns the refused devices, none if Config.Refused is nil.
func (s *server) refusedRegistrations() []gateway.RefusedRegistration {
	if s.cfg.Refused == nil {
		return nil
	}
	return s.cfg.Refused()
}
