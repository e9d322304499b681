//go:build linux

package sysdisk

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"syscall"
	"testing"
)

// formerStore unpacks a store of the former format, which a killed process has left,
// and returns how many messages and uplinks the program that wrote it has counted.
func formerStore(t *testing.T, dataDir string) (messages, uplinks int) {
	t.Helper()
	const kept = "../../internal/engine/testdata/format2/killed"
	if err := os.Mkdir(dataDir, 0o700); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("tar", "-xzf", kept+".tar.gz", "-C", dataDir).CombinedOutput(); err != nil {
		t.Fatalf("unpack: %v: %s", err, out)
	}
	b, err := os.ReadFile(kept + ".rows")
	if err != nil {
		t.Fatal(err)
	}
	rows := func(kind string) int {
		n := regexp.MustCompile(`(?m)^` + kind + ` (\d+) `).FindSubmatch(b)
		if n == nil {
			t.Fatalf("no rows of kind %s", kind)
		}
		rows, _ := strconv.Atoi(string(n[1]))
		return rows
	}
	return rows("m"), rows("u")
}

// A start brings a store of the former format up to date. After a power cut another
// start works and all that the store held is there, with all that the gateway has
// told since; no number is given twice.
func TestPowerCutKeepsAnUpgradedStore(t *testing.T) {
	var messages, uplinks int
	s := newScenario(t, func(root string) { messages, uplinks = formerStore(t, filepath.Join(root, "data")) })
	g, err := prepare()
	if err != nil {
		t.Fatal(err)
	}
	keep := []string{"--data-status-retention", "3650d", "--data-uplink-retention", "3650d"} // the store is as old as it is
	p := s.start(g.command(filepath.Join(s.root, "data"), keep...))
	g.process = p.process
	if err := g.ready(); err != nil {
		t.Fatal(err)
	}
	c := newCaller(g.httpAddr, nil)
	defer c.close()
	want, err := contentsOf(c)
	if err != nil {
		t.Fatal(err)
	}
	if m, u := want.count("message"), want.count("uplink"); m != messages || u != uplinks {
		t.Fatalf("the upgraded store has %d messages and %d uplinks, the old one had %d and %d", m, u, messages, uplinks)
	}
	var l filled
	var ws wires
	l.fill(t, &g, &ws)
	p.cmd.Process.Signal(syscall.SIGTERM)
	p.end(0)
	s.faithful()
	if err := l.facts.date(&s.rec.sent); err != nil {
		t.Fatal(err)
	}
	numbers := &fact{kind: "message number", what: "the old store has given message numbers", holds: func(v *view) error {
		if v.seq <= uint64(messages) || v.useq <= uint64(uplinks) {
			return fmt.Errorf("a new message has %d, a new uplink %d", v.seq, v.useq)
		}
		return nil
	}}

	seed := seed(t)
	cuts := append(s.choose(cutsOf(t, 5), seed, 0, l.facts.all[:10]), s.near(cutsOf(t, 5), seed, ".tmp")...)
	o := s.try(t, cuts, func(root string, c cut) (int, []string) {
		return serve(t, filepath.Join(root, "data"), func(g *gateway) (int, []string) {
			asks := newCaller(g.httpAddr, nil)
			defer asks.close()
			has, err := contentsOf(asks)
			if err != nil {
				return 0, []string{err.Error()}
			}
			v, err := look(g, asks, loadClients(), "")
			if err != nil {
				return 0, []string{err.Error()}
			}
			n, broken := v.check(append(slices.Clip(l.facts.before(c.at)), numbers), c.seed)
			return n + len(want), append(broken, want.in(has)...)
		}, keep...)
	})
	o.report(t, seed, fmt.Sprintf("the old store held %d things; told: %s", len(want), l.facts.kinds()))
}
