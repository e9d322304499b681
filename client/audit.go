package client

import (
	"context"
	"iter"
	"net/url"
	"time"
)

// AuditEntry is one change that a caller made, or tried to make.
type AuditEntry struct {
	ID        string    `json:"id"`
	At        time.Time `json:"at"`
	Who       string    `json:"who,omitempty"`  // id of the key
	Name      string    `json:"name,omitempty"` // of the key
	What      string    `json:"what"`           // such as client.disconnect
	Target    string    `json:"target,omitempty"`
	From      string    `json:"remote_addr,omitempty"` // address of the caller
	RequestID string    `json:"request_id,omitempty"`
	CallerID  string    `json:"caller_request_id,omitempty"`
	Via       string    `json:"via,omitempty"` // console for a call by the cookie of a browser
	Result    string    `json:"result"`        // ok, held, or the code of the problem
	MessageID string    `json:"message_id,omitempty"`
	Hash      string    `json:"idempotency_key_hash,omitempty"`
	Count     int       `json:"count,omitempty"`
}

// AuditQuery selects entries of the audit log.
type AuditQuery struct {
	Since  time.Time
	Who    string // id or name of a key
	Target string // such as a client's id
	Limit  int    // in all; 0 = no bound
}

// Audit returns the last entries of the audit log, newest first. An error is the last
// value that it yields. The key needs the scope admin.
func (c *Client) Audit(ctx context.Context, q AuditQuery) iter.Seq2[AuditEntry, error] {
	v := url.Values{}
	setIf(v, "who", q.Who)
	setIf(v, "target", q.Target)
	setTime(v, "since", q.Since)
	return walk[AuditEntry, auditPage](ctx, c, get("/v1/audit", v), q.Limit)
}

// auditPage is one answer of the audit log.
type auditPage struct {
	Items     []AuditEntry `json:"items"`
	NextAfter string       `json:"next_after"`
}

func (p *auditPage) next(q url.Values) ([]AuditEntry, bool, error) {
	q.Set("after", p.NextAfter)
	return p.Items, p.NextAfter != "", nil
}
