package api

import (
	"net/http"
	"time"

	"github.com/longwire/longwire/api/internal/problem"
	"github.com/longwire/longwire/api/internal/tenant"
	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/vitals"
)

// Stats are totals of this process since it started, its present state, and the last
// minute. A key with a limit to a prefix gets the numbers of its own clients; the answer
// omits the numbers that the gateway does not count for a tenant.
type Stats struct {
	Now            string            `json:"now" validate:"required" format:"date-time"`        // the gateway's clock
	StartedAt      string            `json:"started_at" validate:"required" format:"date-time"` // when this process started
	Draining       bool              `json:"draining" validate:"required"`                      // it is stopping and accepts nothing
	Online         int               `json:"online" validate:"required"`                        // clients that are connected
	Suspect        *int              `json:"suspect,omitempty"`                                 // of the online clients: those that have not answered a heartbeat for a second
	InFlight       *int              `json:"in_flight,omitempty"`                               // deliveries that devices have not answered
	Accepted       uint64            `json:"accepted" validate:"required"`                      // messages accepted; for a tenant those to one of its clients
	Delivered      *uint64           `json:"delivered,omitempty"`                               // transmissions flushed to sockets
	Redelivered    *uint64           `json:"redelivered,omitempty"`                             // repeated transmissions
	Settled        map[string]uint64 `json:"settled" validate:"required"`                       // deliveries that became final, by state; for a tenant acked, rejected and failed
	LateAcks       *uint64           `json:"late_acks,omitempty"`                               // answers after that
	Uplinks        uint64            `json:"uplinks" validate:"required"`                       // payloads from devices
	Connects       uint64            `json:"connects" validate:"required"`                      // registrations
	Takeovers      *uint64           `json:"takeovers,omitempty"`                               // registrations among these that replaced a connection
	Disconnects    map[string]uint64 `json:"disconnects,omitempty"`                             // connections that ended, by reason
	EventStreams   *int64            `json:"event_streams,omitempty"`                           // callers that wait for events
	Rates          Rates             `json:"rates" validate:"required"`                         // a second, over the last minute
	AckLatency     *AckLatency       `json:"ack_latency,omitempty"`                             // of the last minute; absent without an ack
	OldestQueuedAt string            `json:"oldest_queued_at,omitempty" format:"date-time"`     // acceptance of the oldest queued message
	Disk           *Disk             `json:"disk,omitempty"`                                    // of the store; absent if its size is not known
	Store          *StoreStats       `json:"store,omitempty"`                                   // totals of the store
} //@name Stats

// Rates are numbers a second.
type Rates struct {
	OverSeconds float64  `json:"over_seconds" validate:"required" example:"60"` // time that they are of: a minute, less at the beginning
	Pushes      float64  `json:"pushes" validate:"required"`                    // messages accepted
	Deliveries  *float64 `json:"deliveries,omitempty"`                          // transmissions flushed to sockets
	Acks        float64  `json:"acks" validate:"required"`                      // deliveries acked, with mode=online too
	Uplinks     float64  `json:"uplinks" validate:"required"`                   // payloads from devices
	Connects    float64  `json:"connects" validate:"required"`                  // registrations
} //@name Rates

// AckLatency is the time from the last transmission of a delivery to its ack, rounded up
// by at most an eighth.
type AckLatency struct {
	P50 float64 `json:"p50_ms" validate:"required" example:"12.3"` // half of the acks took no longer
	P99 float64 `json:"p99_ms" validate:"required" example:"210"`  // 99 of 100 acks took no longer
} //@name AckLatency

// Disk is the file system of the store.
type Disk struct {
	Used  int64   `json:"used_bytes" validate:"required"`           // that the store takes
	Free  int64   `json:"free_bytes" validate:"required"`           // for the gateway
	Total int64   `json:"total_bytes" validate:"required"`          // of the file system
	Share float64 `json:"share" validate:"required" example:"0.42"` // of the file system that is taken, by whatever, 0 to 1
} //@name Disk

// StatsHistory is the history of the numbers, in memory since the process started.
type StatsHistory struct {
	Now      string       `json:"now" validate:"required" format:"date-time"`       // the gateway's clock
	Step     string       `json:"step" validate:"required" enums:"10s,60s"`         // length of a point; seconds has the real one
	BeginsAt string       `json:"begins_at" validate:"required" format:"date-time"` // nothing is kept of the time before
	Marks    []StatsMark  `json:"marks" validate:"required"`                        // interruptions of the history
	Points   []StatsPoint `json:"points" validate:"required"`                       // oldest first
} //@name StatsHistory

