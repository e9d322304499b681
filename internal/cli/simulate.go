package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/longwire/longwire/client"
)

// profiles are the values of --profile.
var profiles = []string{string(client.ProfileMixed), string(client.ProfileSteady), string(client.ProfileChatty), string(client.ProfileSlow),
	string(client.ProfileRejecting), string(client.ProfileFlaky), string(client.ProfileSilent)}

func (e *environ) simulateCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "simulate",
		Short: "Run simulated devices in a gateway on this machine",
		Long: `Run simulated devices in a gateway on this machine.

They are connected to the gateway's own device port, and end with the gateway. Their
ids begin with sim-, and they have the label simulator with their profile:

  steady     acks at once
  chatty     acks at once, and sends an uplink every 5 s
  slow       acks after 3 to 8 s
  rejecting  rejects each delivery
  flaky      loses its connection after 3 to 10 s
  silent     answers heartbeats, and no delivery
  mixed      one of each in turn`,
	}
	cmd.AddCommand(e.simulateStart(), e.simulateStop(), e.simulateStatus())
	return cmd
}

func (e *environ) simulateStart() *cobra.Command {
	var count int
	var profile string
	cmd := e.command(&cobra.Command{
		Use:   "start",
		Short: "Run simulated devices, in place of those that run",
		Args:  cobra.NoArgs,
	}, func(cmd *cobra.Command, _ []string, api *client.Client) error {
		return e.showSimulator(api.Simulate(cmd.Context(), count, client.Profile(profile)))
	})
	cmd.Flags().IntVar(&count, "count", 3, "number of devices, 1 to 100")
	cmd.Flags().StringVar(&profile, "profile", string(client.ProfileMixed), strings.Join(profiles, ", "))
	cmd.RegisterFlagCompletionFunc("profile", cobra.FixedCompletions(profiles, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func (e *environ) simulateStop() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "stop",
		Short: "End the simulated devices and remove their clients",
		Args:  cobra.NoArgs,
		RunE: e.withAPI(func(cmd *cobra.Command, _ []string, api *client.Client) error {
			if err := api.StopSimulator(cmd.Context()); err != nil {
				return err
			}
			fmt.Fprintln(e.err, "stopped; no device is simulated now")
			return nil
		}),
	}
	return e.apiFlags(cmd)
}

func (e *environ) simulateStatus() *cobra.Command {
	return e.command(&cobra.Command{
		Use:   "status",
		Short: "List the simulated devices",
		Args:  cobra.NoArgs,
	}, func(cmd *cobra.Command, _ []string, api *client.Client) error {
		return e.showSimulator(api.Simulator(cmd.Context()))
	})
}

func (e *environ) showSimulator(s *client.Simulator, err error) error {
	if err != nil {
		return err
	}
	if e.json() {
		return e.printJSON(s)
	}
	return showList(e, e.table("ID", "PROFILE", "STATUS", "PROBLEM"), s.Devices, nil, func(d client.SimulatedDevice) []string {
		status := "offline"
		if d.Connected {
			status = "online"
		}
		return []string{d.ID, string(d.Profile), status, d.Problem}
	})
}
