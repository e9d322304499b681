package cli

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/longwire/longwire/client"
)

func (e *environ) webhooksCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "webhooks",
		Aliases: []string{"webhook"},
		Short:   "Create, test and follow webhooks",
		Long: `Manage webhooks: the gateway posts events to an endpoint of your backend, signed and
in order.

  longwire webhooks create http://127.0.0.1:9000/hook --types 'message.received,client.*'
  longwire webhooks ls
  longwire webhooks test wh_...
  longwire webhooks attempts wh_...
  longwire webhooks replay wh_... --since 1h`,
	}
	cmd.AddCommand(e.webhooksCreate(), e.webhooksList(), e.webhooksGet(), e.webhooksState("pause", "Stop sending; the webhook keeps its place", "paused"),
		e.webhooksState("resume", "Send again from where it has stopped, also after the gateway has disabled it; retry what has failed now", "active"),
		e.webhooksTest(), e.webhooksAttempts(), e.webhooksReplay(), e.webhooksDead(), e.webhooksRotate(), e.webhooksRemove())
	return cmd
}

func (e *environ) webhooksCreate() *cobra.Command {
	var s client.WebhookSpec
	var labels, headers []string
	cmd := e.command(&cobra.Command{
		Use:   "create URL",
		Short: "Create a webhook and print its secret, only this once",
		Args:  cobra.ExactArgs(1),
	}, func(cmd *cobra.Command, args []string, api *client.Client) (err error) {
		s.URL = args[0]
		if err := limitsSomething(cmd, "types", "client", "prefix", "group"); err != nil {
			return err
		}
		if s.Labels, err = parsePairs("label", labels); err != nil {
			return err
		}
		if s.Headers, err = parsePairs("header", headers); err != nil {
			return err
		}
		return e.showWebhook(api.CreateWebhook(cmd.Context(), s))
	})
	f := cmd.Flags()
	f.StringVar(&s.Name, "name", "", "a name for people")
	f.StringSliceVar(&s.Types, "types", nil, "types of events, such as message.acked or client.*; none for all")
	f.StringVar(&s.Client, "client", "", "only events of this client")
	f.StringVar(&s.Prefix, "prefix", "", "only events of clients whose id has this prefix")
	f.StringVar(&s.Group, "group", "", "only events of clients in this group")
	f.StringArrayVar(&labels, "label", nil, "only events of clients with this label, key=value")
	f.StringArrayVar(&headers, "header", nil, "a header of each request, name=value")
	f.StringVar(&s.Start, "start", "", "now (the default), earliest, a cursor, a time, or a duration such as 1h ago")
	f.StringVar(&s.Timeout, "request-timeout", "", "of one request, such as 10s")
	f.IntVar(&s.Concurrency, "concurrency", 0, "requests at once")
	f.StringVar(&s.RetryFor, "retry-for", "", "how long an event is tried before it becomes a dead letter, such as 72h")
	f.StringVar(&s.Settle, "settle", "", "a client that is back so soon is not told to have gone, such as 30s")
	f.BoolVar(&s.Reply, "reply", false, "push the endpoint's answer to message.received to the device")
	return cmd
}

func (e *environ) webhooksList() *cobra.Command {
	return e.command(&cobra.Command{Use: "ls", Short: "List webhooks", Args: cobra.NoArgs}, func(cmd *cobra.Command, _ []string, api *client.Client) error {
		all, err := api.Webhooks(cmd.Context())
		return showList(e, e.table("ID", "STATE", "LAG", "PARKED", "LAST SUCCESS", "URL"), all, err, func(w client.Webhook) []string {
			return []string{w.ID, webhookState(&w), strconv.FormatUint(w.LagEvents, 10), count(w.ParkedClients), clock(w.LastSuccessAt), w.URL}
		})
	})
}

func webhookState(w *client.Webhook) string {
	if w.Down {
		return "down"
	}
	return w.State
}

func (e *environ) webhooksGet() *cobra.Command {
	return e.command(&cobra.Command{Use: "get ID", Short: "Show a webhook and how far it has come", Args: cobra.ExactArgs(1)}, func(cmd *cobra.Command, args []string, api *client.Client) error {
		return e.showWebhook(api.Webhook(cmd.Context(), args[0]))
	})
}

func (e *environ) webhooksState(use, short, state string) *cobra.Command {
	return e.command(&cobra.Command{Use: use + " ID", Short: short, Args: cobra.ExactArgs(1)}, func(cmd *cobra.Command, args []string, api *client.Client) error {
		return e.showWebhook(api.UpdateWebhook(cmd.Context(), args[0], map[string]any{"state": state}))
	})
}

