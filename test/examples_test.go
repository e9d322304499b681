package test

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// example is a device of examples/ and how it is started.
type example struct {
	name    string
	command func(t *testing.T) []string // what host, port, id, state file are appended to
	uplinks bool                        // it sends its standard input
	rejects bool                        // it refuses payloads above 1 KiB
	asks    bool                        // it speaks v2: a new log makes it forget
}

var examples = []example{
	{"C", func(t *testing.T) []string { return []string{exampleInC(t)} }, true, true, true},
	{"Python", func(t *testing.T) []string { return []string{tool(t, "python3"), "../examples/device.py"} }, true, false, true},
	{"shell", func(t *testing.T) []string {
		tool(t, "nc")
		return []string{tool(t, "env"), "HEARTBEAT=1", tool(t, "bash"), "../examples/device.sh"}
	}, false, true, false},
}

// tool returns the path of a program that the examples need. CI has all of them.
func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil && os.Getenv("LONGWIRE_TEST_EXAMPLES") == "required" {
		t.Fatal(err)
	}
	if err != nil {
		t.Skip("needs " + name)
	}
	return path
}

// exampleInC compiles the device in C, strictly, with a heap that says when it is
// used.
func exampleInC(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "device")
	out, err := exec.Command(tool(t, "cc"), "-std=c99", "-O2", "-Wall", "-Wextra", "-Werror", "-pedantic", "-fno-builtin-malloc",
		"-o", path, "../examples/device.c", "testdata/heap.c").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return path
}

// start runs the example as the client id, with its state in dir.
func (e example) start(t *testing.T, command []string, addr, id, dir string) *process {
	t.Helper()
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	args := append(append([]string{}, command[1:]...), host, port, id, filepath.Join(dir, "state"))
	for i, a := range args {
		if strings.HasPrefix(a, "../") {
			args[i], _ = filepath.Abs(a)
		}
	}
	return run(t, command[0], args...)
}

func (p *process) handled() int { return strings.Count(p.output(), "handled ") }

func forEachExample(t *testing.T, f func(t *testing.T, e example, command []string)) {
	forEachOf(t, examples, f)
}

// forEachV2Example is forEachExample for the devices that speak v2.
func forEachV2Example(t *testing.T, f func(t *testing.T, e example, command []string)) {
	forEachOf(t, slices.DeleteFunc(slices.Clone(examples), func(e example) bool { return !e.asks }), f)
}

func forEachOf(t *testing.T, examples []example, f func(t *testing.T, e example, command []string)) {
	for _, e := range examples {
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			f(t, e, e.command(t))
		})
	}
}

