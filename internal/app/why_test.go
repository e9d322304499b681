package app

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/longwire/longwire/client"
	"github.com/longwire/longwire/internal/config"
	"github.com/longwire/longwire/internal/why"
)

var updateWhy = flag.Bool("update-why", false, "write the answers into testdata/why.txt")

// situation is one reason why a message or a client is not there, made for real: a gateway
// process, and devices of the test's own over TCP.
type situation struct {
	name  string
	code  why.Code
	of    string // "" = message
	set   func(*config.Config)
	begin func(*scene) // makes it, and calls message or client
}

// scene is the gateway of one situation.
type scene struct {
	*testing.T
	app   *App
	clock *stepClock
	api   *client.Client
	cfg   *config.Config

	target string // the path to ask
	check  func(facts map[string]any)
}

func (s *scene) message(id string) { s.target = "/v1/messages/" + id + "/why" }
func (s *scene) delivery(id, client string) {
	s.target = "/v1/messages/" + id + "/why?client=" + client
}
func (s *scene) client(id string)             { s.target = "/v1/clients/" + id + "/why" }
func (s *scene) wants(f func(map[string]any)) { s.check = f }
func (s *scene) ctx() context.Context         { return s.Context() }

// push pushes and returns the message's id.
func (s *scene) push(to, text string) string {
	s.Helper()
	return s.pushWith(to, client.Push{Payload: client.Text(text), QueueUnknown: true})
}

func (s *scene) pushWith(to string, p client.Push) string {
	s.Helper()
	m, err := s.api.Push(s.ctx(), to, p)
	if err != nil {
		s.Fatal(err)
	}
	return m.ID
}

// many posts a message to many.
func (s *scene) many(body string) string {
	s.Helper()
	res, err := http.Post(s.app.url()+"/v1/messages", "application/json", strings.NewReader(body))
	if err != nil {
		s.Fatal(err)
	}
	defer res.Body.Close()
	var m client.Message
	if err := json.NewDecoder(res.Body).Decode(&m); err != nil || m.ID == "" {
		s.Fatalf("push: %d, %v", res.StatusCode, err)
	}
	return m.ID
}

// online starts a push with mode=online and a key, and returns its message.
func (s *scene) online(to string, wait time.Duration) (id string, done <-chan error) {
	s.Helper()
	ended := make(chan error, 1)
	go func() {
		_, err := s.api.Push(context.WithoutCancel(s.ctx()), to, client.Push{Payload: client.Text("now"), Mode: client.Online, Wait: wait, IdempotencyKey: "k"})
		ended <- err
	}()
	waitFor(s.T, func() bool {
		for m, err := range s.api.Messages(s.ctx(), client.MessageQuery{Client: to}) {
			if err == nil && m.Mode == client.Online {
				id = m.ID
			}
		}
		return id != ""
	})
	return id, ended
}

// text connects a device that speaks text.
func (s *scene) text(words ...string) *line {
	s.Helper()
	return wantAnswer(s.T, s.app, nil, "REGISTERED", words...)
}

// offline waits until the client reads as offline.
func (s *scene) offline(id string) {
	s.Helper()
	waitFor(s.T, func() bool { c, err := s.api.Client(s.ctx(), id); return err == nil && !c.Online })
}

// leaves connects a device that says goodbye.
func (s *scene) leaves(id string) {
	s.Helper()
	s.text(id).say("BYE\n")
	s.offline(id)
}

// sent waits until the gateway knows that the message is at the device.
func (s *scene) sent(id string) {
	s.Helper()
	waitFor(s.T, func() bool { m, err := s.api.Message(s.ctx(), id, 0); return err == nil && m.Status == client.Sent })
}

// restart ends the process and starts another one on the same directory.
func (s *scene) restart() {
	s.Helper()
	if err := s.app.Stop(context.WithoutCancel(s.ctx())); err != nil {
		s.Log(err)
	}
	s.start()
}

func (s *scene) start() {
	s.Helper()
	s.app = startOn(s.T, s.cfg, slog.DiscardHandler, s.clock.Now)
	s.api = backend(s.T, s.app)
}

// binary is a device that speaks v2.
type binaryDevice struct {
	t  *testing.T
	nc net.Conn
	in *bufio.Reader
}

// binary connects a device that speaks v2; members are further ones of REGISTER.
func (s *scene) binary(id, members string) (d *binaryDevice, welcome map[string]any) {
	s.Helper()
	nc, err := net.Dial("tcp", s.app.TCPAddr().String())
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { nc.Close() })
	nc.SetDeadline(time.Now().Add(time.Minute))
	d = &binaryDevice{s.T, nc, bufio.NewReader(nc)}
	d.send(1, 0x02, []byte(`{"id":"`+id+`"`+members+`}`))
	kind, _, body := d.read()
	if kind != 2 || json.Unmarshal(body, &welcome) != nil {
		s.Fatalf("registration is answered by %d %q", kind, body)
	}
	return d, welcome
}

func (d *binaryDevice) send(kind, version byte, body []byte) {
	d.t.Helper()
	if _, err := d.nc.Write(append(binary.AppendUvarint([]byte{kind, version}, uint64(len(body))), body...)); err != nil {
		d.t.Fatal(err)
	}
}

func (d *binaryDevice) read() (kind, version byte, body []byte) {
	d.t.Helper()
	var head [2]byte
	_, err := io.ReadFull(d.in, head[:])
	if err == nil {
		var n uint64
		if n, err = binary.ReadUvarint(d.in); err == nil {
			body = make([]byte, n)
			_, err = io.ReadFull(d.in, body)
		}
	}
	if err != nil {
		d.t.Fatal(err)
	}
	return head[0], head[1], body
}

