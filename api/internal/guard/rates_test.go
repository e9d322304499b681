package guard

import (
	"fmt"
	"net/http"
	"testing"
	"time"
)

func TestCallersAreForgotten(t *testing.T) {
	c := NewCallers(1, 1)
	c.Enter("stays", 1)
	for i := range 3 * maxCallers {
		c.Enter(fmt.Sprint(i), 1)
		c.Exit(fmt.Sprint(i))
	}
	if len(c.byKey) > maxCallers || c.byKey["stays"] == nil {
		t.Errorf("%d callers are remembered, want at most %d, and the one with a stream", len(c.byKey), maxCallers)
	}
}

// TestACallerThatHasSpentItsRateIsRemembered: a fresh bucket would be full.
func TestACallerThatHasSpentItsRateIsRemembered(t *testing.T) {
	c := NewCallers(1.0/3600, 1)
	h := make(http.Header)
	if err := c.Spend(h, "spent", time.Now()); err != nil {
		t.Fatal(err)
	}
	for i := range maxCallers {
		c.Enter(fmt.Sprint(i), 1)
		c.Exit(fmt.Sprint(i))
	}
	if err := c.Spend(h, "spent", time.Now()); err == nil {
		t.Error("it may send again after others have come")
	}
}
