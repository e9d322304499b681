package test

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

// keyboard is a person at nc.
type keyboard struct {
	t  *testing.T
	nc net.Conn
	in *bufio.Reader
}

func nc(t *testing.T, addr string) *keyboard {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(time.Minute))
	return &keyboard{t, c, bufio.NewReader(c)}
}

func (k *keyboard) types(line string) {
	k.t.Helper()
	if _, err := fmt.Fprintf(k.nc, "%s\n", line); err != nil {
		k.t.Fatal(err)
	}
}

// sees checks the beginning of the next line and returns the rest of it.
func (k *keyboard) sees(want string) string {
	k.t.Helper()
	line, err := k.in.ReadString('\n')
	line = strings.TrimRight(line, "\r\n")
	rest, ok := strings.CutPrefix(line, want)
	if err != nil || !ok {
		k.t.Fatalf("sees %q, %v, want %q", line, err, want)
	}
	return rest
}

func TestADeviceTypedByHand(t *testing.T) {
	s := serve(t, "", t.TempDir())
	k := nc(t, s.tcpAddr)

	k.types("hello?")
	k.sees("ERROR ")
	k.types("REGISTER kitchen")
	k.sees("REGISTERED ses_")
	k.types("PING")
	k.sees("PONG")

	// A push that is answered.
	answered := make(chan answer, 1)
	push := func(query, text string) {
		go func() {
			a, err := s.call("POST", "/v1/clients/kitchen/messages"+query, "text/plain", text)
			if err != nil {
				t.Error(err)
			}
			answered <- a
		}()
	}
	push("?wait=10s", "light on")
	seq, _, _ := strings.Cut(k.sees("DATA "), " ")
	k.types("ACK " + seq + " it is on")
	if a := <-answered; a.code != 200 || a.Status != "acked" || a.Result != "it is on" {
		t.Errorf("push = %+v, want 200 acked, it is on", a)
	}

	// One that is refused.
	push("?wait=10s", "explode")
	seq, _, _ = strings.Cut(k.sees("DATA "), " ")
	k.types("NAK " + seq + " rather not")
	if a := <-answered; a.code != 200 || a.Status != "rejected" {
		t.Errorf("push = %+v, want 200 rejected", a)
	}

	// A command for now or never.
	push("?mode=online&wait=10s", "status")
	seq, _, _ = strings.Cut(k.sees("DATA "), " ")
	if !strings.HasPrefix(seq, "e") {
		t.Errorf("number of an online message = %q, want e…", seq)
	}
	k.types("ACK " + seq + " fine")
	if a := <-answered; a.code != 200 || a.Status != "acked" || a.Result != "fine" {
		t.Errorf("online push = %+v, want 200 acked, fine", a)
	}

	k.types("DATA 1 23.5 degrees")
	k.sees("ACK 1")
	up := s.get("/v1/uplinks?client=kitchen")
	if len(up.Items) != 1 || up.Items[0].Text != "23.5 degrees" {
		t.Errorf("uplinks = %+v, want 23.5 degrees", up.Items)
	}

	k.types("BYE")
	waitFor(t, "kitchen is offline", func() bool { return !s.online("kitchen") })
	s.wantLastClose(t, "kitchen", closed{"client_closed", "device"})
	if a := s.push("kitchen", "?mode=online", "late"); a.code != 409 {
		t.Errorf("online push to an offline client = %d, want 409", a.code)
	}

	// What was pushed meanwhile waits.
	if a := s.push("kitchen", "", "while you were out"); a.code != 202 || a.Status != "queued" {
		t.Errorf("push to an offline client = %d %s, want 202 queued", a.code, a.Status)
	}
	k = nc(t, s.tcpAddr)
	k.types("REGISTER kitchen")
	k.sees("REGISTERED ses_")
	seq, text, _ := strings.Cut(k.sees("DATA "), " ")
	if text != "while you were out" {
		t.Errorf("sees %q", text)
	}
	k.types("ACK " + seq)
}

// A person does not answer PING, and stays; a program that answers it is known to
// be there.
func TestAPersonIsUnconfirmedAndStays(t *testing.T) {
	t.Parallel() // waits for heartbeats
	s := serve(t, "", t.TempDir(), "--tcp-heartbeat", "1s", "--tcp-grace", "1s")
	person, program := nc(t, s.tcpAddr), nc(t, s.tcpAddr)
	person.types("REGISTER person")
	if greeting := person.sees("REGISTERED ses_"); !strings.HasSuffix(greeting, " answer DATA <n> with ACK <n>, PING with PONG") {
		t.Errorf("the greeting says %q, want how to answer", greeting)
	}
	program.types("REGISTER program - heartbeat=2s")
	program.sees("REGISTERED ses_")
	confirmed := func(id string) bool {
		c := s.get("/v1/clients/" + id).Confirmed
		if c == nil {
			t.Fatalf("%s has no confirmed", id)
		}
		return *c
	}
	if confirmed("person") || confirmed("program") {
		t.Error("confirmed before the first answer")
	}
	person.sees("PING")
	for range 3 { // the person is silent for as long as several intervals and graces
		program.sees("PING")
		program.types("PONG")
	}
	waitFor(t, "the program is confirmed", func() bool { return confirmed("program") })
	if !s.online("person") || confirmed("person") {
		t.Error("a person who answers nothing is offline, or confirmed")
	}
	push := make(chan answer, 1)
	go func() { push <- s.push("person", "?wait=10s", "hello") }()
	seq, _, _ := strings.Cut(person.sees("DATA "), " ")
	person.types("ACK " + seq + " hi there")
	if a := <-push; a.code != 200 || a.Status != "acked" || a.Result != "hi there" {
		t.Errorf("push = %+v, want 200 acked, hi there", a)
	}
}

// A sensor that pipes what it has into nc -N gets the answers.
func TestOneShotSensorGetsItsAck(t *testing.T) {
	s := serve(t, "", t.TempDir())
	k := nc(t, s.tcpAddr)
	k.types("REGISTER sensor\nDATA 1 21.5")
	if err := k.nc.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	k.sees("REGISTERED ses_")
	k.sees("ACK 1")
	if up := s.get("/v1/uplinks?client=sensor"); len(up.Items) != 1 {
		t.Errorf("%d uplinks, want 1", len(up.Items))
	}
	waitFor(t, "sensor is offline", func() bool { return !s.online("sensor") })
}

// A second connection with the same id takes over, and the first is told.
func TestTakeoverTypedByHand(t *testing.T) {
	s := serve(t, "", t.TempDir())
	first, second := nc(t, s.tcpAddr), nc(t, s.tcpAddr)
	first.types("REGISTER twin")
	first.sees("REGISTERED ")
	second.types("REGISTER twin")
	second.sees("REGISTERED ")
	first.sees("CLOSE 3001 ")
	if !s.online("twin") {
		t.Error("twin is offline after a takeover")
	}
}

func TestAnHTTPClientOnTheDevicePortIsToldWhereToGo(t *testing.T) {
	s := serve(t, "", t.TempDir())
	k := nc(t, s.tcpAddr)
	k.types("GET / HTTP/1.1\r\nHost: x\r\n\r")
	k.sees("HTTP/1.1 400 Bad Request")
}
