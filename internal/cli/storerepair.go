package cli

import (
	"bufio"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/longwire/longwire/internal/engine"
)

func (e *environ) storeRepair() *cobra.Command {
	var r repair
	cmd := &cobra.Command{
		Use:   "repair",
		Short: "Make a store that does not start for damage start again",
		Long: `Look at a store that a start refuses, and say what a repair would lose: how many
records, of which time, and the messages in them that can still be read. On a
terminal it then asks; a script gives --accept-loss.

A log is cut at its first damage; FORMAT and MARK are made anew. What changes is
copied into the directory "quarantine" first. The log gets a new name and the
numbers rise, as after a restore. Damage elsewhere cannot be repaired: restore a
backup. A repair that is cut short can be run again.

--rebuild-marker makes the empty files db/marker.* anew, which some copy tools
leave out. Nothing is lost by that: it is refused unless the store is whole then.

The store is then verified. One that is sound stays as it is. Exits with 1 when
the store is not sound at the end.`,
		Args: cobra.NoArgs,
	}
	dir := e.dataDirFlags(cmd)
	cmd.RunE = func(*cobra.Command, []string) error {
		d, err := dir()
		if err != nil {
			return err
		}
		return e.repair(d, r)
	}
	cmd.Flags().BoolVar(&r.acceptLoss, "accept-loss", false, "repair without asking")
	cmd.Flags().BoolVar(&r.rebuildMarker, "rebuild-marker", false, "make the empty files db/marker.* anew, nothing else")
	e.outputFlag(cmd)
	return cmd
}

// repair is how a store is to be repaired.
type repair struct {
	acceptLoss    bool
	rebuildMarker bool
}

func (e *environ) repair(dir string, r repair) error {
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
		return e.verify(dir)
	}
	before, err := quarantined(dir)
	if err != nil {
		return err
	}
	_, err = engine.Repair(o, func(l *engine.Loss) error { return e.acceptLoss(l, r.acceptLoss) })
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
	return e.verify(dir)
}

// acceptLoss shows what will be lost on the error stream, and asks unless it was
// accepted before.
func (e *environ) acceptLoss(l *engine.Loss, accepted bool) error {
	if err := e.showLoss(l); err != nil || accepted {
		return err
	}
	if !isTerminal(e.in) {
		return errors.New("nothing was changed: give --accept-loss to repair with this loss")
	}
	if _, err := fmt.Fprint(e.err, `Type "lose" to go on: `); err != nil {
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
		fmt.Fprintf(&b, "  no record that is known of; perhaps some of the last second")
	default:
		fmt.Fprintf(&b, "  %d records at least", l.Records)
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
	fmt.Fprintln(&b, "It changes, with a copy in quarantine:")
	for _, name := range l.Files {
		fmt.Fprintf(&b, "  %s\n", printable(name))
	}
	_, err := fmt.Fprint(e.err, b.String())
	return err
}

func (e *environ) showMarkers(made []string) error {
	if e.json() {
		return e.printJSON(struct {
			Made []string `json:"made"`
		}{append([]string{}, made...)})
	}
	if len(made) == 0 {
		return e.facts("markers", "all are there")
	}
	return e.facts("made", strings.Join(made, ", "))
}
