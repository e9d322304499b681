// Package loopback gives tests of whole processes their ports.
package loopback

import (
	"fmt"
	"math/rand/v2"
	"net"
	"testing"
)

// FreeAddr returns a loopback address without a listener. The port is below the
// system's ephemeral range, so no outgoing connection and no listener on port 0
// takes it while the process under test restarts. Another call of FreeAddr may.
func FreeAddr(t testing.TB) string {
	t.Helper()
	addr, err := Free()
	if err != nil {
		t.Fatal(err)
	}
	return addr
}

// Free is FreeAddr for code without a test.
func Free() (string, error) {
	var last error
	for range 100 {
		listener, err := net.Listen("tcp", fmt.Sprint("127.0.0.1:", 10_000+rand.IntN(20_000)))
		if err == nil {
			defer listener.Close()
			return listener.Addr().String(), nil
		}
		last = err
	}
	return "", fmt.Errorf("no port is free: %w", last)
}
