package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"github.com/longwire/longwire/internal/config"
)

func (e *environ) configCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "config", Short: "Write, show and check settings"}
	cmd.AddCommand(e.configInit(), e.configShow(), e.configCheck())
	return cmd
}

func (e *environ) configInit() *cobra.Command {
	force := false
	cmd := &cobra.Command{
		Use:   "init [FILE]",
		Short: "Write a commented file with every setting at its default",
		Long:  "Write a commented file with every setting at its default, or to standard output without FILE. Only --force replaces an existing file.",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return config.Init(e.out)
			}
			return e.writeConfig(args[0], force)
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "replace an existing file")
	return cmd
}

// writeConfig makes a file that only its owner can read, because it may later
// contain API keys.
func (e *environ) writeConfig(name string, force bool) error {
	mode := os.O_CREATE | os.O_WRONLY | os.O_EXCL
	if force {
		mode = os.O_CREATE | os.O_WRONLY | os.O_TRUNC
	}
	f, err := os.OpenFile(name, mode, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s exists; --force replaces it", name)
	}
	if err != nil {
		return err
	}
	if info, statErr := f.Stat(); statErr == nil && info.Mode().IsRegular() {
		err = f.Chmod(0o600) // of the file that it replaces
	}
	if err := errors.Join(err, config.Init(f), f.Close()); err != nil {
		return err
	}
	_, err = fmt.Fprintf(e.err, "wrote %s; start with: longwire serve --config %s\n", name, name)
	return err
}

func (e *environ) configShow() *cobra.Command {
	file := ""
	cmd := &cobra.Command{
		Use:   "show",
		Short: "Show the value of each setting for serve, and its source",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, from, err := e.load(file, cmd.Flags(), false)
			if err != nil {
				return err
			}
			if !e.json() {
				return config.Show(e.out, cfg, from)
			}
			for _, row := range config.Rows(cfg, from) {
				if err := e.printJSON(row); err != nil {
					return err
				}
			}
			return nil
		},
	}
	e.settingFlags(cmd, &file)
	e.outputFlag(cmd)
	return cmd
}

func (e *environ) configCheck() *cobra.Command {
	file := ""
	cmd := &cobra.Command{
		Use:   "check [FILE]",
		Short: "Check settings without starting anything",
		Long:  "Check settings without starting anything. A file that a setting names and that does not exist is a warning: the service may get it at its start.",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				file = args[0]
			}
			cfg, from, err := e.load(file, cmd.Flags(), false)
			if err != nil {
				return err
			}
			for _, p := range cfg.Missing(from) {
				wrong := config.Error{Problems: []config.Problem{p}}
				fmt.Fprintln(e.err, "warning:", printableLines(wrong.Error()))
			}
			_, err = fmt.Fprintln(e.out, "ok")
			return err
		},
	}
	e.settingFlags(cmd, &file)
	return cmd
}
