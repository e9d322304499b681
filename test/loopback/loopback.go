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
	for range 100 {
		listener, err := net.Listen("tcp", fmt.Sprint("127.0.0.1:", 10_000+rand.IntN(20_000)))
		if err == nil {
			defer listener.Close()
			return listener.Addr().String()
		}
	}
	t.Fatal("no port is free")
	return ""
}
