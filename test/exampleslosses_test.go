package test

import (
	"bufio"
	"encoding/json"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A device whose disk takes nothing goes on: it handles each delivery once, also after a
// lost ACK, and writes what it has handled as soon as the disk takes it (SPEC 2.4).
func TestExamplesOnADiskThatTakesNothing(t *testing.T) {
	forEachExample(t, func(t *testing.T, e example, command []string) {
		s, dir := serve(t, "", t.TempDir()), t.TempDir()
		wire := newDeafWire(t, s.tcpAddr)
		d := e.start(t, command, wire.addr, "dev", dir)
		waitFor(t, "the device is online", func() bool { return s.online("dev") })
		if a := s.push("dev", "?wait=20s", "one"); a.Status != "acked" {
			t.Fatalf("push = %+v, want acked", a)
		}
		inTheWay := filepath.Join(dir, "state.new")
		if err := os.Mkdir(inTheWay, 0o700); err != nil {
			t.Fatal(err)
		}
		wire.setDeaf(true)
		m := s.push("dev", "", "two")
		waitFor(t, "the delivery is handled", func() bool { return strings.Contains(d.output(), " two") })
		waitFor(t, "the device has answered, or given up", func() bool {
			select {
			case <-d.ended:
				return true
			default:
				return wire.lostSome()
			}
		})
		wire.cut()
		wire.setDeaf(false)
		if a := s.get("/v1/messages/" + m.ID + "?wait=20s"); a.Status != "acked" {
			t.Errorf("after a lost ACK: %s, want acked", a.Status)
		}
		if err := os.Remove(inTheWay); err != nil {
			t.Fatal(err)
		}
		if a := s.push("dev", "?wait=20s", "three"); a.Status != "acked" {
			t.Errorf("push = %+v, want acked", a)
		}
		if n := d.handled(); n != 3 {
			t.Errorf("%d deliveries were handled, want 3:\n%s", n, d.output())
		}
		saved, err := os.ReadFile(filepath.Join(dir, "state"))
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(saved), "ACK"); !e.asks && n != 3 {
			t.Errorf("the file has %d verdicts, want 3:\n%s", n, saved)
		}
	})
}

// A state that cannot be read, or is cut off, is not taken for a first start.
func TestExamplesDoNotTakeDamageForAFirstStart(t *testing.T) {
	cuts := map[string]string{"C": "log_1 4100 12 3", "Python": `{"log": "log_1", "ask_through": 41`}
	forEachExample(t, func(t *testing.T, e example, command []string) {
		s := serve(t, "", t.TempDir())
		ends := func(what string, damage func(state string) error) {
			t.Helper()
			dir := t.TempDir()
			if err := damage(filepath.Join(dir, "state")); err != nil {
				t.Fatal(err)
			}
			d := e.start(t, command, s.tcpAddr, "dev", dir)
			waitFor(t, "it ends or registers", func() bool {
				select {
				case <-d.ended:
					return true
				default:
					return s.online("dev")
				}
			})
			if s.online("dev") {
				t.Errorf("%s: it begins anew:\n%s", what, d.output())
				d.signal(t, os.Kill)
				<-d.ended
				waitFor(t, "it is offline", func() bool { return !s.online("dev") })
			} else if code := d.exit(t, 30*time.Second); code == 0 {
				t.Errorf("%s: it ends with 0", what)
			}
		}
		ends("unreadable", func(state string) error { return os.Symlink(state, state) })
		ends("a link to nothing", func(state string) error { return os.Symlink(state+".elsewhere", state) })
		if cut := cuts[e.name]; cut != "" {
			ends("cut", func(state string) error { return os.WriteFile(state, []byte(cut), 0o600) })
		}
	})
}

