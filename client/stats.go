package client

import (
	"context"
	"net/url"
	"time"
)

// Stats are totals of a gateway's process since it started, its present state, and the
// last minute. A key with a limit to a prefix gets the numbers of its own clients, and nil
// for the numbers that the gateway does not count for a tenant.
type Stats struct {
	Now            time.Time         `json:"now"`
	StartedAt      time.Time         `json:"started_at"`
	Draining       bool              `json:"draining"`
	Online         int               `json:"online"`
	InFlight       *int              `json:"in_flight,omitempty"`
	Accepted       uint64            `json:"accepted"`
	Delivered      *uint64           `json:"delivered,omitempty"`
	Redelivered    *uint64           `json:"redelivered,omitempty"`
	Settled        map[string]uint64 `json:"settled"` // by state
	LateAcks       *uint64           `json:"late_acks,omitempty"`
	Uplinks        uint64            `json:"uplinks"`
	Connects       uint64            `json:"connects"`
	Takeovers      *uint64           `json:"takeovers,omitempty"`
	Disconnects    map[string]uint64 `json:"disconnects,omitempty"` // by reason
	EventStreams   *int64            `json:"event_streams,omitempty"`
	Rates          Rates             `json:"rates"`
	AckLatency     *AckLatency       `json:"ack_latency,omitempty"` // nil without an ack
	OldestQueuedAt time.Time         `json:"oldest_queued_at,omitzero"`
	Disk           *Disk             `json:"disk,omitempty"`
	Store          *StoreStats       `json:"store,omitempty"`
}

// Rates are numbers a second.
type Rates struct {
	OverSeconds float64  `json:"over_seconds"` // a minute, less at the beginning
	Pushes      float64  `json:"pushes"`
	Deliveries  *float64 `json:"deliveries,omitempty"`
	Acks        float64  `json:"acks"`
	Uplinks     float64  `json:"uplinks"`
	Connects    float64  `json:"connects"`
}

// AckLatency is the time from the last transmission of a delivery to its ack, in
// milliseconds, rounded up by at most an eighth.
type AckLatency struct {
	P50 float64 `json:"p50_ms"`
	P99 float64 `json:"p99_ms"`
}

// Disk is the file system of the store.
type Disk struct {
	Used  int64   `json:"used_bytes"` // by the store
	Free  int64   `json:"free_bytes"`
	Total int64   `json:"total_bytes"`
	Share float64 `json:"share"` // that is taken, by whatever, 0 to 1
}

// StoreStats are totals of the store.
type StoreStats struct {
	Engine    string    `json:"engine"`
	Durable   bool      `json:"durable"`
	Clients   int       `json:"clients"`
	Messages  int       `json:"messages"`
	Queued    int       `json:"queued"`
	OldestAt  time.Time `json:"oldest_at,omitzero"`
	DiskBytes int64     `json:"disk_bytes"`
}

// Stats returns totals and rates. The key needs the scope metrics:read.
func (c *Client) Stats(ctx context.Context) (*Stats, error) {
	return ask[Stats](ctx, c, get("/v1/stats", nil))
}

// StatsHistory is a part of the history, which is in memory and begins with the process.
type StatsHistory struct {
	Now      time.Time    `json:"now"`
	Step     string       `json:"step"` // 10s or 60s
	BeginsAt time.Time    `json:"begins_at"`
	Marks    []StatsMark  `json:"marks"`
	Points   []StatsPoint `json:"points"` // oldest first
}

// StatsMark says that the history is not continuous at a time.
type StatsMark struct {
	At      time.Time `json:"at"`
	Code    string    `json:"code"`                 // start, begin, gap or clock_step
	Seconds float64   `json:"by_seconds,omitempty"` // of a gap or a step
}

// StatsPoint is one step. All but Online and Queued are counts in the step.
type StatsPoint struct {
	At          time.Time `json:"at"`      // its end
	Seconds     float64   `json:"seconds"` // its real length
	Online      int       `json:"online"`
	Queued      *int      `json:"queued,omitempty"`
	Accepted    uint64    `json:"accepted"`
	Delivered   *uint64   `json:"delivered,omitempty"`
	Acked       uint64    `json:"acked"`
	Rejected    uint64    `json:"rejected"`
	Expired     *uint64   `json:"expired,omitempty"`
	Failed      uint64    `json:"failed"`
	Uplinks     uint64    `json:"uplinks"`
	Connects    uint64    `json:"connects"`
	Disconnects uint64    `json:"disconnects"`
	P50         *float64  `json:"ack_p50_ms,omitempty"`
	P99         *float64  `json:"ack_p99_ms,omitempty"`
}

// StatsHistoryQuery selects a part of the history. The zero value selects the last day in
// steps of a minute.
type StatsHistoryQuery struct {
	Since time.Time     // zero = all that is kept
	Step  time.Duration // 10 s or a minute; 0 = the gateway chooses by Since
}

// StatsHistory returns the history. The key needs the scope metrics:read.
func (c *Client) StatsHistory(ctx context.Context, q StatsHistoryQuery) (*StatsHistory, error) {
	v := url.Values{}
	setTime(v, "since", q.Since)
	switch q.Step {
	case 0:
	case time.Minute:
		v.Set("step", "60s")
	default:
		v.Set("step", q.Step.String())
	}
	return ask[StatsHistory](ctx, c, get("/v1/stats/history", v))
}
