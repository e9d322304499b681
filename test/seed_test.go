//go:build unix

package test

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The two programs that the project started from, unmodified. They know one
// address only, so these tests share one gateway and run one after the other.

func TestSeedClientAgainstTheGateway(t *testing.T) {
	t.Parallel() // waits for the end of a silence
	s := serve(t, seedAddr(t), t.TempDir())
	client := seedProgram(t, "client")

	t.Run("registers and is listed", func(t *testing.T) { seedRegisters(t, s, client) })
	t.Run("acks a push and its data is kept", func(t *testing.T) { seedAcks(t, s, client) })
	t.Run("gets a burst one by one", func(t *testing.T) { seedGetsABurst(t, s, client) })
	t.Run("is offline at once when killed", func(t *testing.T) { seedIsKilled(t, s, client) })
	t.Run("is offline in time when stopped", func(t *testing.T) { seedIsStopped(t, s, client) })
}

// startSeed runs the seed client until the test ends; it calls itself 2.
func startSeed(t *testing.T, s *server, client string) *process {
	t.Helper()
	waitFor(t, "client 2 of the test before is offline", func() bool { return !s.online("2") })
	p := run(t, client)
	waitFor(t, "client 2 is online", func() bool { return s.online("2") })
	return p
}

func seedRegisters(t *testing.T, s *server, client string) {
	startSeed(t, s, client)
	list := s.get("/v1/clients")
	if len(list.Items) != 1 || list.Items[0].ID != "2" || list.Items[0].Dialect != "v1" || !list.Items[0].Online {
		t.Errorf("GET /v1/clients = %+v, want client 2, online, v1", list)
	}
}

func seedAcks(t *testing.T, s *server, client string) {
	p := startSeed(t, s, client)
	before := len(s.get("/v1/uplinks?client=2&limit=1000").Items)
	if a := s.push("2", "?wait=5s", "hello"); a.code != 200 || a.Status != "acked" {
		t.Errorf("push = %d %q, want 200 acked", a.code, a.Status)
	}
	waitFor(t, "the device prints it", func() bool { return strings.Contains(p.output(), "hello") })
	waitFor(t, "its answer is stored", func() bool {
		return len(s.get("/v1/uplinks?client=2&limit=1000").Items) == before+1
	})
	if a := s.push("2", "?wait=5s", strings.Repeat("x", 127)); a.code != 413 {
		t.Errorf("push of 127 bytes to v1 = %d, want 413", a.code)
	}
}

func seedGetsABurst(t *testing.T, s *server, client string) {
	const n = 30 // the client takes 70 ms for each
	p := startSeed(t, s, client)
	before := len(s.get("/v1/uplinks?client=2&limit=1000").Items)
	var ids []string
	var want strings.Builder
	for i := range n {
		a := s.push("2", "", fmt.Sprintf("burst-%03d", i))
		if a.code != 202 {
			t.Fatalf("push %d = %d, want 202", i, a.code)
		}
		ids = append(ids, a.ID)
		fmt.Fprintf(&want, "burst-%03d\n", i)
	}
	waitFor(t, "all are acked", func() bool {
		last := s.get("/v1/messages/" + ids[n-1])
		return last.Status == "acked"
	})
	for _, id := range ids {
		if a := s.get("/v1/messages/" + id); a.Status != "acked" {
			t.Errorf("message %s is %s, want acked", id, a.Status)
		}
	}
	waitFor(t, "all answers are stored", func() bool {
		return len(s.get("/v1/uplinks?client=2&limit=1000").Items) == before+n
	})
	if got := received(p.output()); got != want.String() {
		t.Errorf("the device received\n%s\nwant\n%s", got, want.String())
	}
}

// received is what the seed client has printed as the payloads of its data
// packs: the line after each announcement, padded with zero bytes.
func received(output string) string {
	var b strings.Builder
	for _, part := range strings.Split(output, "recv data pack\n")[1:] {
		line, _, _ := strings.Cut(part, "\n")
		b.WriteString(strings.TrimRight(line, "\x00") + "\n")
	}
	return b.String()
}

func seedIsKilled(t *testing.T, s *server, client string) {
	p := startSeed(t, s, client)
	p.signal(t, syscall.SIGKILL)
	waitWithin(t, 5*time.Second, "client 2 is offline", func() bool { return !s.online("2") })
	// The kernel resets the connection of a program that had not read the answer yet.
	s.wantLastClose(t, "2", closed{"hung_up", "device"}, closed{"connection_lost", "network"})
}

// 10 s of silence, 2 s of grace, and the rest for a machine under load.
func seedIsStopped(t *testing.T, s *server, client string) {
	p := startSeed(t, s, client)
	stopped := time.Now()
	p.signal(t, syscall.SIGSTOP)
	waitWithin(t, 20*time.Second, "client 2 is offline", func() bool { return !s.online("2") })
	if took := time.Since(stopped); took < 5*time.Second {
		t.Errorf("offline after %v already; nobody was asked", took)
	}
	s.wantLastClose(t, "2", closed{"heartbeat_timeout", "gateway"})
}

func TestSimulatedDeviceAgainstTheSeedServer(t *testing.T) {
	t.Parallel() // waits for the end of a silence
	addr := seedAddr(t)
	server := run(t, seedProgram(t, "server"))
	waitFor(t, "the seed server listens", func() bool {
		return strings.Contains(server.output(), "等待客户端连接")
	})
	connect := func(id string, more ...string) *process {
		args := append([]string{"connect", "--dialect", "v1", "--id", id, "--addr", addr}, more...)
		return run(t, longwire(t), args...)
	}
	// The server pushes hello 5 s after a registration, and asks for a sign of
	// life when nothing has come for 10 s: so it asks 8, which acks nothing.
	device := connect("7")
	connect("8", "--ack", "never")
	waitFor(t, "the device prints what the server pushes", func() bool {
		return strings.Contains(device.output(), "hello")
	})
	waitFor(t, "the server sees the ack", func() bool {
		return strings.Contains(server.output(), "recv client data ack")
	})
	if _, err := device.stdin.Write([]byte("typed by hand\n")); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the server sees the device's data", func() bool {
		return strings.Contains(server.output(), "recv client data\n")
	})
	waitFor(t, "the heartbeat is answered", func() bool {
		return strings.Contains(server.output(), "resv ht packet ack")
	})
	if strings.Contains(server.output(), "delete user!") {
		t.Error("the seed server has given up a device")
	}
}
