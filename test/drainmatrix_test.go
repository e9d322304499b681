//go:build unix

package test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/longwire/longwire/protocol"
)

// Every kind of caller that is in flight when the process is told to stop gets
// an answer that is true, whatever the device does and however the process is
// told; and the process ends in seconds.
func TestEveryCallerInFlightIsAnsweredByTheDrain(t *testing.T) {
	// Under nohup SIGHUP is ignored, also by the processes that a test starts, and
	// the gateway leaves it so. A signal that is caught is reset for them.
	caught := make(chan os.Signal, 1)
	signal.Notify(caught, syscall.SIGHUP)
	t.Cleanup(func() { signal.Stop(caught) })
	for _, device := range []string{"acks", "never acks", "is away"} {
		for _, signals := range [][]os.Signal{{syscall.SIGTERM}, {syscall.SIGTERM, syscall.SIGTERM}, {syscall.SIGHUP}} {
			t.Run(fmt.Sprintf("%s %v", device, signals), func(t *testing.T) {
				t.Parallel()
				drainWithCallers(t, device, signals)
			})
		}
	}
}

func drainWithCallers(t *testing.T, behaviour string, signals []os.Signal) {
	data := t.TempDir()
	s := serve(t, "", data)
	d := connectDrainDevice(t, s, behaviour)
	first := s.push("d", "", "first")

	c := &drainCallers{t: t, addr: strings.TrimPrefix(s.url, "http://"), accepted: make(map[string]bool)}
	var running sync.WaitGroup
	for _, kind := range c.kinds(first.ID) {
		running.Go(func() { c.callAgainAndAgain(kind) })
	}
	stranger := c.holdConnections()
	defer stranger()
	waitFor(t, "every kind of caller has called", func() bool { return c.begun.Load() >= int64(len(c.kinds(""))) })
	s.get("/livez") // its connection is accepted behind theirs

	start := time.Now()
	c.told.Store(true)
	for i, sig := range signals {
		if i > 0 {
			select {
			case <-s.ended:
				continue
			case <-time.After(100 * time.Millisecond):
			}
		}
		s.signal(t, sig)
	}
	within := 8 * time.Second // one, and what a busy machine adds
	if behaviour == "never acks" {
		within += 2 * time.Second // which a device gets to ack
	}
	code := s.exit(t, time.Minute)
	if took := time.Since(start); code != 0 || took > within {
		t.Errorf("exit code %d after %v, want 0 within %v", code, took, within)
	}
	running.Wait()
	d.stop()
	if out := s.output(); strings.Contains(out, "level=ERROR") || strings.Contains(out, `"level":"ERROR"`) || !strings.Contains(out, "drained") {
		t.Errorf("want no error in the log and one line that says who was answered:\n%s", out)
	}
	next := serve(t, "", data)
	for id := range c.accepted {
		if a := next.get("/v1/messages/" + id); a.code != 200 {
			t.Errorf("message %s was accepted and is now %d", id, a.code)
		}
	}
	t.Logf("%d answers to those in flight, %d messages accepted", c.answered.Load(), len(c.accepted))
}

// drainDevice is a client "d" that acks, never acks, or has gone away.
type drainDevice struct{ stop func() }

func connectDrainDevice(t *testing.T, s *server, behaviour string) drainDevice {
	t.Helper()
	nc, err := net.Dial("tcp", s.tcpAddr)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer nc.Close()
		drainDialogue(nc, behaviour == "acks")
	}()
	waitFor(t, "the device is online", func() bool { return s.online("d") })
	if behaviour == "is away" {
		nc.Close()
		waitFor(t, "the device is offline", func() bool { return !s.online("d") })
	}
	return drainDevice{stop: func() { nc.Close(); <-ended }}
}

// drainDialogue is a device's part until the connection ends.
func drainDialogue(nc net.Conn, acks bool) {
	s := protocol.NewDevice(nil, protocol.V2, protocol.Register{ID: "d"}, time.Now())
	var in [64 << 10]byte
	for {
		out := s.AppendOutput(nil)
		if _, err := nc.Write(out); err != nil {
			return
		}
		s.Flushed(time.Now(), len(out))
		for e, ok := s.Next(); ok; e, ok = s.Next() {
			switch {
			case e.Kind == protocol.KindClosed:
				return
			case e.Kind == protocol.KindData && acks && e.Ephemeral:
				s.AckEphemeral(time.Now(), e.Seq, protocol.AckOK, nil)
			case e.Kind == protocol.KindData && acks:
				s.AckData(time.Now(), e.Seq, protocol.AckOK, nil)
			}
		}
		if s.Pending() > 0 {
			continue
		}
		n, err := nc.Read(in[:])
		if err != nil {
			return
		}
		s.Receive(time.Now(), in[:n])
	}
}

