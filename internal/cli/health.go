package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
)

func (e *environ) healthCommand() *cobra.Command {
	var timeout time.Duration
	quiet := false
	cmd := &cobra.Command{
		Use:   "health",
		Short: "Ask a gateway whether it accepts messages (for a container's health check)",
		Long:  "Ask /readyz of a gateway. Exits with 0 when it accepts messages, with 1 when it does not or cannot be reached.",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			api, err := e.api()
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			if err := api.Ready(ctx); err != nil {
				return err
			}
			if !quiet {
				fmt.Fprintln(e.out, "ready")
			}
			return nil
		},
	}
	cmd.Flags().DurationVar(&timeout, "timeout", 3*time.Second, "how long to wait for the answer")
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "say nothing when all is well")
	return e.apiFlags(cmd)
}
