package cli

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/longwire/longwire/client"
)

func (e *environ) healthCommand() *cobra.Command {
	var timeout time.Duration
	quiet, file := false, ""
	cmd := &cobra.Command{
		Use:   "health",
		Short: "Ask a gateway whether it accepts messages (for a container's health check)",
		Long: `Ask /readyz of a gateway. Exits with 0 when it accepts messages, with 1 when it does not or cannot be reached.

Without --server and LONGWIRE_SERVER it asks the gateway of this machine, where the settings have it listen: http.addr, and https
with http.tls_cert_file. They come from the file and the environment as for "longwire serve".`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			api, err := e.probed(file)
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
	cmd.Flags().StringVar(&file, "config", "", "configuration file of the gateway, also LONGWIRE_CONFIG")
	return e.apiFlags(cmd)
}

// probed returns a client of the gateway that is named, or else of the one that
// the settings describe. That is this machine's own: its certificate is for the
// names by which others call it, and the probe sends no secret.
func (e *environ) probed(file string) (*client.Client, error) {
	if cmp.Or(e.server, e.getenv(envServer)) != "" {
		return e.api()
	}
	cfg, err := e.loadBeside(file, nil)
	if err != nil {
		return nil, err
	}
	host, port, err := net.SplitHostPort(cfg.HTTP.Addr)
	if err != nil {
		return nil, err // not of settings that are valid
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	e.server = "http://" + net.JoinHostPort(host, port)
	if cfg.HTTP.TLSCertFile == "" {
		return e.api()
	}
	e.server = "https" + e.server[len("http"):]
	own := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	return e.api(client.WithHTTPClient(&http.Client{Transport: own}))
}
