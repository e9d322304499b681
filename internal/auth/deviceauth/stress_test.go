package deviceauth

import (
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"
)

// Devices come and go while files change, somebody lists who was refused and
// the metrics are read. Run with the race detector.
func TestManyAtOnce(t *testing.T) {
	file := writeFile(t, "tokens", "")
	token := tokenFor(t, file, TokenEntry{Pattern: "m-*"})
	s := startService(t, 200, `{"allow":false}`)
	d := open(t, Config{TokensFile: file, FailuresPerMinute: 1_000_000,
		Hook: HookConfig{URL: s.URL, DenyTTL: time.Millisecond, Concurrency: 4}})
	d.Start()
	var all sync.WaitGroup
	for g := range 8 {
		all.Go(func() {
			for i := range 50 {
				h := hello(fmt.Sprintf("m-%d", i%7), token)
				h.Remote = netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(g), byte(i)}), 1)
				if _, err := d.register(h); err != nil {
					t.Errorf("with its token: %v", err)
				}
				h.Token = NewToken()
				if _, err := d.register(h); err == nil {
					t.Error("let in with a token of nobody's")
				}
			}
		})
	}
	all.Go(func() {
		for i := range 20 {
			tokenFor(t, file, TokenEntry{Client: fmt.Sprint("other-", i)})
			d.Reload()
		}
	})
	all.Go(func() {
		for range 100 {
			if n := len(d.Refused()); n > 1000 {
				t.Errorf("%d refused registrations", n)
			}
			d.Stats()
		}
	})
	all.Wait()
	d.Close()
	total := uint64(0)
	for _, n := range d.Stats().Results {
		total += n
	}
	if total != 800 {
		t.Errorf("%d decisions are counted, want 800", total)
	}
}
