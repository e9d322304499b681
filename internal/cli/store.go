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
		Long: `Look after the data directory of a gateway. It is named as for "longwire serve":
--data-dir, LONGWIRE_DATA_DIR, or data.dir of the configuration file.

A running gateway holds its directory. It is asked over a socket in it
(admin.sock, for its owner and root only) for stats and for a backup; to verify
or repair it has to be stopped. A backup is a data directory: each of these
commands works on it, too.`,
	}
	cmd.AddCommand(e.storeVerify(), e.storeStats(), e.storeBackup(), e.storeRestore(), e.storeRepair())
	return cmd
}

// dataDirFlags adds --config and --data-dir; load finds the directory.
func (e *environ) dataDirFlags(cmd *cobra.Command) (dir func() (string, error)) {
	settings := e.dataFlags(cmd)
	return func() (string, error) {
		cfg, err := settings()
		if err != nil {
			return "", err
		}
		return cfg.Data.Dir, nil
	}
}

// dataFlags is dataDirFlags for a command that needs other settings too.
func (e *environ) dataFlags(cmd *cobra.Command) (settings func() (*config.Config, error)) {
	file := ""
	cmd.Flags().StringVar(&file, "config", "", "configuration file (YAML), also LONGWIRE_CONFIG")
	all := pflag.NewFlagSet("", pflag.ContinueOnError)
	config.RegisterFlags(all)
	cmd.Flags().AddFlag(all.Lookup("data-dir"))
	return func() (*config.Config, error) {
		return e.loadBeside(file, cmd.Flags())
	}
}

func (e *environ) storeVerify() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Read everything and check every checksum and invariant; changes nothing",
		Long: `Read the whole store: each file to its end, each block and each row with its
checksum, and whether the rows agree with each other: counters, indexes, exactly
one state per delivery. Nothing is changed. Exits with 1 when anything is wrong.

The gateway must be stopped. To check a running one, back it up: a backup is
verified.`,
		Args: cobra.NoArgs,
	}
	dir := e.dataDirFlags(cmd)
	cmd.RunE = func(*cobra.Command, []string) error {
		d, err := dir()
		if err != nil {
			return err
		}
		return e.verify(d)
	}
	e.outputFlag(cmd)
	return cmd
}

// verify checks a directory and shows what was found; errSilent when it is not
// sound.
func (e *environ) verify(dir string) error {
	r, err := engine.Verify(engine.Options{Dir: dir})
	if err != nil {
		return stopped(err)
	}
	if err := e.showReport(dir, r); err != nil {
		return err
	}
	if !r.OK() {
		return errSilent
	}
	return nil
}

// stopped says what to do about a directory that is in use.
func stopped(err error) error {
	if errors.Is(err, engine.ErrLocked) {
		return fmt.Errorf(`%w; "longwire store backup" copies the store of a running gateway and verifies the copy`, err)
	}
	return err
}

func (e *environ) storeStats() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "stats",
		Short: "Show what is in the store, of a running gateway too",
		Args:  cobra.NoArgs,
	}
	dir := e.dataDirFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		d, err := dir()
		if err != nil {
			return err
		}
		var s storeStats
		if err := askHolder(cmd.Context(), d, "GET", "/stats", nil, &s); errors.Is(err, errNoHolder) {
			return e.storedStats(d)
		} else if err != nil {
			return err
		}
		s.Dir, s.Running = d, true
		return e.showStats(s)
	}
	e.outputFlag(cmd)
	return cmd
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
		Long: `Copy the store into DEST, which must not exist. The copy is the store as it is at
one moment: everything that was answered before the call is in it. A running
gateway goes on accepting meanwhile; it writes the copy itself, as its own user
and as it sees the file system. On the data directory's file system the copy
costs little room at first, for it shares files; copy it from there to another
machine.

API keys and device tokens, which lie beside the store, are copied with it, hashed
as they are. The copy is then verified, as by "longwire store verify".`,
		Args: cobra.ExactArgs(1),
	}
	settings := e.dataFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		cfg, err := settings()
		if err != nil {
			return err
		}
		dest, err := filepath.Abs(args[0])
		if err != nil {
			return err
		}
		if err := backUp(cmd.Context(), cfg.Data.Dir, dest); err != nil {
			return err
		}
		if err := copyCredentials(cfg, dest); err != nil {
			return err
		}
		if check {
			return e.verify(dest)
		}
		return e.showPlace(dest)
	}
	cmd.Flags().BoolVar(&check, "verify", true, "verify the copy")
	e.outputFlag(cmd)
	return cmd
}

// backUp asks the process that holds the directory, or does it itself when none
// does.
func backUp(ctx context.Context, dir, dest string) error {
	err := askHolder(ctx, dir, "POST", "/backup", map[string]string{"dir": dest}, nil)
	if !errors.Is(err, errNoHolder) {
		return err
	}
	if err := engine.IsStore(engine.Options{Dir: dir}); err != nil {
		return err
	}
	// Opening it is a start-up: what a crash has left is recovered first.
	s, err := engine.Open(engine.Options{Dir: dir, SweepEvery: -1})
	if errors.Is(err, engine.ErrLocked) {
		return fmt.Errorf("%w: and it does not answer on %s", err, filepath.Join(dir, adminSocket))
	}
	if err != nil {
		return err
	}
	return errors.Join(s.Backup(ctx, dest), s.Close())
}

func (e *environ) storeRestore() *cobra.Command {
	withKeys := false
	cmd := &cobra.Command{
		Use:   "restore BACKUP",
		Short: "Make a data directory from a backup",
		Long: `Make a store in the data directory, which must not hold one, from a backup. The
backup is verified first and stays as it is; the new store is verified at the end.

The new store has a new log, and its numbers are higher by 2^32: devices that come
back learn of it and forget the position they remember, and no number that was
given after the backup is given again. What was accepted after the backup is not
in it.

API keys and device tokens come back only where there are none. With --with-keys
they replace those that are there, which go to the directory "quarantine"; what
has been revoked since the backup and is good again is listed.

A restore that is cut short leaves no store; run it again.`,
		Args: cobra.ExactArgs(1),
	}
	settings := e.dataFlags(cmd)
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		cfg, err := settings()
		if err != nil {
			return err
		}
		if err := engine.Restore(args[0], engine.Options{Dir: cfg.Data.Dir}); err != nil {
			return err
		}
		if err := e.restoreCredentials(cfg, args[0], withKeys); err != nil {
			return err
		}
		return e.verify(cfg.Data.Dir)
	}
	cmd.Flags().BoolVar(&withKeys, "with-keys", false, "bring back API keys and device tokens although there are some")
	e.outputFlag(cmd)
	return cmd
}