// data returns the number and the version byte of the next DATA.
func (d *binaryDevice) data() (seq uint64, version byte) {
	d.t.Helper()
	kind, version, body := d.read()
	seq, _ = binary.Uvarint(body)
	if kind != 5 {
		d.t.Fatalf("frame %d %q, want DATA", kind, body)
	}
	return seq, version
}

func (d *binaryDevice) ack(seq uint64, version, code byte, text string) {
	d.t.Helper()
	d.send(6, version, append(append(binary.AppendUvarint(nil, seq), code), text...))
}

// remembers connects a device that has got one message, has not acked it, and comes back
// with its ledger: it is asked.
func (s *scene) remembers(id string) (message string, d *binaryDevice, seq uint64) {
	s.Helper()
	first, welcome := s.binary(id, "")
	message = s.push(id, "open")
	seq, _ = first.data()
	s.sent(message)
	first.nc.Close()
	s.offline(id)
	d, welcome = s.binary(id, fmt.Sprintf(`,"log":%q,"ask_through":%d`, welcome["log"], seq))
	if welcome["ask"] != true {
		s.Fatalf("no agreement on asking: %v", welcome)
	}
	if asked, version := d.data(); asked != seq || version != 0x52 {
		s.Fatalf("got DATA %d with %x, want an ASK for %d", asked, version, seq)
	}
	return message, d, seq
}

// breaks connects a device whose connection then breaks.
func (s *scene) breaks(id string) {
	s.Helper()
	d := s.text(id)
	d.nc.(*net.TCPConn).SetLinger(0)
	d.nc.Close()
	s.offline(id)
}

// frozen gives a device that does not answer a long time until it is given up.
func frozen(c *config.Config) {
	c.TCP.Heartbeat, c.TCP.Grace = config.Duration(time.Second), config.Duration(20*time.Second)
}

// proxied lets devices come from addresses of the test's choice.
func proxied(c *config.Config) { c.TCP.ProxyTrusted = []string{"127.0.0.1", "::1"} }

// from connects a device that speaks text, from an address and a port.
func (s *scene) from(addr, want, id string) *line {
	s.Helper()
	d, got := s.asks(addr, id)
	if !strings.HasPrefix(got, want) {
		s.Fatalf("%s is answered %s, want %s", addr, got, want)
	}
	return d
}

// asks sends REGISTER and returns the answer.
func (s *scene) asks(addr, id string) (d *line, answer string) {
	s.Helper()
	d = dial(s.T, s.app, nil)
	ip, port, _ := strings.Cut(addr, " ")
	d.say(fmt.Sprintf("PROXY TCP4 %s 127.0.0.1 %s 6666\r\nREGISTER %s\n", ip, port, id))
	return d, d.hear()
}

// answers is the rest of a device's life: it answers questions for a sign of life.
func (l *line) answers() {
	for {
		text, err := l.in.ReadString('\n')
		if err != nil {
			return
		}
		if text == "PING\n" {
			_, _ = io.WriteString(l.nc, "PONG\n")
		}
	}
}

func quickAcks(c *config.Config) { c.TCP.AckTimeout = config.Duration(100 * time.Millisecond) }

