package cli

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
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
		Long: `Ask /readyz of a gateway. Exits with 0 if it accepts messages, with 1 if it does not
or cannot be reached.

Without --server and LONGWIRE_SERVER the command asks the gateway of this machine at
http.addr, with https if http.tls_cert_file is set. It reads these settings from the
file and the environment as "longwire serve" does.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			api, err := e.probed(file)
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			if err := api.Ready(ctx); err != nil {
				if p, ok := errors.AsType[*client.Problem](err); ok && p.Code() != "" { // without the advice to ask again with this command
					return errors.New(p.Error())
				}
				return err
			}
			if !quiet {
				fmt.Fprintln(e.out, "ready")
			}
			return nil
		},
	}
	durationVar(cmd.Flags(), &timeout, "timeout", 3*time.Second, "how long to wait for the answer")
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "print nothing if the gateway is ready")
	cmd.Flags().StringVar(&file, "config", "", "configuration file of the gateway, also LONGWIRE_CONFIG")
	return e.apiFlags(cmd)
}

// probed returns a client of the gateway that the flags name, or of the one that
// the settings describe. The latter runs on this machine, and its certificate is
// for the names that other machines use. The probe sends it no secret, so it does
// not check the certificate.
func (e *environ) probed(file string) (*client.Client, error) {
	if cmp.Or(e.server, e.getenv(envServer)) != "" {
		return e.api()
	}
	cfg, _, err := e.load(file, nil, true)
	if err != nil {
		return nil, err
	}
	host, port, err := net.SplitHostPort(cfg.HTTP.Addr)
	if err != nil {
		return nil, err // cannot happen with valid settings
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	e.server = "http://" + net.JoinHostPort(host, port)
	own := &http.Transport{} // without a proxy, which would lead away from this machine
	if cfg.HTTP.TLSCertFile != "" {
		e.server = "https" + e.server[len("http"):]
		own.TLSClientConfig = &tls.Config{InsecureSkipVerify: true}
	}
	return e.api(client.WithHTTPClient(&http.Client{Transport: own}), client.WithAPIKey(""))
}
