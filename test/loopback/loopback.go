// Package loopback gives tests of whole processes their ports.
package loopback

import (
	"fmt"
	"math/rand/v2"
	"net"
	"testing"
)

// FreeAddr returns a loopback address that nobody listens on. It stays free while
// the process that it is for is down, as long as no other caller draws it: its
// port is below those that the system gives to connections and to listeners on
// port 0.
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
