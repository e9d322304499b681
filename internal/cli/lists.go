package cli

import (
	"github.com/spf13/cobra"

	"github.com/longwire/longwire/client"
)

// descending reads the value of --order.
func descending(order string) (bool, error) {
	if order != "asc" && order != "desc" {
		return false, usagef("--order %q: want asc or desc", order)
	}
	return order == "desc", nil
}

func (e *environ) messagesPayload() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "payload ID",
		Short:   "Write the payload of a message to standard output, byte for byte",
		Example: "  longwire messages payload msg_0193f2a0-7c1e-7d3a-9b1f-2f6d1c0a9e11 > update.bin",
		Args:    cobra.ExactArgs(1),
		RunE: e.withAPI(func(cmd *cobra.Command, args []string, api *client.Client) error {
			b, err := api.MessagePayload(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			_, err = e.out.Write(b)
			return err
		}),
	}
	return e.apiFlags(cmd)
}