var situations = []situation{
	// The client is not connected.
	{name: "the device has never come", code: why.ClientNeverConnected, begin: func(s *scene) {
		s.message(s.push("truck-1", "open"))
	}},
	{name: "the device has said goodbye", code: why.ClientOffline, begin: func(s *scene) {
		s.leaves("truck-1")
		s.clock.Step(2*time.Hour + 5*time.Minute)
		s.message(s.push("truck-1", "open"))
	}},
	{name: "the connection of the device broke", code: why.ClientOffline, begin: func(s *scene) {
		d := s.text("truck-1")
		d.nc.(*net.TCPConn).SetLinger(0)
		d.nc.Close()
		s.offline("truck-1")
		s.message(s.push("truck-1", "open"))
	}},
	{name: "an operator has blocked the device", code: why.ClientBlocked, begin: func(s *scene) {
		s.text("truck-1")
		if err := s.api.Disconnect(s.ctx(), "truck-1", client.DisconnectOptions{Block: time.Hour}); err != nil {
			s.Fatal(err)
		}
		s.offline("truck-1")
		s.message(s.push("truck-1", "open"))
	}},
	{name: "the device comes with an old token", code: why.ClientRefused,
		set: func(c *config.Config) { c.Auth.DeviceToken = "new-token-of-the-year" },
		begin: func(s *scene) {
			s.text("truck-1", "new-token-of-the-year").say("BYE\n")
			s.offline("truck-1")
			for range 3 {
				wantAnswer(s.T, s.app, nil, "CLOSE 3501", "truck-1", "last-years-token")
			}
			s.message(s.push("truck-1", "open"))
		}},
	{name: "the device got it and went without an ack", code: why.SentThenOffline, begin: func(s *scene) {
		d := s.text("truck-1")
		id := s.push("truck-1", "open")
		d.hear()
		s.sent(id)
		d.say("BYE\n")
		s.offline("truck-1")
		s.message(id)
	}},

	{name: "a sensor got it with the last output of its connection", code: why.ClientOffline, begin: func(s *scene) {
		for range 100 {
			id := s.push("truck-1", "open")
			sensor, err := net.Dial("tcp", s.app.tcp.Addr().String())
			if err != nil {
				s.Fatal(err)
			}
			io.WriteString(sensor, "REGISTER truck-1\nDATA 1 21.5\n")
			sensor.(*net.TCPConn).CloseWrite()
			got, err := io.ReadAll(sensor)
			sensor.Close()
			if err != nil {
				s.Fatal(err)
			}
			s.offline("truck-1")
			s.message(id)
			var m client.Message
			if s.get("/v1/messages/"+id, &m); strings.Contains(string(got), " open\n") && m.Attempts == 0 {
				return
			}
			// On a busy machine the end of the input may come before the message, or the report of its flush first.
			if _, err := s.api.Cancel(s.ctx(), id); err != nil {
				s.Fatal(err)
			}
		}
		s.Fatal("no output was the last one")
	}},

	// It has left for the device.
	{name: "the device has it", code: why.SentNotAcked, begin: func(s *scene) {
		d := s.text("truck-1")
		id := s.push("truck-1", "open")
		d.hear()
		s.sent(id)
		s.message(id)
	}},
	{name: "the device never acks", code: why.ResentNotAcked, set: quickAcks, begin: func(s *scene) {
		d := s.text("truck-1")
		id := s.push("truck-1", "open")
		for range 3 {
			d.hear()
		}
		s.message(id)
		s.wants(func(facts map[string]any) {
			if n, _ := facts["attempts"].(float64); n < 2 {
				s.Errorf("attempts %v", facts["attempts"])
			}
		})
	}},
	{name: "the device says retry later", code: why.RetryLater, begin: func(s *scene) {
		d := s.text("truck-1")
		id := s.push("truck-1", "open")
		d.say("RETRY " + strings.Fields(d.hear())[1] + " busy\n")
		s.message(id)
	}},
	{name: "the device said retry later, and has it again", code: why.RetryLater, begin: func(s *scene) {
		d := s.text("truck-1")
		id := s.push("truck-1", "open")
		d.say("RETRY " + strings.Fields(d.hear())[1] + " busy\n")
		d.hear()
		s.sent(id)
		s.message(id)
	}},
	{name: "the device has it and has stopped answering", code: why.ClientSuspect, set: frozen, begin: func(s *scene) {
		d, _ := s.binary("truck-1", "")
		id := s.push("truck-1", "open")
		d.data()
		s.message(id)
	}},
	{name: "the device works on it", code: why.Working, begin: func(s *scene) {
		d, _ := s.binary("truck-1", `,"log":"","ask_through":0`)
		id := s.push("truck-1", "open")
		seq, _ := d.data()
		d.ack(seq, 0x02, 5, "40 %")
		s.message(id)
	}},
	{name: "the device is asked and does not answer", code: why.AskedNotAnswered, begin: func(s *scene) {
		id, _, _ := s.remembers("truck-1")
		s.message(id)
	}},
	{name: "the device acks with the flag of online deliveries", code: why.WrongNumberSpace, begin: func(s *scene) {
		d, _ := s.binary("truck-1", "")
		id := s.push("truck-1", "open")
		seq, _ := d.data()
		d.ack(seq, 0x22, 0, "")
		s.message(id)
	}},
	{name: "the device acks in text with an e", code: why.WrongNumberSpace, begin: func(s *scene) {
		d := s.text("truck-1")
		id := s.push("truck-1", "open")
		d.say("ACK e" + strings.Fields(d.hear())[1] + "\n")
		s.message(id)
	}},
	{name: "a caller waits for the device", code: why.OnlineWaits, begin: func(s *scene) {
		d := s.text("truck-1")
		id, _ := s.online("truck-1", 5*time.Second)
		d.hear()
		s.message(id)
	}},

	// It waits in the gateway.
	{name: "the window is full", code: why.WindowFull, set: func(c *config.Config) { c.TCP.Window = 1 }, begin: func(s *scene) {
		d := s.text("truck-1")
		first := s.push("truck-1", "one")
		d.hear()
		s.sent(first)
		s.message(s.push("truck-1", "two"))
		s.wants(func(facts map[string]any) {
			if facts["behind"] != first {
				s.Errorf("behind %v, want %s", facts["behind"], first)
			}
		})
	}},
	{name: "the device said retry later to the one before", code: why.WindowFull, set: func(c *config.Config) { c.TCP.Window = 1 }, begin: func(s *scene) {
		d := s.text("truck-1")
		s.push("truck-1", "one")
		d.say("RETRY " + strings.Fields(d.hear())[1] + "\n")
		s.message(s.push("truck-1", "two"))
	}},
	{name: "the device is asked about the one before", code: why.BehindAsk, begin: func(s *scene) {
		first, _, _ := s.remembers("truck-1")
		s.message(s.push("truck-1", "close"))
		s.wants(func(facts map[string]any) {
			if facts["behind"] != first {
				s.Errorf("behind %v, want %s", facts["behind"], first)
			}
		})
	}},
	{name: "the rate holds it back", code: why.Paced, set: func(c *config.Config) { c.TCP.DeliveryRate, c.TCP.Window = 1, 64 }, begin: func(s *scene) {
		s.text("truck-1")
		for range 30 {
			s.push("truck-1", "one")
		}
		s.message(s.push("truck-1", "last"))
	}},
	{name: "the roll-out has not come to the device", code: why.Rollout, begin: func(s *scene) {
		heard := make(chan string, 5)
		for i := range 5 {
			d, id := s.text(fmt.Sprint("truck-", i)), fmt.Sprint("truck-", i)
			go func() {
				if text, err := d.in.ReadString('\n'); err == nil && strings.HasPrefix(text, "DATA") {
					heard <- id
				}
			}()
		}
		id := s.many(`{"to":{"all":true},"text":"update","rate":1}`)
		first := <-heard
		if first == "truck-0" {
			s.delivery(id, "truck-1")
		} else {
			s.delivery(id, "truck-0")
		}
	}},
	{name: "the device does not read", code: why.NotReading, begin: func(s *scene) {
		nc, err := net.Dial("tcp", s.app.TCPAddr().String())
		if err != nil {
			s.Fatal(err)
		}
		s.Cleanup(func() { nc.Close() })
		nc.(*net.TCPConn).SetReadBuffer(4 << 10)
		io.WriteString(nc, "\x01\x02\x10{\"id\":\"truck-1\"}")
		waitFor(s.T, func() bool { return s.app.gw.Online("truck-1") })
		var last string
		for range 40 {
			last = s.pushWith("truck-1", client.Push{Payload: client.Bytes(make([]byte, 256<<10))})
			var w struct{ Code string }
			s.get("/v1/messages/"+last+"/why", &w)
			if w.Code == string(why.NotReading) {
				break
			}
		}
		s.message(last)
	}},
	{name: "a v1 device needs a pause", code: why.AboutToSend, set: func(c *config.Config) { c.TCP.V1Gap = config.Duration(10 * time.Second) }, begin: func(s *scene) {
		nc, err := net.Dial("tcp", s.app.TCPAddr().String())
		if err != nil {
			s.Fatal(err)
		}
		s.Cleanup(func() { nc.Close() })
		io.WriteString(nc, "\x01#truck-1")
		if _, err := io.ReadFull(nc, make([]byte, 4)); err != nil {
			s.Fatal(err)
		}
		id := s.push("truck-1", "open")
		waitFor(s.T, func() bool { // the frame takes its place, and waits for the pause
			var w struct {
				Facts struct {
					InFlight int `json:"in_flight"`
				}
			}
			s.get("/v1/messages/"+id+"/why", &w)
			return w.Facts.InFlight == 1
		})
		s.message(id)
	}},

	// It is final.
	{name: "the device acked", code: why.Acked, begin: func(s *scene) {
		d := s.text("truck-1")
		id := s.push("truck-1", "open")
		d.say("ACK " + strings.Fields(d.hear())[1] + " done\n")
		s.message(id)
	}},
	{name: "the device no longer knows its verdict", code: why.VerdictNotKept, begin: func(s *scene) {
		id, d, seq := s.remembers("truck-1")
		d.ack(seq, 0x02, 4, "")
		s.message(id)
	}},
	{name: "the device acked after it was canceled", code: why.LateAck, begin: func(s *scene) {
		d := s.text("truck-1")
		id := s.push("truck-1", "open")
		seq := strings.Fields(d.hear())[1]
		s.sent(id)
		if _, err := s.api.Cancel(s.ctx(), id); err != nil {
			s.Fatal(err)
		}
		d.say("ACK " + seq + "\n")
		s.message(id)
	}},
	{name: "the device rejected", code: why.Rejected, begin: func(s *scene) {
		d := s.text("truck-1")
		id := s.push("truck-1", "open")
		d.say("NAK " + strings.Fields(d.hear())[1] + " jammed\n")
		s.message(id)
	}},
	{name: "the payload is too large for the device", code: why.TooLarge, begin: func(s *scene) {
		id := s.push("truck-1", strings.Repeat("x", 500)) // while its dialect is not known
		nc, err := net.Dial("tcp", s.app.TCPAddr().String())
		if err != nil {
			s.Fatal(err)
		}
		s.Cleanup(func() { nc.Close() })
		io.WriteString(nc, "\x01#truck-1")
		s.message(id)
	}},
	{name: "it expired while the device was away", code: why.ExpiredUnsent, begin: func(s *scene) {
		s.leaves("truck-1")
		id := s.push("truck-1", "open")
		s.clock.Step(25 * time.Hour)
		s.message(id)
	}},
	{name: "it expired before the device came", code: why.ExpiredUnsent, begin: func(s *scene) {
		id := s.push("truck-1", "open")
		s.clock.Step(25 * time.Hour)
		waitFor(s.T, func() bool { return s.code("/v1/messages/"+id+"/why") == string(why.ExpiredUnsent) })
		s.text("truck-1")
		s.message(id)
	}},
	{name: "it expired at a device that never acks", code: why.ExpiredSent, begin: func(s *scene) {
		d := s.text("truck-1")
		id := s.push("truck-1", "open")
		d.hear()
		s.sent(id)
		s.clock.Step(25 * time.Hour)
		s.message(id)
	}},
	{name: "it expired after the device got it and went", code: why.ExpiredSent, begin: func(s *scene) {
		d := s.text("truck-1")
		id := s.push("truck-1", "open")
		d.hear()
		s.sent(id)
		d.say("BYE\n")
		s.offline("truck-1")
		s.clock.Step(25 * time.Hour)
		s.message(id)
	}},
	{name: "it expired while the device wanted it later", code: why.ExpiredRetryLater, begin: func(s *scene) {
		d := s.text("truck-1")
		id := s.push("truck-1", "open")
		d.say("RETRY " + strings.Fields(d.hear())[1] + "\n")
		waitFor(s.T, func() bool { return s.code("/v1/messages/"+id+"/why") == string(why.RetryLater) })
		s.clock.Step(25 * time.Hour)
		s.message(id)
	}},
	{name: "it expired after a restart", code: why.Expired, begin: func(s *scene) {
		d := s.text("truck-1")
		id := s.push("truck-1", "open")
		d.hear()
		s.sent(id)
		s.restart()
		s.clock.Step(25 * time.Hour)
		s.message(id)
	}},
	{name: "a caller canceled it", code: why.Canceled, begin: func(s *scene) {
		s.leaves("truck-1")
		id := s.push("truck-1", "open")
		if _, err := s.api.Cancel(s.ctx(), id); err != nil {
			s.Fatal(err)
		}
		s.message(id)
	}},
	{name: "a caller canceled it at the device", code: why.Canceled, begin: func(s *scene) {
		d := s.text("truck-1")
		id := s.push("truck-1", "open")
		d.hear()
		s.sent(id)
		if _, err := s.api.Cancel(s.ctx(), id); err != nil {
			s.Fatal(err)
		}
		s.message(id)
	}},
	{name: "the queue was canceled", code: why.QueueCanceled, begin: func(s *scene) {
		s.leaves("truck-1")
		id := s.push("truck-1", "one")
		s.push("truck-1", "two")
		if done, err := s.api.CancelQueue(s.ctx(), "truck-1", id); err != nil || done.Canceled != 1 {
			s.Fatalf("%+v, %v", done, err)
		}
		s.message(id)
	}},
	{name: "the client was forgotten with its queue", code: why.CanceledForgotten, begin: func(s *scene) {
		s.leaves("truck-1")
		id := s.push("truck-1", "open")
		if err := s.api.Forget(s.ctx(), "truck-1"); err != nil {
			s.Fatal(err)
		}
		s.message(id)
	}},
	{name: "the device never acked", code: why.AttemptsUsedUp, set: func(c *config.Config) { quickAcks(c); c.Delivery.MaxAttempts = 2 }, begin: func(s *scene) {
		s.text("truck-1")
		s.message(s.push("truck-1", "open"))
	}},
	{name: "the device wanted it later, fell over and never acked", code: why.AttemptsUsedUp, set: func(c *config.Config) {
		c.TCP.AckTimeout, c.Delivery.MaxAttempts = config.Duration(3*time.Second), 3
	}, begin: func(s *scene) {
		d := s.text("truck-1")
		id := s.push("truck-1", "open")
		d.say("RETRY " + strings.Fields(d.hear())[1] + " busy\n")
		for range 2 {
			d.hear()
			d.nc.(*net.TCPConn).SetLinger(0)
			d.nc.Close()
			s.offline("truck-1")
			d = s.text("truck-1")
		}
		s.message(id)
	}},
	{name: "a list names a stranger", code: why.UnknownClient, begin: func(s *scene) {
		s.leaves("truck-1")
		s.delivery(s.many(`{"to":{"clients":["truck-1","truck-2"]},"text":"x"}`), "truck-2")
	}},
	{name: "a list names one client too many", code: why.TooManyClients, set: func(c *config.Config) { c.Clients.Max = 1 }, begin: func(s *scene) {
		s.leaves("truck-1")
		s.delivery(s.many(`{"to":{"clients":["truck-1","truck-2"]},"text":"x","on_unknown":"queue"}`), "truck-2")
	}},
	{name: "a list names a client whose queue is full", code: why.QueueFull, set: func(c *config.Config) { c.Delivery.MaxQueued = 1 }, begin: func(s *scene) {
		s.leaves("truck-1")
		s.leaves("truck-2")
		s.push("truck-1", "one")
		s.delivery(s.many(`{"to":{"clients":["truck-1","truck-2"]},"text":"x"}`), "truck-1")
	}},

	// Pushes with mode=online and a key.
	{name: "the device did not answer the caller", code: why.OnlineNoAck, begin: func(s *scene) {
		d := s.text("truck-1")
		id, done := s.online("truck-1", time.Second)
		d.hear()
		<-done
		s.message(id)
	}},
	{name: "the device answered the caller without the flag", code: why.OnlineWrongNumber, begin: func(s *scene) {
		d := s.text("truck-1")
		id, done := s.online("truck-1", time.Second)
		d.say("ACK " + strings.TrimPrefix(strings.Fields(d.hear())[1], "e") + "\n")
		<-done
		s.message(id)
	}},
	{name: "the device left the caller", code: why.OnlineDisconnected, begin: func(s *scene) {
		d := s.text("truck-1")
		id, done := s.online("truck-1", 10*time.Second)
		d.hear()
		d.say("BYE\n")
		<-done
		s.message(id)
	}},
	{name: "the window was full for the caller", code: why.OnlineNotSent, set: func(c *config.Config) { c.TCP.Window = 1 }, begin: func(s *scene) {
		d := s.text("truck-1")
		s.push("truck-1", "one")
		d.hear()
		id, done := s.online("truck-1", time.Second)
		<-done
		s.message(id)
	}},
	{name: "the gateway died under the caller", code: why.OnlineRestart, begin: func(s *scene) {
		d := s.text("truck-1")
		id, done := s.online("truck-1", time.Second)
		d.hear()
		if err := s.app.store.Close(); err != nil { // as by a power cut: the outcome finds no disk
			s.Fatal(err)
		}
		<-done
		s.restart()
		s.message(id)
	}},
	{name: "the gateway stopped under the caller", code: why.OnlineDraining, begin: func(s *scene) {
		d := s.text("truck-1")
		id, done := s.online("truck-1", 30*time.Second)
		d.hear()
		s.restart()
		<-done
		s.message(id)
	}},

	// A message to many, as a whole.
	{name: "a message to many is under way", code: why.ManyPending, begin: func(s *scene) {
		d := s.text("truck-1")
		s.leaves("truck-2")
		s.leaves("truck-3")
		id := s.many(`{"to":{"clients":["truck-1","truck-2","truck-3","stranger"]},"text":"x"}`)
		d.hear()
		waitFor(s.T, func() bool { return s.code("/v1/messages/"+id+"/why?client=truck-1") == string(why.SentNotAcked) })
		s.message(id)
	}},
	{name: "a message to many is through", code: why.ManyCompleted, begin: func(s *scene) {
		d := s.text("truck-1")
		id := s.many(`{"to":{"clients":["truck-1","stranger"]},"text":"x"}`)
		d.say("ACK " + strings.Fields(d.hear())[1] + "\n")
		s.message(id)
	}},

	// Clients.
	{of: "client", name: "it is there", code: why.Online, begin: func(s *scene) {
		s.text("truck-1")
		s.clock.Step(time.Hour)
		s.client("truck-1")
	}},
	{of: "client", name: "two devices have one id", code: why.OnlineFlapping, set: proxied, begin: func(s *scene) {
		for _, addr := range []string{"192.0.2.7 40112", "198.51.100.9 53310", "192.0.2.7 40113", "198.51.100.9 53311"} {
			s.from(addr, "REGISTERED", "truck-1")
		}
		s.client("truck-1")
	}},
	{of: "client", name: "two devices behind one router have one id", code: why.OnlineFlapping, set: proxied, begin: func(s *scene) {
		for _, addr := range []string{"192.0.2.7 40112", "192.0.2.7 40113", "192.0.2.7 40114"} {
			s.from(addr, "REGISTERED", "truck-1")
		}
		s.client("truck-1")
	}},
	{of: "client", name: "it has stopped answering", code: why.OnlineSuspect, set: frozen, begin: func(s *scene) {
		s.binary("truck-1", "")
		s.client("truck-1")
	}},
	{of: "client", name: "it falls over again and again", code: why.OnlineUnstable, begin: func(s *scene) {
		for range 5 {
			s.breaks("truck-1")
		}
		s.text("truck-1")
		s.client("truck-1")
	}},
	{of: "client", name: "its uplinks are refused", code: why.OnlineNoUplinks, set: func(c *config.Config) { c.Data.MaxDisk = 32 << 20 },
		begin: func(s *scene) {
			s.text("truck-1").fillUplinks()
			s.client("truck-1")
		}},
	{of: "client", name: "another device has its id", code: why.OnlineTwin, set: func(c *config.Config) {
		proxied(c)
		c.TCP.DuplicateID = config.RejectDuplicate
	}, begin: func(s *scene) {
		holder := s.from("192.0.2.7 40112", "REGISTERED", "truck-1")
		go holder.answers()
		for _, addr := range []string{"198.51.100.9 53310", "198.51.100.9 53311"} {
			waitFor(s.T, func() bool { // until the device that has the id has answered
				_, got := s.asks(addr, "truck-1")
				return strings.HasPrefix(got, "CLOSE 3503")
			})
		}
		s.client("truck-1")
	}},
	{of: "client", name: "it was created and never came", code: why.NeverConnected, begin: func(s *scene) {
		s.push("truck-1", "open")
		s.client("truck-1")
	}},
	{of: "client", name: "it said goodbye", code: why.ClosedByDevice, begin: func(s *scene) {
		s.leaves("truck-1")
		s.client("truck-1")
	}},
	{of: "client", name: "it broke the protocol", code: why.ClosedByGateway, begin: func(s *scene) {
		d, _ := s.binary("truck-1", "")
		d.send(99, 0x02, nil)
		s.offline("truck-1")
		s.client("truck-1")
	}},
	{of: "client", name: "it fell silent", code: why.ClosedByGateway, set: func(c *config.Config) {
		c.TCP.Heartbeat, c.TCP.Grace = config.Duration(time.Second), config.Duration(100*time.Millisecond)
	}, begin: func(s *scene) {
		s.binary("truck-1", "")
		s.offline("truck-1")
		s.client("truck-1")
	}},
	{of: "client", name: "its gateway was restarted", code: why.ClosedByGateway, begin: func(s *scene) {
		s.text("truck-1")
		s.restart()
		s.client("truck-1")
	}},
	{of: "client", name: "its connection broke", code: why.ClosedByNetwork, begin: func(s *scene) {
		d := s.text("truck-1")
		d.nc.(*net.TCPConn).SetLinger(0)
		d.nc.Close()
		s.offline("truck-1")
		s.client("truck-1")
	}},
	{of: "client", name: "an operator disconnected it", code: why.ClosedByOperator, begin: func(s *scene) {
		s.text("truck-1")
		if err := s.api.Disconnect(s.ctx(), "truck-1", client.DisconnectOptions{}); err != nil {
			s.Fatal(err)
		}
		s.offline("truck-1")
		s.client("truck-1")
	}},
	{of: "client", name: "it is blocked and tries", code: why.Blocked, begin: func(s *scene) {
		s.text("truck-1")
		if err := s.api.Disconnect(s.ctx(), "truck-1", client.DisconnectOptions{Block: time.Hour}); err != nil {
			s.Fatal(err)
		}
		s.offline("truck-1")
		for range 2 {
			wantAnswer(s.T, s.app, nil, "CLOSE 3502", "truck-1")
		}
		s.client("truck-1")
	}},
	{of: "client", name: "it comes with an old token", code: why.Refused,
		set: func(c *config.Config) { c.Auth.DeviceToken = "new-token-of-the-year" },
		begin: func(s *scene) {
			s.text("truck-1", "new-token-of-the-year").say("BYE\n")
			s.offline("truck-1")
			wantAnswer(s.T, s.app, nil, "CLOSE 3501", "truck-1", "last-years-token")
			s.client("truck-1")
		}},
	{of: "client", name: "a stranger is refused", code: why.Refused,
		set: func(c *config.Config) { c.Auth.DeviceToken = "new-token-of-the-year" },
		begin: func(s *scene) {
			wantAnswer(s.T, s.app, nil, "CLOSE 3501", "truck-1")
			s.client("truck-1")
		}},
	{of: "client", name: "there is no room for it", code: why.Refused, set: func(c *config.Config) { c.Clients.Max = 1 }, begin: func(s *scene) {
		s.text("truck-1")
		wantAnswer(s.T, s.app, nil, "CLOSE 3005", "truck-2")
		s.client("truck-2")
	}},
	{of: "client", name: "it was forgotten", code: why.Forgotten, begin: func(s *scene) {
		s.leaves("truck-1")
		if err := s.api.Forget(s.ctx(), "truck-1"); err != nil {
			s.Fatal(err)
		}
		s.client("truck-1")
	}},
}

