package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/longwire/longwire/client"
)

func (e *environ) tailCommand() *cobra.Command {
	var q client.EventQuery
	var pulled consumerTail
	limit, frames := 0, false
	cmd := e.command(&cobra.Command{
		Use:   "tail",
		Short: "Show events as they happen",
		Long: `Show events as they happen, until an interrupt: clients that connect and leave,
messages from devices, and final states of messages. The command opens a lost stream
again after the last event. It reports events that the gateway no longer has as a
gap. With --client and --frames it shows the frames of one client.

With --consumer the gateway keeps the place of the reader, also over restarts of both.
With --exec the command runs a program for each event and acks the event when the
program exits with 0. The event is one line of JSON on the program's standard input;
LONGWIRE_EVENT_TYPE, _ID, _CLIENT, _TIME and _SEQUENCE are in its environment. After
another exit code the same event is handled again, after a pause of 1 s that grows to
1 min, and later events wait. A crash repeats an event that was not acked: drop repeats
by LONGWIRE_EVENT_ID. A second command with the same consumer is a stand-by.`,
		Example: `  longwire tail --types 'client.*'
  longwire tail --types message.received -o json | jq .data
  longwire tail --client truck-17 --frames
  longwire tail --consumer orders --create --types message.received --exec ./handle.sh`,
		Args: cobra.NoArgs,
	}, func(cmd *cobra.Command, _ []string, api *client.Client) error {
		if err := pulled.check(cmd, q); err != nil {
			return err
		}
		if pulled.name != "" {
			return e.tailConsumer(cmd.Context(), api, &pulled, limit)
		}
		q.Reconnecting = e.reconnecting
		if frames {
			if q.Client == "" || q.After != "" || q.Types != nil {
				return usagef("--frames takes --client, and neither --types nor --after")
			}
			return e.followTimeline(cmd.Context(), api, q.Client, client.TimelineQuery{}, limit)
		}
		return e.tail(cmd.Context(), api, q, limit)
	})
	f := cmd.Flags()
	f.StringSliceVar(&q.Types, "types", nil, "only these types, divided by commas; client.* and message.* work too")
	f.StringVar(&q.Client, "client", "", "only of this client")
	f.StringVar(&q.After, "after", "", "start behind this position instead of now")
	f.BoolVar(&frames, "frames", false, "with --client: its frames and deliveries instead of events; longwire clients trace adds their bytes")
	countVar(f, &limit, "limit", 0, "end after so many events, 0 for never")
	pulled.flags(cmd)
	return cmd
}

// reconnecting reports that a command has lost its stream and opens it again.
func (e *environ) reconnecting(err error, pause time.Duration) {
	fmt.Fprintf(e.err, "longwire: stream lost (%s), again in %s\n", oneLine(e.explain(err)), pause.Round(10*time.Millisecond))
}

func (e *environ) tail(ctx context.Context, api *client.Client, q client.EventQuery, limit int) error {
	n := 0
	for ev, err := range api.Events(ctx, q) {
		if err != nil {
			if ctx.Err() != nil {
				return nil // an interrupt is the normal end
			}
			return err
		}
		if err := e.showEvent(ev); err != nil {
			return err
		}
		if n++; n == limit {
			return nil
		}
	}
	return errors.New("the stream ended")
}

func (e *environ) showEvent(ev client.Event) error {
	if e.json() {
		return e.printJSON(ev)
	}
	at := ev.Time
	if at.IsZero() {
		at = time.Now()
	}
	on := e.coloured()
	name := fmt.Sprintf("%-20s", printable(string(ev.Type)))
	_, err := fmt.Fprintf(e.out, "%s  %s  %-16s  %s\n", paint(at.Local().Format("15:04:05.000"), dim, on),
		paint(name, eventColour(ev.Type), on), printable(ev.Subject), eventDetail(ev))
	return err
}

func eventColour(t client.EventType) colour {
	switch t {
	case client.EventClientConnected, client.EventMessageAcked, client.EventMessageCompleted:
		return green
	case client.EventClientDisconnected, client.EventMessageRejected, client.EventMessageExpired, client.EventMessageFailed:
		return red
	case client.EventClientReplaced, client.EventStoreRepaired, client.EventGap:
		return yellow
	}
	return plain
}

// eventDetail summarises an event in a few words.
func eventDetail(ev client.Event) string {
	d := ev.Data
	reason := d.Reason
	if d.By != "" {
		reason = (&client.LastClose{Reason: client.CloseReason(d.Reason), By: d.By}).String()
	}
	answer := answerText(client.Outcome{Result: d.Result, ResultBase64: d.ResultBase64})
	words := []string{d.Dialect, d.RemoteAddr, d.MessageID, reason, clip(answer, 60), d.Detail}
	if d.Uplink != nil {
		words = append(words, clip(d.Uplink.Display(), 100))
	}
	if d.Counts != nil {
		words = append(words, fmt.Sprintf("%d of %d acked", d.Counts.Acked, d.Counts.Total))
	}
	var said []string
	for _, w := range words {
		if w != "" && w != ev.Subject {
			said = append(said, printable(w))
		}
	}
	return strings.Join(said, "  ")
}
