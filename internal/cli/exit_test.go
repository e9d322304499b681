package cli

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/longwire/longwire/internal/config"
)

func TestExitCodes(t *testing.T) {
	g := startGateway()
	defer g.http.Close()
	p := Program{
		Serve: func(_ context.Context, cfg *config.Config, _ io.Writer) error {
			if cfg.TCP.Addr == "127.0.0.1:1" {
				return errors.New("listen: in use\nreally")
			}
			return nil
		},
		In:  strings.NewReader(""),
		Env: []string{"LONGWIRE_SERVER=" + g.http.URL, "LONGWIRE_API_KEY=k"},
	}
	for _, tt := range []struct {
		args string
		want int
		says string // on Err
	}{
		{"", exitOK, ""},
		{"serve", exitOK, ""},
		{"version", exitOK, ""},
		{"push truck-17 hi --wait 1s", exitOK, ""},
		{"push truck-18 hi --wait 1s", exitFailed, ""},
		{"push ghost hi", exitFailed, "longwire: No such client; "},
		{"serve --tcp-addr 127.0.0.1:1", exitFailed, "longwire: listen: in use; really\n"},
		{"serve --tcp-addr nonsense", exitUsage, "longwire: --tcp-addr: "},
		{"serve extra", exitUsage, `longwire: "extra" is not understood: longwire serve takes flags only; see longwire serve --help`},
		{"connect demo", exitUsage, `longwire: "demo" is not understood: longwire connect takes flags only; see longwire connect --help`},
		{"nonsense", exitUsage, `longwire: unknown command "nonsense"`},
		{"clients nonsense", exitUsage, `longwire: unknown command "nonsense"`},
		{"pussh a b", exitUsage, `longwire: unknown command "pussh" for "longwire" (did you mean push?)`},
		{"store verfy", exitUsage, `longwire: unknown command "verfy" for "longwire store" (did you mean verify?)`},
		{"keys lst", exitUsage, `longwire: unknown command "lst" for "longwire keys" (did you mean list?)`},
		{"devices tokn create", exitUsage, `longwire: unknown command "tokn" for "longwire devices" (did you mean token?)`},
		{"devices token creat", exitUsage, `longwire: unknown command "creat" for "longwire devices token" (did you mean create?)`},
		{"push truck-17 hi --ttl 0s", exitUsage, "longwire: --ttl 0s: want 1s to 720h"},
		{"push truck-17 hi --ttl -1s", exitUsage, `longwire: invalid argument "-1s" for "--ttl" flag: want a duration from 0 on`},
		{"clients kick truck-17 --block -10m", exitUsage, `longwire: invalid argument "-10m" for "--block" flag: want a duration from 0 on`},
		{"clients trace --for 1m", exitUsage, "longwire: name the client"},
		{"tail --frames", exitUsage, "longwire: --frames takes --client"},
		{"clients timeline truck-17 --follow --since 1h", exitUsage, "longwire: --follow begins with the last entries: it is not for --since"},
		{"uplinks --before 5", exitUsage, "longwire: --before goes with --order desc"},
		{"push truck-17 --json=", exitUsage, "longwire: --json is empty"},
		{"push truck-17 --file=", exitUsage, "longwire: --file is empty"},
		{"push truck-17 hi --group=", exitUsage, "longwire: --group is empty"},
		{"push", exitUsage, "longwire: no recipient:"},
		{"push a b c", exitUsage, "longwire: accepts at most 2 arg(s), received 3; see longwire push --help\n"},
		{"clients ls --nope", exitUsage, "longwire: unknown flag: --nope; see longwire clients ls --help\n"},
		{"clients ls -o xml", exitUsage, `longwire: --output "xml": want table or json`},
		{"messages get", exitUsage, "longwire: "},
		{"clients ls --server ftp://x", exitUsage, "longwire: "},
	} {
		var out, errs bytes.Buffer
		p.Out, p.Err = &out, &errs
		if got := Main(t.Context(), p, strings.Fields(tt.args)); got != tt.want {
			t.Errorf("longwire %s: exit code %d, want %d\n%s", tt.args, got, tt.want, errs.String())
		}
		if got := errs.String(); !strings.HasPrefix(got, tt.says) || tt.says == "" && got != "" {
			t.Errorf("longwire %s says %q, want %q", tt.args, got, tt.says)
		}
	}
}

// A heading above nothing looks like an empty list.
func TestAListThatFailsPrintsNothing(t *testing.T) {
	g := startGateway()
	defer g.http.Close()
	for _, args := range []string{"clients ls", "clients get truck-17 --messages", "messages ls", "messages get msg_1 --deliveries", "uplinks", "uplinks --follow",
		"devices refused", "devices refused --unnamed", "audit", "webhooks ls", "clients ls -o json"} {
		var out, errs bytes.Buffer
		p := Program{In: strings.NewReader(""), Out: &out, Err: &errs, Env: []string{"LONGWIRE_SERVER=" + g.http.URL + "/secured"}}
		if code := Main(t.Context(), p, strings.Fields(args)); code == exitOK || code == exitUsage || out.Len() > 0 || errs.Len() == 0 {
			t.Errorf("longwire %s: exit code %d, output %q and %q, want an error alone", args, code, out.String(), errs.String())
		}
	}
}

func TestLastValueOfAnEnvironmentCounts(t *testing.T) {
	e := newEnviron(Program{Env: []string{"A=1", "AB=3", "A=2"}})
	if got := e.getenv("A"); got != "2" {
		t.Errorf("A = %q, want 2", got)
	}
}
