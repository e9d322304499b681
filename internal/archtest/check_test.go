package archtest

import (
	"strings"
	"testing"
)

// Each rule, broken: the checker must report it with the reason. Allowed imports
// must pass, or the rules would only be strict.
func TestCheckerSees(t *testing.T) {
	for _, c := range []struct{ from, imports, why string }{
		// up
		{"gateway", "./tcpserver", "up, from core to edges"},
		{"protocol", "./device", "up, from core to published"},
		{"client", "./api", "up, from published to edges"},
		{"tcpserver", "./internal/app", "up, from edges to wiring"},
		{"api", "./internal/config", "up, from edges to settings"},
		{"internal/metrics", "./internal/config", "up, from edges to settings"},
		{"internal/app", "./cmd/longwire", "up, from wiring to entry"},
		{"internal/wheel", "./gateway", "up, from leaves to core"},
		{"docs", "./api", "up, from leaves to edges"},
		{"internal/private", "./internal/audit", "up, from ground to leaves"},
		// sideways
		{"gateway", "./protocol", "sideways"},
		{"protocol", "./gateway", "sideways"},
		{"api", "./tcpserver", "sideways"},
		{"tcpserver", "./api", "sideways"},
		{"api", "./internal/metrics", "sideways"},
		{"internal/metrics", "./tcpserver", "sideways"},
		{"internal/engine", "./internal/engine/memstore", "sideways"},
		{"internal/engine/record", "./internal/engine/state", "sideways"},
		{"internal/engine/state", "./internal/engine/disk", "sideways"},
		{"internal/engine/disk", "./internal/engine/state", "sideways"},
		{"internal/engine/journal", "./internal/engine/record", "sideways"},
		{"internal/engine/state", "./internal/engine", "sideways"},
		// into a room from outside
		{"internal/app", "./internal/engine/state", "only internal/engine may"},
		{"internal/cli", "./internal/engine/disk", "only internal/engine may"},
		{"internal/engine/memstore", "./internal/engine/record", "only internal/engine may"},
		{"internal/cli", "./internal/app", "sideways"},
		{"internal/bench", "./internal/cli", "sideways"},
		{"cmd/longwire", "./internal/bench", "imports only"},
		{"device", "./client", "sideways"},
		// down, but further than the component goes
		{"api", "./protocol", "imports only"},
		{"internal/engine", "./protocol", "imports only"},
		{"internal/cli", "./gateway", "imports only"},
		{"internal/config", "./internal/wheel", "imports only internal/private"},
		{"client", "./gateway", "imports none of ours"},
		{"device", "./gateway", "imports only protocol"},
		{"gateway", "./internal/wheel", "imports none of ours"},
		// other people's
		{"gateway", "github.com/google/uuid", "standard library only"},
		{"protocol", "golang.org/x/sys/unix", "standard library only"},
		{"client", "github.com/google/uuid", "standard library only"},
		{"device", "github.com/coder/websocket", "standard library only"},
		{"tcpserver", "github.com/go-chi/chi/v5", "only api and internal/bench may"},
		{"api", "github.com/cockroachdb/pebble/v2", "only internal/engine and internal/engine/disk may"},
		{"internal/engine/memstore", "github.com/cockroachdb/pebble/v2/vfs", "only internal/engine and internal/engine/disk may"},
		{"internal/engine/state", "github.com/cockroachdb/pebble/v2", "standard library only"},
		{"internal/engine/record", "github.com/google/uuid", "standard library only"},
		{"internal/app", "github.com/prometheus/client_golang/prometheus", "only internal/metrics may"},
		{"internal/metrics", "github.com/prometheus/client_golang/prometheus/promauto", "no package may"},
		{"docs", "github.com/swaggo/swag", "no package may"},
		{"api", "github.com/getkin/kin-openapi/openapi3", "only internal/openapigen may"},
		// the standard library
		{"gateway", "net/http", "must not need it"},
		{"protocol", "net", "must not need it"},
		{"protocol", "os", "must not need it"},
		{"internal/engine/state", "os", "must not need it"},
		{"internal/engine/record", "math/rand/v2", "must not need it"},
		// tests' and tools'
		{"internal/app", "./internal/gatewaytest", "imported by tests only"},
		{"internal/engine", "./internal/engine/enginetest", "imported by tests only"},
		{"internal/app", "./internal/openapigen", "imported by nobody"},
		// unknown
		{"internal/util", "fmt", "has no band"},
		{"internal/app", "./internal/util", "has no band"},
	} {
		got := check(graph{"./" + c.from: {c.imports}}, table, owners)
		if len(got) != 1 || !strings.Contains(got[0], c.why) || !strings.HasPrefix(got[0], c.from+" ") {
			t.Errorf("%s importing %s: %q, want one complaint with %q", c.from, c.imports, got, c.why)
		}
	}
}

func TestCheckerAllows(t *testing.T) {
	for from, imports := range map[string][]string{
		"cmd/longwire":               {"./internal/app", "./internal/cli"},
		"cmd/longwire-bench":         {"./internal/bench"},
		"internal/app":               {"./internal/config", "./api", "./tcpserver", "./gateway", "./internal/engine", "./internal/engine/memstore", "github.com/google/uuid"},
		"internal/cli":               {"./client", "./device", "./internal/config", "github.com/spf13/cobra"},
		"internal/bench":             {"./client", "./device", "gonum.org/v1/plot"},
		"api":                        {"./gateway", "./docs", "./console", "github.com/go-chi/chi/v5", "net/http"},
		"tcpserver":                  {"./gateway", "./protocol", "./internal/wheel", "golang.org/x/sys/unix"},
		"device":                     {"./protocol", "net"},
		"gateway":                    {"context", "net/netip"},
		"internal/engine":            {"./gateway", "./internal/engine/journal", "./internal/engine/state", "./internal/engine/disk", "github.com/cockroachdb/pebble/v2"},
		"internal/engine/state":      {"./gateway", "./internal/engine/record", "sync", "time"},
		"internal/engine/disk":       {"./internal/engine/record", "./internal/private", "os", "github.com/cockroachdb/pebble/v2"},
		"internal/engine/enginetest": {"./gateway", "pgregory.net/rapid", "testing"},
		"internal/openapigen":        {"github.com/getkin/kin-openapi/openapi2conv"},
		"test":                       {"./client", "./internal/gatewaytest"},
	} {
		if got := check(graph{"./" + from: imports}, table, owners); len(got) != 0 {
			t.Errorf("%s: %q, want none", from, got)
		}
	}
}

func TestLinkedAgainst(t *testing.T) {
	deps := []string{"fmt", "testing", "testing/fstest", "github.com/swaggo/swag", "github.com/swaggonaut/x", module + "/api"}
	got := strings.Join(linkedAgainst(deps, unlinked), " ")
	if want := "testing testing/fstest github.com/swaggo/swag"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
