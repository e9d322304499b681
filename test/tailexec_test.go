//go:build unix

package test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A program behind longwire tail --exec gets every event in order, although both the
// command and the gateway are killed with kill -9 while it works. At most the event at
// hand comes twice.
func TestTailExecLosesNothing(t *testing.T) {
	const readings = 60
	data, handled := t.TempDir(), filepath.Join(t.TempDir(), "handled")
	s := serve(t, "", data)
	k := nc(t, s.tcpAddr)
	k.types("REGISTER meter")
	k.sees("REGISTERED ")
	send := func(k *keyboard, from, to int) {
		t.Helper()
		for i := from; i <= to; i++ {
			k.types(fmt.Sprintf("DATA %d reading-%d", i, i))
			k.sees(fmt.Sprintf("ACK %d", i))
		}
	}
	script := `sleep 0.02; grep -o 'reading-[0-9]*' >>` + handled
	tail := func(url string) *process {
		t.Helper()
		return run(t, longwire(t), "tail", "--consumer", "meters", "--create", "--types", "message.received", "--start", "earliest", "--exec", script, "--server", url)
	}
	lines := func() []string {
		b, _ := os.ReadFile(handled)
		return strings.Fields(string(b))
	}
	p := tail(s.url)
	send(k, 1, readings/2)
	waitWithin(t, 20*time.Second, "the program handles events", func() bool { return len(lines()) > readings/6 })
	p.signal(t, syscall.SIGKILL)
	s.signal(t, syscall.SIGKILL)
	<-p.ended
	<-s.ended

	s = serve(t, "", data)
	k = nc(t, s.tcpAddr)
	k.types("REGISTER meter")
	k.sees("REGISTERED ")
	send(k, readings/2+1, readings)
	tail(s.url)
	last := fmt.Sprint("reading-", readings)
	waitWithin(t, 30*time.Second, "all events are handled", func() bool {
		got := lines()
		return len(got) > 0 && got[len(got)-1] == last
	})
	got := lines()
	next := 1
	for _, line := range got {
		if line == fmt.Sprint("reading-", next) {
			next++
		} else if line != fmt.Sprint("reading-", next-1) {
			t.Fatalf("behind reading-%d comes %s: %q", next-1, line, got)
		}
	}
	if next != readings+1 || len(got) > readings+1 {
		t.Errorf("%d events were handled in %d calls, want %d in at most one more", next-1, len(got), readings)
	}
}
