package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/longwire/longwire/internal/config"
	"github.com/longwire/longwire/internal/engine"
)

func (e *environ) storeRepair() *cobra.Command {
	var r repair
	cmd := &cobra.Command{
		Use:   "repair",
		Short: "Repair a damaged store so that the gateway starts again",
		Long: `Examine a store that does not open, and show the loss of a repair: how many
records, from which time, and their messages as far as they can be read. On a
terminal the command then asks for consent; a script gives --accept-loss.

A repair cuts a log at its first damage and writes FORMAT and MARK anew. First it
copies the files that it changes into the directory "quarantine". The log gets a new
name and the numbers rise, as after a restore. Readers of events get the event
store.repaired, once, when the gateway starts again. Damage in other files cannot be
repaired: restore a backup. An interrupted repair can be run again.

--rebuild-marker creates the empty files db/marker.* anew, which some copy tools
leave out. It loses no data: the command refuses it unless the store is complete
with them.

Finally the command verifies the store. It does not change a sound one. Exits with 1
if the store is not sound at the end.`,
		Args: cobra.NoArgs,
	}
	e.withData(cmd, func(cmd *cobra.Command, _ []string, cfg *config.Config) error {
		return e.repair(cmd.Context(), cfg.Data.Dir, r)
	})
	cmd.Flags().BoolVar(&r.acceptLoss, "accept-loss", false, "repair without asking")
	cmd.Flags().BoolVar(&r.rebuildMarker, "rebuild-marker", false, "only create the empty files db/marker.* anew")
	return cmd
}

// repair holds the options of a repair.
type repair struct {
	acceptLoss    bool
	rebuildMarker bool
}

func (e *environ) repair(ctx context.Context, dir string, r repair) error {
	o := engine.Options{Dir: dir}
	if err := engine.IsStore(o); err != nil {
		return err
	}
	if r.rebuildMarker {
		made, err := engine.RebuildMarker(o)
		if err != nil {
			return err
		}
		if err := e.showMarkers(made); err != nil {
			return err
		}
		return e.verify(ctx, dir)
	}
	before, err := quarantined(dir)
	if err != nil {
		return err
	}
	err = unlessEnded(ctx, func() error {
		_, err := engine.Repair(o, func(l *engine.Loss) error { return e.acceptLoss(l, r.acceptLoss) })
		return err
	})
	if err != nil {
		return err
	}
	after, err := quarantined(dir)
	if err != nil {
		return err
	}
	if err := e.showQuarantined(dir, before, after); err != nil {
		return err
	}
	return e.verify(ctx, dir)
}

// acceptLoss shows the loss on the error stream. It asks for consent unless
// accepted.
func (e *environ) acceptLoss(l *engine.Loss, accepted bool) error {
	if err := e.showLoss(l); err != nil || accepted {
		return err
	}
	if !isTerminal(e.in) {
		return errors.New("nothing was changed: give --accept-loss to repair with this loss")
	}
	if _, err := fmt.Fprint(e.err, `Type "lose" to continue: `); err != nil {
		return err
	}
	answer, err := bufio.NewReader(e.in).ReadString('\n')
	if err != nil || strings.TrimSpace(answer) != "lose" {
		return errors.New("nothing was changed")
	}
	return nil
}

func (e *environ) showLoss(l *engine.Loss) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%v\nA repair loses:\n", l.Cause)
	switch {
	case l.Records < 0:
		fmt.Fprintf(&b, "  an unknown number of records")
	case l.Records == 0:
		fmt.Fprintf(&b, "  no known record; perhaps some of the last second")
	default:
		fmt.Fprintf(&b, "  at least %d records", l.Records)
	}
	if !l.After.IsZero() {
		fmt.Fprintf(&b, ", written after %s", l.After.Format(time.RFC3339))
	}
	if !l.Before.IsZero() && l.Records != 0 {
		fmt.Fprintf(&b, ", some of them before %s", l.Before.Format(time.RFC3339))
	}
	b.WriteByte('\n')
	for _, id := range l.Messages {
		fmt.Fprintf(&b, "  message %s\n", printable(string(id)))
	}
	fmt.Fprintln(&b, "It changes these files and keeps a copy in quarantine:")
	for _, name := range l.Files {
		fmt.Fprintf(&b, "  %s\n", printable(name))
	}
	_, err := fmt.Fprint(e.err, b.String())
	return err
}

func (e *environ) showMarkers(made []string) error {
	name, text := "made", strings.Join(made, ", ")
	if len(made) == 0 {
		name, text = "markers", "all exist"
	}
	return e.facts(map[string][]string{"made": append([]string{}, made...)}, name, text)
}