// drainCaller is one kind of caller: a request as it goes over the wire, and
// what is wrong with an answer to it.
type drainCaller struct {
	name    string
	request string
	judge   func(status int, body string) (problem string)
}

type drainCallers struct {
	t        *testing.T
	addr     string
	begun    atomic.Int64 // kinds that have sent a request
	told     atomic.Bool  // the process may have been signalled
	answered atomic.Int64 // of those in flight then

	mu       sync.Mutex
	accepted map[string]bool // ids that the gateway has promised
}

func (c *drainCallers) kinds(message string) []drainCaller {
	head := func(line string) string { return line + " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" }
	body := func(line, contentType, body string) string {
		return head(line) + fmt.Sprintf("Content-Type: %s\r\nContent-Length: %d\r\n\r\n%s", contentType, len(body), body)
	}
	chunk := func(s string) string { return fmt.Sprintf("%x\r\n%s\r\n", len(s), s) }
	lines := `{"to":{"client":"d"},"text":"stored"}` + "\n" + `{"to":{"client":"d"},"text":"now","mode":"online"}` + "\n"
	push, toMany := "POST /v1/clients/d/messages", `{"to":{"clients":["d"]},"text":"many"}`
	plain := func(status int, body string) string {
		if status == 200 {
			return ""
		}
		return "want 200"
	}
	return []drainCaller{
		{"push", body(push, "text/plain", "push"), c.stored},
		{"push and wait", body(push+"?wait=30s", "text/plain", "wait"), c.stored},
		{"push to many and wait", body("POST /v1/messages?wait=30s", "application/json", toMany), c.stored},
		{"online", body(push+"?mode=online&wait=30s", "text/plain", "now"), onlineAnswer},
		{"wait for a message", head("GET /v1/messages/"+message+"?wait=30s") + "\r\n", plain},
		{"list", head("GET /v1/messages") + "\r\n", plain},
		{"change a client", body("PATCH /v1/clients/d", "application/json", `{"labels":{"a":"b"}}`), plain},
		{"bulk", head("POST /v1/messages/bulk?wait=30s") + "Content-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(lines), c.bulkAnswer},
		{"stream", head("GET /v1/events") + "\r\n", func(status int, body string) string {
			if status == 200 && strings.HasSuffix(body, ": end of stream\n\n") {
				return ""
			}
			return "want a stream that ends with a comment"
		}},
		{"stream of lines", head("GET /v1/events") + "Accept: application/x-ndjson\r\n\r\n", func(status int, body string) string {
			if status == 200 && strings.HasSuffix(body, "\n") {
				return ""
			}
			return "want a stream that ends with a line"
		}},
	}
}

// stored judges the answer to a durable push.
func (c *drainCallers) stored(status int, body string) string {
	var m struct{ ID, Type string }
	json.Unmarshal([]byte(body), &m)
	switch {
	case (status == 200 || status == 202) && m.ID != "":
		c.mu.Lock()
		defer c.mu.Unlock()
		c.accepted[m.ID] = true
		return ""
	case status == 503 && strings.HasSuffix(m.Type, "/draining") && c.told.Load():
		return ""
	}
	return "want the message, or 503 draining"
}

func onlineAnswer(status int, body string) string {
	var p struct{ Type, Reason string }
	json.Unmarshal([]byte(body), &p)
	switch {
	case status == 200,
		status == 504 && p.Reason == "draining",
		status == 503 && strings.HasSuffix(p.Type, "/draining"),
		status == 409 && strings.HasSuffix(p.Type, "/client-offline"):
		return ""
	}
	return "want the device's answer, 504 with the reason draining, or that nothing was sent"
}

func (c *drainCallers) bulkAnswer(status int, body string) string {
	lines := strings.Split(strings.TrimSpace(body), "\n")
	var summary struct {
		Done    bool
		Lines   int
		Problem struct{ Type string }
	}
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &summary); status == 503 || err != nil {
		return c.stored(status, body)
	}
	if summary.Done || summary.Lines != len(lines)-1 || !strings.HasSuffix(summary.Problem.Type, "/draining") {
		return "want a summary that is not done because of draining"
	}
	for _, line := range lines[:len(lines)-1] {
		var l struct {
			Status int
			ID     string
		}
		if err := json.Unmarshal([]byte(line), &l); err != nil || l.Status == 0 {
			return "want an answer for each line"
		}
		if l.Status == 202 && l.ID != "" {
			c.mu.Lock()
			c.accepted[l.ID] = true
			c.mu.Unlock()
		}
	}
	return ""
}

