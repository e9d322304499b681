package api

import (
	"net/http"
	"strings"

	"github.com/longwire/longwire/api/internal/problem"
	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/audit"
)

// Refusals has the registrations that were refused, by the id that the device asked for.
type Refusals interface {
	// Refused returns all entries in the order of their ids.
	Refused() []gateway.RefusedRegistration
	// Refusal returns the entry of one id; ok is false if none is kept.
	Refusal(gateway.ClientID) (r gateway.RefusedRegistration, ok bool)
	// Dismiss removes the entry of one id, and reports whether there was one.
	Dismiss(gateway.ClientID) bool
}

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

// UnnamedRegistration is an address from which registrations came that have no valid id, or
// cannot be read.
type UnnamedRegistration struct {
	RemoteAddr string `json:"remote_addr" validate:"required" example:"192.0.2.7:40112"` // of the last time; one entry is for an IPv4 address or an IPv6 /64
	Count      uint64 `json:"count" validate:"required"`                                 // times
	FirstAt    string `json:"first_at" validate:"required" format:"date-time"`           // the first time
	LastAt     string `json:"last_at" validate:"required" format:"date-time"`            // the last time
	Dialect    string `json:"dialect,omitempty" enums:"v1,v2,text"`                      // of the last time, as are the next two
	Reason     string `json:"reason" validate:"required" example:"bad_client_id"`        // bad_client_id, or bad_register for another fault of the registration
	Sample     string `json:"sample,omitempty" example:"meter\\t7"`                      // the first 32 bytes of what stood in the place of the id, as printable ASCII with escapes as in Go; longer ones end with ...
} //@name UnnamedRegistration

// RefusedRegistrationPage is one page of refused devices.
type RefusedRegistrationPage struct {
	Items      []RefusedRegistration `json:"items" validate:"required"`                  // of this page
	Unnamed    []UnnamedRegistration `json:"unnamed,omitempty"`                          // refused without a valid id, the latest first and at most `limit`; on the first page for a key without a limit, and without prefix
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

func unnamedView(k *gateway.RefusedRegistration) UnnamedRegistration {
	return UnnamedRegistration{RemoteAddr: k.Remote.String(), Count: k.Count, FirstAt: stamp(k.FirstAt), LastAt: stamp(k.LastAt),
		Dialect: k.Dialect, Reason: k.Reason, Sample: k.Sample}
}

// listRefused lists refused devices.
//
//	@ID				listRefused
//	@Summary		List devices that were refused
//	@Description	In the order of their ids, with the address, the dialect and the reason of the last time: devices without the right credential, and devices that are blocked, whose id is in use, or for which there is no room. The list is in memory and bounded: for each of the two kinds at most 1,000 ids, 100 of them from one address. A device that is let in later, or is dismissed, leaves it.
//	@Description	`unnamed` lists by address the registrations of the last day that have no valid id or cannot be read: at most 1,000 addresses in memory, 100 of them from one IPv4 /24 or IPv6 /48.
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
	prefix := q.prefix("prefix")
	limit := q.limit()
	after := q.cursor(cursorsOf(w), cursorRefused, validClient)
	if err := q.done(); err != nil {
		return err
	}
	page := RefusedRegistrationPage{Items: []RefusedRegistration{}, Now: s.now()}
	if after == "" && prefix == "" {
		unnamed := viewOf(w).Unnamed()
		for i := range unnamed[:min(limit, len(unnamed))] {
			page.Unnamed = append(page.Unnamed, unnamedView(&unnamed[i]))
		}
	}
	for _, k := range s.refusedDevices() {
		if string(k.Client) <= after || !strings.HasPrefix(string(k.Client), prefix) {
			continue
		}
		if mine, err := viewOf(w).Inside(k.Client); err != nil {
			return err
		} else if !mine {
			continue
		}
		if len(page.Items) == limit {
			page.NextCursor = cursorsOf(w).encode(cursorRefused, page.Items[limit-1].Client)
			break
		}
		page.Items = append(page.Items, refusedView(&k))
	}
	linkPages(w, r, page.NextCursor, "")
	return writeJSON(w, http.StatusOK, page)
}

// dismissRefused removes an entry of the list of refused devices.
//
//	@ID				dismissRefused
//	@Summary		Dismiss a refused device
//	@Description	Removes it from the list, and from the answers to why. It stays refused: when it asks again, it is listed again, with a count of 1.
//	@Tags			clients
//	@Produce		json
//	@Param			client	path	string	true	"the id that the device asked for"
//	@Success		204
//	@x-scope		"devices:write"
//	@Router			/v1/refused/{client} [delete]
func (s *server) dismissRefused(w http.ResponseWriter, r *http.Request) error {
	id, err := clientParam(r, "client")
	if err != nil {
		return err
	}
	mine, err := viewOf(w).Inside(id)
	if err == nil && (!mine || s.cfg.Refusals == nil || !s.cfg.Refusals.Dismiss(id)) {
		err = problem.New(problem.RefusedNotFound, "no refused device %q is listed", id)
	}
	viewOf(w).Record(audit.DismissRefused, string(id), err)
	return noContent(w, err)
}

// refusedDevices returns the refused devices in the order of their ids.
func (s *server) refusedDevices() []gateway.RefusedRegistration {
	if s.cfg.Refusals == nil {
		return nil
	}
	return s.cfg.Refusals.Refused()
}

// refusal returns the refused registrations of one id, nil for none.
func (s *server) refusal(id gateway.ClientID) *gateway.RefusedRegistration {
	if s.cfg.Refusals == nil {
		return nil
	}
	if r, ok := s.cfg.Refusals.Refusal(id); ok {
		return &r
	}
	return nil
}
