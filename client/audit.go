package client

import (
	"context"
	"iter"
	"net/http"
	"net/url"
	"strconv"
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
	return func(yield func(AuditEntry, error) bool) {
		v := url.Values{}
		setIf(v, "who", q.Who)
		setIf(v, "target", q.Target)
		if !q.Since.IsZero() {
			v.Set("since", q.Since.UTC().Format(time.RFC3339Nano))
		}
		for n := 0; ; {
			size := pageSize
			if q.Limit > 0 {
				size = min(size, q.Limit-n)
			}
			v.Set("limit", strconv.Itoa(size))
			var p struct {
				Items     []AuditEntry `json:"items"`
				NextAfter string       `json:"next_after"`
			}
			if _, err := c.call(ctx, request{method: http.MethodGet, path: "/v1/audit", query: v, idempotent: true}, &p); err != nil {
				yield(AuditEntry{}, err)
				return
			}
			for _, e := range p.Items {
				if !yield(e, nil) {
					return
				}
				if n++; n == q.Limit {
					return
				}
			}
			if p.NextAfter == "" {
				return
			}
			v.Set("after", p.NextAfter)
		}
	}
}
