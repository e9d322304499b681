package cli

import (
	"fmt"

	"github.com/longwire/longwire/client"
)

// Exit codes of "longwire doctor --remote" by the worst finding. Info counts as none; 1 is
// that the gateway could not be asked.
const (
	exitWarning  = 3
	exitCritical = 4
)

// exitStatus is a result that the output has already shown, with its exit code.
type exitStatus int

func (s exitStatus) Error() string { return fmt.Sprintf("exit code %d", int(s)) }

// showRemote prints the findings of a running gateway. It returns an exitStatus by the
// worst one.
func (e *environ) showRemote(all []client.Finding) error {
	status := exitStatus(exitOK)
	for _, f := range all {
		switch f.Severity {
		case client.Critical:
			status = exitCritical
		case client.Warning:
			status = max(status, exitWarning)
		}
	}
	if len(all) == 0 && !e.json() {
		_, err := fmt.Fprintln(e.out, "The gateway has no finding.")
		return err
	}
	err := showList(e, e.table("SEVERITY", "SINCE", "FINDING", "CODE"), all, nil, func(f client.Finding) []string {
		return []string{f.Severity, clock(f.Since), f.Text, f.Code}
	})
	if err == nil && status != exitOK {
		err = status
	}
	return err
}
