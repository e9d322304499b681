package cli

import (
	"cmp"
	"encoding/base64"
	"fmt"
	"iter"
	"time"

	"github.com/spf13/cobra"

	"github.com/longwire/longwire/client"
)

func (e *environ) messagesCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "messages", Aliases: []string{"message", "msg"}, Short: "Show and cancel messages"}
	cmd.AddCommand(e.messagesGet(), e.messagesPayload(), e.messagesList(), e.messagesCancel())
	return cmd
}

func (e *environ) messagesGet() *cobra.Command {
	var wait time.Duration
	var deliveries bool
	var status string
	cmd := e.command(&cobra.Command{
		Use:   "get ID",
		Short: "Show a message and its state",
		Args:  cobra.ExactArgs(1),
	}, func(cmd *cobra.Command, args []string, api *client.Client) error {
		if deliveries || status != "" {
			return e.showDeliveries(api.Deliveries(cmd.Context(), args[0], client.DeliveryQuery{Status: client.Status(status)}))
		}
		return e.showMessage(api.Message(cmd.Context(), args[0], wait))
	})
	durationVar(cmd.Flags(), &wait, "wait", 0, "wait for the final state, at most 60s")
	cmd.Flags().BoolVar(&deliveries, "deliveries", false, "list the deliveries, one per recipient")
	cmd.Flags().StringVar(&status, "status", "", "list only deliveries in this state")
	return cmd
}