func (s *scene) get(target string, out any) {
	s.Helper()
	res, err := http.Get(s.app.url() + target)
	if err != nil {
		s.Fatal(err)
	}
	defer res.Body.Close()
	if err := json.NewDecoder(res.Body).Decode(out); err != nil || res.StatusCode != http.StatusOK {
		s.Fatalf("GET %s: %d, %v", target, res.StatusCode, err)
	}
}

func (s *scene) code(target string) string {
	s.Helper()
	var v struct{ Code string }
	s.get(target, &v)
	return v.Code
}

// answer is an answer why.
type whyAnswer struct {
	Code     string
	Sentence string
	Facts    map[string]any
	Sample   any
	Now      time.Time
}

var (
	someTime    = regexp.MustCompile(`\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z| UTC)`)
	someSpan    = regexp.MustCompile(`\d+ (d \d+ h|h \d+ min|min \d+ s|s)\b`)
	someMessage = regexp.MustCompile(`msg_[0-9a-f-]{36}`)
	someBytes   = regexp.MustCompile(`\d+ bytes wait`)
)

// plain writes an answer with places for the times, ids and measurements that differ from
// run to run.
func (a *whyAnswer) plain() string {
	for _, name := range []string{"expires_in", "unwritten_bytes"} {
		if _, ok := a.Facts[name]; ok {
			a.Facts[name] = "N"
		}
	}
	if r, ok := a.Facts["refused"].(map[string]any); ok && r["remote_addr"] != nil {
		r["remote_addr"] = "A"
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s\n  %s\n", a.Code, a.Sentence)
	for _, name := range slices.Sorted(maps.Keys(a.Facts)) {
		v, _ := json.Marshal(a.Facts[name])
		fmt.Fprintf(&b, "  %s %s\n", name, v)
	}
	if a.Sample != nil {
		v, _ := json.Marshal(a.Sample)
		fmt.Fprintf(&b, "  sample %s\n", v)
	}
	text := someTime.ReplaceAllString(b.String(), "TIME")
	text = someSpan.ReplaceAllString(text, "SPAN")
	text = someBytes.ReplaceAllString(text, "N bytes wait")
	return someMessage.ReplaceAllString(text, "MESSAGE")
}

// truth checks the times of an answer against its clock.
func (a *whyAnswer) truth(t *testing.T) {
	t.Helper()
	for name, v := range a.Facts {
		text, _ := v.(string)
		at, err := time.Parse(time.RFC3339Nano, text)
		if err != nil {
			continue
		}
		future := name == "expires_at" || name == "blocked_until" || name == "next_at"
		if final := a.Facts["final_at"] != nil; !(final && name == "expires_at") &&
			(future && at.Before(a.Now.Add(-time.Second)) || !future && at.After(a.Now.Add(time.Second))) {
			t.Errorf("%s is %v, and the answer is of %v", name, at, a.Now)
		}
		if a.Now.Sub(at).Abs() > 26*time.Hour {
			t.Errorf("%s is %v, far from %v", name, at, a.Now)
		}
	}
}

// Each situation is made by a device of the test's own against a running gateway, and has
// the one right code, facts and sentence. Those are in testdata/why.txt; -update-why writes
// them, and a reviewer reads the diff. Every code has a situation.
func TestWhy(t *testing.T) {
	t.Parallel()
	missing := map[why.Code]bool{}
	for _, code := range why.MessageCodes() {
		missing["message "+code] = true
	}
	for _, code := range why.ClientCodes() {
		missing["client "+code] = true
	}
	want := readSituations(t)
	var mu sync.Mutex
	got := map[string]string{}
	t.Run("situations", func(t *testing.T) {
		for _, sit := range situations {
			kind := sit.of
			if kind == "" {
				kind = "message"
			}
			delete(missing, why.Code(kind+" ")+sit.code)
			name := kind + ": " + sit.name
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				cfg := testConfig(t.TempDir())
				if sit.set != nil {
					sit.set(cfg)
				}
				s := &scene{T: t, clock: &stepClock{}, cfg: cfg}
				s.start()
				sit.begin(s)
				var a whyAnswer
				deadline := time.Now().Add(20 * time.Second)
				waitFor(t, func() bool {
					a = whyAnswer{}
					s.get(s.target, &a)
					return a.Code == string(sit.code) || time.Now().After(deadline)
				})
				if a.Code != string(sit.code) {
					t.Fatalf("the answer is %+v, want %s", a, sit.code)
				}
				a.truth(t)
				if s.check != nil {
					s.check(a.Facts)
				}
				text := a.plain()
				switch sit.code { // these go on while the test looks
				case why.ResentNotAcked:
					text = regexp.MustCompile(`(attempts|truck-1) \w+( times)?`).ReplaceAllString(text, "$1 N")
				case why.Rollout, why.Paced, why.NotReading:
					text = regexp.MustCompile(`(truck-|in_flight )\d+`).ReplaceAllString(text, "${1}N")
				}
				mu.Lock()
				got[name] = text
				mu.Unlock()
				if !*updateWhy && text != want[name] {
					t.Errorf("the answer is\n%s\nwant\n%s", text, want[name])
				}
			})
		}
	})
	for code := range missing {
		t.Errorf("no situation leads to the code of a %s", code)
	}
	if *updateWhy {
		writeSituations(t, got)
	}
}

