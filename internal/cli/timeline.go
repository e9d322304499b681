package cli

import (
	"cmp"
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/longwire/longwire/client"
)

func (e *environ) clientsTimeline() *cobra.Command {
	var q client.TimelineQuery
	var follow bool
	var since, until time.Duration
	cmd := e.command(&cobra.Command{
		Use:   "timeline ID",
		Short: "Show the last events of a client",
		Long: `Show the last events of a client: connections, refusals, frames with their sizes,
what became of deliveries, and closes. longwire clients trace adds the bytes of
frames. What is no longer in memory comes from the event log, without frames.`,
		Example: `  longwire clients timeline truck-17
  longwire clients timeline truck-17 --message msg_0193f2a0-7c1e-7d3a-9b1f-2f6d1c0a9e11`,
		Args: cobra.ExactArgs(1),
	}, func(cmd *cobra.Command, args []string, api *client.Client) error {
		if follow {
			if since > 0 || until > 0 || q.Before != "" {
				return usagef("--follow begins with the last entries: it is not for --since, --until and --before")
			}
			return e.followTimeline(cmd.Context(), api, args[0], q, 0)
		}
		now := time.Now()
		if since > 0 {
			q.Since = now.Add(-since)
		}
		if until > 0 {
			q.Until = now.Add(-until)
		}
		t, err := api.Timeline(cmd.Context(), args[0], q)
		if err != nil {
			return err
		}
		for i := range t.Items {
			if err := e.showEntry(&t.Items[i]); err != nil {
				return err
			}
		}
		if t.Before != "" {
			fmt.Fprintf(e.err, "longwire: older entries: --before %s\n", t.Before)
		}
		return nil
	})
	f := cmd.Flags()
	f.StringVar(&q.Message, "message", "", "only the deliveries of this message")
	f.StringVar(&q.Before, "before", "", "only entries before this id")
	countVar(f, &q.Limit, "limit", 0, "number of entries, the newest ones; 0 for 200")
	durationVar(f, &since, "since", 0, "only entries from so long ago on, such as 12h")
	durationVar(f, &until, "until", 0, "only entries from longer ago")
	f.BoolVar(&follow, "follow", false, "show further events as they happen")
	return cmd
}

func (e *environ) clientsTrace() *cobra.Command {
	var d time.Duration
	var off bool
	cmd := e.command(&cobra.Command{
		Use:   "trace [ID]",
		Short: "Record every frame of a client for a time, or list the traces that are on",
		Long: `Record every frame of a client with its bytes, for at most an hour. The timeline shows
them: longwire tail --client ID --frames. Credentials are masked. A trace ends by
itself. Without an ID the command lists the traces that are on, and who has them on.`,
		Example: `  longwire clients trace truck-17 --for 10m
  longwire clients trace truck-17 --off
  longwire clients trace`,
		Args: cobra.MaximumNArgs(1),
	}, func(cmd *cobra.Command, args []string, api *client.Client) error {
		ctx := cmd.Context()
		switch {
		case len(args) == 0 && (off || cmd.Flags().Changed("for")):
			return usagef("name the client")
		case len(args) == 0:
			return e.showTraces(ctx, api)
		case off:
			return api.EndTrace(ctx, args[0])
		}
		t, err := api.StartTrace(ctx, args[0], d)
		if err != nil {
			return err
		}
		if e.json() {
			return e.printJSON(t)
		}
		_, err = fmt.Fprintf(e.out, "%s is traced until %s\n", printable(t.Client), clock(t.EndsAt))
		return err
	})
	f := cmd.Flags()
	durationVar(f, &d, "for", 10*time.Minute, "how long, 1s to 1h")
	f.BoolVar(&off, "off", false, "end the trace and drop the recorded bytes")
	return cmd
}

func (e *environ) showTraces(ctx context.Context, api *client.Client) error {
	all, err := api.Traces(ctx)
	return showList(e, e.table("CLIENT", "BY", "UNTIL", "FRAMES", "BYTES"), all, err, func(t client.Trace) []string {
		return []string{t.Client, cmp.Or(t.Name, t.Key), clock(t.EndsAt), count(t.Frames), strconv.Itoa(t.Bytes)}
	})
}

// followTimeline shows entries until an interrupt, or until it has shown limit, 0 for
// no limit.
func (e *environ) followTimeline(ctx context.Context, api *client.Client, id string, q client.TimelineQuery, limit int) error {
	n := 0
	q.Reconnecting = e.reconnecting
	for entry, err := range api.FollowTimeline(ctx, id, q) {
		switch {
		case err != nil && ctx.Err() != nil:
			return nil // an interrupt is the normal end
		case err != nil:
			return err
		}
		if err := e.showEntry(&entry); err != nil {
			return err
		}
		if n++; n == limit {
			return nil
		}
	}
	return nil
}

// showEntry prints one entry of a timeline.
func (e *environ) showEntry(v *client.TimelineEntry) error {
	if e.json() {
		return e.printJSON(v)
	}
	on := e.coloured()
	var words []string
	for _, w := range entryWords(v) {
		if w != "" {
			words = append(words, printable(w))
		}
	}
	name := fmt.Sprintf("%-10s", printable(entryName(v)))
	layout := "15:04:05.000000"
	if v.Source == "log" { // which may be of another day
		layout = "2006-01-02 15:04:05.000"
	}
	line := fmt.Sprintf("%s  %s  %s", paint(v.At.Local().Format(layout), dim, on), paint(name, entryColour(v), on), strings.Join(words, "  "))
	_, err := fmt.Fprintln(e.out, strings.TrimRight(line, " "))
	return err
}

func entryName(v *client.TimelineEntry) string {
	if v.What == "frame" {
		return map[string]string{"in": "<-", "out": "->"}[v.Direction] + " " + v.Frame
	}
	if v.What == "delivery" {
		return v.State
	}
	return v.What
}

// entryWords are the facts of an entry, "" for none.
func entryWords(v *client.TimelineEntry) []string {
	reason := v.Reason
	if v.By != "" {
		reason = (&client.LastClose{Reason: client.CloseReason(v.Reason), By: client.ClosedBy(v.By)}).String()
	}
	words := []string{v.Dialect, v.Transport, v.RemoteAddr, v.Number, v.Code, reason}
	if v.Bytes > 0 {
		words = append(words, fmt.Sprintf("%d bytes", v.Bytes))
	}
	if v.Duplicate {
		words = append(words, "again")
	}
	if v.Count > 0 {
		words = append(words, fmt.Sprintf("%d times", v.Count))
	}
	words = append(words, v.Message)
	if v.Attempts > 1 {
		words = append(words, fmt.Sprintf("%d attempts", v.Attempts))
	}
	if v.Withheld {
		words = append(words, "(the key may not read messages)")
	}
	switch v.Source {
	case "record":
		words = append(words, "(from the client's record)")
	case "log":
		words = append(words, "(from the event log)")
	}
	return append(words, v.Detail, clip(strings.TrimRight(v.Text, "\r\n"), 200), clip(v.Hex, 200))
}

func entryColour(v *client.TimelineEntry) colour {
	switch {
	case v.What == "connected", v.State == "acked":
		return green
	case v.What == "refused", v.What == "closed", v.What == "heartbeat_missed", v.State == "rejected", v.State == "expired", v.State == "failed":
		return red
	case v.What == "overflow", v.Frame == "malformed", v.State == "unanswered", v.State == "retry_later":
		return yellow
	}
	return plain
}
