package cli

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/longwire/longwire/client"
	"github.com/longwire/longwire/internal/private"
)

// maxPayload is the largest payload that a gateway accepts, in bytes.
const maxPayload = 256 << 10

// pushFlags are the options of push as typed.
type pushFlags struct {
	to         client.Audience
	labels     []string
	json       string
	file       string
	mode       string
	ttl, wait  time.Duration
	key        string
	metadata   []string
	unknown    bool
	onlineOnly bool
	dryRun     bool
	most       int
	rate       int
}

func (e *environ) pushCommand() *cobra.Command {
	var f pushFlags
	cmd := &cobra.Command{
		Use:   "push [CLIENT[,CLIENT…]] [TEXT]",
		Short: "Push a message to one client, to many or to all",
		Long: `Push a message. Its recipients are one client, several separated by commas, or
--group, --label or --all. Its payload is TEXT, --json, or the bytes of --file. "-"
is standard input. Without a payload, push reads standard input if that is not a
terminal.

When push returns, the message is on the gateway's disk and its id is printed. With
--wait push returns when the message is final, and exits with 1 unless every
recipient has acked.`,
		Example: `  longwire push truck-17 "hello" --wait 5s
  longwire push truck-17,truck-18 --json '{"cmd":"lock"}' --ttl 10m
  longwire push --all --file notice.bin
  longwire push --group fleet-a "hello" --dry-run
  longwire push --group fleet-a "hello" --max-recipients 200
  longwire push --all "restart" --rate 50
  date | longwire push --group fleet-a`,
		Args: cobra.MaximumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if cmd.Flags().Changed("ttl") && f.ttl <= 0 { // 0 would be the default
				return usagef("--ttl %s: want 1s to 720h", f.ttl)
			}
			if name := emptyFlag(cmd, "group", "json", "file"); name != "" {
				return usagef("--%s is empty", name)
			}
			rest, err := f.audience(args)
			if err != nil {
				return err
			}
			p, err := f.push(e, rest)
			if err != nil {
				return err
			}
			return e.runPush(cmd, f, p)
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&f.to.Group, "group", "", "to every member of a group")
	fl.StringArrayVar(&f.labels, "label", nil, "to every client with this label, name=value (repeat: all of the labels)")
	fl.BoolVar(&f.to.All, "all", false, "to every known client")
	fl.StringVar(&f.json, "json", "", "payload as JSON")
	fl.StringVar(&f.file, "file", "", "payload from a file, - for standard input")
	fl.StringVar(&f.mode, "mode", "durable", `"durable" stores the message until it can be delivered, "online" delivers it now or never`)
	durationVar(fl, &f.ttl, "ttl", 0, "time after which an undelivered message expires, 1s to 720h (default 24h)")
	durationVar(fl, &f.wait, "wait", 0, "wait for the final state, at most 60s (default 10s with --mode online)")
	fl.StringVar(&f.key, "idempotency-key", "", "a second push with the same key within 24h makes no second message; 1 to 255 characters of printable ASCII")
	fl.StringArrayVar(&f.metadata, "metadata", nil, "metadata of the message, name=value (repeat)")
	fl.BoolVar(&f.unknown, "queue-unknown", false, "accept the message for a client that never registered")
	fl.BoolVar(&f.onlineOnly, "online-only", false, "with --group, --label or --all: only to clients that are connected now")
	fl.BoolVar(&f.dryRun, "dry-run", false, "show how many clients would get the message, and push nothing")
	fl.IntVar(&f.most, "max-recipients", 0, "push nothing if more clients than this would get the message (0 = no bound)")
	fl.IntVar(&f.rate, "rate", 0, "to many: begin delivery to so many connected clients a second (0 = no limit)")
	cmd.RegisterFlagCompletionFunc("mode", cobra.FixedCompletions([]string{"durable", "online"}, cobra.ShellCompDirectiveNoFileComp))
	e.outputFlag(cmd)
	return e.apiFlags(cmd)
}

