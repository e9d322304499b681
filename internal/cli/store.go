package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
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
		cfg, _, err := e.load(file, cmd.Flags())
		return cfg, err
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

The copy is then verified, as by "longwire store verify".`,
		Args: cobra.ExactArgs(1),
	}
	dir := e.dataDirFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		d, err := dir()
		if err != nil {
			return err
		}
		dest, err := filepath.Abs(args[0])
		if err != nil {
			return err
		}
		if err := backUp(cmd.Context(), d, dest); err != nil {
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
	if err := isStore(dir); err != nil {
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

// isStore keeps a mistyped directory from becoming a new store.
func isStore(dir string) error {
	if _, err := os.Stat(filepath.Join(dir, "FORMAT")); err != nil {
		return fmt.Errorf("no store in %s: %w", dir, err)
	}
	return nil
}

func (e *environ) storeRestore() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "restore BACKUP",
		Short: "Make a data directory from a backup",
		Long: `Make a store in the data directory, which must not hold one, from a backup. The
backup is verified first and stays as it is; the new store is verified at the end.

The new store has a new log: devices are told so when they come back and forget
the position they remember, because the sequence numbers that were given after
the backup will be given again. What was accepted after the backup is not in it.`,
		Args: cobra.ExactArgs(1),
	}
	dir := e.dataDirFlags(cmd)
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		d, err := dir()
		if err != nil {
			return err
		}
		if err := engine.Restore(args[0], engine.Options{Dir: d}); err != nil {
			return err
		}
		return e.verify(d)
	}
	e.outputFlag(cmd)
	return cmd
}

func (e *environ) storeRepair() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "repair",
		Short: "Make a store that does not start for damage start again",
		Long: `Open the store; where its log is damaged, copy the log to the directory
"quarantine", cut it at the first damaged record, and say so. What followed the
damage in the log is lost, nothing else; nothing is deleted. The store is then
verified. Damage elsewhere cannot be repaired: restore a backup.

A store that is sound stays as it is. Exits with 1 when it is not sound at the end.`,
		Args: cobra.NoArgs,
	}
	dir := e.dataDirFlags(cmd)
	cmd.RunE = func(*cobra.Command, []string) error {
		d, err := dir()
		if err != nil {
			return err
		}
		return e.repair(d)
	}
	e.outputFlag(cmd)
	return cmd
}

func (e *environ) repair(dir string) error {
	if err := isStore(dir); err != nil {
		return err
	}
	before, err := quarantined(dir)
	if err != nil {
		return err
	}
	s, err := engine.Open(engine.Options{Dir: dir, SweepEvery: -1, Repair: true})
	if err != nil {
		return err
	}
	if err := s.Close(); err != nil {
		return fmt.Errorf("close the store: %w", err)
	}
	after, err := quarantined(dir)
	if err != nil {
		return err
	}
	if err := e.showQuarantined(dir, before, after); err != nil {
		return err
	}
	return e.verify(dir)
}
