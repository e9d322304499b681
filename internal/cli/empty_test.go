package cli

import (
	"bytes"
	"strings"
	"testing"
)

// An unset variable of a script makes an empty argument. It names nothing, so it is wrong
// usage everywhere; only the text of a push may be empty. An empty flag that limits something
// is wrong, too.
func TestAnEmptyArgumentIsWrongUsage(t *testing.T) {
	for _, line := range []string{"clients get", "clients forget truck-1", "clients kick", "messages get", "messages cancel", "webhooks rm", "keys revoke",
		"why", "config check", "store restore", "push", "messages cancel --client truck-1 --through", "webhooks create http://x/ --types",
		"webhooks replay wh_1 --since 1h --until", "keys create --name x --scopes admin --expires", "tail --consumer x --create --types",
		"devices token create --file tokens --client x --expires", "serve --config", "health --server"} {
		var errs bytes.Buffer
		args := append(strings.Fields(line), "")
		got := Main(t.Context(), Program{Out: &errs, Err: &errs, In: strings.NewReader(""), Env: []string{"LONGWIRE_SERVER=127.0.0.1:1"}}, args)
		if got != exitUsage {
			t.Errorf("%s '': exit code %d, want %d: %s", line, got, exitUsage, &errs)
		}
	}
}