// The devices of examples/ are devices: they answer, keep their connection, send,
// refuse and come back.
func TestExamplesAgainstTheGateway(t *testing.T) {
	forEachExample(t, func(t *testing.T, e example, command []string) {
		s := serve(t, "", t.TempDir(), "--tcp-heartbeat", "1s", "--tcp-grace", "3s")
		dir := t.TempDir()
		d := e.start(t, command, s.tcpAddr, "dev", dir)
		waitFor(t, "the device is online", func() bool { return s.online("dev") })
		if a := s.push("dev", "?wait=20s", "open"); a.code != 200 || a.Status != "acked" {
			t.Fatalf("push = %+v, want 200 acked", a)
		}
		if a := s.push("dev", "?mode=online&wait=20s", "now"); a.code != 200 || a.Status != "acked" {
			t.Errorf("online push = %+v, want 200 acked", a)
		}
		if e.rejects {
			if a := s.push("dev", "?wait=20s", strings.Repeat("x", 5000)); a.Status != "rejected" {
				t.Errorf("a payload that is too long: %+v, want rejected", a)
			}
			if a := s.push("dev", "?wait=20s", "after that"); a.Status != "acked" {
				t.Errorf("the push after it: %+v, want acked", a)
			}
		}
		if e.uplinks {
			io.WriteString(d.stdin, "21.5\n22\n")
			waitFor(t, "both uplinks are stored", func() bool {
				up := s.get("/v1/uplinks?client=dev").Items
				return len(up) == 2 && up[0].Text == "21.5" && up[1].Text == "22"
			})
		}
		session := s.get("/v1/clients/dev").Session
		waitFor(t, "it answers heartbeats", func() bool { c := s.get("/v1/clients/dev"); return c.RTT > 0 && *c.Confirmed })
		if _, err := s.call("DELETE", "/v1/clients/dev", "", ""); err != nil {
			t.Fatal(err)
		}
		waitFor(t, "it is back after a kick", func() bool { c := s.get("/v1/clients/dev"); return c.Online && c.Session != session })
		if e.name == "C" {
			if out := d.output(); strings.Contains(out[strings.Index(out, "registered"):], "malloc") {
				t.Errorf("the heap was used after the start")
			}
		}
		d.signal(t, os.Kill)
		<-d.ended
		waitFor(t, "it is offline", func() bool { return !s.online("dev") })
		s.push("dev", "", "while you were out")
		again := e.start(t, command, s.tcpAddr, "dev", dir)
		waitFor(t, "what waited is handled", func() bool { return strings.Contains(again.output(), "while you were out") })
		if n := again.handled(); n != 1 {
			t.Errorf("%d deliveries were handled after the restart, want 1:\n%s", n, again.output())
		}
		if _, err := s.call("DELETE", "/v1/clients/dev?block=1m", "", ""); err != nil {
			t.Fatal(err)
		}
		blocked := e.start(t, command, s.tcpAddr, "dev", t.TempDir())
		if code := blocked.exit(t, 30*time.Second); code == 0 {
			t.Error("a device that is blocked ends with 0")
		}
	})
}

// A device whose ACK is lost, with its connection or with its power, has handled
// the delivery once, and the gateway learns the verdict that it gave.
func TestExamplesGiveTheSameVerdictAgain(t *testing.T) {
	forEachExample(t, func(t *testing.T, e example, command []string) {
		s := serve(t, "", t.TempDir())
		wire := newDeafWire(t, s.tcpAddr)
		dir := t.TempDir()
		d := e.start(t, command, wire.addr, "dev", dir)
		waitFor(t, "the device is online", func() bool { return s.online("dev") })

		lose := func(payload, mark string, want status) {
			t.Helper()
			wire.setDeaf(true) // what the device says is lost from here on
			before := strings.Count(d.output(), mark)
			m := s.push("dev", "", payload)
			if mark != "" {
				waitFor(t, "the delivery is handled", func() bool { return strings.Count(d.output(), mark) > before })
			}
			waitFor(t, "the device has answered", wire.lostSome)
			wire.cut()
			wire.setDeaf(false)
			if a := s.get("/v1/messages/" + m.ID + "?wait=20s"); a.Status != want {
				t.Errorf("after a lost ACK: %s, want %s", a.Status, want)
			}
			if n := strings.Count(d.output(), "handled "); mark != "" && n != before+1 {
				t.Errorf("handled %d times, want once:\n%s", n-before, d.output())
			}
		}
		lose("open", "handled ", "acked")
		if e.rejects {
			lose(strings.Repeat("x", 5000), "", "rejected")
		}

		// The power fails after the ACK has left and before it has arrived.
		wire.setDeaf(true)
		m := s.push("dev", "", "power")
		waitFor(t, "the device has answered", wire.lostSome)
		d.signal(t, os.Kill)
		<-d.ended
		wire.cut()
		wire.setDeaf(false)
		again := e.start(t, command, wire.addr, "dev", dir)
		if a := s.get("/v1/messages/" + m.ID + "?wait=20s"); a.Status != "acked" {
			t.Errorf("after a restart of the device: %s, want acked", a.Status)
		}
		if n := again.handled(); n != 0 {
			t.Errorf("handled again after the restart:\n%s", again.output())
		}
	})
}