func (e *environ) messagesList() *cobra.Command {
	var q client.MessageQuery
	var status, order string
	var since time.Duration
	cmd := e.command(&cobra.Command{
		Use:   "ls",
		Short: "List recent messages, newest first",
		Args:  cobra.NoArgs,
	}, func(cmd *cobra.Command, _ []string, api *client.Client) error {
		if since > 0 {
			q.Since = time.Now().Add(-since)
		}
		newest, err := descending(order)
		if err != nil {
			return err
		}
		if q.OldestFirst = !newest; q.OldestFirst && q.Client != "" {
			return usagef("--order asc is not for --client, whose messages come newest first")
		}
		q.Status = client.Status(status)
		return e.showMessages(api.Messages(cmd.Context(), q))
	})
	f := cmd.Flags()
	f.StringVar(&q.Client, "client", "", "only messages to this client")
	f.StringVar(&status, "status", "", "pending, acked, rejected, expired, canceled or failed")
	durationVar(f, &since, "since", 0, "only messages accepted within this time, such as 1h")
	f.StringVar(&order, "order", "desc", "desc: newest first, asc: oldest first")
	f.StringVar(&q.Before, "before", "", "only messages before this one (an id), or before a time as 2026-11-22T08:00:00Z")
	countVar(f, &q.Limit, "limit", 100, "number of messages, 0 for all")
	cmd.RegisterFlagCompletionFunc("order", cobra.FixedCompletions([]string{"desc", "asc"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func (e *environ) messagesCancel() *cobra.Command {
	var queue, through string
	cmd := e.command(&cobra.Command{
		Use:   "cancel ID | --client ID [--through MESSAGE]",
		Short: "Cancel the deliveries that are not final, of a message or of a client",
		Args:  cobra.MaximumNArgs(1),
	}, func(cmd *cobra.Command, args []string, api *client.Client) error {
		if err := limitsSomething(cmd, "through"); err != nil {
			return err
		}
		switch {
		case queue != "" && len(args) > 0:
			return usagef("give a message or --client; --through names the last message of the client's queue to cancel")
		case queue != "":
			return e.cancelQueue(cmd, api, queue, through)
		case len(args) == 0 || through != "":
			return usagef("give a message, or --client; --through goes with --client")
		}
		return e.showMessage(api.Cancel(cmd.Context(), args[0]))
	})
	cmd.Flags().StringVar(&queue, "client", "", "cancel what is queued for this client; its connection stays")
	cmd.Flags().StringVar(&through, "through", "", "with --client: only up to and including this message")
	return cmd
}

// showMessage prints one message.
func (e *environ) showMessage(m *client.Message, err error) error {
	if err != nil {
		return err
	}
	replayed := ""
	if m.Replayed {
		replayed = "yes: an earlier request with this key made the message"
	}
	attempts := ""
	if m.Attempts > 0 {
		attempts = count(m.Attempts)
	}
	return e.facts(m,
		"id", m.ID,
		"status", string(m.Status),
		"client", m.Client,
		"counts", counts(m),
		"reason", string(m.Reason),
		"result", answerText(m.Outcome),
		"progress", textOf(m.Progress, m.ProgressBase64),
		"attempts", attempts,
		"payload", clip(m.Display(), 200),
		"metadata", pairs(m.Metadata),
		"created", clock(m.CreatedAt),
		"sent", clock(m.SentAt),
		"final", clock(m.FinalAt),
		"expires", expires(m),
		"late ack", clock(m.LateAckAt),
		"replayed", replayed,
	)
}

// show prints a list: for each item a row of a table or a line of JSON.
func show[T any](e *environ, t *table, all iter.Seq2[T, error], cells func(T) []string) error {
	for item, err := range all {
		if err != nil {
			if len(t.rows) > 0 { // before the error
				t.flush()
			}
			return err
		}
		if e.json() {
			err = e.printJSON(item)
		} else {
			err = t.row(cells(item)...)
		}
		if err != nil {
			return err
		}
	}
	if e.json() {
		return nil
	}
	return t.flush()
}

// showList prints a list that came as a whole, as show does.
func showList[T any](e *environ, t *table, list []T, err error, cells func(T) []string) error {
	if err != nil {
		return err
	}
	return show(e, t, func(yield func(T, error) bool) {
		for _, item := range list {
			if !yield(item, nil) {
				return
			}
		}
	}, cells)
}

func (e *environ) showMessages(all iter.Seq2[client.Message, error]) error {
	now := time.Now()
	return show(e, e.table("ID", "STATUS", "TO", "CREATED", "RESULT"), all, func(m client.Message) []string {
		return []string{m.ID, string(m.Status), recipients(&m), ago(m.CreatedAt, now), outcome(&m)}
	})
}

func (e *environ) showDeliveries(all iter.Seq2[client.Delivery, error]) error {
	return show(e, e.table("CLIENT", "STATUS", "ATTEMPTS", "FINAL", "RESULT"), all, func(d client.Delivery) []string {
		result := cmp.Or(string(d.Reason), clip(answerText(d.Outcome), 60))
		return []string{d.Client, string(d.Status), count(d.Attempts), clock(d.FinalAt), result}
	})
}

func recipients(m *client.Message) string {
	switch {
	case m.Client != "":
		return m.Client
	case m.Counts != nil:
		return count(m.Counts.Total) + " clients"
	}
	return ""
}

func outcome(m *client.Message) string {
	switch {
	case m.Reason != "":
		return string(m.Reason)
	case m.Client == "":
		return counts(m)
	}
	return clip(answerText(m.Outcome), 60)
}

// counts formats the states of a message to many clients, without zeros.
func counts(m *client.Message) string {
	if m.Counts == nil || m.Client != "" {
		return ""
	}
	c := m.Counts
	s := fmt.Sprintf("%d of %d acked", c.Acked, c.Total)
	for _, st := range []struct {
		n    int
		name string
	}{{c.Queued, "queued"}, {c.Sent, "sent"}, {c.Rejected, "rejected"}, {c.Expired, "expired"}, {c.Canceled, "canceled"}, {c.Failed, "failed"}} {
		if st.n > 0 {
			s += fmt.Sprintf(", %d %s", st.n, st.name)
		}
	}
	return s
}

// answerText formats a device's answer for people.
func answerText(o client.Outcome) string { return textOf(o.Result, o.ResultBase64) }

// textOf formats the bytes of an answer as text, or as base64 if they are not text.
func textOf(text *string, b []byte) string {
	if text != nil {
		return *text
	}
	return base64.StdEncoding.EncodeToString(b)
}

// expires formats the expiry of a message that is not final, "" for a final one.
func expires(m *client.Message) string {
	if m.Status.Final() {
		return ""
	}
	return clock(m.ExpiresAt)
}
