package bench

import (
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
)

// Command is `longwire bench`. The table goes to out.
func Command(out io.Writer) *cobra.Command {
	o, format := Options{Out: out}, "table"
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure the performance budgets on this machine",
		Long: `Measure the performance budgets on this machine, in two or three minutes. Rates are
compared with something bare in the same run, for only ratios mean something
elsewhere: see docs/bench/README.md. It starts gateways of its own on free
ports of loopback, with stores below --dir, and removes all of it at the end.

A missed budget is shown and is no failure, unless --strict is given.`,
		Example: `  longwire bench
  longwire bench --quick --only push-online,bulk
  longwire bench --dir /var/lib/longwire -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.JSON = format == "json"
			o.Progress = cmd.ErrOrStderr()
			return Run(cmd.Context(), o)
		},
	}
	f := cmd.Flags()
	f.StringSliceVar(&o.Only, "only", nil, "measure only these: "+strings.Join(Names(), ", "))
	f.DurationVar(&o.Duration, "duration", 0, "load per side of a measurement (default 3s)")
	f.IntVar(&o.Clients, "clients", 0, "simulated clients, bounded by the file limit (default 5000)")
	f.IntVar(&o.Queued, "queued", 0, "messages in the store that is restarted (default 1000000)")
	f.StringVar(&o.Dir, "dir", "", "where stores are made; on the disk to be measured (default "+os.TempDir()+")")
	f.BoolVar(&o.Quick, "quick", false, "less of everything: 1s, 1000 clients, 100000 messages")
	f.BoolVar(&o.Strict, "strict", false, "fail when a budget is missed")
	f.VarP(&choice{&format, []string{"table", "json"}}, "output", "o", "table or json")
	cmd.AddCommand(bareCommand(out))
	return cmd
}

// bareCommand is what the comparison runs as a process of its own.
func bareCommand(out io.Writer) *cobra.Command {
	return &cobra.Command{
		Use:    bareName,
		Short:  "Serve the bare handler that pushes are compared with",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE:   func(cmd *cobra.Command, _ []string) error { return serveBare(cmd.Context(), out) },
	}
}