// An uplink after a restart has a number of its own: a backend that drops repeats by
// their numbers keeps it.
func TestExamplesNumberTheirUplinksAnew(t *testing.T) {
	forEachExample(t, func(t *testing.T, e example, command []string) {
		if !e.uplinks {
			return
		}
		s, dir := serve(t, "", t.TempDir()), t.TempDir()
		for n := range 2 {
			d := e.start(t, command, s.tcpAddr, "dev", dir)
			waitFor(t, "the device is online", func() bool { return s.online("dev") })
			io.WriteString(d.stdin, "21.5\n")
			waitFor(t, "the uplink is acked", func() bool { return strings.Contains(d.output(), "stored") })
			if up := s.get("/v1/uplinks?client=dev").Items; len(up) != n+1 {
				t.Fatalf("%d uplinks are stored, want %d", len(up), n+1)
			}
			d.signal(t, os.Kill)
			<-d.ended
			waitFor(t, "the device is offline", func() bool { return !s.online("dev") })
		}
		var page struct{ Items []struct{ Number uint64 } }
		res, err := s.http.Get(s.url + "/v1/uplinks?client=dev")
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if err := json.NewDecoder(res.Body).Decode(&page); err != nil {
			t.Fatal(err)
		}
		if a, b := page.Items[0].Number, page.Items[1].Number; a == b {
			t.Errorf("both uplinks have the number %d", a)
		}
	})
}

// The state of another device, as in a copied image, would answer ok for deliveries that
// this one has never got. The device in shell knows its deliveries one by one.
func TestExamplesDoNotTakeTheStateOfAnother(t *testing.T) {
	forEachExample(t, func(t *testing.T, e example, command []string) {
		s, dir := serve(t, "", t.TempDir()), t.TempDir()
		waits, err := s.call("POST", "/v1/clients/copy/messages", "application/json", `{"text":"open","on_unknown":"queue"}`)
		if err != nil || waits.code != 202 {
			t.Fatalf("push = %+v, %v", waits, err)
		}
		d := e.start(t, command, s.tcpAddr, "first", dir)
		waitFor(t, "the device is online", func() bool { return s.online("first") })
		if a := s.push("first", "?wait=20s", "close"); a.Status != "acked" {
			t.Fatalf("push = %+v, want acked", a)
		}
		d.signal(t, os.Kill)
		<-d.ended
		second := e.start(t, command, s.tcpAddr, "copy", dir)
		waitFor(t, "it ends, or the message is final", func() bool {
			select {
			case <-second.ended:
				return true
			default:
				return s.get("/v1/messages/"+waits.ID).Status == "acked"
			}
		})
		switch acked := s.get("/v1/messages/"+waits.ID).Status == "acked"; {
		case !e.asks:
			waitFor(t, "it has handled the message", func() bool { return strings.Contains(second.output(), "open") })
		case acked:
			t.Errorf("it has acked what it has not handled:\n%s", second.output())
		case second.exit(t, 30*time.Second) == 0:
			t.Error("it ends with 0")
		}
	})
}

// Half a line at the end of the file of the device in shell is no verdict, and spoils no
// later one.
func TestTheExampleInShellWithHalfALine(t *testing.T) {
	e := examples[2]
	s, dir := serve(t, "", t.TempDir()), t.TempDir()
	state := filepath.Join(dir, "state")
	if err := os.WriteFile(state, []byte("9007199254740993 ACK\n1 NA"), 0o600); err != nil {
		t.Fatal(err)
	}
	d := e.start(t, e.command(t), s.tcpAddr, "dev", dir)
	waitFor(t, "the device is online", func() bool { return s.online("dev") })
	if a := s.push("dev", "?wait=20s", "one"); a.Status != "acked" {
		t.Errorf("push = %+v, want acked:\n%s", a, d.output())
	}
	saved, err := os.ReadFile(state)
	if err != nil || !strings.Contains(string(saved), "\n1 ACK\n") {
		t.Errorf("%v; the file has no line for the delivery:\n%s", err, saved)
	}
}

// The network stands still within a line: the device in shell asks, and puts the line
// together. What comes then is no line of its own.
func TestTheExampleInShellKeepsHalfALine(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	e := examples[2]
	d := e.start(t, e.command(t), l.Addr().String(), "dev", t.TempDir())
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(time.Minute))
	says := bufio.NewScanner(conn)
	for says.Scan() && !strings.HasPrefix(says.Text(), "REGISTER ") {
	}
	io.WriteString(conn, "REGISTERED s\nDATA 1 say ")
	for says.Scan() && says.Text() != "PING" {
	}
	io.WriteString(conn, "DATA 7 boom\n")
	for says.Scan() && !strings.HasPrefix(says.Text(), "ACK") && !strings.HasPrefix(says.Text(), "NAK") {
	}
	if says.Text() != "ACK 1" || strings.Contains(d.output(), "handled 7") {
		t.Errorf("the device says %q, %v, want ACK 1:\n%s", says.Text(), says.Err(), d.output())
	}
}

