package bench

import (
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// Command is `longwire bench`. The tables go to out.
func Command(out io.Writer) *cobra.Command {
	o, format := Options{Out: out}, "table"
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure the performance of the gateway on this machine",
		Long: `Measure the performance budgets on this machine in one to two minutes, or with
--all how the gateway behaves under nine kinds of load as well, in less than
ten. Everything is compared with something bare in the same run, for only
ratios mean something elsewhere: see docs/bench/README.md. It starts gateways
of its own on free ports of loopback, with stores below --dir, and removes all
of it at the end.

A missed budget is shown and is no failure, unless --strict is given.`,
		Example: `  longwire bench
  longwire bench --runs 5
  longwire bench --all --report bench-report
  longwire bench --quick --only push-online,storm
  longwire bench --dir /var/lib/longwire --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.JSON = o.JSON || format == "json"
			o.Progress = cmd.ErrOrStderr()
			f, ok := o.Progress.(*os.File)
			o.Terminal = ok && term.IsTerminal(int(f.Fd()))
			return Run(cmd.Context(), o)
		},
	}
	f := cmd.Flags()
	f.BoolVar(&o.All, "all", false, "measure the scenarios too")
	f.StringSliceVar(&o.Only, "only", nil, "measure only these: "+strings.Join(Names(), ", "))
	f.IntVar(&o.Runs, "runs", 0, "measure the budgets so often; three of five must hold (default 1)")
	f.StringVar(&o.Report, "report", "", "write a report with charts into this directory")
	f.DurationVar(&o.Duration, "duration", 0, "load per side of a measurement (default 3s)")
	f.IntVar(&o.Clients, "clients", 0, "simulated clients under load (default 5000)")
	f.IntVar(&o.Most, "most-clients", 0, "simulated clients in connect, idle and storm (default 15000)")
	f.IntVar(&o.Listed, "listed", 0, "clients without connections in list and million (default 1000000)")
	f.IntVar(&o.Queued, "queued", 0, "messages in the store that is restarted (default 1000000)")
	f.StringVar(&o.Dir, "dir", "", "where stores are made; on the disk to be measured (default "+os.TempDir()+")")
	f.BoolVar(&o.Quick, "quick", false, "less of everything: 1s, 1000 clients, 100000 listed and queued")
	f.BoolVar(&o.Strict, "strict", false, "fail when a budget is missed")
	f.BoolVar(&o.JSON, "json", false, "print JSON instead of tables")
	f.VarP(&oneOf{&format, []string{"table", "json"}}, "output", "o", "table or json")
	cmd.AddCommand(parts(out)...)
	return cmd
}

// parts are the processes of a run that are this binary again.
func parts(out io.Writer) []*cobra.Command {
	dir, r := "", roster{}
	bare := &cobra.Command{Use: bareName, Short: "Serve the bare server that the gateway is compared with",
		RunE: func(cmd *cobra.Command, _ []string) error { return serveBare(cmd.Context(), out, dir) }}
	bare.Flags().StringVar(&dir, "dir", "", "append what comes to a file here, and sync it; empty = keep nothing")
	roster := &cobra.Command{Use: rosterName, Short: "Serve the API of a gateway whose clients have no connections",
		RunE: func(cmd *cobra.Command, _ []string) error { return r.serve(cmd.Context(), out) }}
	roster.Flags().StringVar(&r.dir, "dir", "", "directory of the store")
	roster.Flags().IntVar(&r.clients, "clients", 1, "clients in it")
	roster.Flags().IntVar(&r.returns, "returns", 0, "clients that come back in a second")
	crowd := &cobra.Command{Use: helperName, Short: "Be clients of a gateway, by orders on standard input",
		RunE: func(cmd *cobra.Command, _ []string) error { return serveCrowd(cmd.Context(), cmd.InOrStdin(), out) }}
	all := []*cobra.Command{bare, roster, crowd}
	for _, c := range all {
		c.Hidden, c.Args = true, cobra.NoArgs
	}
	return all
}