const situationsFile = "testdata/why.txt"

func readSituations(t *testing.T) map[string]string {
	t.Helper()
	b, err := os.ReadFile(situationsFile)
	if err != nil && !*updateWhy {
		t.Fatal(err)
	}
	all := map[string]string{}
	for part := range strings.SplitSeq(string(b), "-- ") {
		if name, text, ok := strings.Cut(part, " --\n"); ok {
			all[name] = text
		}
	}
	return all
}

func writeSituations(t *testing.T, got map[string]string) {
	t.Helper()
	var b strings.Builder
	for _, sit := range situations {
		kind := sit.of
		if kind == "" {
			kind = "message"
		}
		name := kind + ": " + sit.name
		fmt.Fprintf(&b, "-- %s --\n%s", name, got[name])
	}
	if err := os.WriteFile(situationsFile, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}

// A delivery's history has the transmissions and the answers of its connection, then the
// final state.
func TestHistoryOfADelivery(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t.TempDir())
	quickAcks(cfg)
	s := &scene{T: t, clock: &stepClock{}, cfg: cfg}
	s.start()
	d := s.text("truck-1")
	id := s.push("truck-1", "open")
	seq := strings.Fields(d.hear())[1]
	d.hear() // again
	d.say("RETRY " + seq + "\n")
	d.hear()
	codes := func() (list []string) {
		got, err := s.api.Delivery(t.Context(), id, "truck-1")
		if err != nil {
			t.Fatal(err)
		}
		last := time.Time{}
		for _, line := range got.History {
			if line.At.Before(last) || line.What == "" {
				t.Errorf("%+v after %v", line, last)
			}
			last = line.At
			list = append(list, line.Code)
		}
		return list
	}
	waitFor(t, func() bool { return slices.Contains(codes(), "retry_later") && codes()[len(codes())-1] == "sent" })
	if got := codes(); !slices.Equal(got[:3], []string{"accepted", "sent", "sent"}) {
		t.Errorf("the history begins with %v", got)
	}
	d.say("ACK " + seq + " done\n")
	waitFor(t, func() bool { return slices.Contains(codes(), "acked") })
	if got := codes(); !slices.Equal(got, []string{"accepted", "sent", "acked"}) { // what the store keeps
		t.Errorf("the history of a final delivery is %v", got)
	}
	if _, err := s.api.Delivery(t.Context(), id, "truck-2"); code(err) != "client-not-found" {
		t.Errorf("the delivery to a client that is no recipient: %v", err)
	}
}

