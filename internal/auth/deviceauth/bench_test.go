package deviceauth

import (
	"context"
	"fmt"
	"testing"

	"github.com/longwire/longwire/gateway"
)

// What a registration costs, per method. It runs beside the turns of
// connections, on goroutines that may wait for the store.
func BenchmarkAuthenticate(b *testing.B) {
	file := writeFile(b, "tokens", "")
	token := tokenFor(b, file, TokenEntry{Client: "m"})
	for i := range 20 {
		tokenFor(b, file, TokenEntry{Pattern: fmt.Sprintf("fleet-%d-*", i)})
	}
	static := open(b, Config{TokensFile: file})
	signed := open(b, Config{JWTKeys: writeFile(b, "jwks.json", jwksOf(b, allSigners()...))})
	run := func(name string, d *door, id, token string) {
		b.Run(name, func(b *testing.B) {
			h := hello(id, token)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := d.Authenticate(context.Background(), h); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	run("open", open(b, Config{}), "m", "")
	run("shared", open(b, Config{SharedToken: "s"}), "m", "s")
	run("token", static, "m", token)
	for _, s := range allSigners() {
		run(s.method.Alg(), signed, "m", s.sign(b, claims("m")))
	}
	for name, h := range map[string]gateway.Hello{"wrong": hello("m", NewToken()), "unknown": hello("fleet-x", NewToken())} {
		b.Run("token/"+name, func(b *testing.B) {
			for b.Loop() {
				static.decide(context.Background(), &h)
			}
		})
	}
}

// What Recheck asks of each connection.
func BenchmarkTokenHolds(b *testing.B) {
	file := writeFile(b, "tokens", "")
	token := tokenFor(b, file, TokenEntry{Client: "m"})
	c := open(b, Config{TokensFile: file}).inside(hello("m", token))
	b.ReportAllocs()
	for b.Loop() {
		if !c.Holds("m") {
			b.Fatal("revoked")
		}
	}
}
