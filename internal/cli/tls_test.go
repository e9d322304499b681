package cli

import (
	"crypto/tls"
	"encoding/pem"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"

	"github.com/rogpeppe/go-internal/testscript"
)

// startTLS makes both ports reachable over TLS, with one certificate, and leaves
// it for the scripts.
func startTLS(env *testscript.Env, g *fakeGateway, p *devicePort) error {
	https := httptest.NewTLSServer(g.http.Config.Handler)
	env.Defer(https.Close)
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	l := tls.NewListener(inner, &tls.Config{Certificates: https.TLS.Certificates})
	p.serveAll(l)
	env.Defer(func() { l.Close() }) // before the port, which waits for its connections
	env.Setenv("GATEWAY_TLS", https.URL)
	env.Setenv("GATEWAY_TLS_ADDR", https.Listener.Addr().String())
	env.Setenv("DEVICES_TLS", l.Addr().String())
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: https.Certificate().Raw})
	return os.WriteFile(filepath.Join(env.WorkDir, "ca.pem"), ca, 0o600)
}
