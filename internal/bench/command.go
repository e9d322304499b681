package bench

import (
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// Command is longwire-bench. It writes the page or the JSON to out.
func Command(out io.Writer) *cobra.Command {
	o := Options{Out: out, perProcess: connectionsByFileLimit(), start: startProcess, work: startWorker, outside: "wrk", beat: time.Second}
	quick := false
	cmd := &cobra.Command{
		Use:   "longwire-bench",
		Short: "Measure the performance of a longwire gateway on this machine",
		Long: `Measure the performance budgets on this machine in about five minutes, or with
--all under every kind of load, in about twelve. The gateway is the longwire binary
beside this one, in a process of its own on free ports of loopback; the floors it
is compared with are processes too. Only ratios of paired rounds mean something
on another machine: see docs/bench/README.md. Stores are made below --dir and
removed at the end.

A missed budget is shown and is no failure, unless --strict is given.`,
		Example: `  longwire-bench
  longwire-bench --all --report bench-report
  longwire-bench --quick --scenario push,storm
  longwire-bench --dir /var/lib/longwire --json`,
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.Progress = cmd.ErrOrStderr()
			if quick {
				o.lessen(cmd.Flags().Changed)
			}
			if !cmd.Flags().Changed("most-clients") {
				o.Most = max(o.Most, o.Clients)
			}
			return Run(cmd.Context(), o)
		},
	}
	f := cmd.Flags()
	for _, s := range o.settings() {
		f.IntVar(s.value, s.flag, s.usual, s.help)
	}
	f.StringSliceVar(&o.Scenarios, "scenario", nil, "measure only these: "+strings.Join(Names(), ", "))
	f.BoolVar(&o.All, "all", false, "measure the scenarios without budgets too")
	f.StringVar(&o.Report, "report", "", "write page, charts and JSON into this directory")
	f.BoolVar(&o.JSON, "json", false, "print JSON instead of the page")
	f.DurationVar(&o.Duration, "duration", time.Second, "load per side and round")
	f.Uint64Var(&o.Seed, "seed", 1, "of the random recipients")
	f.StringVar(&o.Dir, "dir", os.TempDir(), "where stores are made; on the disk to be measured")
	f.StringVar(&o.Longwire, "longwire", "", "binary of the gateway (default the one beside this program, then in PATH)")
	f.BoolVar(&quick, "quick", false, "less of everything: 3 rounds of 300ms, 1000 devices, 100000 listed and queued")
	f.BoolVar(&o.Strict, "strict", false, "fail when a budget is missed")
	cmd.AddCommand(parts(out)...)
	return cmd
}

// lessen takes the quick defaults of the flags that are not given.
func (o *Options) lessen(given func(flag string) bool) {
	for _, s := range o.settings() {
		if !given(s.flag) {
			*s.value = s.quick
		}
	}
	if !given("duration") {
		o.Duration = 300 * time.Millisecond
	}
}

// parts are the hidden subcommands: processes of a run that run this binary.
func parts(out io.Writer) []*cobra.Command {
	dir, host := "", sessionHost{}
	bare := &cobra.Command{Use: bareName, Short: "Serve the bare server that the gateway is compared with",
		RunE: func(cmd *cobra.Command, _ []string) error { return serveBare(cmd.Context(), out, dir) }}
	bare.Flags().StringVar(&dir, "dir", "", "append each body to a file here, and sync it; empty = keep nothing")
	sessions := &cobra.Command{Use: sessionsName, Short: "Serve the API of a gateway whose clients have no sockets",
		RunE: func(cmd *cobra.Command, _ []string) error { return host.serve(cmd.Context(), out) }}
	sessions.Flags().StringVar(&host.dir, "dir", "", "directory of the store")
	sessions.Flags().IntVar(&host.clients, "clients", 1, "clients in it")
	sessions.Flags().BoolVar(&host.returning, "returning", false, "some clients come back now and then")
	worker := &cobra.Command{Use: workerName, Short: "Be clients of a server, by orders on standard input",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return serveWorker(cmd.Context(), pipes{os.Stdin, os.Stdout})
		}}
	all := []*cobra.Command{bare, sessions, worker}
	for _, c := range all {
		c.Hidden, c.Args = true, cobra.NoArgs
	}
	return all
}
