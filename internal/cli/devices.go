package cli

import (
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/longwire/longwire/client"
	"github.com/longwire/longwire/internal/apikey"
	"github.com/longwire/longwire/internal/auth/deviceauth"
)

func (e *environ) devicesCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "devices", Short: "Manage tokens of devices, and list and dismiss refused devices"}
	cmd.AddCommand(e.deviceToken(), e.devicesRefused(), e.devicesDismiss())
	return cmd
}

func (e *environ) deviceToken() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "token",
		Short: "Create, list and revoke tokens of devices",
		Long: `Manage the tokens that devices register with. A file contains their hashes. Name it
with --file here, auth.device_tokens_file in the configuration file, or
LONGWIRE_AUTH_DEVICE_TOKENS_FILE. A running gateway notices a change within two
seconds. The commands also work without a running gateway.

  longwire devices token create --file tokens --client meter-7 --expires 90d --note "rack 3"
  longwire devices token create --file tokens --pattern 'truck-*'
  longwire devices token list   --file tokens
  longwire devices token revoke --file tokens dtk_...

To replace a token, create a second one and revoke the first when the device has
the new one. Until then both are valid. Revoking a token also ends the connections
that were made with it.`,
	}
	cmd.AddCommand(e.tokenCreate(), e.tokenList(), e.tokenRevoke())
	return cmd
}

// tokenFileFlags adds the flags that name the file; find returns it.
func (e *environ) tokenFileFlags(cmd *cobra.Command) (find func() (string, error)) {
	name, settings := "", ""
	cmd.Flags().StringVar(&name, "file", "", "the token file (default: auth.device_tokens_file of the settings)")
	cmd.Flags().StringVar(&settings, "config", "", "configuration file (YAML), also LONGWIRE_CONFIG")
	return func() (string, error) {
		if name != "" {
			return name, nil
		}
		cfg, _, err := e.load(settings, nil, true)
		if err != nil {
			return "", err
		}
		if cfg.Auth.DeviceTokensFile == "" {
			return "", usagef("no token file is named: give --file, or set auth.device_tokens_file (LONGWIRE_AUTH_DEVICE_TOKENS_FILE)")
		}
		return cfg.Auth.DeviceTokensFile, nil
	}
}

func (e *environ) tokenCreate() *cobra.Command {
	var entry deviceauth.TokenEntry
	lifetime := ""
	cmd := &cobra.Command{
		Use:   "create (--client ID | --pattern GLOB)",
		Short: "Create a token and print it, only this once",
		Long: `Create a token for one client, or for all clients whose id matches a pattern (* for
any characters, ? for one; quote it for the shell). Standard output gets the token
and nothing else; the file gets its hash. The command creates a missing file.`,
		Args: cobra.NoArgs,
	}
	find := e.tokenFileFlags(cmd)
	f := cmd.Flags()
	f.StringVar(&entry.Client, "client", "", "the client that may register with it")
	f.StringVar(&entry.Pattern, "pattern", "", "pattern of the clients that may register with it, such as 'meter-*'")
	f.StringVar(&lifetime, "expires", "", "lifetime of the token, such as 90d; without it unlimited")
	f.StringSliceVar(&entry.Groups, "group", nil, "a group that the device may enter and leave (repeat for several)")
	f.StringVar(&entry.Note, "note", "", "a note for people")
	cmd.MarkFlagsMutuallyExclusive("client", "pattern")
	cmd.MarkFlagsOneRequired("client", "pattern")
	e.outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := limitsSomething(cmd, "expires"); err != nil {
			return err
		}
		now := time.Now()
		entry.CreatedAt = now.UTC().Truncate(time.Second)
		end, err := expiry(lifetime, now)
		if err != nil {
			return err
		}
		entry.ExpiresAt = apikey.WholeSecond(end)
		name, err := find()
		if err != nil {
			return err
		}
		token := deviceauth.NewToken()
		sum := deviceauth.HashToken(token)
		entry.SHA256 = hex.EncodeToString(sum[:])
		if err := deviceauth.AddToken(name, entry); err != nil {
			return err
		}
		if e.json() {
			return e.printJSON(struct {
				tokenRow
				Token string `json:"token"`
			}{rowOf(&entry, time.Now()), token})
		}
		fmt.Fprintf(e.err, "%s for %s in %s; the token is not shown again:\n", entry.ID(), entry.Client+entry.Pattern, name)
		_, err = fmt.Fprintln(e.out, token)
		return err
	}
	return cmd
}

// tokenRow is a row of the list of tokens.
type tokenRow struct {
	ID        string    `json:"id"`
	Client    string    `json:"client,omitempty"`
	Pattern   string    `json:"pattern,omitempty"`
	Status    string    `json:"status"` // active or expired
	CreatedAt time.Time `json:"created_at,omitzero"`
	ExpiresAt time.Time `json:"expires_at,omitzero"`
	Note      string    `json:"note,omitempty"`
}

