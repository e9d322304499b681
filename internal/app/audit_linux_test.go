package app

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/longwire/longwire/client"
)

// TestAFullAuditDiskIsCounted: the gateway starts and takes messages, and its
// metrics say what is not on record.
func TestAFullAuditDiskIsCounted(t *testing.T) {
	cfg := testConfig(t.TempDir())
	cfg.Audit.File = "/dev/full"
	a := start(t, cfg)
	if _, err := backend(t, a).Push(t.Context(), "meter-1", client.Push{Payload: client.Text("x"), QueueUnknown: true}); err != nil {
		t.Fatalf("push: %v", err)
	}
	lost := func() bool {
		res, err := http.Get(fmt.Sprintf("http://%s/metrics", a.HTTPAddr()))
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		page, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Contains(string(page), "\nlongwire_audit_lost_total 1\n")
	}
	for began := time.Now(); !lost(); {
		if time.Since(began) > 10*time.Second {
			t.Fatal("longwire_audit_lost_total does not tell of the lost entry")
		}
	}
}
