package cli

import (
	"context"
	"io"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/longwire/longwire/internal/config"
)

func (e *environ) serveCommand(serve func(context.Context, *config.Config, io.Writer) error) *cobra.Command {
	file := ""
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the gateway: devices on :6666, the HTTP API on :8080, both on loopback",
		Long: `Run the gateway. Without settings both listeners are on loopback and the store is in
./longwire-data. Every setting has one name in three spellings: tcp.addr in the
file, LONGWIRE_TCP_ADDR, --tcp-addr. A flag has precedence over the environment, the
environment over the file. "longwire config show" shows the source of each value.

SIGTERM, SIGHUP or an interrupt drains the gateway: it accepts no more messages, asks
devices to come back later, and completes or keeps the accepted messages. Then it
exits with 0. A second interrupt (Ctrl-C) ends the process at once with 130; every
message that was answered with 202 is on disk even then.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, _, err := e.load(file, cmd.Flags(), false)
			if err != nil {
				return err
			}
			return serve(cmd.Context(), cfg, e.out)
		},
	}
	e.settingFlags(cmd, &file)
	return cmd
}

// settingFlags adds --config and a flag for each setting.
func (e *environ) settingFlags(cmd *cobra.Command, file *string) {
	cmd.Flags().StringVar(file, "config", "", "configuration file (YAML), also LONGWIRE_CONFIG")
	config.RegisterFlags(cmd.Flags())
}

// load reads the settings, beside for a command that opens no listener. A wrong setting is
// a usage error, because starting again does not help.
func (e *environ) load(file string, flags *pflag.FlagSet, beside bool) (*config.Config, config.Provenance, error) {
	cfg, from, err := config.Load(config.LoadOptions{File: file, Env: e.env, IgnoreEnv: ClientEnv, Flags: flags, Beside: beside})
	if err != nil {
		return nil, nil, usageError{err}
	}
	return cfg, from, nil
}