func rowOf(t *deviceauth.TokenEntry, now time.Time) tokenRow {
	r := tokenRow{ID: t.ID(), Client: t.Client, Pattern: t.Pattern, Status: "active", CreatedAt: t.CreatedAt, ExpiresAt: t.ExpiresAt, Note: t.Note}
	if !t.ExpiresAt.IsZero() && !now.Before(t.ExpiresAt) {
		r.Status = "expired"
	}
	return r
}

func (e *environ) tokenList() *cobra.Command {
	cmd := &cobra.Command{Use: "list", Aliases: []string{"ls"}, Short: "List the tokens by id, without their secrets", Args: cobra.NoArgs}
	find := e.tokenFileFlags(cmd)
	e.outputFlag(cmd)
	cmd.RunE = func(*cobra.Command, []string) error {
		name, err := find()
		if err != nil {
			return err
		}
		list, err := deviceauth.ReadTokens(name)
		now := time.Now()
		rows := make([]tokenRow, len(list))
		for i := range list {
			rows[i] = rowOf(&list[i], now)
		}
		return showList(e, e.table("ID", "CLIENT", "STATUS", "CREATED", "EXPIRES", "NOTE"), rows, err, func(r tokenRow) []string {
			return []string{r.ID, r.Client + r.Pattern, r.Status, clock(r.CreatedAt), clock(r.ExpiresAt), r.Note}
		})
	}
	return cmd
}

func (e *environ) tokenRevoke() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "revoke dtk_…",
		Short: "Revoke tokens, by the ids that list shows",
		Args:  cobra.MinimumNArgs(1),
	}
	find := e.tokenFileFlags(cmd)
	cmd.RunE = func(_ *cobra.Command, ids []string) error {
		name, err := find()
		if err != nil {
			return err
		}
		revoked, err := deviceauth.RevokeTokens(name, func(t *deviceauth.TokenEntry) bool { return slices.Contains(ids, t.ID()) })
		if err != nil {
			return err
		}
		for i := range revoked {
			ids = slices.DeleteFunc(ids, func(id string) bool { return id == revoked[i].ID() })
			fmt.Fprintf(e.err, "%s of %s revoked\n", revoked[i].ID(), revoked[i].Client+revoked[i].Pattern)
		}
		if len(ids) > 0 {
			return fmt.Errorf("%s: not in %s", ids[0], name)
		}
		return nil
	}
	return cmd
}

func (e *environ) devicesRefused() *cobra.Command {
	var q client.RefusedQuery
	var unnamed bool
	cmd := e.command(&cobra.Command{
		Use:   "refused",
		Short: "List devices that asked to register and were refused",
		Args:  cobra.NoArgs,
	}, func(cmd *cobra.Command, _ []string, api *client.Client) error {
		now := time.Now()
		if unnamed {
			return e.showUnnamed(api.RefusedUnnamed(cmd.Context()))
		}
		t := e.table("ID", "TIMES", "FIRST", "LAST", "ADDRESS", "DIALECT", "REASON")
		err := show(e, t, api.Refused(cmd.Context(), q), func(k client.RefusedRegistration) []string {
			return []string{k.Client, fmt.Sprint(k.Count), ago(k.FirstAt, now), ago(k.LastAt, now), k.RemoteAddr, k.Dialect, k.Reason}
		})
		if err != nil || e.json() || q.Prefix != "" {
			return err
		}
		list, err := api.RefusedUnnamed(cmd.Context())
		if len(list) > 0 {
			fmt.Fprintf(e.err, "Addresses that send registrations without a valid id: %d. List them with longwire devices refused --unnamed\n", len(list))
		}
		return err
	})
	cmd.Flags().StringVar(&q.Prefix, "prefix", "", "only ids with this prefix")
	countVar(cmd.Flags(), &q.Limit, "limit", 0, "number of devices, 0 for all")
	cmd.Flags().BoolVar(&unnamed, "unnamed", false, "list by address the registrations that have no valid id")
	cmd.MarkFlagsMutuallyExclusive("unnamed", "prefix")
	cmd.MarkFlagsMutuallyExclusive("unnamed", "limit")
	return cmd
}

// showUnnamed prints registrations without a valid id.
func (e *environ) showUnnamed(list []client.UnnamedRegistration, err error) error {
	now := time.Now()
	return showList(e, e.table("ADDRESS", "TIMES", "FIRST", "LAST", "DIALECT", "REASON", "ID"), list, err, func(k client.UnnamedRegistration) []string {
		return []string{k.RemoteAddr, fmt.Sprint(k.Count), ago(k.FirstAt, now), ago(k.LastAt, now), k.Dialect, k.Reason, k.Sample}
	})
}

func (e *environ) devicesDismiss() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "dismiss ID…",
		Short: "Remove devices from the list of refused ones",
		Long: `Remove devices from the list that longwire devices refused shows. They stay refused:
one that asks again is listed again, with a count of 1.`,
		Args: cobra.MinimumNArgs(1),
		RunE: e.withAPI(func(cmd *cobra.Command, ids []string, api *client.Client) error {
			return e.each(ids, "dismissed", func(id string) error { return api.DismissRefused(cmd.Context(), id) })
		}),
	}
	return e.apiFlags(cmd)
}
