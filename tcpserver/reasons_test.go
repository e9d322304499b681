package tcpserver

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/longwire/longwire/gateway"
)

// protocolReasons reads the reasons off the source: constants have no list.
func protocolReasons(t *testing.T) (reasons []string) {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), "../protocol/close.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(f, func(n ast.Node) bool {
		c, ok := n.(*ast.ValueSpec)
		if ok && strings.HasPrefix(c.Names[0].Name, "Reason") {
			r, err := strconv.Unquote(c.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			reasons = append(reasons, r)
		}
		return true
	})
	return reasons
}

// Every reason of the protocol is a close reason of the gateway, or is known to
// end no registered connection. A new one needs its place here or there.
func TestCloseReasonsAreTheProtocols(t *testing.T) {
	const (
		unregistered = "unauthorized blocked id_in_use overloaded too_many_clients not_registered http_request tls_unsupported tls_required proxy_unexpected proxy_required"
		refusedLines = "invalid_utf8 unknown_command" // answered with ERROR; too many of them are too_many_errors
		deviceSide   = "server_closed register_refused remote_error"
		own          = "internal_error server_stopped" // of no session: a defect, a process that was killed
	)
	wire, listed := protocolReasons(t), gateway.CloseReasons()
	if len(wire) < 20 {
		t.Fatalf("protocol has the reasons %q: the source is not what the test expects", wire)
	}
	elsewhere := strings.Fields(unregistered + " " + refusedLines + " " + deviceSide)
	for _, r := range wire {
		if slices.Contains(listed, r) == slices.Contains(elsewhere, r) {
			t.Errorf("%s: a close reason of the gateway: %v, known to end no registered connection: %v; want one of them",
				r, slices.Contains(listed, r), slices.Contains(elsewhere, r))
		}
	}
	for _, r := range listed {
		if !slices.Contains(wire, r) && !slices.Contains(strings.Fields(own), r) {
			t.Errorf("%s is a close reason of the gateway and none of the protocol", r)
		}
		if !slices.Contains(closeReasons, r) && r != gateway.ReasonServerStopped {
			t.Errorf("%s is not counted by Stats.Closed", r)
		}
	}
}
