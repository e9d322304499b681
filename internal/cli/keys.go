package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
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
		Long: `Manage the keys of the HTTP API. The data directory contains their hashes
(api-keys.json). Name it as for "longwire serve": --data-dir, LONGWIRE_DATA_DIR, or
data.dir of the configuration file.

The commands ask a running gateway over its socket in that directory (admin.sock,
for its owner and root only), and a change is in force at once. Without a running
gateway they change the file, so that you can create the first key before the first
start.

  export LONGWIRE_API_KEY=$(longwire keys create --name me --scopes admin)
  longwire keys create --name acme --scopes messages:write,events:read --prefix acme- --expires 90d
  longwire keys list
  longwire keys revoke key_...`,
	}
	cmd.AddCommand(e.keysCreate(), e.keysList(), e.keysRevoke())
	return cmd
}

// keyset manages the keys of a data directory: through the process that holds it,
// or in the file if there is none.
type keyset struct {
	dir  string
	file string
}

// keysetFlags adds the flags that name the data directory; open opens its keyset.
func (e *environ) keysetFlags(cmd *cobra.Command) (open func() (*keyset, error)) {
	settings := e.dataFlags(cmd)
	return func() (*keyset, error) {
		cfg, err := settings()
		if err != nil {
			return nil, err
		}
		return &keyset{dir: cfg.Data.Dir, file: cfg.APIKeyFile()}, nil
	}
}

// ask sends a request to the process that holds the directory, or calls inFile.
func (k *keyset) ask(ctx context.Context, method, path string, in, out any, inFile func(*apikey.Keyset) error) error {
	err := askHolder(ctx, k.dir, method, path, in, out)
	if !errors.Is(err, errNoHolder) {
		return err
	}
	ks, err := apikey.Open(k.file, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	return inFile(ks)
}

func (e *environ) keysCreate() *cobra.Command {
	var q apikey.Request
	lifetime := ""
	cmd := &cobra.Command{
		Use:   "create --name NAME --scopes SCOPE,...",
		Short: "Create a key and print its secret, only this once",
		Long: `Create a key. Standard output gets its secret and nothing else; other output goes to
standard error. The gateway keeps only the hash of the secret.

Scopes: ` + strings.Join(apikey.ScopeNames(), ", ") + `.
Writing does not include reading; admin includes every scope, and managing keys.

--prefix or --group limits the key to the clients whose id has that prefix, or that
are in that group. It cannot see or change other clients. A limited key cannot have
the scope admin, and with --group it cannot have metrics:read.

To rotate a key, create a second one and revoke the first when no program uses it.
Until then both are valid. "longwire keys list" shows when each was last used.`,
		Args: cobra.NoArgs,
	}
	open := e.keysetFlags(cmd)
	f := cmd.Flags()
	f.StringVar(&q.Name, "name", "", "the purpose of the key")
	f.StringSliceVar(&q.Scopes, "scopes", nil, "the scopes of the key, separated by commas")
	f.StringVar(&q.Prefix, "prefix", "", "only clients whose id has this prefix")
	f.StringVar(&q.Group, "group", "", "only clients that are in this group")
	f.StringVar(&lifetime, "expires", "", "lifetime of the key, such as 90d; without it unlimited")
	cmd.MarkFlagsMutuallyExclusive("prefix", "group")
	cmd.RegisterFlagCompletionFunc("scopes", cobra.FixedCompletions(apikey.ScopeNames(), cobra.ShellCompDirectiveNoFileComp))
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		now := time.Now()
		if err := limitsSomething(cmd, "prefix", "group", "expires"); err != nil {
			return err
		}
		var err error
		if q.ExpiresAt, err = expiry(lifetime, now); err != nil {
			return err
		}
		if err := checkKey(q, now); err != nil {
			return err
		}
		ks, err := open()
		if err != nil {
			return err
		}
		var made apikey.Created
		err = ks.ask(cmd.Context(), "POST", "/keys", q, &made, func(r *apikey.Keyset) (err error) {
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

// limitsSomething refuses the named flags if they are given and empty: without a limit the
// command does more.
func limitsSomething(cmd *cobra.Command, flags ...string) error {
	if name := emptyFlag(cmd, flags...); name != "" {
		return usagef("--%s is empty, which limits nothing; leave it out if that is meant", name)
	}
	return nil
}

// emptyFlag returns the first of the named flags that is given and empty, as an unset
// variable of a script makes it; "" for none.
func emptyFlag(cmd *cobra.Command, flags ...string) string {
	for _, name := range flags {
		f := cmd.Flags().Lookup(name)
		if f != nil && f.Changed && (f.Value.String() == "" || f.Value.String() == "[]") { // [] of a list
			return name
		}
	}
	return ""
}

// expiry is the time at which what lives so long from now on ends, zero for "".
func expiry(lifetime string, now time.Time) (time.Time, error) {
	if lifetime == "" {
		return time.Time{}, nil
	}
	d, err := config.ParseDuration(lifetime)
	if err != nil || d <= 0 {
		return time.Time{}, usagef("--expires %q: want a time such as 12h or 90d", lifetime)
	}
	return now.Add(d.Std()), nil
}

// checkKey finds errors in a request before it is sent.
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
	for _, w := range k.Warnings {
		fmt.Fprintln(e.err, "warning:", w)
	}
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
	open := e.keysetFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		ks, err := open()
		if err != nil {
			return err
		}
		var all struct{ Keys []apikey.Info }
		err = ks.ask(cmd.Context(), "GET", "/keys", nil, &all, func(r *apikey.Keyset) error {
			all.Keys = r.Infos(time.Now())
			if _, err := os.Stat(ks.dir); errors.Is(err, fs.ErrNotExist) { // the name may be misspelled
				fmt.Fprintf(e.err, "longwire: there is no directory %s: no keys\n", ks.dir)
			}
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
	now := time.Now()
	return showList(e, e.table("ID", "NAME", "SCOPES", "CLIENTS", "LAST USED", "EXPIRES"), keys, nil, func(k apikey.Info) []string {
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
		return []string{k.ID, k.Name, strings.Join(k.Scopes, ","), clients, cmp.Or(ago(k.LastUsedAt, now), "never"), ends}
	})
}

func (e *environ) keysRevoke() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "revoke ID...",
		Short: "Revoke keys at once and remove them",
		Args:  cobra.MinimumNArgs(1),
	}
	open := e.keysetFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, ids []string) error {
		ks, err := open()
		if err != nil {
			return err
		}
		for _, id := range slices.Compact(slices.Sorted(slices.Values(ids))) {
			err := ks.ask(cmd.Context(), "DELETE", "/keys/"+url.PathEscape(id), nil, nil,
				func(r *apikey.Keyset) error { return r.Revoke(id) })
			if err != nil {
				return fmt.Errorf("revoke %s: %w", id, err)
			}
			fmt.Fprintf(e.err, "%s revoked\n", id)
		}
		return nil
	}
	return cmd
}
