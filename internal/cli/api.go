package cli

import (
	"cmp"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/longwire/longwire/client"
	"github.com/longwire/longwire/internal/private"
)

const defaultServer = "http://127.0.0.1:8080"

// Names of environment variables that only the commands of the API read.
const (
	envServer     = "LONGWIRE_SERVER"
	envAPIKey     = "LONGWIRE_API_KEY"
	envAPIKeyFile = "LONGWIRE_API_KEY_FILE"
	envCAFile     = "LONGWIRE_CA_FILE"
)

// ClientEnv lists the LONGWIRE_ names that are not settings of the gateway.
var ClientEnv = []string{envServer, envAPIKey, envAPIKeyFile, envCAFile,
	envEventType, envEventID, envEventClient, envEventTime, envEventSequence}

// apiFlags adds the flags that select the gateway and its key.
func (e *environ) apiFlags(cmd *cobra.Command) *cobra.Command {
	f := cmd.Flags()
	f.StringVar(&e.server, "server", "", "address of the gateway's API, also LONGWIRE_SERVER (default "+defaultServer+")")
	f.StringVar(&e.apiKey, "api-key", "", "API key, also LONGWIRE_API_KEY, or LONGWIRE_API_KEY_FILE with a file that holds it")
	f.StringVar(&e.caFile, "ca", "", "PEM file of the authorities that may sign the API's certificate, also "+envCAFile)
	return cmd
}

// command returns a command that calls do with a client of the gateway, and has output.
func (e *environ) command(cmd *cobra.Command, do func(cmd *cobra.Command, args []string, api *client.Client) error) *cobra.Command {
	cmd.RunE = e.withAPI(do)
	e.outputFlag(cmd)
	return e.apiFlags(cmd)
}

// withAPI returns the RunE of a command that calls do with a client of the gateway.
func (e *environ) withAPI(do func(cmd *cobra.Command, args []string, api *client.Client) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		api, err := e.api()
		if err != nil {
			return err
		}
		return do(cmd, args, api)
	}
}

// each does something with each id until an error, and says of each that it is done.
func (e *environ) each(ids []string, done string, do func(id string) error) error {
	for _, id := range ids {
		if err := do(id); err != nil {
			return err
		}
		fmt.Fprintf(e.err, "%s %s\n", printable(id), done)
	}
	return nil
}

// api returns a client of the gateway that the flags and the environment name.
func (e *environ) api(opts ...client.Option) (*client.Client, error) {
	key, err := e.key()
	if err != nil {
		return nil, err
	}
	server := cmp.Or(e.server, e.getenv(envServer), defaultServer)
	if !strings.Contains(server, "://") {
		server = "http://" + server
	}
	all := []client.Option{client.WithAPIKey(key), client.WithUserAgent("longwire-cli")}
	if name := cmp.Or(e.caFile, e.getenv(envCAFile)); name != "" {
		pool, err := readCAs(name)
		if err != nil {
			return nil, fmt.Errorf("authorities: %w", err)
		}
		all = append(all, client.WithRootCAs(pool))
	}
	c, err := client.New(server, append(all, opts...)...)
	if err != nil {
		return nil, usageError{err}
	}
	return c, nil
}

// maxKeyFile bounds the bytes read of a key file.
const maxKeyFile = 4096

// key returns the API key, "" for none. The flag has precedence over the
// environment.
func (e *environ) key() (string, error) {
	if e.apiKey != "" {
		return e.apiKey, nil
	}
	if k := e.getenv(envAPIKey); k != "" {
		return k, nil
	}
	name := e.getenv(envAPIKeyFile)
	if name == "" {
		return "", nil
	}
	b, err := readBounded(name, maxKeyFile)
	if err != nil {
		return "", fmt.Errorf("%s: %w", envAPIKeyFile, err)
	}
	return strings.TrimSpace(string(private.WithoutMark(b))), nil
}

// readBounded reads a file of at most limit bytes.
func readBounded(name string, limit int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return private.ReadAll(f, name, limit)
}
