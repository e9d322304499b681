package cli

import (
	"github.com/spf13/cobra"

	"github.com/longwire/longwire/internal/version"
)

func (e *environ) versionCommand() *cobra.Command {
	remote := false
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Show the version and build of this binary, or with --remote of a gateway",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			v := version.Get()
			if remote {
				api, err := e.api()
				if err != nil {
					return err
				}
				r, err := api.Version(cmd.Context())
				if err != nil {
					return err
				}
				v = version.Info{Version: r.Version, Commit: r.Commit, Date: r.Date, Go: r.Go, OS: r.OS, Arch: r.Arch}
			}
			platform := ""
			if v.OS != "" {
				platform = v.OS + "/" + v.Arch
			}
			return e.facts(v, "longwire", v.Version, "commit", v.Commit, "date", v.Date, "go", v.Go, "platform", platform)
		},
	}
	cmd.Flags().BoolVar(&remote, "remote", false, "ask the gateway")
	e.outputFlag(cmd)
	return e.apiFlags(cmd)
}
