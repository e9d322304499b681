package api

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/longwire/longwire/api/internal/problem"
	"github.com/longwire/longwire/internal/audit"
)

// AuditEntry is one change that a caller made, or tried to make.
type AuditEntry struct {
	ID        string `json:"id" validate:"required"`                               // for after; of this process
	At        string `json:"at" validate:"required" format:"date-time"`            // when
	Who       string `json:"who,omitempty"`                                        // id of the key; operator for commands on the gateway's machine
	Name      string `json:"name,omitempty" example:"backend"`                     // of the key
	What      string `json:"what" validate:"required" example:"client.disconnect"` // kind of the change
	Target    string `json:"target,omitempty" example:"truck-17"`                  // the client, audience, message or key
	From      string `json:"remote_addr,omitempty" example:"192.0.2.7:40112"`      // address of the caller
	RequestID string `json:"request_id,omitempty"`                                 // of the request
	CallerID  string `json:"caller_request_id,omitempty"`                          // the X-Request-Id that the caller sent
	Via       string `json:"via,omitempty" enums:"console"`                        // console: a call by the cookie of a browser
	Result    string `json:"result" validate:"required" example:"ok"`              // ok, held, or the code of the problem
	MessageID string `json:"message_id,omitempty"`                                 // of a push
	Hash      string `json:"idempotency_key_hash,omitempty"`                       // by which repeats are recognized
	Count     int    `json:"count,omitempty"`                                      // with the result held: refusals that the entry stands for
} //@name AuditEntry

// AuditPage is one page of the audit log.
type AuditPage struct {
	Items     []AuditEntry `json:"items" validate:"required"`                  // newest first
	NextAfter string       `json:"next_after,omitempty"`                       // the after of the next page; absent on the last one
	Since     string       `json:"kept_since,omitempty" format:"date-time"`    // the list has every entry from after this time: the start of the gateway, or with audit.file its oldest entry. Later if there were more than 10,000 entries: the newest that gave way
	Durable   bool         `json:"durable,omitempty"`                          // audit.file keeps the list over a restart
	Now       string       `json:"now" validate:"required" format:"date-time"` // the server's clock
} //@name AuditPage

// maxFilter bounds a filter of the audit log in bytes.
const maxFilter = 1 << 10

// listAudit lists changes.
//
//	@ID				listAudit
//	@Summary		List changes by callers
//	@Description	The newest entries of the audit log, up to 10,000, newest first. When there are more, the keys with most entries lose their oldest ones, so that one key does not push out what others have done. With `audit.file` they include those from before the start, as far as the present file has them. Without it the list begins with the start (`kept_since`), and pushes are not recorded.
//	@Tags			keys
//	@Produce		json
//	@Param			since	query		string	false	"made at this time or later, or so long ago at most, such as 1h"
//	@Param			who		query		string	false	"id or name of the key"
//	@Param			target	query		string	false	"what was changed, such as the id of a client"
//	@Param			limit	query		int		false	"page size"	minimum(1)	maximum(1000)	default(100)
//	@Param			after	query		string	false	"next_after of the page before"
//	@Success		200		{object}	AuditPage
//	@x-scope		"admin"
//	@Router			/v1/audit [get]
func (s *server) listAudit(w http.ResponseWriter, r *http.Request) error {
	q := queryOf(r)
	sel := audit.Query{Since: q.since("since", s.cfg.Now()), Who: q.one("who"), Target: q.one("target"), Limit: q.limit()}
	for _, f := range []struct{ name, value string }{{"who", sel.Who}, {"target", sel.Target}} {
		if len(f.value) > maxFilter {
			q.fail(f.name, "is longer than %d bytes", maxFilter)
		}
	}
	if after := q.text("after"); after != "" {
		number, ok := strings.CutPrefix(after, s.auditPrefix())
		n, err := strconv.ParseUint(number, 10, 64)
		if (!ok || err != nil || n == 0) && q.err == nil {
			q.err = problem.New(problem.InvalidCursor, "after is not one that this process gave: begin again")
			q.err.Errors = []problem.FieldError{{Parameter: "after", Detail: "not a next_after of this list"}}
		}
		sel.Before = n
	}
	if err := q.done(); err != nil {
		return err
	}
	list, more := s.cfg.Audit.Recent(sel)
	page := AuditPage{Items: make([]AuditEntry, 0, len(list)), Since: stamp(s.cfg.Audit.Since()), Durable: s.cfg.Audit.OutlivesRestart(), Now: s.now()}
	for i := range list {
		page.Items = append(page.Items, s.auditView(&list[i]))
	}
	if more {
		page.NextAfter = page.Items[len(page.Items)-1].ID
	}
	return writeJSON(w, http.StatusOK, page)
}

func (s *server) auditView(e *audit.Recorded) AuditEntry {
	return AuditEntry{ID: s.auditPrefix() + strconv.FormatUint(e.Number, 10), At: stamp(e.At), Who: e.Who, Name: e.Name, What: e.What, Target: e.Target,
		From: e.From, RequestID: e.Request, CallerID: e.Caller, Via: e.Via, Result: e.Result, MessageID: e.Message, Hash: e.Idempotency, Count: e.Count}
}

// auditPrefix begins the ids of entries in this process.
func (s *server) auditPrefix() string { return "aud_" + s.boot + "-" }
