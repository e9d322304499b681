package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/longwire/longwire/client"
)

func (e *environ) clientsProbe() *cobra.Command {
	return e.command(&cobra.Command{
		Use:   "probe ID",
		Short: "Ask a device for a sign of life now",
		Long: `Ask a device for a sign of life now.

The gateway sends a heartbeat and waits for the answer, at most 1.5 s. online: the
device has sent something since. suspect: it has not. offline: it is not connected.
A device that does not answer within the grace is disconnected.`,
		Args: cobra.ExactArgs(1),
	}, func(cmd *cobra.Command, args []string, api *client.Client) error {
		p, err := api.Probe(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		rtt, closed := "", ""
		if p.RTTMS > 0 {
			rtt = fmt.Sprintf("%.3g ms", p.RTTMS)
		}
		if p.LastClose != nil {
			closed = fmt.Sprintf("%s, by %s", p.LastClose.Reason, p.LastClose.By)
		}
		return e.facts(p, "id", p.ID, "status", probePresence(p), "rtt", rtt, "last seen", clock(p.LastSeenAt), "last close", closed)
	})
}

// probePresence is the presence with the reason why it may not be the last word.
func probePresence(p *client.Probe) string {
	switch {
	case p.Presence == client.PresenceSuspect && !p.Asked:
		return "suspect (not asked: it has an unanswered delivery)"
	case p.Presence == client.PresenceSuspect && p.Confirmed != nil && !*p.Confirmed:
		return "suspect (unconfirmed: it has never answered a PING in time)"
	}
	return string(p.Presence)
}