// A gateway with another log begins its numbers anew: a v2 device forgets what it
// has handled, and handles what comes.
func TestExamplesForgetAnotherLog(t *testing.T) {
	forEachV2Example(t, func(t *testing.T, e example, command []string) {
		s, dir := serve(t, "", t.TempDir()), t.TempDir()
		d := e.start(t, command, s.tcpAddr, "dev", dir)
		waitFor(t, "the device is online", func() bool { return s.online("dev") })
		for i := range 5 {
			if a := s.push("dev", "?wait=20s", fmt.Sprint("old ", i)); a.Status != "acked" {
				t.Fatalf("push = %+v, want acked", a)
			}
		}
		d.signal(t, os.Kill)
		<-d.ended
		other := serve(t, "", t.TempDir())
		again := e.start(t, command, other.tcpAddr, "dev", dir)
		waitFor(t, "the device is online", func() bool { return other.online("dev") })
		if a := other.push("dev", "?wait=20s", "new"); a.Status != "acked" {
			t.Errorf("push = %+v, want acked", a)
		}
		waitFor(t, "it is handled", func() bool { return again.handled() > 0 }) // what it says comes by another way
		if n := again.handled(); n != 1 {
			t.Errorf("handled %d times, want once", n)
		}
	})
}

// Only a CLOSE of 3500 to 3999 says not to come back.
func TestExamplesComeBackAfterAClose(t *testing.T) {
	forEachExample(t, func(t *testing.T, e example, command []string) {
		for _, c := range []struct {
			code uint16
			ends bool
		}{{3001, false}, {3499, false}, {3500, true}, {3999, true}, {4000, false}, {65535, false}} {
			t.Run(fmt.Sprint(c.code), func(t *testing.T) {
				t.Parallel()
				l, err := net.Listen("tcp", "127.0.0.1:0")
				if err != nil {
					t.Fatal(err)
				}
				defer l.Close()
				came := make(chan struct{}, 100)
				go func() {
					for {
						conn, err := l.Accept()
						if err != nil {
							return
						}
						bye := []byte{7, 2, 6, byte(c.code >> 8), byte(c.code), 0, 0, 0, 0}
						if !e.asks {
							bye = fmt.Appendf(nil, "CLOSE %d 0 bye\n", c.code)
						}
						conn.Read(make([]byte, 4096)) // what it registers with
						conn.Write(bye)
						io.Copy(io.Discard, conn)
						conn.Close()
						came <- struct{}{}
					}
				}()
				d := e.start(t, command, l.Addr().String(), "dev", t.TempDir())
				<-came
				if c.ends {
					if code := d.exit(t, 30*time.Second); code == 0 {
						t.Error("it ends with 0")
					}
					return
				}
				select {
				case <-came:
				case <-d.ended:
					t.Errorf("it does not come back:\n%s", d.output())
				}
			})
		}
	})
}

// The example in Python waits as long as SPEC 7.4 says. A registration of less than 30 s does
// not end the growth, however long the connection was before.
func TestTheWaitsOfTheExampleInPython(t *testing.T) {
	const script = `import sys; sys.path.insert(0, "../examples"); sys.dont_write_bytecode = True
import device
clock, left = 1000, 9
class Dead(device.Device):
    def __init__(self): self.ledger = {"log": ""}
    def live(self):
        global clock
        self.retry_after = 100
        if lasts:
            clock += 20
            self.on_frame(device.REGISTER_ACK, 0, 0, 0, b'{"max_payload":9,"heartbeat_ms":1,"grace_ms":1,"resumed":true,"log":""}')
            clock += lasts
        raise OSError("no route")
def sleep(s):
    global left
    left -= 1
    print("wait", s, flush=True)
    if not left: raise SystemExit
lasts = int(sys.argv[1])
device.random.random, device.time.sleep, device.time.monotonic = lambda: 1.0, sleep, lambda: clock
Dead().run()
`
	const grows, stays = "100.5 101.0 102.0 104.0 108.0 116.0 132.0 160.0 160.0", "100.5 100.5 100.5 100.5 100.5 100.5 100.5 100.5 100.5"
	for lasts, want := range map[string]string{"0": grows, "29": grows, "31": stays} {
		out, err := exec.Command(tool(t, "python3"), "-c", script, lasts).Output()
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for line := range strings.Lines(string(out)) {
			if s, is := strings.CutPrefix(line, "wait "); is {
				got = append(got, strings.TrimSpace(s))
			}
		}
		if s := strings.Join(got, " "); s != want {
			t.Errorf("with registrations of %s s the longest waits are %s, want %s", lasts, s, want)
		}
	}
}

