//go:build linux

package sysdisk

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
)

// filled is a small load, one call after the other. Its facts hold in any store
// that has it, under another log's name too.
type filled struct {
	facts facts
	n     int
	log   string // of the store that was filled
}

// restored says that a store has another log's name than the one that was filled.
func (l *filled) restored() *fact {
	return &fact{kind: "log", what: "the restored store's log is not " + l.log, holds: func(v *view) error {
		if v.log == l.log {
			return errors.New("it is")
		}
		return nil
	}}
}

// fill makes messages, cancels some and sends uplinks.
func (l *filled) fill(t *testing.T, g *gateway, ws *wires) {
	t.Helper()
	c := newCaller(g.httpAddr, ws)
	defer c.close()
	s, err := connect(g.tcpAddr, "dev-0", "")
	if err != nil {
		t.Fatal(err)
	}
	defer s.nc.Close()
	l.log = s.log
	for range 40 {
		l.n++
		p := message(anyOf(away), fmt.Sprint("f", l.n), "")
		a, err := c.call("POST", p.path, p.key, p.body)
		if err != nil || a.code != 202 {
			t.Fatalf("push = %d, %v", a.code, err)
		}
		l.facts.accepted(a, p)
		if l.n%4 == 0 {
			b, err := c.call("DELETE", "/v1/messages/"+a.ID, "", "")
			if err != nil || b.code != 200 {
				t.Fatalf("cancel = %d, %v", b.code, err)
			}
			l.facts.final(b, "cancel")
		}
		if err := s.uplink(uint64(l.n), fmt.Sprint("up ", l.n)); err != nil {
			t.Fatal(err)
		}
	}
	before := len(l.facts.all)
	if err := c.pages("/v1/uplinks?client=dev-0&", func(u answer) {
		l.facts.uplinked(u, nil, 0, "list") // dated by the last answer before
	}); err != nil {
		t.Fatal(err)
	}
	a, err := c.call("GET", "/v1/messages?limit=1", "", "")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range l.facts.all[before:] {
		f.wire, f.upto = a.wire, a.upto
	}
}

// ask posts to the socket in the data directory, as commands do.
func ask(dataDir, path, body string) (int, error) {
	hc := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(dataDir, "admin.sock"))
	}}}
	res, err := hc.Post("http://longwire"+path, "application/json", strings.NewReader(body))
	if err != nil {
		return 0, err
	}
	res.Body.Close()
	return res.StatusCode, nil
}

// longwireRun runs a command outside of strace.
func longwireRun(t *testing.T, args ...string) error {
	cmd := exec.Command(longwire(t), args...)
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "LONGWIRE_") })
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("longwire %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return nil
}

// A running gateway and then a command make backups. After a power cut a backup that
// was reported made can be restored and has what was told before it began; one that
// was not reported has it, too, or is refused. The store itself loses nothing.
func TestPowerCutKeepsBackups(t *testing.T) {
	s := newScenario(t, nil)
	data := filepath.Join(s.root, "data")
	g, err := prepare()
	if err != nil {
		t.Fatal(err)
	}
	var l filled
	var ws wires
	p := s.start(g.command(data))
	g.process = p.process
	if err := g.ready(); err != nil {
		t.Fatal(err)
	}
	l.fill(t, &g, &ws)

	// backup is one that was asked for when this many facts were told.
	type backup struct {
		name  string
		facts int
		told  int // the moment of its report
	}
	online := backup{name: "online", facts: len(l.facts.all)}
	if code, err := ask(data, "/backup", fmt.Sprintf(`{"dir":%q}`, filepath.Join(s.root, "online"))); err != nil || code != 200 {
		t.Fatalf("backup = %d, %v", code, err)
	}
	l.fill(t, &g, &ws)
	p.cmd.Process.Signal(syscall.SIGTERM)
	p.end(0)
	answers := s.rec.sent.byPort[0]
	online.told = answers[len(answers)-1].sends[0].begin
	offline := backup{name: "offline", facts: len(l.facts.all)}
	s.command("store", "backup", "--data-dir", data, filepath.Join(s.root, "offline"))
	offline.told = s.rec.end
	s.faithful()
	asked := slices.Clone(l.facts.all) // in the order in which they came
	if err := l.facts.date(&s.rec.sent); err != nil {
		t.Fatal(err)
	}

	seed := seed(t)
	ends := append(slices.Clone(l.facts.all), &fact{at: s.rec.end})
	var refused atomic.Int64 // backups that had not been reported
	o := s.try(t, s.choose(cutsOf(t, 10), seed, 0, ends), func(root string, c cut) (int, []string) {
		n, broken := checkLoad(t, filepath.Join(root, "data"), l.facts.before(c.at), c.seed)
		for _, b := range []backup{online, offline} {
			from, to := filepath.Join(root, b.name), filepath.Join(root, b.name+"-restored")
			if _, err := os.Stat(from); err != nil && c.at <= b.told {
				continue
			}
			if err := longwireRun(t, "store", "restore", "--data-dir", to, from); err != nil {
				if c.at > b.told {
					broken = append(broken, fmt.Sprintf("the %s backup was reported at %d: %v", b.name, b.told, err))
				}
				refused.Add(1)
				continue
			}
			m, more := checkLoad(t, to, append(asked[:b.facts:b.facts], l.restored()), c.seed)
			n += m
			for _, m := range more {
				broken = append(broken, fmt.Sprintf("restored from the %s backup: %s", b.name, m))
			}
		}
		return n, broken
	})
	o.report(t, seed, fmt.Sprintf("told: %s; %d times an unfinished backup was refused", l.facts.kinds(), refused.Load()))
}

// A command restores a backup. After a power cut the restored store has everything
// if the command had ended; if it had not, the command can be run again.
func TestPowerCutKeepsARestoredStore(t *testing.T) {
	var l filled
	s := newScenario(t, func(root string) {
		g, err := prepare()
		if err != nil {
			t.Fatal(err)
		}
		data := filepath.Join(t.TempDir(), "data")
		g.process, err = start(append([]string{longwire(t)}, g.command(data)...))
		if err != nil {
			t.Fatal(err)
		}
		defer g.stop()
		if err := g.ready(); err != nil {
			t.Fatal(err)
		}
		l.fill(t, &g, nil)
		if code, err := ask(data, "/backup", fmt.Sprintf(`{"dir":%q}`, filepath.Join(root, "backup"))); err != nil || code != 200 {
			t.Fatalf("backup = %d, %v", code, err)
		}
	})
	s.command("store", "restore", "--data-dir", filepath.Join(s.root, "new/data"), filepath.Join(s.root, "backup"))
	s.faithful()
	seed := seed(t)
	o := s.try(t, s.choose(cutsOf(t, 10), seed, 0, []*fact{{at: s.rec.end}}), func(root string, c cut) (int, []string) {
		data := filepath.Join(root, "new/data")
		if c.at <= s.rec.end {
			err := longwireRun(t, "store", "restore", "--data-dir", data, filepath.Join(root, "backup"))
			if err != nil && !strings.Contains(err.Error(), "there is a store in") {
				return 0, []string{err.Error()}
			}
		}
		return checkLoad(t, data, append(l.facts.all[:len(l.facts.all):len(l.facts.all)], l.restored()), c.seed)
	})
	o.report(t, seed, "in the backup: "+l.facts.kinds())
}