// StatsMark says that the history is not continuous at a time.
type StatsMark struct {
	At      string  `json:"at" validate:"required" format:"date-time"`                   // by the clock of that time
	Code    string  `json:"code" validate:"required" enums:"start,begin,gap,clock_step"` // start: the process started; begin: the tenant's clients are counted from here on; gap: the process stood still; clock_step: the clock was set
	Seconds float64 `json:"by_seconds,omitempty"`                                        // length of a gap or of a step; negative = backwards
} //@name StatsMark

// StatsPoint is one step. All but online and queued are counts in the step.
type StatsPoint struct {
	At          string   `json:"at" validate:"required" format:"date-time"` // end of the step, by the clock of that time
	Seconds     float64  `json:"seconds" validate:"required" example:"10"`  // real length of the step
	Online      int      `json:"online" validate:"required"`                // clients that were connected
	Queued      *int     `json:"queued,omitempty"`                          // deliveries that were not final
	Accepted    uint64   `json:"accepted" validate:"required"`              // messages
	Delivered   *uint64  `json:"delivered,omitempty"`                       // transmissions
	Acked       uint64   `json:"acked" validate:"required"`                 // deliveries
	Rejected    uint64   `json:"rejected" validate:"required"`              // deliveries
	Expired     *uint64  `json:"expired,omitempty"`                         // deliveries
	Failed      uint64   `json:"failed" validate:"required"`                // deliveries
	Uplinks     uint64   `json:"uplinks" validate:"required"`               // payloads from devices
	Connects    uint64   `json:"connects" validate:"required"`              // registrations
	Disconnects uint64   `json:"disconnects" validate:"required"`           // connections that ended
	P50         *float64 `json:"ack_p50_ms,omitempty"`                      // half of the acks took no longer; absent without an ack
	P99         *float64 `json:"ack_p99_ms,omitempty"`                      // 99 of 100 acks took no longer
} //@name StatsPoint

// StoreStats are totals of the store.
type StoreStats struct {
	Engine    string `json:"engine" validate:"required" example:"pebble"` // that stores
	Durable   bool   `json:"durable" validate:"required"`                 // whether a 202 survives the process
	Clients   int    `json:"clients" validate:"required"`                 // that are known
	Messages  int    `json:"messages" validate:"required"`                // that are kept
	Queued    int    `json:"queued" validate:"required"`                  // deliveries that are not final
	OldestAt  string `json:"oldest_at,omitempty" format:"date-time"`      // acceptance of the oldest queued message
	DiskBytes int64  `json:"disk_bytes" validate:"required"`              // that the store takes
} //@name StoreStats

// stats shows totals.
//
//	@ID				stats
//	@Summary		Totals and rates of this server
//	@Description	A key with a limit to a prefix gets the numbers of its own clients, counted since its first call. The answer omits the numbers that the gateway does not count for a tenant.
//	@Tags			system
//	@Produce		json
//	@Success		200		{object}	Stats
//	@x-scope		"metrics:read"
//	@Router			/v1/stats [get]
func (s *server) stats(w http.ResponseWriter, r *http.Request) error {
	view := viewOf(w)
	if prefix := view.Key().Limit.Prefix; prefix != "" {
		v, err := s.statsOfTenant(view, prefix)
		if err != nil {
			return err
		}
		return writeJSON(w, http.StatusOK, v)
	}
	g, err := view.Stats()
	if err != nil {
		return err
	}
	now, err := s.cfg.Vitals.Current("")
	if err != nil {
		return err
	}
	v := Stats{
		Now: s.now(), StartedAt: stamp(g.StartedAt), Draining: g.Draining, Online: g.Online, Suspect: &g.Suspect, InFlight: &g.InFlight,
		Accepted: g.Accepted, Delivered: &g.Delivered, Redelivered: &g.Redelivered, LateAcks: &g.LateAcks, Uplinks: g.Uplinks,
		Connects: g.Connects, Takeovers: &g.Takeovers, Disconnects: g.DisconnectsByReason, EventStreams: new(s.streams.Load()),
		Settled: make(map[string]uint64), Rates: ratesView(&now), AckLatency: ackView(now.P50, now.P99),
		OldestQueuedAt: stamp(g.Store.OldestAt), Disk: diskView(&g.Store),
		Store: &StoreStats{Engine: g.Store.Engine, Durable: g.Store.Durable, Clients: g.Store.Clients, Messages: g.Store.Messages,
			Queued: g.Store.Queued, OldestAt: stamp(g.Store.OldestAt), DiskBytes: g.Store.DiskBytes},
	}
	v.Rates.Deliveries = &now.Deliver
	for st := gateway.Acked; st <= gateway.Failed; st++ {
		v.Settled[st.String()] = g.Settled[st]
	}
	return writeJSON(w, http.StatusOK, v)
}

