package protocol

import (
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite testdata from what the code does; review the diff")

// TestTraces plays the conversations in testdata/traces. A line at the left
// margin is a command; the indented lines after it are the session's output and
// events. `go test -run Traces -update` rewrites them.
//
//	server [setting=value …]       start a server's session
//	device <dialect> <json>        start a device's session
//	recv "go string" | recv hex …  bytes from the peer, one read
//	advance <duration>             let time pass, deadline by deadline
//	accept [ask|unchecked] · refuse <code> <retry> · close <code> <retry>
//	send <seq> "payload" [dup] [ephemeral] · ask <seq> · ack <seq> <code> "result"
//	forget <seq> · ping · eof · lost · stick · unstick
func TestTraces(t *testing.T) {
	files, err := filepath.Glob("testdata/traces/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no traces: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := playTrace(t, string(want))
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", file, diff)
			}
		})
	}
}

func playTrace(t *testing.T, script string) string {
	var out strings.Builder
	d := &dialogue{t: t, now: epoch}
	for line := range strings.Lines(script) {
		if strings.HasPrefix(line, "\t") {
			continue // written anew below
		}
		out.WriteString(line)
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		d.command(line)
		for _, l := range d.lines {
			fmt.Fprintf(&out, "\t%s\n", l)
		}
		d.lines = nil
	}
	return out.String()
}

func (d *dialogue) command(line string) {
	verb, rest, _ := strings.Cut(line, " ")
	switch verb {
	case "server":
		d.s, d.now, d.stuck = NewServer(traceConfig(d.t, rest), epoch), epoch, false
	case "device":
		name, body, _ := strings.Cut(rest, " ")
		dialect, ok := ParseDialect(name)
		r, err := decodeRegister([]byte(body))
		if err != nil || !ok {
			d.t.Fatalf("%s: %v", line, err)
		}
		d.s, d.now, d.stuck = NewDevice(nil, dialect, *r, epoch), epoch, false
		d.drain()
	case "recv":
		d.recv(traceBytes(d.t, rest))
	case "advance":
		by, err := time.ParseDuration(rest)
		if err != nil {
			d.t.Fatal(err)
		}
		d.until(d.now.Add(by))
	case "accept":
		d.accept(Registered{Session: "ses_1", Log: "log_1", Resumed: rest == "ask", Ask: rest == "ask", TokenUnchecked: rest == "unchecked"})
	case "refuse":
		d.refuse(traceClose(d.t, rest))
	case "close":
		d.close(traceClose(d.t, rest))
	case "send":
		d.send(traceData(d.t, rest))
	case "ack":
		seq, rest, _ := strings.Cut(rest, " ")
		code, result, _ := strings.Cut(rest, " ")
		data := traceData(d.t, seq+" "+result)
		d.ack(data.Seq, traceCode(d.t, code), string(data.Payload))
	case "ask":
		d.ask(traceData(d.t, rest).Seq)
	case "forget":
		d.forget(traceData(d.t, rest).Seq)
	case "ping":
		d.ping()
	case "eof":
		d.eof()
	case "lost":
		d.s.Lost()
		d.drain()
	case "stick":
		d.stuck = true
	case "unstick":
		d.unstick()
	default:
		d.t.Fatalf("unknown command %q", line)
	}
}

func traceConfig(t *testing.T, settings string) *Config {
	cfg := new(Config)
	durations := map[string]*time.Duration{"heartbeat": &cfg.Heartbeat, "grace": &cfg.Grace, "register": &cfg.RegisterTimeout,
		"ack": &cfg.AckTimeout, "v1ack": &cfg.V1AckTimeout, "gap": &cfg.V1Gap}
	for _, setting := range strings.Fields(settings) {
		name, value, _ := strings.Cut(setting, "=")
		var err error
		if name == "window" {
			cfg.Window, err = strconv.Atoi(value)
		} else if p := durations[name]; p != nil {
			*p, err = time.ParseDuration(value)
		} else {
			t.Fatalf("unknown setting %q", setting)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return cfg
}

func traceBytes(t *testing.T, s string) string {
	if h, ok := strings.CutPrefix(s, "hex "); ok {
		b, err := hex.DecodeString(strings.ReplaceAll(h, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	b, err := strconv.Unquote(s)
	if err != nil {
		t.Fatalf("%s: %v", s, err)
	}
	return b
}

func traceClose(t *testing.T, s string) Close {
	var c Close
	var retry string
	if _, err := fmt.Sscan(s, &c.Code, &retry); err != nil {
		t.Fatal(err)
	}
	c.RetryAfter, _ = time.ParseDuration(retry)
	return c
}

func traceCode(t *testing.T, name string) AckCode {
	i := slices.Index(codeNames[:], name)
	if i < 0 {
		t.Fatalf("unknown code %q", name)
	}
	return AckCode(i)
}

func traceData(t *testing.T, s string) (data Data) {
	number, rest, _ := strings.Cut(s, " ")
	seq, err := strconv.ParseUint(number, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	data.Seq = seq
	if quoted, err := strconv.QuotedPrefix(rest); err == nil {
		data.Payload = []byte(traceBytes(t, quoted))
		rest = rest[len(quoted):]
	}
	data.Dup = strings.Contains(rest, "dup")
	data.Ephemeral = strings.Contains(rest, "ephemeral")
	return data
}