// A line that only looks like a CLOSE, as of a portal, does not end the device in shell.
func TestTheExampleInShellComesBackAfterACloseWithoutACode(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	e, came := examples[2], make(chan struct{}, 100)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			io.WriteString(conn, "CLOSE\n")
			io.Copy(io.Discard, conn)
			conn.Close()
			came <- struct{}{}
		}
	}()
	d := e.start(t, e.command(t), l.Addr().String(), "dev", t.TempDir())
	for range 2 {
		select {
		case <-came:
		case <-d.ended:
			t.Fatalf("it does not come back:\n%s", d.output())
		}
	}
}

// The device in C begins before the network does, and tries each address of its server.
func TestTheExampleInCFindsItsServer(t *testing.T) {
	path := filepath.Join(t.TempDir(), "device")
	out, err := exec.Command(tool(t, "cc"), "-std=c99", "-O2", "-Wall", "-Wextra", "-Werror", "-pedantic",
		"-o", path, "../examples/device.c", "testdata/resolver.c").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	e, s := examples[0], serve(t, "", t.TempDir())
	d := e.start(t, []string{path}, s.tcpAddr, "dev", t.TempDir())
	waitFor(t, "the device is online or has ended", func() bool {
		select {
		case <-d.ended:
			return true
		default:
			return s.online("dev")
		}
	})
	if !s.online("dev") {
		t.Errorf("it has not come:\n%s", d.output())
	}
}

// A token that does not fit ends the device in C with a word; a long one fits.
func TestTheExampleInCWithALongToken(t *testing.T) {
	s := serve(t, "", t.TempDir())
	e := examples[0]
	command := append([]string{tool(t, "sh"), "-c", `exec "$0" "$1" "$2" "$3" "$4" "$(printf "%${TOKEN}d" 0 | tr " " 0)"`}, e.command(t)...)
	t.Setenv("TOKEN", "1200")
	e.start(t, command, s.tcpAddr, "long", t.TempDir())
	waitFor(t, "a token of 1,200 bytes is sent", func() bool { return s.online("long") })
	t.Setenv("TOKEN", "1600")
	d := e.start(t, command, s.tcpAddr, "longer", t.TempDir())
	if code := d.exit(t, 30*time.Second); code == 0 {
		t.Errorf("it ends with 0:\n%s", d.output())
	}
}

// A line that does not fit is no uplink: the device in C says so, and sends the next one.
func TestTheExampleInCSendsNoHalfUplinks(t *testing.T) {
	s := serve(t, "", t.TempDir())
	e := examples[0]
	d := e.start(t, e.command(t), s.tcpAddr, "dev", t.TempDir())
	io.WriteString(d.stdin, strings.Repeat("x", 513)+"\n"+strings.Repeat("y", 512)+"\n")
	waitFor(t, "an uplink is stored", func() bool { return strings.Contains(d.output(), "stored") })
	up := s.get("/v1/uplinks?client=dev").Items
	if len(up) != 1 || up[0].Text != strings.Repeat("y", 512) || !strings.Contains(d.output(), "too long") {
		t.Errorf("%d uplinks, the first %.20q, want the one that fits:\n%s", len(up), up[0].Text, d.output())
	}
}

// The example in Python has closed a connection when it waits for the next one.
func TestTheExampleInPythonClosesItsConnection(t *testing.T) {
	const script = `import socket, sys; sys.path.insert(0, "../examples"); sys.dont_write_bytecode = True
import device
class Dead(device.Device):
    def __init__(self): pass
    def live(self):
        self.sock, self.other = socket.socketpair()
        raise ValueError("no frame")
def sleep(s):
    d.other.setblocking(False)
    try: print("closed" if d.other.recv(1) == b"" else "data")
    except BlockingIOError: print("open")
    raise SystemExit
device.time.sleep = sleep
d = Dead()
d.run()
`
	out, err := exec.Command(tool(t, "python3"), "-c", script).Output()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(string(out), "\nclosed\n") {
		t.Errorf("before the wait the connection is:\n%s", out)
	}
}
