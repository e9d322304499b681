package cli

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/longwire/longwire/client"
)

func (e *environ) whyCommand() *cobra.Command {
	var recipient string
	cmd := e.command(&cobra.Command{
		Use:   "why MESSAGE|CLIENT",
		Short: "Say why a message has not arrived, or why a client is not there",
		Long: `Says in one sentence why a message has not arrived, or why a client is not there,
and shows the facts that the answer rests on.

  longwire why msg_0193f2a0-7c1e-7d3a-9b1f-2f6d1c0a9e11
  longwire why msg_0193f2a0-7c1e-7d3a-9b1f-2f6d1c0a9e11 --client truck-17   of a message to many
  longwire why truck-17

An argument that begins with msg_ is a message.`,
		Args: cobra.ExactArgs(1),
	}, func(cmd *cobra.Command, args []string, api *client.Client) error {
		if strings.HasPrefix(args[0], "msg_") {
			return e.showMessageWhy(api.WhyMessage(cmd.Context(), args[0], recipient))
		}
		if recipient != "" {
			return usagef("--client goes with a message: %q does not begin with msg_", args[0])
		}
		return e.showClientWhy(api.WhyClient(cmd.Context(), args[0]))
	})
	cmd.Flags().StringVar(&recipient, "client", "", "the recipient, of a message to many")
	return cmd
}

func (e *environ) showMessageWhy(w *client.MessageWhy, err error) error {
	if err == nil && !e.json() {
		_, err = fmt.Fprintln(e.out, printable(w.Sentence))
	}
	if err != nil {
		return err
	}
	f := &w.Facts
	var sample []string
	if w.Sample != nil {
		for _, c := range w.Sample.Codes {
			sample = append(sample, fmt.Sprintf("%d %s", c.Count, c.Code))
		}
	}
	attempts := ""
	if f.Attempts > 0 {
		attempts = count(f.Attempts)
	}
	return e.facts(w,
		"code", string(w.Code),
		"client", w.Client,
		"status", string(f.Status),
		"not final", strings.Join(sample, ", "),
		"attempts", attempts+causes(f),
		"sent", clock(f.SentAt),
		"progress", textOf(f.Progress, f.ProgressBase64),
		"result", textOf(f.Result, f.ResultBase64),
		"behind", f.Behind,
		"next", clock(f.NextAt),
		"online since", clock(f.OnlineSince),
		"last seen", clock(latest(f.OfflineSince, f.LastSeenAt)),
		"disconnects", disconnects(f.Disconnects, f.DisconnectsSince),
		"last close", f.LastClose.String(),
		"blocked until", clock(f.BlockedUntil),
		"refused", refusals(f.Refused),
		"final", clock(f.FinalAt),
		"expires", clock(f.ExpiresAt),
	)
}

func (e *environ) showClientWhy(w *client.ClientWhy, err error) error {
	if err == nil && !e.json() {
		_, err = fmt.Fprintln(e.out, printable(w.Sentence))
	}
	if err != nil {
		return err
	}
	f := &w.Facts
	return e.facts(w,
		"code", string(w.Code),
		"online since", clock(f.OnlineSince),
		"last seen", clock(latest(f.OfflineSince, f.LastSeenAt)),
		"disconnects", disconnects(f.Disconnects, f.DisconnectsSince),
		"last close", f.LastClose.String(),
		"blocked until", clock(f.BlockedUntil),
		"refused", refusals(f.Refused),
		"uplinks refused", refusals(f.UplinksRefused),
		"claimed", claims(f.Claims),
		"forgotten", clock(f.ForgottenAt),
	)
}

// causes formats what became of the attempts that are used up, "" if that is not known.
func causes(f *client.MessageFacts) (text string) {
	if f.Unanswered > 0 {
		text += fmt.Sprintf(", %d without an answer", f.Unanswered)
	}
	if f.Broken > 0 {
		text += fmt.Sprintf(", %d with a connection that ended", f.Broken)
	}
	if text != "" && f.RetryLater > 0 {
		text += fmt.Sprintf("; %d answers retry later", f.RetryLater)
	}
	return text
}

// latest returns the later of two times.
func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// disconnects formats closes in quick succession, "" for none.
func disconnects(n int, since time.Time) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("%s, first %s", count(n), clock(since))
}

// refusals formats refused registrations, "" for none.
func refusals(r *client.Refusals) string {
	if r == nil {
		return ""
	}
	text := fmt.Sprintf("%d × %s, last %s", r.Count, r.Reason, clock(r.LastAt))
	if r.RemoteAddr != "" {
		text += " from " + r.RemoteAddr
	}
	return text
}

// claims formats the addresses that claim an id, "" for none.
func claims(list []client.Claim) string {
	var all []string
	for _, c := range list {
		from := c.RemoteAddr
		if c.Dialect != "" {
			from += " (" + c.Dialect + ")"
		}
		all = append(all, fmt.Sprintf("%d × from %s, last %s", c.Count, from, clock(c.LastAt)))
	}
	return strings.Join(all, "; ")
}

// cancelQueue cancels the queue of a client.
func (e *environ) cancelQueue(cmd *cobra.Command, api *client.Client, id, through string) error {
	done, err := api.CancelQueue(cmd.Context(), id, through)
	if err != nil {
		return err
	}
	if e.json() {
		return e.printJSON(done)
	}
	noun := "messages"
	if done.Canceled == 1 {
		noun = "message"
	}
	text := fmt.Sprintf("canceled %d %s to %s", done.Canceled, noun, id)
	if done.UnderWay > 0 {
		text += fmt.Sprintf("; %d of them had been sent and not answered: the device may handle them", done.UnderWay)
	}
	_, err = fmt.Fprintln(e.out, printable(text))
	return err
}