// tooManyTenants is the answer to a tenant that the gateway cannot count for.
func tooManyTenants(err error) error {
	p := problem.New(problem.Overloaded, "%s; try again in a minute", err)
	p.RetryAfter = time.Minute
	return p
}

// statsOfTenant returns the numbers of the clients with a prefix.
func (s *server) statsOfTenant(view *tenant.View, prefix string) (Stats, error) {
	now, err := s.cfg.Vitals.Current(prefix)
	if err != nil {
		return Stats{}, tooManyTenants(err)
	}
	started, draining := view.Process()
	return Stats{Now: s.now(), StartedAt: stamp(started), Draining: draining, Online: now.Online, Accepted: now.Accepted,
		Settled: map[string]uint64{gateway.Acked.String(): now.Acked, gateway.Rejected.String(): now.Rejected, gateway.Failed.String(): now.Failed},
		Uplinks: now.Uplinks, Connects: now.Connects, Rates: ratesView(&now), AckLatency: ackView(now.P50, now.P99)}, nil
}

func ratesView(c *vitals.Current) Rates {
	return Rates{OverSeconds: c.Over.Round(time.Millisecond).Seconds(), Pushes: c.Pushes, Acks: c.AckRate, Uplinks: c.UpRate, Connects: c.ConnRate}
}

// ackView shows latencies; nil if there was no ack.
func ackView(p50, p99 time.Duration) *AckLatency {
	if p99 == 0 {
		return nil
	}
	return &AckLatency{P50: milliseconds(p50), P99: milliseconds(p99)}
}

// diskView shows the file system of the store; nil if it is not known.
func diskView(s *gateway.StoreStats) *Disk {
	if s.DiskTotal == 0 {
		return nil
	}
	return &Disk{Used: s.DiskBytes, Free: s.DiskFree, Total: s.DiskTotal, Share: float64(s.DiskTotal-s.DiskFree) / float64(s.DiskTotal)}
}

// statsHistory shows the history.
//
//	@ID				statsHistory
//	@Summary		Numbers over the last day
//	@Description	Steps of 10 s for two hours, of 60 s for a day. The history is in memory and begins with the process; `marks` name its interruptions. With `since=1h` you get the last hour also after a step of the clock.
//	@Description	A key with a limit to a prefix gets the numbers of its own clients, since its first call. The gateway counts for 64 tenants at a time; a tenant without a call for a minute gives way to another, and while there is none the answer is 503 `overloaded`.
//	@Tags			system
//	@Produce		json
//	@Param			since	query		string	false	"from this time on, or from so long ago, such as 1h"
//	@Param			step	query		string	false	"length of a point; the default is 10s if since is at most 2h ago, else 60s"	Enums(10s, 60s)
//	@Success		200		{object}	StatsHistory
//	@x-scope		"metrics:read"
//	@Router			/v1/stats/history [get]
func (s *server) statsHistory(w http.ResponseWriter, r *http.Request) error {
	q := queryOf(r)
	now := s.cfg.Now()
	since := q.since("since", now)
	step := map[string]time.Duration{"10s": vitals.FineStep, "60s": vitals.CoarseStep}[q.oneOf("step", "", "10s", "60s")]
	if err := q.done(); err != nil {
		return err
	}
	prefix := viewOf(w).Key().Limit.Prefix
	h, err := s.cfg.Vitals.History(prefix, since, step)
	if err != nil {
		return tooManyTenants(err)
	}
	v := StatsHistory{Now: stamp(now), Step: "10s", BeginsAt: stamp(h.Begins), Marks: []StatsMark{}, Points: make([]StatsPoint, 0, len(h.Points))}
	if h.Step == vitals.CoarseStep {
		v.Step = "60s"
	}
	for _, m := range h.Marks {
		v.Marks = append(v.Marks, StatsMark{At: stamp(m.At), Code: string(m.Code), Seconds: m.By.Seconds()})
	}
	for i := range h.Points {
		v.Points = append(v.Points, pointView(&h.Points[i], prefix == ""))
	}
	return writeJSON(w, http.StatusOK, v)
}

// pointView shows a point; whole is false for that of a tenant.
func pointView(p *vitals.Point, whole bool) StatsPoint {
	v := StatsPoint{At: stamp(p.At), Seconds: p.Took.Round(time.Millisecond).Seconds(), Online: p.Online, Accepted: p.Accepted, Acked: p.Acked,
		Rejected: p.Rejected, Failed: p.Failed, Uplinks: p.Uplinks, Connects: p.Connects, Disconnects: p.Disconnects}
	if whole {
		v.Queued, v.Delivered, v.Expired = &p.Queued, &p.Delivered, &p.Expired
	}
	if p.P99 > 0 {
		v.P50, v.P99 = new(milliseconds(p.P50)), new(milliseconds(p.P99))
	}
	return v
}
