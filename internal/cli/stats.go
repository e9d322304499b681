package cli

import (
	"cmp"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/longwire/longwire/client"
	"github.com/longwire/longwire/internal/config"
)

func (e *environ) statsCommand() *cobra.Command {
	return e.command(&cobra.Command{
		Use:   "stats",
		Short: "Show what the gateway does now: rates, latencies, queue and disk",
		Long: `Show the totals of a gateway and the last minute. The API key needs the scope
metrics:read; a key that is limited to a prefix gets the numbers of its own clients.`,
		Args: cobra.NoArgs,
	}, func(cmd *cobra.Command, _ []string, api *client.Client) error {
		return e.showVitals(api.Stats(cmd.Context()))
	})
}

func (e *environ) showVitals(s *client.Stats, err error) error {
	if err != nil {
		return err
	}
	rate := func(n float64) string { return fmt.Sprintf("%.1f/s", n) }
	latency, queued, disk, oldest := "", "", "", ""
	if a := s.AckLatency; a != nil {
		latency = fmt.Sprintf("p50 %v ms, p99 %v ms", a.P50, a.P99)
	}
	if s.Store != nil {
		queued = fmt.Sprint(s.Store.Queued)
	}
	if !s.OldestQueuedAt.IsZero() {
		oldest = clock(s.OldestQueuedAt) + ", " + ago(s.OldestQueuedAt, s.Now)
	}
	if d := s.Disk; d != nil {
		disk = fmt.Sprintf("%s by the store; %s free, %.0f %% taken", bytesize(uint64(d.Used)), bytesize(uint64(d.Free)), 100*d.Share)
	}
	return e.facts(s, "started", clock(s.StartedAt)+", "+ago(s.StartedAt, s.Now), "online", fmt.Sprint(s.Online),
		"pushes", rate(s.Rates.Pushes), "acks", rate(s.Rates.Acks), "uplinks", rate(s.Rates.Uplinks), "connects", rate(s.Rates.Connects),
		"ack latency", latency, "queued", queued, "oldest queued", oldest, "disk", disk)
}

func (e *environ) auditCommand() *cobra.Command {
	var q client.AuditQuery
	since := ""
	cmd := e.command(&cobra.Command{
		Use:   "audit",
		Short: "Show who changed what through the API, newest first",
		Long: `Show the last entries of the gateway's audit log, at most 10,000. The API key needs the
scope admin.

  longwire audit --target truck-17
  longwire audit --who backend --since 1h`,
		Args: cobra.NoArgs,
	}, func(cmd *cobra.Command, _ []string, api *client.Client) (err error) {
		if q.Since, err = sinceTime(since, time.Now()); err != nil {
			return err
		}
		t := e.table("TIME", "WHO", "WHAT", "TARGET", "RESULT", "FROM")
		return show(e, t, api.Audit(cmd.Context(), q), func(a client.AuditEntry) []string {
			return []string{clock(a.At), cmp.Or(a.Name, a.Who), a.What, a.Target, a.Result, a.From}
		})
	})
	f := cmd.Flags()
	f.StringVar(&since, "since", "", "made at this time or later, or so long ago at most, such as 1h")
	f.StringVar(&q.Who, "who", "", "id or name of the API key")
	f.StringVar(&q.Target, "target", "", "what was changed, such as the id of a client")
	countVar(f, &q.Limit, "limit", 100, "how many entries, 0 for all")
	return cmd
}

// sinceTime reads a time, or a duration that counts back from now; "" is the zero time.
func sinceTime(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return t, nil
	}
	d, err := config.ParseDuration(text)
	if err != nil || d < 0 {
		return time.Time{}, usagef("--since %q: want a time such as 2027-01-15T08:00:00Z, or a duration such as 1h", text)
	}
	return now.Add(-d.Std()), nil
}
