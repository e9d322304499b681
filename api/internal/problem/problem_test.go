package problem

import (
	"testing"

	"github.com/longwire/longwire/gateway"
)

// TestAnUnknownCodeIsTheServersFault, and not some other problem.
func TestAnUnknownCodeIsTheServersFault(t *testing.T) {
	if p := Of(&gateway.Error{Code: "of-tomorrow", Message: "x"}); p.Status != 500 || p.Code() != string(Internal) {
		t.Errorf("%+v, want an internal error", p)
	}
}