// A queue is canceled up to a message. The connection stays, later messages stay queued, and
// the answer says how many the device had got.
func TestCancelAQueueUpToAMessage(t *testing.T) {
	cfg := testConfig(t.TempDir())
	cfg.TCP.Window = 2
	s := &scene{T: t, clock: &stepClock{}, cfg: cfg}
	s.start()
	d := s.text("truck-1")
	var ids []string
	for _, text := range []string{"one", "two", "three", "four", "five"} {
		ids = append(ids, s.push("truck-1", text))
	}
	first := strings.Fields(d.hear())[1]
	d.hear()
	s.sent(ids[1])
	done, err := s.api.CancelQueue(t.Context(), "truck-1", ids[3])
	if err != nil || done.Canceled != 4 || done.UnderWay != 2 {
		t.Fatalf("%+v, %v; want 4 canceled, 2 of them under way", done, err)
	}
	if got := d.hear(); !strings.HasSuffix(got, " five\n") { // on the same connection
		t.Errorf("the device got %q, want five", got)
	}
	s.sent(ids[4])
	d.say("ACK " + first + "\n") // it has carried it out
	waitFor(t, func() bool { return s.code("/v1/messages/"+ids[0]+"/why") == string(why.LateAck) })
	if got := s.code("/v1/messages/" + ids[2] + "/why"); got != string(why.QueueCanceled) {
		t.Errorf("the third is %s", got)
	}

	d.say("BYE\n")
	s.offline("truck-1")
	s.push("truck-1", "six")
	if done, err := s.api.CancelQueue(t.Context(), "truck-1", ""); err != nil || done.Canceled != 2 || done.UnderWay != 1 {
		t.Errorf("everything, after the device went: %+v, %v; want 2 canceled, five under way", done, err)
	}
	if done, err := s.api.CancelQueue(t.Context(), "truck-1", ""); err != nil || done.Canceled != 0 || done.UnderWay != 0 {
		t.Errorf("an empty queue: %+v, %v", done, err)
	}
	other := s.push("truck-2", "x")
	if _, err := s.api.CancelQueue(t.Context(), "truck-1", other); code(err) != "message-not-found" {
		t.Errorf("up to another client's message: %v", err)
	}
	if _, err := s.api.CancelQueue(t.Context(), "stranger", ""); code(err) != "client-not-found" {
		t.Errorf("of a stranger: %v", err)
	}
}
