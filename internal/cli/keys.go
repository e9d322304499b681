package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/longwire/longwire/internal/apikey"
	"github.com/longwire/longwire/internal/config"
)

func (e *environ) keysCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "keys",
		Short: "Create, list and revoke API keys",
		Long: `Manage who may call the HTTP API. Keys are kept, hashed, in the data directory
(api-keys.json), which is named as for "longwire serve": --data-dir,
LONGWIRE_DATA_DIR, or data.dir of the configuration file.

A running gateway is asked over its socket there (admin.sock, for its owner and
root only) and knows of the change at once; without one the file is changed, so
that the first key can be made before the first start.

  export LONGWIRE_API_KEY=$(longwire keys create --name me --scopes admin)
  longwire keys create --name acme --scopes messages:write,events:read --prefix acme- --expires 90d
  longwire keys list
  longwire keys revoke key_...`,
	}
	cmd.AddCommand(e.keysCreate(), e.keysList(), e.keysRevoke())
	return cmd
}

// keyring is the keys of a data directory, asked of the process that holds it,
// or in the file when none does.
type keyring struct {
	dir  string
	file string
}

// keyringFlags adds the flags that name the data directory; open finds it.
func (e *environ) keyringFlags(cmd *cobra.Command) (open func() (*keyring, error)) {
	dir := e.dataDirFlags(cmd)
	return func() (*keyring, error) {
		d, err := dir()
		if err != nil {
			return nil, err
		}
		c := config.Config{Data: config.Data{Dir: d}}
		return &keyring{dir: d, file: c.APIKeyFile()}, nil
	}
}

// ask asks the holder, or does it in the file.
func (k *keyring) ask(ctx context.Context, method, path string, in, out any, inFile func(*apikey.Keyset) error) error {
	err := askHolder(ctx, k.dir, method, path, in, out)
	if !errors.Is(err, errNoHolder) {
		return err
	}
	ring, err := apikey.Open(k.file, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	return inFile(ring)
}

func (e *environ) keysCreate() *cobra.Command {
	var q apikey.Request
	life := ""
	cmd := &cobra.Command{
		Use:   "create --name NAME --scopes SCOPE,...",
		Short: "Create a key and print its secret, which is shown this once",
		Long: `Create a key. Its secret goes to standard output, alone, and is not kept: only its
hash is. What else is to say goes to standard error.

Scopes: ` + strings.Join(apikey.ScopeNames(), ", ") + `.
Writing does not include reading; admin includes everything, and managing keys.

--prefix or --group limit the key to the clients whose id begins so, or that are
in that group: it sees and touches nothing else. A limited key cannot have the
scopes admin and metrics:read.

To rotate a key create its successor, and revoke it when nobody uses it any more:
both are valid meanwhile, and "longwire keys list" tells when each was used last.`,
		Args: cobra.NoArgs,
	}
	open := e.keyringFlags(cmd)
	f := cmd.Flags()
	f.StringVar(&q.Name, "name", "", "what the key is for")
	f.StringSliceVar(&q.Scopes, "scopes", nil, "what it may do, by comma")
	f.StringVar(&q.Prefix, "prefix", "", "only clients whose id begins so")
	f.StringVar(&q.Group, "group", "", "only clients that are in this group")
	f.StringVar(&life, "expires", "", "end it after this time, such as 90d; empty = never")
	cmd.MarkFlagsMutuallyExclusive("prefix", "group")
	cmd.RegisterFlagCompletionFunc("scopes", cobra.FixedCompletions(apikey.ScopeNames(), cobra.ShellCompDirectiveNoFileComp))
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		now := time.Now()
		if life != "" {
			d, err := config.ParseDuration(life)
			if err != nil || d <= 0 {
				return usagef("--expires %q: want a time such as 12h or 90d", life)
			}
			q.ExpiresAt = now.Add(d.Std())
		}
		if err := checkKey(q, now); err != nil {
			return err
		}
		ring, err := open()
		if err != nil {
			return err
		}
		var made apikey.Created
		err = ring.ask(cmd.Context(), "POST", "/keys", q, &made, func(r *apikey.Keyset) (err error) {
			made, err = r.Make(q, now)
			return err
		})
		if err != nil {
			return err
		}
		return e.showCreated(made)
	}
	e.outputFlag(cmd)
	return cmd
}

