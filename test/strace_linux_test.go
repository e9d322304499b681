package test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Between the arrival of a push and its 202 the kernel is told to write the
// store's log and to bring it to the disk, in this order, and has said that it
// has: shown by the process's system calls.
func TestEveryAcceptedPushIsBehindASync(t *testing.T) {
	strace, err := exec.LookPath("strace")
	if err != nil && os.Getenv("LONGWIRE_TEST_STRACE") == "required" {
		t.Fatal(err)
	}
	if err != nil {
		t.Skip("needs strace")
	}
	const pushes = 25
	trace := filepath.Join(t.TempDir(), "trace")
	// -D: the gateway is our child and strace its observer, so that signals and
	// the exit code are the gateway's.
	s := serveUnder(t, []string{strace, "-D", "-f", "-y", "-s", "200", "-o", trace,
		"-e", "trace=read,write,pwrite64,fsync,fdatasync,sync_file_range"}, "", filepath.Join(t.TempDir(), "data"))
	for i := range pushes {
		if a := s.push(fmt.Sprint("strace-", i), "?on_unknown=queue", "x"); a.code != 202 {
			t.Fatalf("push %d = %d, want 202", i, a.code)
		}
	}
	s.signal(t, syscall.SIGTERM)
	if code := s.exit(t, 30*time.Second); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}

	last := regexp.MustCompile(fmt.Sprintf(`(?m)^%d +\+\+\+ exited`, s.cmd.Process.Pid))
	waitFor(t, "the trace is complete", func() bool {
		b, err := os.ReadFile(trace)
		return err == nil && last.Match(b)
	})

	calls := readTrace(t, trace)
	syncs, next := 0, 0
	for i := range pushes {
		arrived := find(calls, next, func(c call) bool {
			return c.name == "read" && c.done && strings.Contains(c.text, fmt.Sprintf("/v1/clients/strace-%d/", i))
		})
		answered := find(calls, arrived, func(c call) bool {
			return c.name == "write" && !c.done && strings.Contains(c.text, "HTTP/1.1 202")
		})
		if arrived < 0 || answered < 0 {
			t.Fatalf("push %d: its request or its answer is not in the trace", i)
		}
		span := calls[arrived:answered]
		written := find(span, 0, func(c call) bool { return c.log() && strings.Contains(c.name, "write") && c.done })
		begun := find(span, written, func(c call) bool { return c.log() && strings.HasSuffix(c.name, "sync") && !c.done })
		ended := find(span, begun, func(c call) bool { return c.log() && strings.HasSuffix(c.name, "sync") && c.done })
		if written < 0 || begun < 0 || ended < 0 {
			t.Errorf("push %d: between request and answer the log was not written and then synced:\n%v", i, span)
		} else {
			syncs++
		}
		next = answered + 1
	}
	t.Logf("%d pushes answered with 202, each behind its own write and sync of the log: %d", pushes, syncs)
}

// call is the begin or the end of a system call.
type call struct {
	name string
	done bool   // its end, successful
	text string // arguments, as far as they are known by then
	file string // of its descriptor
}

func (c call) log() bool { return strings.HasSuffix(c.file, ".log") }

// find returns the place of the first call at or after from that fits, -1 for
// none, or when from is.
func find(calls []call, from int, fits func(call) bool) int {
	if from < 0 {
		return -1
	}
	for i, c := range calls[from:] {
		if fits(c) {
			return from + i
		}
	}
	return -1
}

// Lines of strace -f -y -o: "PID name(FD<FILE>, …) = N"; a call that another
// thread's interrupts is two lines.
var (
	traceBegin   = regexp.MustCompile(`^(\d+) +(\w+)\(\d+<([^>]*)>(.*)$`)
	traceResumed = regexp.MustCompile(`^(\d+) +<\.\.\. (\w+) resumed>(.*)$`)
	traceSuccess = regexp.MustCompile(`= \d+$`)
)

// readTrace returns the begins and ends of the calls in the order in which they
// happened.
func readTrace(t *testing.T, name string) (calls []call) {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	under := map[string]call{} // interrupted, by thread
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		line := lines.Text()
		if m := traceBegin.FindStringSubmatch(line); m != nil {
			c := call{name: m[2], file: m[3], text: m[4]}
			calls = append(calls, c)
			if strings.HasSuffix(line, "<unfinished ...>") {
				under[m[1]] = c
			} else if traceSuccess.MatchString(line) {
				c.done = true
				calls = append(calls, c)
			}
		} else if m := traceResumed.FindStringSubmatch(line); m != nil && traceSuccess.MatchString(line) {
			c := under[m[1]]
			c.done, c.text = true, c.text+m[3]
			calls = append(calls, c)
		}
	}
	if err := lines.Err(); err != nil || len(calls) == 0 {
		t.Fatalf("%d calls in the trace, %v", len(calls), err)
	}
	return calls
}