// audience takes the recipients from args and flags and returns the other args.
func (f *pushFlags) audience(args []string) (rest []string, err error) {
	if f.to.Labels, err = parsePairs("label", f.labels); err != nil {
		return nil, err
	}
	wide := 0
	for _, set := range []bool{f.to.Group != "", f.to.Labels != nil, f.to.All} {
		if set {
			wide++
		}
	}
	switch {
	case wide > 1:
		return nil, usagef("give one of --group, --label and --all")
	case wide == 1 && len(args) > 1:
		return nil, usagef("clients %q and a wider audience do not go together", args[0])
	case wide == 1:
		return args, nil
	case len(args) == 0 || args[0] == "":
		return nil, usagef("no recipient: name a client, or give --group, --label or --all")
	}
	if f.to.Clients = strings.Split(args[0], ","); len(f.to.Clients) == 1 {
		f.to.Client, f.to.Clients = args[0], nil
	}
	return args[1:], nil
}

// push builds the push from the payload and the options.
func (f *pushFlags) push(e *environ, args []string) (p client.Push, err error) {
	p = client.Push{Mode: client.Mode(f.mode), TTL: f.ttl, Wait: f.wait,
		QueueUnknown: f.unknown, OnlineOnly: f.onlineOnly, MaxRecipients: f.most, Rate: f.rate, IdempotencyKey: f.key}
	if f.rate < 0 || f.rate > 0 && f.to.Client != "" {
		return p, usagef("--rate %d: want at least 1, and a message to many", f.rate)
	}
	if f.most < 0 {
		return p, usagef("--max-recipients %d: want at least 1", f.most)
	}
	if f.dryRun && p.Mode == client.Online {
		return p, usagef("--dry-run is not for --mode online, which goes to one client")
	}
	if p.Mode != client.Durable && p.Mode != client.Online {
		return p, usagef("--mode %q: want durable or online", f.mode)
	}
	if p.Mode == client.Durable {
		p.Mode = "" // the default
	} else if f.to.Client == "" {
		return p, usagef("--mode online goes to one client")
	}
	if p.Metadata, err = parsePairs("metadata", f.metadata); err != nil {
		return p, err
	}
	p.Payload, err = f.payload(e, args)
	return p, err
}

func (f *pushFlags) payload(e *environ, args []string) (client.Payload, error) {
	var none client.Payload
	switch {
	case len(args)+set(f.json)+set(f.file) > 1:
		return none, usagef("give one payload: TEXT, --json or --file")
	case len(args) == 1:
		return client.Text(args[0]), nil
	case f.json != "":
		if !json.Valid([]byte(f.json)) {
			return none, usagef("--json is not valid JSON")
		}
		return client.JSON(json.RawMessage(f.json)), nil
	case f.file != "" && f.file != "-":
		b, err := readBounded(f.file, maxPayload)
		return payloadOf(b), err
	case f.file == "" && isTerminal(e.in):
		return none, usagef("no payload: give TEXT, --json or --file (- for standard input)")
	}
	b, err := private.ReadAll(e.in, "standard input", maxPayload)
	return payloadOf(b), err
}

func set(s string) int {
	if s == "" {
		return 0
	}
	return 1
}

// payloadOf sends valid text as text, so that the API can show it as text.
func payloadOf(b []byte) client.Payload {
	if utf8.Valid(b) {
		return client.Text(string(b))
	}
	return client.Bytes(b)
}

func (e *environ) runPush(cmd *cobra.Command, f pushFlags, p client.Push) error {
	api, err := e.api()
	if err != nil {
		return err
	}
	if f.dryRun {
		return e.dryRun(cmd.Context(), api, f.to, p)
	}
	var m *client.Message
	if f.to.Client != "" {
		m, err = api.Push(cmd.Context(), f.to.Client, p)
	} else {
		m, err = api.PushTo(cmd.Context(), f.to, p)
	}
	if errors.Is(err, context.Canceled) {
		return errors.New(`interrupted: the gateway may have the message; "longwire messages ls" shows it`)
	}
	if err := e.showMessage(m, err); err != nil {
		return err
	}
	if (p.Wait > 0 || p.Mode == client.Online) && !allAcked(m) {
		return errSilent
	}
	return nil
}

// allAcked reports whether every recipient has acked.
func allAcked(m *client.Message) bool {
	if m.Counts != nil && m.Status == client.Completed {
		return m.Counts.Acked == m.Counts.Total
	}
	return m.Status == client.Acked
}
