package cli

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/longwire/longwire/client"
)

func (e *environ) whoamiCommand() *cobra.Command {
	return e.command(&cobra.Command{
		Use:   "whoami",
		Short: "Show the API key in use, its scopes and its limit",
		Long: `Ask the gateway who the caller is: the key of --api-key or LONGWIRE_API_KEY, its
scopes, the clients that it is limited to and its end, and what the gateway has
switched on.`,
		Args: cobra.NoArgs,
	}, func(cmd *cobra.Command, _ []string, api *client.Client) error {
		s, err := api.WhoAmI(cmd.Context())
		if err != nil {
			return err
		}
		if e.json() {
			return e.printJSON(s)
		}
		for _, line := range whoamiLines(s) {
			if _, err := fmt.Fprintf(e.out, "%-9s %s\n", line[0], printable(line[1])); err != nil {
				return err
			}
		}
		return nil
	})
}

func whoamiLines(s *client.Session) [][2]string {
	key, limit, expires := "none: the API is open", "none", "never"
	if s.Key != nil {
		key = s.Key.Name + " (" + s.Key.ID + ")"
	}
	switch {
	case s.Prefix != "":
		limit = "ids that begin with " + s.Prefix
	case s.Group != "":
		limit = "members of " + s.Group
	}
	if !s.ExpiresAt.IsZero() {
		expires = s.ExpiresAt.Format(time.RFC3339)
	}
	return [][2]string{{"key", key}, {"scopes", strings.Join(s.Scopes, ", ")}, {"limit", limit}, {"expires", expires},
		{"features", cmp.Or(strings.Join(s.Features, ", "), "none")}, {"gateway", s.Version + ", instance " + s.Instance}}
}
