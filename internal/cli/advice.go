package cli

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"syscall"

	"github.com/longwire/longwire/protocol"
)

// The advice after a failed connection, printed behind its reason.
const (
	adviceDial       = `is "longwire serve" running there? Set --addr`
	adviceCA         = "--ca names the authority of its certificate"
	adviceName       = "--addr takes a name that the certificate has"
	adviceNoTLS      = "perhaps the port speaks no TLS: then leave out --tls and --ca"
	adviceTLS        = "--tls or --ca makes the device speak TLS"
	adviceToken      = `--token gives the device its token, and "longwire devices refused" at the gateway has the reason`
	adviceHTTP       = "an HTTP server answers there: --addr takes the port of devices, 6666 by default"
	adviceServerCA   = "--ca or " + envCAFile + " names the authority of its certificate"
	adviceServerName = "--server takes a name that the certificate has"
	adviceNotTLSPort = "perhaps the port speaks no HTTPS; check --server"
	advicePort       = "another program has this port: stop it, or choose another port with --tcp-addr or --http-addr"
	adviceNotHTTPS   = "the port speaks plain HTTP: begin --server with http://"
)

// dialAdvice returns the next step after a connection of a device could not be made, ""
// for none.
func dialAdvice(err error) string {
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return adviceName
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return adviceCA
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" {
		return adviceDial
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok || errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) {
		return adviceNoTLS
	}
	return ""
}

// closeAdvice returns the next step after the end of a device's connection whose first
// bytes from the other side are opening.
func closeAdvice(c protocol.Close, opening string) string {
	switch {
	case strings.HasPrefix(opening, "HTTP/"):
		return adviceHTTP
	case c.Reason == protocol.ReasonTLSRequired:
		return adviceTLS
	case c.Reason == protocol.ReasonUnauthorized:
		return adviceToken
	}
	return ""
}

// networkAdvice returns the next step after a call of the API got no answer or a port
// could not be opened, "" for none and for other errors.
func networkAdvice(err error) string {
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "listen" && errors.Is(err, syscall.EADDRINUSE) {
		return advicePort
	}
	call, ok := errors.AsType[*url.Error](err)
	if !ok {
		return ""
	}
	if errors.Is(err, http.ErrSchemeMismatch) {
		return adviceNotHTTPS
	}
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return adviceServerName
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return adviceServerCA
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); strings.HasPrefix(call.URL, "https:") && (ok || errors.Is(err, io.EOF)) {
		return adviceNotTLSPort
	}
	return ""
}

// firstBytes is a connection that keeps the first bytes of its peer.
type firstBytes struct {
	net.Conn
	mu    sync.Mutex // guards first
	first []byte     // at most maxFirst
}

const maxFirst = 5

func (c *firstBytes) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.first = append(c.first, b[:min(n, maxFirst-len(c.first))]...)
	return n, err
}

// opening returns the first bytes, "" of no connection.
func (c *firstBytes) opening() string {
	if c == nil {
		return ""
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return string(c.first)
}
