package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"

	"github.com/longwire/longwire/internal/private"
)

// adminSocket is the socket of the process that holds a data directory.
const adminSocket = "admin.sock"

// errNoHolder reports that no process listens in the data directory.
var errNoHolder = errors.New("no gateway runs there")

// maxAdminAnswer bounds an answer of the socket, in bytes: the list of the most API keys
// that there may be.
const maxAdminAnswer = 4 << 20

// askHolder sends a request to the process that holds dir and decodes its answer
// into out (nil to ignore it). Only ctx limits the wait, because a backup to
// another file system copies everything.
func askHolder(ctx context.Context, dir, method, path string, in, out any) error {
	var dialed error // nil after the socket was reached
	hc := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (nc net.Conn, err error) {
			nc, dialed = new(net.Dialer).DialContext(ctx, "unix", filepath.Join(dir, adminSocket))
			return nc, dialed
		},
	}}
	var body bytes.Buffer
	if in != nil {
		if err := json.NewEncoder(&body).Encode(in); err != nil {
			return err
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://longwire"+path, &body)
	if err != nil {
		return err
	}
	res, err := hc.Do(req)
	if dialed != nil && ctx.Err() == nil {
		return errors.Join(errNoHolder, dialed)
	}
	if err != nil {
		return fmt.Errorf("ask the gateway that holds %s: %w", dir, err)
	}
	defer res.Body.Close()
	b, err := private.ReadAll(res.Body, "its answer", maxAdminAnswer)
	if err != nil {
		return fmt.Errorf("ask the gateway that holds %s: %w", dir, err)
	}
	if res.StatusCode != http.StatusOK {
		var p struct{ Error string }
		if json.Unmarshal(b, &p) != nil || p.Error == "" {
			p.Error = res.Status
		}
		return fmt.Errorf("the gateway that holds %s: %s", dir, p.Error)
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(b, out)
}
