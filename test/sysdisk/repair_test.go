//go:build linux

package sysdisk

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// spoil writes over a part of the longest log, behind which whole records follow.
// It returns the log as it is then.
func spoil(dataDir string) ([]byte, error) {
	logs, err := filepath.Glob(filepath.Join(dataDir, "db", "*.log"))
	if err != nil {
		return nil, err
	}
	var name string
	var longest []byte
	for _, log := range logs {
		b, err := os.ReadFile(log)
		if err != nil {
			return nil, err
		}
		if len(b) > len(longest) {
			name, longest = log, b
		}
	}
	for i := range 64 {
		longest[len(longest)*6/10+i] ^= 0xff
	}
	return longest, os.WriteFile(name, longest, 0o600)
}

// A command repairs a store whose log is damaged. After a power cut the command can
// be run again with the same result: the store has what it has after a repair that
// was not cut, the damaged log lies in the quarantine directory, and no number is
// given twice that was told before the damage.
func TestPowerCutKeepsARepairedStore(t *testing.T) {
	var l filled
	var told *view
	var spoiled []byte
	s := newScenario(t, func(root string) {
		g, err := prepare()
		if err != nil {
			t.Fatal(err)
		}
		data := filepath.Join(root, "data")
		g.process, err = start(append([]string{longwire(t)}, g.command(data)...))
		if err != nil {
			t.Fatal(err)
		}
		defer g.stop()
		if err := g.ready(); err != nil {
			t.Fatal(err)
		}
		l.fill(t, &g, nil)
		l.fill(t, &g, nil)
		c := newCaller(g.httpAddr, nil)
		defer c.close()
		if told, err = look(&g, c, loadClients(), ""); err != nil {
			t.Fatal(err)
		}
		g.stop() // killed, so that the log has everything
		if spoiled, err = spoil(data); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(filepath.Join(data, "admin.sock")); err != nil { // no part of the model
			t.Fatal(err)
		}
	})
	repair := func(root string) []string {
		return []string{"store", "repair", "--accept-loss", "--data-dir", filepath.Join(root, "data")}
	}
	s.command(repair(s.root)...)
	s.faithful()

	// examine starts a gateway on a repaired store.
	examine := func(root string, want contents) (has contents, n int, broken []string) {
		n, broken = serve(t, filepath.Join(root, "data"), func(g *gateway) (int, []string) {
			c := newCaller(g.httpAddr, nil)
			defer c.close()
			var err error
			if has, err = contentsOf(c); err != nil {
				return 0, []string{err.Error()}
			}
			v, err := look(g, c, nil, "")
			if err != nil {
				return 0, []string{err.Error()}
			}
			broken := slices.Concat(want.in(has), has.in(want))
			if v.log == told.log {
				broken = append(broken, "the log has its old name "+v.log)
			}
			for what, numbers := range map[string][2]uint64{"message": {v.seq, told.seq}, "uplink": {v.useq, told.useq}, "event": {v.event, told.event}} {
				if numbers[0] <= numbers[1] {
					broken = append(broken, fmt.Sprintf("a new %s has the number %d, and %d was told before the damage", what, numbers[0], numbers[1]))
				}
			}
			return len(want) + 4, broken
		})
		return has, n, broken
	}
	uncut := t.TempDir()
	if err := s.rec.disk.rebuild(cut{at: never, way: finished}, uncut); err != nil {
		t.Fatal(err)
	}
	want, _, _ := examine(uncut, nil)
	if n := want.count("message"); n < 20 || n >= len(told.messages) {
		t.Fatalf("the repair has left %d of %d messages", n, len(told.messages))
	}

	seed := seed(t)
	cuts := append(s.choose(cutsOf(t, 5), seed, 0, []*fact{{at: s.rec.end}}), s.near(cutsOf(t, 5), seed, ".tmp")...)
	o := s.try(t, cuts, func(root string, c cut) (int, []string) {
		if c.at <= s.rec.end {
			if err := longwireRun(t, repair(root)...); err != nil {
				return 0, []string{err.Error()}
			}
		}
		kept := false
		for name, content := range tree(t, filepath.Join(root, "data/quarantine")) {
			kept = kept || strings.Contains(name, ".log.") && strings.HasSuffix(content, string(spoiled))
		}
		_, n, broken := examine(root, want)
		if !kept {
			broken = append(broken, "the damaged log is not in the quarantine directory")
		}
		return n + 1, broken
	})
	o.report(t, seed, fmt.Sprintf("left: %d of %d messages", want.count("message"), len(told.messages)))
}