// The decoders of the examples agree with protocol/testdata/vectors.
func TestExamplesReadTheVectors(t *testing.T) {
	var file struct {
		Vectors []struct {
			Name, Bytes, Error string
			Ask, Incomplete    bool
			Consumed           int
			Message            struct {
				Type, Code, Payload string
				PayloadHex          string `json:"payload_hex"`
				Seq                 uint64
				Dup, Ephemeral      bool
			}
		}
	}
	b, err := os.ReadFile("../protocol/testdata/vectors/v2.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &file); err != nil {
		t.Fatal(err)
	}
	types := map[string]int{"REGISTER_ACK": 2, "HEARTBEAT": 3, "HEARTBEAT_ACK": 4, "DATA": 5, "ASK": 5, "ACK": 6, "CLOSE": 7}
	codes := map[string]int{"ok": 0, "reject": 1, "retry": 2, "send": 3, "not_kept": 4, "working": 5}
	var in strings.Builder
	var names, want []string
	flag := func(f bool) int {
		if f {
			return 1
		}
		return 0
	}
	for _, v := range file.Vectors {
		if strings.HasPrefix(v.Bytes, "01 ") {
			continue // REGISTER: only servers read it
		}
		m := v.Message
		outcome := "incomplete"
		if v.Error != "" {
			outcome = "error"
		} else if !v.Incomplete {
			size := v.Consumed
			if size == 0 {
				size = len(v.Bytes)/3 + 1
			}
			payload := m.PayloadHex
			if payload == "" {
				payload = hex.EncodeToString([]byte(m.Payload))
			}
			if m.Type != "DATA" && m.Type != "ACK" {
				payload = ""
			}
			isAsk := m.Type == "ASK"
			outcome = strings.TrimSpace(fmt.Sprint(types[m.Type], size, flag(m.Dup || isAsk), flag(m.Ephemeral), flag(isAsk), m.Seq, codes[m.Code], " ", payload))
		}
		fmt.Fprintf(&in, "%d %s\n", flag(v.Ask), v.Bytes)
		names, want = append(names, v.Name), append(want, outcome)
	}
	readers := map[string]func(t *testing.T) *exec.Cmd{
		"C":      func(t *testing.T) *exec.Cmd { return exec.Command(exampleInC(t), "--vectors") },
		"Python": func(t *testing.T) *exec.Cmd { return exec.Command(tool(t, "python3"), "testdata/vectors.py") },
	}
	for name, reader := range readers {
		t.Run(name, func(t *testing.T) {
			cmd := reader(t)
			cmd.Stdin = strings.NewReader(in.String())
			out, err := cmd.Output()
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for line := range strings.Lines(string(out)) {
				if line != "malloc\n" {
					got = append(got, strings.TrimSpace(line))
				}
			}
			if len(got) != len(want) {
				t.Fatalf("%d outcomes of %d vectors:\n%s", len(got), len(want), out)
			}
			for i := range want {
				if got[i] != want[i] {
					t.Errorf("%s: got %q, want %q", names[i], got[i], want[i])
				}
			}
		})
	}
}

// A second process of a device with the state of the first one does not start: each would
// overwrite what the other one has handled.
func TestExamplesShareNoState(t *testing.T) {
	forEachV2Example(t, func(t *testing.T, e example, command []string) {
		s, dir := serve(t, "", t.TempDir()), t.TempDir()
		d := e.start(t, command, s.tcpAddr, "dev", dir)
		waitFor(t, "the device is online", func() bool { return s.online("dev") })
		second := e.start(t, command, s.tcpAddr, "dev", dir)
		waitFor(t, "the second process ends, or is online", func() bool {
			select {
			case <-second.ended:
				return true
			default:
				return strings.Contains(d.output(), "closed 3001")
			}
		})
		if !strings.Contains(second.output(), "another process uses the state") {
			t.Errorf("the second process says %q, want that another process uses the state", second.output())
		}
		d.signal(t, os.Kill)
		<-d.ended
		third := e.start(t, command, s.tcpAddr, "dev", dir)
		if a := s.push("dev", "?wait=20s", "open"); a.Status != "acked" {
			t.Errorf("a push after the first process was killed: %+v, want acked", a)
		}
		third.signal(t, os.Kill)
	})
}

