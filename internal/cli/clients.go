package cli

import (
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/longwire/longwire/client"
)

func (e *environ) clientsCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "clients", Aliases: []string{"client"}, Short: "List, create, probe, disconnect and forget clients"}
	cmd.AddCommand(e.clientsList(), e.clientsGet(), e.clientsCreate(), e.clientsSet(), e.clientsProbe(), e.clientsKick(), e.clientsUnblock(), e.clientsForget(), e.clientsTimeline(), e.clientsTrace())
	return cmd
}

func (e *environ) clientsList() *cobra.Command {
	var q client.ClientQuery
	var status string
	var labels []string
	queuedGT := -1
	var order string
	var since time.Duration
	cmd := e.command(&cobra.Command{
		Use:   "ls",
		Short: "List clients, by default those online",
		Args:  cobra.NoArgs,
	}, func(cmd *cobra.Command, _ []string, api *client.Client) (err error) {
		if q.Labels, err = parsePairs("label", labels); err != nil {
			return err
		}
		if queuedGT >= 0 {
			q.QueuedGT = &queuedGT
		}
		q.Presence = client.Presence(status)
		if q.Descending, err = descending(order); err != nil {
			return err
		}
		if since > 0 {
			q.Since = time.Now().Add(-since)
		}
		return e.showClients(api.Clients(cmd.Context(), q))
	})
	f := cmd.Flags()
	f.StringVar(&status, "status", "online", "online, suspect, offline, blocked or all")
	f.StringVar(&q.Prefix, "prefix", "", "only ids with this prefix")
	f.StringVar(&q.Group, "group", "", "only members of this group")
	f.StringArrayVar(&labels, "label", nil, "only clients with this label, name=value (repeat: all of the labels)")
	f.IntVar(&queuedGT, "queued-gt", -1, "only clients with more queued messages than this")
	durationVar(f, &q.QueuedOlderThan, "queued-older-than", 0, "only clients with a message that has been queued for longer, such as 10m")
	f.StringVar(&q.IP, "ip", "", "only clients connected from this address or network, such as 203.0.113.0/24")
	f.StringVar(&q.Dialect, "dialect", "", "only clients connected with v1, v2 or text")
	durationVar(f, &since, "since", 0, "only clients that connected, or were last seen, within this time, such as 10m")
	f.StringVar(&q.From, "from", "", "begin with this id, known or not")
	f.StringVar(&order, "order", "asc", "order of the ids, asc or desc")
	countVar(f, &q.Limit, "limit", 0, "number of clients, 0 for all")
	cmd.RegisterFlagCompletionFunc("status", cobra.FixedCompletions([]string{"online", "suspect", "offline", "blocked", "all"}, cobra.ShellCompDirectiveNoFileComp))
	cmd.RegisterFlagCompletionFunc("order", cobra.FixedCompletions([]string{"asc", "desc"}, cobra.ShellCompDirectiveNoFileComp))
	cmd.RegisterFlagCompletionFunc("dialect", cobra.FixedCompletions([]string{"v1", "v2", "text"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func (e *environ) showClients(all iter.Seq2[client.ClientInfo, error]) error {
	now := time.Now()
	t := e.table("ID", "STATUS", "SINCE", "DIALECT", "ADDRESS", "QUEUED", "IN FLIGHT", "GROUPS", "LABELS")
	return show(e, t, all, func(c client.ClientInfo) []string {
		since := c.LastSeenAt
		if c.Online {
			since = c.ConnectedAt
		}
		return []string{c.ID, presence(&c), ago(since, now), c.Dialect, c.RemoteAddr, count(c.Queued), count(c.InFlight),
			strings.Join(c.Groups, ","), pairs(c.Labels)}
	})
}

func presence(c *client.ClientInfo) string {
	state := "offline"
	switch {
	case c.Presence == client.PresenceSuspect:
		state = "suspect"
	case c.Online:
		state = "online"
	}
	if c.Online && c.Confirmed != nil && !*c.Confirmed {
		state += " (unconfirmed)"
	}
	return state
}

func (e *environ) clientsGet() *cobra.Command {
	var messages bool
	cmd := e.command(&cobra.Command{
		Use:   "get ID",
		Short: "Show one client",
		Args:  cobra.ExactArgs(1),
	}, func(cmd *cobra.Command, args []string, api *client.Client) error {
		if messages {
			return e.showMessages(api.Messages(cmd.Context(), client.MessageQuery{Client: args[0], Limit: 100}))
		}
		return e.showClient(api.Client(cmd.Context(), args[0]))
	})
	cmd.Flags().BoolVar(&messages, "messages", false, "list the client's queue and its last 100 messages instead")
	return cmd
}

func (e *environ) showClient(c *client.ClientInfo, err error) error {
	if err != nil {
		return err
	}
	link := strings.TrimSpace(strings.Join([]string{c.Dialect, c.Transport, c.RemoteAddr}, " "))
	traffic := ""
	if c.Online {
		traffic = fmt.Sprintf("%d messages (%s) in, %d messages (%s) out",
			c.MessagesIn, bytesize(c.BytesIn), c.MessagesOut, bytesize(c.BytesOut))
	}
	rtt := ""
	if c.RTTMS > 0 {
		rtt = fmt.Sprintf("%.3g ms", c.RTTMS)
	}
	return e.facts(c,
		"id", c.ID,
		"status", presence(c),
		"connected", clock(c.ConnectedAt),
		"last seen", clock(c.LastSeenAt),
		"link", link,
		"round trip", rtt,
		"session", c.Session,
		"traffic", traffic,
		"queued", count(c.Queued),
		"in flight", count(c.InFlight),
		"groups", strings.Join(c.Groups, ","),
		"labels", pairs(c.Labels),
		"reported", pairs(c.Reported),
		"last close", c.LastClose.String(),
		"blocked until", clock(c.BlockedUntil),
		"known since", clock(c.CreatedAt),
	)
}

func (e *environ) clientsCreate() *cobra.Command {
	var labels []string
	var n client.NewClient
	cmd := e.command(&cobra.Command{
		Use:     "create ID",
		Short:   "Create a client before its first contact",
		Example: "  longwire clients create truck-17 --label model=x2 --group fleet-a",
		Args:    cobra.ExactArgs(1),
	}, func(cmd *cobra.Command, args []string, api *client.Client) (err error) {
		n.ID = args[0]
		if n.Labels, err = parsePairs("label", labels); err != nil {
			return err
		}
		return e.showClient(api.CreateClient(cmd.Context(), n))
	})
	cmd.Flags().StringArrayVar(&labels, "label", nil, "set a label, name=value (repeat)")
	cmd.Flags().StringArrayVar(&n.Groups, "group", nil, "make it a member of a group (repeat)")
	return cmd
}

func (e *environ) clientsSet() *cobra.Command {
	var labels, groups []string
	cmd := e.command(&cobra.Command{
		Use:   "set ID",
		Short: "Change a client's labels and groups",
		Example: `  longwire clients set truck-17 --label model=x2 --label old=
  longwire clients set truck-17 --group fleet-a --group trucks`,
		Args: cobra.ExactArgs(1),
	}, func(cmd *cobra.Command, args []string, api *client.Client) error {
		given, err := parsePairs("label", labels)
		if err != nil {
			return err
		}
		change := client.ClientChange{Labels: make(map[string]*string, len(given))}
		for k, v := range given {
			change.Labels[k] = nil
			if v != "" {
				change.Labels[k] = &v
			}
		}
		if cmd.Flags().Changed("group") {
			groups = slices.DeleteFunc(groups, func(g string) bool { return g == "" })
			change.Groups = &groups
		}
		if len(change.Labels) == 0 && change.Groups == nil {
			return usagef("nothing to change: give --label or --group")
		}
		return e.showClient(api.UpdateClient(cmd.Context(), args[0], change))
	})
	cmd.Flags().StringArrayVar(&labels, "label", nil, "set a label, name=value; name= removes it (repeat)")
	cmd.Flags().StringArrayVar(&groups, "group", nil, `replace the groups (repeat; "" for none)`)
	return cmd
}

func (e *environ) clientsKick() *cobra.Command {
	var o client.DisconnectOptions
	cmd := &cobra.Command{
		Use:   "kick ID…",
		Short: "Disconnect clients now and keep their queues",
		Args:  cobra.MinimumNArgs(1),
		RunE: e.withAPI(func(cmd *cobra.Command, args []string, api *client.Client) error {
			return e.each(args, "is offline", func(id string) error { return api.Disconnect(cmd.Context(), id, o) })
		}),
	}
	cmd.Flags().BoolVar(&o.Purge, "purge", false, "cancel their queued messages")
	durationVar(cmd.Flags(), &o.Block, "block", 0, "refuse new connections of theirs for this time, such as 10m")
	return e.apiFlags(cmd)
}

func (e *environ) clientsUnblock() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "unblock ID…",
		Short: "Allow clients to return that kick --block keeps away",
		Args:  cobra.MinimumNArgs(1),
		RunE: e.withAPI(func(cmd *cobra.Command, args []string, api *client.Client) error {
			return e.each(args, "may come back", func(id string) error { return api.Unblock(cmd.Context(), id) })
		}),
	}
	return e.apiFlags(cmd)
}

func (e *environ) clientsForget() *cobra.Command {
	var q client.ClientQuery
	var status string
	var labels []string
	confirm := -1
	cmd := &cobra.Command{
		Use:   "forget [ID…]",
		Short: "Remove clients with their queues",
		Long: `Remove clients: connections end, queued messages are canceled, and the records go with
labels, groups and blocks. A client that registers again is a new one.

Name the clients, or select them with flags. A selection of at most 1,000 clients is
removed at once if --confirm is its number; the refusal without it says the number.`,
		Example: `  longwire clients forget truck-17
  longwire clients forget --prefix test- --status offline --confirm 37`,
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if q.Labels, err = parsePairs("label", labels); err != nil {
				return err
			}
			if err := limitsSomething(cmd, "status", "prefix", "group"); err != nil {
				return err
			}
			q.Presence = client.Presence(status)
			selects := status != "" || q.Prefix != "" || q.Group != "" || len(q.Labels) > 0
			if selects == (len(args) > 0) {
				return usagef("name clients, or select them with --status, --prefix, --group or --label")
			}
			api, err := e.api()
			if err != nil {
				return err
			}
			err = e.each(args, "forgotten", func(id string) error { return api.Forget(cmd.Context(), id) })
			if err != nil || !selects {
				return err
			}
			done, err := api.ForgetAll(cmd.Context(), q, confirm)
			if err != nil {
				return err
			}
			fmt.Fprintf(e.err, "%d clients forgotten, %d queued messages canceled\n", done.Forgotten, done.Canceled)
			if done.More {
				fmt.Fprintln(e.err, "There are more: repeat the command")
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&status, "status", "", "online, offline, blocked or all")
	f.StringVar(&q.Prefix, "prefix", "", "ids with this prefix")
	f.StringVar(&q.Group, "group", "", "members of this group")
	f.StringArrayVar(&labels, "label", nil, "clients with this label, name=value (repeat: all of the labels)")
	f.IntVar(&confirm, "confirm", -1, "number of clients that the selection has")
	cmd.RegisterFlagCompletionFunc("status", cobra.FixedCompletions([]string{"online", "offline", "blocked", "all"}, cobra.ShellCompDirectiveNoFileComp))
	return e.apiFlags(cmd)
}

func (e *environ) uplinksCommand() *cobra.Command {
	var q client.UplinkQuery
	var order string
	cmd := e.command(&cobra.Command{
		Use:   "uplinks",
		Short: "List the messages that devices have sent, oldest first",
		Long: `List the messages that devices have sent, oldest first. With --follow the command
goes on behind the last one when the gateway was away.`,
		Args: cobra.NoArgs,
	}, func(cmd *cobra.Command, _ []string, api *client.Client) (err error) {
		if q.NewestFirst, err = descending(order); err != nil {
			return err
		}
		if q.NewestFirst && (q.Follow || q.After > 0) {
			return usagef("--order desc is not for --follow and --after")
		}
		if q.Before > 0 && !q.NewestFirst {
			return usagef("--before goes with --order desc")
		}
		t := e.table("SEQ", "CLIENT", "RECEIVED", "PAYLOAD")
		t.live = q.Follow
		q.Reconnecting = e.reconnecting
		err = show(e, t, api.Uplinks(cmd.Context(), q), func(u client.Uplink) []string {
			return []string{strconv.FormatUint(u.Seq, 10), u.Client, clock(u.ReceivedAt), clip(u.Display(), 100)}
		})
		if q.Follow && cmd.Context().Err() != nil {
			return nil // an interrupt is the normal end
		}
		return err
	})
	cmd.Flags().StringVar(&q.Client, "client", "", "only messages from this client")
	cmd.Flags().Uint64Var(&q.After, "after", 0, "only messages after this sequence")
	cmd.Flags().StringVar(&order, "order", "asc", "asc: oldest first, desc: newest first")
	cmd.Flags().Uint64Var(&q.Before, "before", 0, "with --order desc: only messages before this sequence")
	cmd.Flags().BoolVarP(&q.Follow, "follow", "f", false, "then wait for new messages (with --limit 0 for ever)")
	countVar(cmd.Flags(), &q.Limit, "limit", 100, "number of messages, 0 for all")
	return cmd
}
