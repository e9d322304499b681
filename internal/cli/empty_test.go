package cli

import (
	"bytes"
	"strings"
	"testing"
)

// An unset variable of a script makes an empty argument. It names nothing, so it is wrong
// usage everywhere; only the text of a push may be empty.
func TestAnEmptyArgumentIsWrongUsage(t *testing.T) {
	for _, line := range []string{"clients get", "clients forget truck-1", "clients kick", "messages get", "messages cancel", "webhooks rm", "keys revoke",
		"why", "config check", "store restore", "push"} {
		var errs bytes.Buffer
		args := append(strings.Fields(line), "")
		got := Main(t.Context(), Program{Out: &errs, Err: &errs, In: strings.NewReader(""), Env: []string{"LONGWIRE_SERVER=127.0.0.1:1"}}, args)
		if got != exitUsage {
			t.Errorf("%s '': exit code %d, want %d: %s", line, got, exitUsage, &errs)
		}
	}
}