// After each retry later a device waits for longer (SPEC 2.2).
func TestExamplesWaitLongerAfterEachRetryLater(t *testing.T) {
	forEachV2Example(t, func(t *testing.T, e example, command []string) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		d := e.start(t, command, l.Addr().String(), "dev", t.TempDir())
		io.WriteString(d.stdin, "21.5\n")
		conn, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(20 * time.Second))
		r := bufio.NewReader(conn)
		var waits []time.Duration
		var refused time.Time
		for len(waits) < 3 {
			head := make([]byte, 2)
			if _, err := io.ReadFull(r, head); err != nil {
				t.Fatalf("after the waits %v: %v", waits, err)
			}
			size, err := binary.ReadUvarint(r)
			if err != nil {
				t.Fatal(err)
			}
			body := make([]byte, size)
			if _, err := io.ReadFull(r, body); err != nil {
				t.Fatal(err)
			}
			switch head[0] {
			case 1: // REGISTER
				answer := `{"log":"log_1","resumed":false,"ask":true,"heartbeat_ms":60000,"grace_ms":2000,"max_payload":262144}`
				conn.Write(append([]byte{2, 2, byte(len(answer))}, answer...))
			case 5: // DATA
				if !refused.IsZero() {
					waits = append(waits, time.Since(refused))
				}
				refused = time.Now()
				_, n := binary.Uvarint(body)
				conn.Write(append(append([]byte{6, 2, byte(n + 1)}, body[:n]...), 2))
			}
		}
		if waits[0] < time.Second || waits[1] < 2*time.Second || waits[2] < 4*time.Second {
			t.Errorf("the waits after retry later are %v, want 1 s, 2 s and 4 s at least", waits)
		}
		d.signal(t, os.Kill)
	})
}

// The example in Python is an example of brevity, too.
func TestTheExampleInPythonIsShort(t *testing.T) {
	b, err := os.ReadFile("../examples/device.py")
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(b, []byte("\n")); n > 165 {
		t.Errorf("%d lines, at most 165", n)
	}
}

// deafWire passes bytes on between a device and the gateway. While it is deaf it
// loses what the device says.
type deafWire struct {
	addr string

	mu    sync.Mutex
	deaf  bool
	lost  int
	conns []net.Conn
}

func newDeafWire(t *testing.T, gateway string) *deafWire {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &deafWire{addr: ln.Addr().String()}
	t.Cleanup(func() { ln.Close(); w.cut() })
	go func() {
		for {
			device, err := ln.Accept()
			if err != nil {
				return
			}
			up, err := net.Dial("tcp", gateway)
			if err != nil {
				device.Close()
				continue
			}
			w.mu.Lock()
			w.conns = append(w.conns, device, up)
			w.mu.Unlock()
			go func() { io.Copy(device, up); device.Close() }()
			go func() { io.Copy(hearing{w, up}, device); up.Close() }()
		}
	}()
	return w
}

// hearing writes to a gateway what a device says, unless the wire is deaf.
type hearing struct {
	w  *deafWire
	up net.Conn
}

func (h hearing) Write(p []byte) (int, error) {
	h.w.mu.Lock()
	deaf := h.w.deaf
	if deaf {
		h.w.lost += len(p)
	}
	h.w.mu.Unlock()
	if deaf {
		return len(p), nil
	}
	return h.up.Write(p)
}

func (w *deafWire) setDeaf(deaf bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.deaf, w.lost = deaf, 0
}

func (w *deafWire) lostSome() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.lost > 0
}

// cut ends all connections.
func (w *deafWire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.conns {
		c.Close()
	}
	w.conns = nil
}