func (e *environ) webhooksTest() *cobra.Command {
	return e.command(&cobra.Command{Use: "test ID", Short: "Send a signed sample now and show the answer", Args: cobra.ExactArgs(1)}, func(cmd *cobra.Command, args []string, api *client.Client) error {
		a, err := api.TestWebhook(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		err = e.facts(a, "status", statusOf(a.Status), "duration", fmt.Sprint(a.Millis, " ms"), "answer", clip(a.Answer, 200), "error", a.Error)
		if err == nil && a.Error != "" {
			err = errSilent // it is shown
		}
		return err
	})
}

func statusOf(status int) string {
	if status == 0 {
		return ""
	}
	return strconv.Itoa(status)
}

func (e *environ) webhooksAttempts() *cobra.Command {
	return e.command(&cobra.Command{Use: "attempts ID", Short: "List the last requests, newest first", Args: cobra.ExactArgs(1)}, func(cmd *cobra.Command, args []string, api *client.Client) error {
		all, err := api.WebhookAttempts(cmd.Context(), args[0])
		return showList(e, e.table("AT", "TYPE", "CLIENT", "TRY", "STATUS", "MS", "ERROR"), all, err, func(a client.WebhookAttempt) []string {
			return []string{clock(a.At), string(a.Type), a.Client, strconv.Itoa(a.Try), statusOf(a.Status), strconv.FormatInt(a.Millis, 10), a.Error}
		})
	})
}

func (e *environ) webhooksReplay() *cobra.Command {
	var r client.ReplayRange
	cmd := e.command(&cobra.Command{Use: "replay ID --since TIME", Short: "Send events of the log again, in the background", Args: cobra.ExactArgs(1)}, func(cmd *cobra.Command, args []string, api *client.Client) error {
		if (r.After == "") == (r.Since == "") {
			return usagef("want either --since or --after")
		}
		if err := limitsSomething(cmd, "until"); err != nil {
			return err
		}
		return api.ReplayWebhook(cmd.Context(), args[0], r)
	})
	f := cmd.Flags()
	f.StringVar(&r.Since, "since", "", "logged at this time or later, or so long ago at most, such as 1h")
	f.StringVar(&r.After, "after", "", "behind this cursor; earliest for all")
	f.StringVar(&r.Until, "until", "", "up to this time, or so long ago; by default up to now")
	return cmd
}

func (e *environ) webhooksDead() *cobra.Command {
	redeliver := false
	cmd := e.command(&cobra.Command{Use: "dead ID", Short: "List dead letters, or send them again", Args: cobra.ExactArgs(1)}, func(cmd *cobra.Command, args []string, api *client.Client) error {
		if redeliver {
			n, failure, err := api.Redeliver(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if e.json() {
				err = e.printJSON(map[string]any{"delivered": n, "error": failure})
			} else {
				_, err = fmt.Fprintf(e.out, "%d delivered\n", n)
			}
			if err == nil && failure != "" {
				err = errors.New(failure)
			}
			return err
		}
		all, err := api.DeadLetters(cmd.Context(), args[0])
		return showList(e, e.table("AT", "SEQUENCE", "STATUS", "ERROR"), all, err, func(d client.DeadLetter) []string {
			return []string{clock(d.At), d.Sequence, statusOf(d.Status), d.Error}
		})
	})
	cmd.Flags().BoolVar(&redeliver, "redeliver", false, "send them again, until the endpoint does not take one")
	return cmd
}

func (e *environ) webhooksRotate() *cobra.Command {
	return e.command(&cobra.Command{Use: "rotate ID", Short: "Make a new secret and print it; the old one signs too for a day", Args: cobra.ExactArgs(1)}, func(cmd *cobra.Command, args []string, api *client.Client) error {
		return e.showWebhook(api.RotateWebhook(cmd.Context(), args[0]))
	})
}

func (e *environ) webhooksRemove() *cobra.Command {
	return e.command(&cobra.Command{Use: "rm ID", Short: "Delete a webhook with its dead letters", Args: cobra.ExactArgs(1)}, func(cmd *cobra.Command, args []string, api *client.Client) error {
		return api.DeleteWebhook(cmd.Context(), args[0])
	})
}

func (e *environ) showWebhook(w *client.Webhook, err error) error {
	if err != nil {
		return err
	}
	types := cmp.Or(strings.Join(w.Types, ", "), "all")
	return e.facts(w, "id", w.ID, "name", w.Name, "url", w.URL, "types", types, "client", w.Client, "prefix", w.Prefix, "group", w.Group,
		"labels", pairs(w.Labels), "state", webhookState(w), "reason", w.Reason, "cursor", w.Cursor, "lag", strconv.FormatUint(w.LagEvents, 10),
		"parked clients", count(w.ParkedClients), "last success", clock(w.LastSuccessAt), "last error", w.LastError, "secret", w.Secret)
}
