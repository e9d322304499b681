// Package cli is the command line of longwire, with one file per command. It
// reaches a gateway through package client only. A simulated device speaks package
// protocol over TCP. Only the store commands open a data directory themselves.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/longwire/longwire/internal/config"
)

// Exit codes of every command.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

// Program is the process's part of the command line. The zero value of each field
// but Serve has a default.
type Program struct {
	// Serve runs the gateway until ctx ends and returns after the drain. It writes
	// the listening addresses to out.
	Serve func(ctx context.Context, cfg *config.Config, out io.Writer) error

	In       io.Reader // nil = os.Stdin
	Out, Err io.Writer // nil = os.Stdout, os.Stderr
	Env      []string  // nil = os.Environ()
}

// Main runs the command that args name (without the program's name) and returns the
// exit code: 0 ok, 1 failed, 2 wrong usage or settings. It writes an error to Err
// in one line, and wrong settings in one line each.
func Main(ctx context.Context, p Program, args []string) int {
	e := newEnviron(p)
	root := e.root(p)
	root.SetArgs(args)
	root.SetIn(e.in)
	root.SetOut(e.out)
	root.SetErr(e.err)
	err := root.ExecuteContext(ctx)
	if status, ok := errors.AsType[exitStatus](err); ok {
		return int(status)
	}
	settings, wrongSettings := errors.AsType[*config.Error](err)
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errSilent):
		return exitFailed
	case wrongSettings: // several lines, each with its place in the file
		fmt.Fprintf(e.err, "longwire: %s\n", printableLines(settings.Error()))
		return exitUsage
	case isUsage(err):
		fmt.Fprintf(e.err, "longwire: %s\n", oneLine(err.Error()))
		return exitUsage
	}
	fmt.Fprintf(e.err, "longwire: %s\n", oneLine(e.explain(err)))
	return exitFailed
}

// environ is shared by all commands: streams, environment and the gateway's
// address.
type environ struct {
	in       io.Reader
	out, err io.Writer
	env      []string

	server string // --server
	apiKey string // --api-key
	caFile string // --ca of the commands of the API
	format string // --output
}

func newEnviron(p Program) *environ {
	e := &environ{in: p.In, out: p.Out, err: p.Err, env: p.Env}
	if e.in == nil {
		e.in = os.Stdin
	}
	if e.out == nil {
		e.out = os.Stdout
	}
	if e.err == nil {
		e.err = os.Stderr
	}
	if e.env == nil {
		e.env = os.Environ()
	}
	return e
}

// getenv returns the last value of name, as the operating system does it for a
// program.
func (e *environ) getenv(name string) string {
	value := ""
	for _, kv := range e.env {
		if k, v, ok := strings.Cut(kv, "="); ok && k == name {
			value = v
		}
	}
	return value
}

func (e *environ) root(p Program) *cobra.Command {
	root := &cobra.Command{
		Use:   "longwire",
		Short: "Hold device connections and reach them over HTTP",
		Long: `Longwire holds long-lived TCP connections to devices and gives web backends one
HTTP API to reach them.

  longwire serve                              the gateway, on loopback, nothing to configure
  longwire connect --id demo                  a simulated device, in a second terminal
  longwire push demo "hello" --wait 5s        push to it and see that it was acked

Exit codes: 0 ok, 1 failed, 2 wrong usage or settings; "doctor --remote" has more.`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          knownCommand,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(suggestFlag)
	root.AddGroup(&cobra.Group{ID: groupGateway, Title: "The gateway:"},
		&cobra.Group{ID: groupAPI, Title: "Through the API of a running gateway:"},
		&cobra.Group{ID: groupDevice, Title: "Devices:"})
	root.AddCommand(
		inGroup(groupGateway, e.serveCommand(p.Serve), e.configCommand(), e.doctorCommand(), e.healthCommand(), e.storeCommand(), e.keysCommand())...)
	root.AddCommand(
		inGroup(groupAPI, e.pushCommand(), e.messagesCommand(), e.clientsCommand(), e.whyCommand(), e.uplinksCommand(), e.tailCommand(),
			e.webhooksCommand(), e.statsCommand(), e.auditCommand(), e.whoamiCommand())...)
	root.AddCommand(inGroup(groupDevice, e.connectCommand(), e.devicesCommand(), e.simulateCommand())...)
	root.AddCommand(e.versionCommand())
	root.InitDefaultCompletionCmd()
	asUsage(root)
	return root
}

const (
	groupGateway = "gateway"
	groupAPI     = "api"
	groupDevice  = "device"
)

func inGroup(id string, cmds ...*cobra.Command) []*cobra.Command {
	for _, c := range cmds {
		c.GroupID = id
	}
	return cmds
}

// asUsage turns the errors of argument checks into usage errors, in all commands. A
// command that only groups others then refuses unknown words. Only the text of a push may
// be an empty argument.
func asUsage(c *cobra.Command) {
	check := c.Args
	if c.HasSubCommands() && check == nil {
		check = knownCommand
	}
	if c.HasSubCommands() && c.RunE == nil && c.Run == nil {
		c.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	}
	c.Args = func(cmd *cobra.Command, args []string) (err error) {
		if check != nil {
			err = check(cmd, args)
		}
		switch {
		case err != nil && !cmd.HasSubCommands() && strings.HasPrefix(err.Error(), "unknown command"): // cobra.NoArgs
			return usagef("%q is not understood: %s takes flags only; see %[2]s --help", args[0], cmd.CommandPath())
		case err != nil:
			return usageError{fmt.Errorf("%w; see %s --help", err, cmd.CommandPath())}
		case slices.Contains(args, "") && cmd.Name() != "push": // an unset variable of a script
			return usagef("an argument is empty; see %s --help", cmd.CommandPath())
		}
		if name := emptyFlag(cmd, "config", "server"); name != "" { // the default would be another gateway
			return usagef("--%s is empty", name)
		}
		return nil
	}
	for _, sub := range c.Commands() {
		asUsage(sub)
	}
}

// knownCommand refuses a word that is no command of cmd.
func knownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	var known []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			known = append(known, c.Name())
		}
	}
	return usagef("unknown command %q for %q%s", args[0], cmd.CommandPath(), config.DidYouMean(args[0], known))
}

// suggestFlag turns the error of a flag into a usage error with a suggestion.
func suggestFlag(cmd *cobra.Command, err error) error {
	unknown, ok := errors.AsType[*pflag.NotExistError](err)
	if !ok || unknown.GetSpecifiedShortnames() != "" {
		return usageError{err}
	}
	var known []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) { known = append(known, "--"+f.Name) })
	return usagef("%w%s; see %s --help", err, config.DidYouMean("--"+unknown.GetSpecifiedName(), known), cmd.CommandPath())
}
