package test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// The Python program of docs/guide/uplinks.md keeps every reading once while it and
// the gateway are killed and started again.
func TestTheGuidesBackendKeepsEveryReading(t *testing.T) {
	python := tool(t, "python3")
	page, err := os.ReadFile("../docs/guide/uplinks.md")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile("(?s)```python\n(.*?)```").FindSubmatch(page)
	if m == nil {
		t.Fatal("the page has no Python program")
	}
	dir := t.TempDir()
	script, db, data := filepath.Join(dir, "uplinks.py"), filepath.Join(dir, "readings.db"), filepath.Join(dir, "data")
	if err := os.WriteFile(script, m[1], 0o600); err != nil {
		t.Fatal(err)
	}
	send := func(s *server, numbers ...string) {
		t.Helper()
		k := nc(t, s.tcpAddr)
		defer k.nc.Close()
		k.types("REGISTER meter")
		k.sees("REGISTERED ")
		for _, n := range numbers {
			k.types("DATA " + n + " reading-" + n)
			k.sees("ACK " + n)
		}
	}
	start := func(s *server) *process {
		return run(t, "/usr/bin/env", "LONGWIRE="+s.url, "DB="+db, python, script)
	}
	kept := func() string {
		out, err := exec.Command(python, "-c", "import sqlite3,sys\nfor r in sqlite3.connect(sys.argv[1]).execute('SELECT client,number,body FROM readings ORDER BY seq'): print(*r)", db).Output()
		if err != nil {
			return err.Error()
		}
		return string(out)
	}
	want := func(when string, lines ...string) {
		t.Helper()
		waitFor(t, when, func() bool { return slices.Equal(strings.Split(strings.TrimSpace(kept()), "\n"), lines) })
	}
	first := serve(t, "", data)
	backend := start(first)
	send(first, "1", "2")
	want("two readings are kept", "meter 1 reading-1", "meter 2 reading-2")

	backend.cmd.Process.Kill()
	<-backend.ended
	send(first, "3")
	first.cmd.Process.Kill()
	<-first.ended
	second := serve(t, "", data)
	send(second, "3", "4") // the device saw no ack of 3
	backend = start(second)
	want("the others are kept once", "meter 1 reading-1", "meter 2 reading-2", "meter 3 reading-3", "meter 4 reading-4")

	backend.cmd.Process.Kill()
	<-backend.ended
	// The cursor is none of another store: to ask again and again would miss all of its readings.
	backend = start(serve(t, "", t.TempDir()))
	waitWithin(t, 10*time.Second, "the backend ends at a cursor of another store", func() bool {
		select {
		case <-backend.ended:
			return true
		default:
			return false
		}
	})
	if out := backend.output(); !strings.Contains(out, "no position of this store") {
		t.Errorf("the backend ends and says %q, want why", out)
	}
}