// callAgainAndAgain calls until the process takes no more calls. Whatever began
// before the process was told to stop must get its answer.
func (c *drainCallers) callAgainAndAgain(kind drainCaller) {
	for first := true; ; first = false {
		inFlight := !c.told.Load()
		conn, err := net.Dial("tcp", c.addr)
		if err != nil {
			if inFlight && !c.told.Load() {
				c.t.Errorf("%s: %v", kind.name, err)
			}
			return
		}
		_, err = io.WriteString(conn, kind.request)
		if first {
			c.begun.Add(1)
		}
		status, body := 0, ""
		if err == nil {
			status, body = readWholeAnswer(conn)
		}
		conn.Close()
		if !inFlight && (status == 0 || status == 503) {
			return // it began when the process was stopping already
		}
		if status == 0 {
			c.t.Errorf("%s: the connection ended without a whole answer: %q", kind.name, body)
			return
		}
		if problem := kind.judge(status, body); problem != "" {
			c.t.Errorf("%s: %d %s: %s", kind.name, status, body, problem)
			return
		}
		if c.told.Load() {
			c.answered.Add(1)
			return
		}
	}
}

// readWholeAnswer returns status 0 for an answer that is cut.
func readWholeAnswer(conn net.Conn) (status int, body string) {
	conn.SetReadDeadline(time.Now().Add(40 * time.Second))
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return 0, err.Error()
	}
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, string(b)
	}
	return resp.StatusCode, string(b)
}

// holdConnections opens connections that nothing is owed to: a silent one, half a
// header, and a caller that is refused and goes on sending.
func (c *drainCallers) holdConnections() (release func()) {
	var held []net.Conn
	for _, request := range []string{"", "GET /v1/clients HTTP/1.1\r\nHost: loc",
		"POST /v1/clients/d/messages HTTP/1.1\r\nHost: elsewhere.example\r\nContent-Length: 3000000\r\n\r\nx"} {
		conn, err := net.Dial("tcp", c.addr)
		if err != nil {
			c.t.Fatal(err)
		}
		io.WriteString(conn, request)
		held = append(held, conn)
	}
	return func() {
		for _, conn := range held {
			conn.Close()
		}
	}
}

// Half a body has two seconds when draining begins; then its caller is told.
func TestHalfABodyHasTwoSecondsWhenDrainingBegins(t *testing.T) {
	t.Parallel() // waits for the drain
	s := serve(t, "", t.TempDir())
	addr := strings.TrimPrefix(s.url, "http://")
	send := func() net.Conn {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		fmt.Fprintf(conn, "POST /v1/messages HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 40\r\n\r\n{\"to\"")
		return conn
	}
	never, completes := send(), send()
	s.get("/livez") // its connection is accepted behind the others
	start := time.Now()
	s.signal(t, syscall.SIGTERM)
	io.WriteString(completes, strings.Repeat(" ", 40-len(`{"to"`)))
	if status, body := readWholeAnswer(completes); status != 400 || !strings.Contains(body, "malformed-json") {
		t.Errorf("the body that completes is answered %d %s, want what it deserves", status, body)
	}
	if status, body := readWholeAnswer(never); status != 503 || !strings.Contains(body, "draining") {
		t.Errorf("the body that does not complete is answered %d %s, want 503 draining", status, body)
	}
	if took := time.Since(start); took < 1500*time.Millisecond {
		t.Errorf("it was given %v, want two seconds", took)
	}
	if code := s.exit(t, 10*time.Second); code != 0 {
		t.Errorf("exit code %d", code)
	}
}
