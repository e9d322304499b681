package cli

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/longwire/longwire/internal/config"
	"github.com/longwire/longwire/internal/engine"
)

func (e *environ) storeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "store",
		Short: "Verify, back up, restore and repair the data directory",
		Long: `Maintain the data directory of a gateway. Name it as for "longwire serve":
--data-dir, LONGWIRE_DATA_DIR, or data.dir of the configuration file.

A running gateway holds its directory. The commands ask it for stats and for a
backup over a socket in that directory (admin.sock, for its owner and root only).
Stop the gateway to verify or repair the store. A backup is a data directory, too:
each of these commands works on it.`,
	}
	cmd.AddCommand(e.storeVerify(), e.storeStats(), e.storeBackup(), e.storeRestore(), e.storeRepair())
	return cmd
}

// dataFlags adds --config and --data-dir; settings returns the settings.
func (e *environ) dataFlags(cmd *cobra.Command) (settings func() (*config.Config, error)) {
	file := ""
	cmd.Flags().StringVar(&file, "config", "", "configuration file (YAML), also LONGWIRE_CONFIG")
	all := pflag.NewFlagSet("", pflag.ContinueOnError)
	config.RegisterFlags(all)
	cmd.Flags().AddFlag(all.Lookup("data-dir"))
	return func() (*config.Config, error) {
		cfg, _, err := e.load(file, cmd.Flags(), true)
		return cfg, err
	}
}

// withData sets the RunE of a command with output that calls do with the settings.
func (e *environ) withData(cmd *cobra.Command, do func(cmd *cobra.Command, args []string, cfg *config.Config) error) *cobra.Command {
	settings := e.dataFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		cfg, err := settings()
		if err != nil {
			return err
		}
		return do(cmd, args, cfg)
	}
	e.outputFlag(cmd)
	return cmd
}

func (e *environ) storeVerify() *cobra.Command {
	return e.withData(&cobra.Command{
		Use:   "verify",
		Short: "Check every checksum and invariant of the store without changing it",
		Long: `Read the whole store: each file to its end, each block and each row with its
checksum. Check that the rows agree with each other: counters, indexes, exactly one
state per delivery. Check the API keys and device tokens that are beside it. The
command changes nothing. Exits with 1 if anything is wrong.

Stop the gateway first. To check the store of a running gateway, make a backup,
which is verified.`,
		Args: cobra.NoArgs,
	}, func(cmd *cobra.Command, _ []string, cfg *config.Config) error {
		return e.verify(cmd.Context(), cfg.Data.Dir)
	})
}

// verify checks a directory and shows the report. It returns errSilent if the store
// is not sound.
func (e *environ) verify(ctx context.Context, dir string) error {
	var r *engine.Report
	err := unlessEnded(ctx, func() (err error) {
		r, err = engine.Verify(engine.Options{Dir: dir})
		return err
	})
	if err != nil {
		return stopped(err)
	}
	checkCredentials(dir, r)
	if err := e.showReport(dir, r); err != nil {
		return err
	}
	if !r.OK() {
		return errSilent
	}
	return nil
}

// unlessEnded returns the result of do, or an error as soon as a signal ends ctx. The
// process then ends before do does, so do must be repeatable from any moment.
func unlessEnded(ctx context.Context, do func() error) error {
	done := make(chan error, 1)
	if ctx.Err() == nil {
		go func() { done <- do() }()
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return errors.New("interrupted")
	}
}

// stopped adds advice about a directory that is in use.
func stopped(err error) error {
	if errors.Is(err, engine.ErrLocked) {
		return fmt.Errorf(`%w; "longwire store backup" copies the store of a running gateway and verifies the copy`, err)
	}
	return err
}

func (e *environ) storeStats() *cobra.Command {
	return e.withData(&cobra.Command{
		Use:   "stats",
		Short: "Show the contents of the store, also of a running gateway",
		Args:  cobra.NoArgs,
	}, func(cmd *cobra.Command, _ []string, cfg *config.Config) error {
		d := cfg.Data.Dir
		var s storeStats
		if err := askHolder(cmd.Context(), d, "GET", "/stats", nil, &s); errors.Is(err, errNoHolder) {
			return e.storedStats(d)
		} else if err != nil {
			return err
		}
		s.Dir, s.Running = d, true
		return e.showStats(s)
	})
}

