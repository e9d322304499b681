package app

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// Callers who hoard connections get no more than there may be; one that they
// give back is somebody else's.
func TestConnectionsToTheAPIAreBounded(t *testing.T) {
	const most = 16
	cfg := testConfig(filepath.Join(t.TempDir(), "data"))
	cfg.HTTP.MaxConnections = most
	a := start(t, cfg)
	// dial returns nil if the connection was closed before it returned.
	dial := func() net.Conn {
		t.Helper()
		c, err := net.Dial("tcp", a.HTTPAddr().String())
		if errors.Is(err, syscall.ECONNRESET) {
			return nil
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	// served reports whether the API answers on c.
	served := func(c net.Conn) bool {
		c.SetDeadline(time.Now().Add(10 * time.Second))
		if _, err := io.WriteString(c, "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
			return false
		}
		r, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			return false
		}
		_, err = io.Copy(io.Discard, r.Body)
		return err == nil && r.StatusCode == http.StatusOK
	}
	hoard := make([]net.Conn, most)
	for i := range hoard {
		if hoard[i] = dial(); hoard[i] == nil || !served(hoard[i]) {
			t.Fatalf("connection %d of %d is not served", i+1, most)
		}
	}
	if c := dial(); c != nil && served(c) {
		t.Error("one connection more than there may be is served")
	}
	if !served(hoard[0]) {
		t.Error("a connection that was there is not served any more")
	}
	hoard[1].Close()
	waitFor(t, func() bool {
		r, err := http.Get(a.url() + "/livez")
		if err != nil {
			return false
		}
		r.Body.Close()
		return r.StatusCode == http.StatusOK
	})
}