// checkKey finds what is wrong with a request before anybody is asked.
func checkKey(q apikey.Request, now time.Time) error {
	spec, err := q.Spec()
	if err == nil {
		err = spec.Check(now)
	}
	if wrong, ok := errors.AsType[*apikey.SpecError](err); ok {
		flag := wrong.Member
		if flag == "expires_at" {
			flag = "expires"
		}
		return usagef("--%s %s", flag, wrong.Text)
	}
	return err
}

func (e *environ) showCreated(k apikey.Created) error {
	if e.json() {
		return e.printJSON(k)
	}
	fmt.Fprintf(e.err, "%s may %s%s%s. The secret is shown this once:\n", k.ID, strings.Join(k.Scopes, ", "), limitWords(k.Info), endWords(k.Info))
	_, err := fmt.Fprintln(e.out, k.Secret)
	return err
}

func limitWords(k apikey.Info) string {
	switch {
	case k.Prefix != "":
		return " for clients " + k.Prefix + "*"
	case k.Group != "":
		return " for clients in the group " + k.Group
	}
	return ""
}

func endWords(k apikey.Info) string {
	if k.ExpiresAt.IsZero() {
		return ""
	}
	return " until " + k.ExpiresAt.Format(time.RFC3339)
}

func (e *environ) keysList() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List the keys, without their secrets",
		Args:    cobra.NoArgs,
	}
	open := e.keyringFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		ring, err := open()
		if err != nil {
			return err
		}
		var all struct{ Keys []apikey.Info }
		err = ring.ask(cmd.Context(), "GET", "/keys", nil, &all, func(r *apikey.Keyset) error {
			all.Keys = r.Infos(time.Now())
			return nil
		})
		if err != nil {
			return err
		}
		return e.showKeys(all.Keys)
	}
	e.outputFlag(cmd)
	return cmd
}

func (e *environ) showKeys(keys []apikey.Info) error {
	if e.json() {
		for _, k := range keys {
			if err := e.printJSON(k); err != nil {
				return err
			}
		}
		return nil
	}
	now := time.Now()
	t := e.table("ID", "NAME", "SCOPES", "CLIENTS", "LAST USED", "EXPIRES")
	for _, k := range keys {
		clients := "all"
		if k.Prefix != "" {
			clients = k.Prefix + "*"
		} else if k.Group != "" {
			clients = "group " + k.Group
		}
		ends := "never"
		if k.Status == apikey.StatusExpired {
			ends = "expired"
		} else if !k.ExpiresAt.IsZero() {
			ends = "in " + span(k.ExpiresAt.Sub(now))
		}
		used := ago(k.LastUsedAt, now)
		if used == "" {
			used = "never"
		}
		t.row(k.ID, k.Name, strings.Join(k.Scopes, ","), clients, used, ends)
	}
	return t.flush()
}

func (e *environ) keysRevoke() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "revoke ID...",
		Short: "End keys at once, and forget them",
		Args:  cobra.MinimumNArgs(1),
	}
	open := e.keyringFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, ids []string) error {
		ring, err := open()
		if err != nil {
			return err
		}
		for _, id := range slices.Compact(ids) {
			err := ring.ask(cmd.Context(), "DELETE", "/keys/"+url.PathEscape(id), nil, nil,
				func(r *apikey.Keyset) error { return r.Revoke(id) })
			if err != nil {
				return fmt.Errorf("revoke %s: %w", id, err)
			}
		}
		return nil
	}
	return cmd
}