func (e *environ) storedStats(dir string) error {
	s, err := engine.StatsOf(engine.Options{Dir: dir})
	if err != nil {
		return err
	}
	return e.showStats(storeStats{Dir: dir, Clients: s.Clients, Messages: s.Messages, Queued: s.Queued,
		OldestAt: s.OldestAt, DiskBytes: s.DiskBytes})
}

func (e *environ) storeBackup() *cobra.Command {
	check := true
	cmd := &cobra.Command{
		Use:   "backup DEST",
		Short: "Copy the store into a new directory, while the gateway runs",
		Long: `Copy the store into DEST, which must not exist. The copy shows the store at one
moment: it contains every message that was answered before the call. A running
gateway keeps accepting messages. It writes the copy itself, as its own user and in
its own view of the file system. On the data directory's file system the copy
shares files and takes little space at first; copy it from there to another machine.

The copy has the hashes of API keys and device tokens too, which are in files beside
the store. Then the command verifies the copy like "longwire store verify". Without a
gateway it reads the store and changes nothing in it, also if the disk is full or the
store is of an older version.`,
		Args: cobra.ExactArgs(1),
	}
	e.withData(cmd, func(cmd *cobra.Command, args []string, cfg *config.Config) error {
		dest, err := filepath.Abs(args[0])
		if err != nil {
			return err
		}
		if err := backUp(cmd.Context(), cfg, dest); err != nil {
			return err
		}
		if check {
			return e.verify(cmd.Context(), dest)
		}
		return e.showPlace(dest)
	})
	cmd.Flags().BoolVar(&check, "verify", true, "verify the copy")
	return cmd
}

// backUp asks the process that holds the directory for a backup, or makes it itself
// if there is none.
func backUp(ctx context.Context, cfg *config.Config, dest string) error {
	dir := cfg.Data.Dir
	err := askHolder(ctx, dir, "POST", "/backup", map[string]string{"dir": dest}, nil)
	if !errors.Is(err, errNoHolder) {
		return err
	}
	err = engine.BackupStored(ctx, dest, engine.Options{Dir: dir}, func() error { return cfg.BackUpCredentials(dest) })
	if errors.Is(err, engine.ErrLocked) {
		return fmt.Errorf("%w, and its process does not answer on %s", err, filepath.Join(dir, adminSocket))
	}
	return err
}

func (e *environ) storeRestore() *cobra.Command {
	withKeys := false
	cmd := &cobra.Command{
		Use:   "restore BACKUP",
		Short: "Make a data directory from a backup",
		Long: `Make a store from a backup in the data directory, which must not contain one. The
command first verifies the backup, which it does not change, and finally the new
store.

The new store has a new log, and its numbers are higher by 2^32. Devices that
return notice the new log and forget the position that they remember. No number that
was given after the backup is given again. The store does not contain messages that
were accepted after the backup.

The command restores API keys and device tokens only if the gateway has none. With
--with-keys they replace the existing ones, which it moves to the directory
"quarantine". In both cases it lists the entries that are valid again, because some
may have been revoked since the backup.

An interrupted restore leaves no store, or a complete one: run it again.`,
		Args: cobra.ExactArgs(1),
	}
	e.withData(cmd, func(cmd *cobra.Command, args []string, cfg *config.Config) error {
		credentials := func() error { return e.restoreCredentials(cfg, args[0], withKeys) }
		err := unlessEnded(cmd.Context(), func() error {
			return engine.Restore(args[0], engine.Options{Dir: cfg.Data.Dir}, credentials)
		})
		if err != nil {
			return err
		}
		return e.verify(cmd.Context(), cfg.Data.Dir)
	})
	cmd.Flags().BoolVar(&withKeys, "with-keys", false, "restore API keys and device tokens even if the gateway has some")
	return cmd
}
