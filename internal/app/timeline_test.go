package app

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/longwire/longwire/client"
	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/config"
)

// wiretap is a device of the tests' own: it writes bytes and keeps all that comes.
type wiretap struct {
	t     *testing.T
	conn  net.Conn
	local string // address and port, as the gateway sees them

	mu   sync.Mutex
	cond sync.Cond
	in   []byte // received
	read int    // of in, by want
	out  []byte // sent
	end  bool
}

func tap(t *testing.T, a *App) *wiretap {
	t.Helper()
	c, err := net.Dial("tcp", a.TCPAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	w := &wiretap{t: t, conn: c, local: c.LocalAddr().String()}
	w.cond.L = &w.mu
	t.Cleanup(func() { c.Close() })
	go func() {
		buf := make([]byte, 4096)
		for {
			n, err := c.Read(buf)
			w.mu.Lock()
			w.in = append(w.in, buf[:n]...)
			w.end = err != nil
			w.cond.Broadcast()
			w.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	return w
}

func (w *wiretap) send(p string) {
	w.t.Helper()
	w.mu.Lock()
	w.out = append(w.out, p...)
	w.mu.Unlock()
	if _, err := io.WriteString(w.conn, p); err != nil {
		w.t.Fatal(err)
	}
}

// want waits for part behind what was wanted before.
func (w *wiretap) want(part string) {
	w.t.Helper()
	stop := time.AfterFunc(20*time.Second, func() { w.conn.Close() })
	defer stop.Stop()
	w.mu.Lock()
	defer w.mu.Unlock()
	for {
		if i := bytes.Index(w.in[w.read:], []byte(part)); i >= 0 {
			w.read += i + len(part)
			return
		}
		if w.end {
			w.t.Fatalf("the connection ended without %q; received %q", part, w.in[w.read:])
		}
		w.cond.Wait()
	}
}

// closed waits for the end of the connection.
func (w *wiretap) closed() {
	w.t.Helper()
	stop := time.AfterFunc(20*time.Second, func() { w.t.Error("the connection stays open"); w.conn.Close() })
	defer stop.Stop()
	w.mu.Lock()
	defer w.mu.Unlock()
	for !w.end {
		w.cond.Wait()
	}
}

// speech is a dialect as the device of the test speaks it.
type speech struct {
	name       string
	register   func(id string, ask uint64, log string) string
	registered string
	uplink     func(n uint64, payload string) string
	uplinkAck  func(n uint64) string
	data       func(seq uint64, payload string, dup bool) string // "" of a dialect without numbers has the payload alone
	ack        func(seq uint64) string
	retry      func(seq uint64) string // nil if the dialect has none
	ask        func(seq uint64) string // likewise
	send       func(seq uint64) string // the answer to an ASK: not handled
	ping, pong string
	bye        string
	replaced   string // a part of the goodbye of a replaced connection
	split      func(b []byte) (first []byte, kind string)
}

func v2Frame(typ, flags byte, body ...[]byte) string {
	all := bytes.Join(body, nil)
	return string(append(binary.AppendUvarint([]byte{typ, 2 | flags}, uint64(len(all))), all...))
}

func number(n uint64) []byte { return binary.AppendUvarint(nil, n) }

// kindsOf names the frames of the binary dialects.
var kindsOf = map[byte]string{1: "register", 2: "register_ack", 3: "heartbeat", 4: "heartbeat_ack", 5: "data", 6: "ack", 7: "close"}

var speeches = []speech{{
	name:       "v1",
	register:   func(id string, _ uint64, _ string) string { return "\x01#" + id },
	registered: "\x02#ok",
	uplink:     func(_ uint64, payload string) string { return "\x05#" + payload },
	uplinkAck:  func(uint64) string { return "\x06#" },
	data:       func(_ uint64, payload string, _ bool) string { return "\x05#" + payload },
	ack:        func(uint64) string { return "\x06#" },
	ping:       "\x03#", pong: "\x04#h",
	split: func(b []byte) ([]byte, string) {
		for i := 1; i+1 < len(b); i++ {
			if b[i] <= 7 && b[i+1] == '#' {
				return b[:i], kindsOf[b[0]]
			}
		}
		return b, kindsOf[b[0]]
	},
}, {
	name:       "text",
	register:   func(id string, _ uint64, _ string) string { return "REGISTER " + id + "\n" },
	registered: "REGISTERED ",
	uplink:     func(n uint64, payload string) string { return fmt.Sprintf("DATA %d %s\n", n, payload) },
	uplinkAck:  func(n uint64) string { return fmt.Sprintf("ACK %d\n", n) },
	data:       func(seq uint64, payload string, _ bool) string { return fmt.Sprintf("DATA %d %s\n", seq, payload) },
	ack:        func(seq uint64) string { return fmt.Sprintf("ACK %d done\n", seq) },
	retry:      func(seq uint64) string { return fmt.Sprintf("RETRY %d busy\n", seq) },
	ping:       "PING\n", pong: "PONG\n", bye: "BYE\n", replaced: "CLOSE 3001 ",
	split: func(b []byte) ([]byte, string) {
		i := bytes.IndexByte(b, '\n') + 1
		verb, _, _ := strings.Cut(strings.TrimSpace(string(b[:i])), " ")
		return b[:i], map[string]string{"REGISTER": "register", "REGISTERED": "register_ack", "PING": "heartbeat", "PONG": "heartbeat_ack",
			"DATA": "data", "ACK": "ack", "RETRY": "ack", "BYE": "close", "CLOSE": "close"}[verb]
	},
}, {
	name: "v2",
	register: func(id string, ask uint64, log string) string {
		body := fmt.Sprintf(`{"id":%q,"token":"top\u0053ecret","labels":{"token":"a label"},"ask_through":%d,"log":%q}`, id, ask, log)
		return v2Frame(1, 0, []byte(body))
	},
	registered: `"ask":true`,
	uplink:     func(n uint64, payload string) string { return v2Frame(5, 0, number(n), []byte(payload)) },
	uplinkAck:  func(n uint64) string { return v2Frame(6, 0, number(n), []byte{0}) },
	data: func(seq uint64, payload string, dup bool) string {
		if dup {
			return v2Frame(5, 0x10, number(seq), []byte(payload))
		}
		return v2Frame(5, 0, number(seq), []byte(payload))
	},
	ack:   func(seq uint64) string { return v2Frame(6, 0, number(seq), []byte{0}, []byte("done")) },
	retry: func(seq uint64) string { return v2Frame(6, 0, number(seq), []byte{2}) },
	ask:   func(seq uint64) string { return v2Frame(5, 0x50, number(seq)) },
	send:  func(seq uint64) string { return v2Frame(6, 0, number(seq), []byte{3}) },
	ping:  v2Frame(3, 0), pong: v2Frame(4, 0), bye: v2Frame(7, 0, []byte{0, 0, 0, 0, 0, 0}), replaced: "replaced",
	split: func(b []byte) ([]byte, string) {
		n, ln := binary.Uvarint(b[2:])
		end := 2 + ln + int(n)
		if b[0] == 5 && b[1]&0x40 != 0 {
			return b[:end], "ask"
		}
		return b[:end], kindsOf[b[0]]
	},
}}

// seen waits until the timeline has an entry.
func seen(t *testing.T, api *client.Client, id, what string, is func(*client.TimelineEntry) bool) *client.Timeline {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		tl, err := api.Timeline(t.Context(), id, client.TimelineQuery{Limit: 1000})
		if err != nil {
			t.Fatal(err)
		}
		for i := range tl.Items {
			if is(&tl.Items[i]) {
				return tl
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("no entry %s in %+v", what, tl.Items)
		}
	}
}

// talk makes a device of a dialect connect again and again: it leaves a payload
// unanswered, vanishes with one in flight, is replaced, wants one later, is asked, and
// sends one. It returns the device's connections and the messages.
func talk(t *testing.T, a *App, api *client.Client, id string, d *speech) (taps []*wiretap, messages []string) {
	t.Helper()
	log := ""
	var seq uint64
	on := func() *wiretap {
		w := tap(t, a)
		taps = append(taps, w)
		w.send(d.register(id, seq, log))
		w.want(d.registered)
		w.mu.Lock()
		defer w.mu.Unlock()
		if i := bytes.Index(w.in, []byte(`"log":"`)); i >= 0 {
			log, _, _ = strings.Cut(string(w.in[i+7:]), `"`)
		}
		return w
	}
	push := func(w *wiretap, payload string) {
		t.Helper()
		m, err := api.Push(t.Context(), id, client.Push{Payload: client.Text(payload)})
		if err != nil {
			t.Fatal(err)
		}
		messages = append(messages, m.ID)
		tl := seen(t, api, id, "queued", func(e *client.TimelineEntry) bool { return e.State == "queued" && e.Message == m.ID })
		for _, e := range tl.Items {
			if e.Message == m.ID {
				fmt.Sscan(e.Number, &seq)
			}
		}
		w.want(d.data(seq, payload, false))
	}
	w := on()
	w.send(d.uplink(1, "from the device"))
	w.want(d.uplinkAck(1))
	w.send(d.ping)
	w.want(d.pong)
	push(w, "unanswered") // and so sent again
	w.want(d.data(seq, "unanswered", true))
	w.send(d.ack(seq))
	acked(t, api, id, messages[0])
	push(w, "in flight")
	w.conn.Close()
	w.closed()

	w = on()
	if d.ask != nil {
		w.want(d.ask(seq))
		w.send(d.send(seq))
	}
	w.want(d.data(seq, "in flight", true))
	w.send(d.ack(seq))
	acked(t, api, id, messages[1])

	old := w
	w = on() // takes over
	old.want(d.replaced)
	old.closed()
	if d.retry != nil {
		push(w, "later")
		w.send(d.retry(seq))
		w.want(d.data(seq, "later", true))
		w.send(d.ack(seq))
		acked(t, api, id, messages[2])
	}
	if d.bye != "" {
		w.send(d.bye)
	} else {
		w.conn.(*net.TCPConn).CloseWrite()
	}
	w.closed()
	return taps, messages
}

func acked(t *testing.T, api *client.Client, id, message string) {
	t.Helper()
	seen(t, api, id, "acked", func(e *client.TimelineEntry) bool { return e.State == "acked" && e.Message == message })
}

func timelineApp(t *testing.T, change ...func(*config.Config)) (*App, *client.Client) {
	cfg := testConfig(t.TempDir())
	cfg.Data.Engine = config.EngineMemory
	cfg.TCP.AckTimeout, cfg.TCP.V1AckTimeout = config.Duration(400*time.Millisecond), config.Duration(400*time.Millisecond)
	cfg.TCP.V1Gap = config.Duration(10 * time.Millisecond)
	for _, c := range change {
		c(cfg)
	}
	a := start(t, cfg)
	return a, backend(t, a)
}

// A trace has every byte that the device has sent and received, on each of its
// connections, but for its credential.
func TestATraceIsWhatTheDeviceSaw(t *testing.T) {
	t.Parallel()
	for _, d := range speeches {
		t.Run(d.name, func(t *testing.T) {
			a, api := timelineApp(t)
			first := tap(t, a)
			first.send(d.register("truck", 0, ""))
			first.want(d.registered)
			first.conn.Close()
			if _, err := api.StartTrace(t.Context(), "truck", time.Hour); err != nil {
				t.Fatal(err)
			}
			taps, _ := talk(t, a, api, "truck", &d)
			last := taps[len(taps)-1]
			remotes := map[time.Time]string{} // by connection
			tl := seen(t, api, "truck", "the last close", func(e *client.TimelineEntry) bool {
				if e.What == "connected" {
					remotes[e.Connection] = e.RemoteAddr
				}
				return e.What == "closed" && remotes[e.Connection] == last.local
			})
			got := map[string][]byte{} // by address and direction
			frames := map[string]int{}
			for _, e := range tl.Items {
				if e.What != "frame" {
					continue
				}
				raw := e.Raw()
				if len(raw) != e.Bytes {
					t.Errorf("a frame of %d bytes has %d of them: %+v", e.Bytes, len(raw), e)
				}
				if first, kind := d.split(raw); len(first) != len(raw) || kind != e.Frame {
					t.Errorf("%q is one frame %s, the trace calls it %s", raw, kind, e.Frame)
				}
				got[remotes[e.Connection]+e.Direction] = append(got[remotes[e.Connection]+e.Direction], raw...)
				frames[e.Direction+" "+e.Frame]++
			}
			for i, w := range taps {
				sent := strings.ReplaceAll(string(w.out), `top\u0053ecret`, strings.Repeat("*", len(`top\u0053ecret`)))
				if in := string(got[w.local+"in"]); in != sent {
					t.Errorf("connection %d sent %q, the trace has %q", i, sent, in)
				}
				// The gateway may still have handed frames to a connection that the device has cut.
				if out := got[w.local+"out"]; !bytes.HasPrefix(out, w.in) || i > 0 && len(out) != len(w.in) {
					t.Errorf("connection %d received %q, the trace has %q", i, w.in, out)
				}
			}
			t.Log(frames)
		})
	}
}

// Without a trace the timeline has the type and the size of each frame, and heartbeats
// and registrations in other entries.
func TestATimelineIsWhatTheDeviceSaw(t *testing.T) {
	t.Parallel()
	for _, d := range speeches {
		t.Run(d.name, func(t *testing.T) {
			a, api := timelineApp(t)
			taps, messages := talk(t, a, api, "truck", &d)
			closes := 0
			tl := seen(t, api, "truck", "the last close", func(e *client.TimelineEntry) bool {
				if e.What == "closed" {
					closes++
				}
				return closes == len(taps) || e.ID == "" // counts anew for each look
			})
			remotes := map[time.Time]string{} // by connection
			for _, e := range tl.Items {
				if e.What == "closed" {
					remotes[e.Connection] = e.RemoteAddr
				}
			}
			got := map[string][]string{} // by address and direction
			states := map[string][]string{}
			for _, e := range tl.Items {
				switch {
				case e.What == "frame":
					at := remotes[e.Connection] + e.Direction
					got[at] = append(got[at], fmt.Sprint(e.Frame, e.Bytes))
					if e.Raw() != nil {
						t.Errorf("bytes without a trace: %+v", e)
					}
				case e.What == "delivery":
					states[e.Message] = append(states[e.Message], e.State)
				}
			}
			for i, w := range taps {
				for direction, b := range map[string][]byte{"in": w.out, "out": w.in} {
					var want []string
					for len(b) > 0 {
						frame, kind := d.split(b)
						b = b[len(frame):]
						if !slices.Contains([]string{"register", "register_ack", "heartbeat", "heartbeat_ack"}, kind) {
							want = append(want, fmt.Sprint(kind, len(frame)))
						}
					}
					has := got[w.local+direction]
					if i == 0 && direction == "out" && len(has) > len(want) {
						has = has[:len(want)] // handed to a connection that the device had cut
					}
					if !slices.Equal(has, want) {
						t.Errorf("of connection %d %s the timeline has the frames\n%q\nthe device saw\n%q", i, direction, has, want)
					}
				}
			}
			for i, path := range [][]string{{"queued", "sent", "unanswered", "sent", "acked"}, {"queued", "sent", "sent", "acked"}, {"queued", "sent", "retry_later", "sent", "acked"}} {
				if i < len(messages) && !inOrder(states[messages[i]], path) {
					t.Errorf("message %d went %v, want %v in this order", i, states[messages[i]], path)
				}
			}
			of, err := api.Timeline(t.Context(), "truck", client.TimelineQuery{Message: messages[1]})
			if err != nil {
				t.Fatal(err)
			}
			data, acks := 0, 0
			for _, e := range of.Items {
				if e.Message != messages[1] {
					t.Errorf("an entry of another message: %+v", e)
				}
				if e.Frame == "data" {
					data++
				}
				if e.Frame == "ack" {
					acks++
				}
			}
			if data < 2 || acks < 1 {
				t.Errorf("the message has %d payloads and %d acks, want two transmissions and an answer: %+v", data, acks, of.Items)
			}
		})
	}
}

// inOrder reports whether all has the words of want in their order.
func inOrder(all, want []string) bool {
	for _, w := range all {
		if len(want) > 0 && w == want[0] {
			want = want[1:]
		}
	}
	return len(want) == 0
}

// An idle client has no line in memory: its record shows its connection, and later the
// event log. The first payload begins one, with heartbeats as counts, and the end by a
// missed one.
func TestTimelineOfADevice(t *testing.T) {
	t.Parallel()
	a, api := timelineApp(t, func(c *config.Config) { c.TCP.Grace = config.Duration(300 * time.Millisecond) })
	w := tap(t, a)
	w.send("REGISTER idle - heartbeat=1s\n")
	w.want("REGISTERED ")
	for range 3 {
		w.send("PING\n")
		w.want("PONG\n")
	}
	w.want("PING\n") // the gateway's
	w.send("PONG\n")
	w.send("PING\n")
	w.want("PONG\n")
	if st := a.timeline.Stats(); st.Lines != 0 || st.Bytes != 0 {
		t.Errorf("an idle client takes %+v, want nothing", st)
	}
	tl, err := api.Timeline(t.Context(), "idle", client.TimelineQuery{})
	if err != nil {
		t.Fatal(err)
	}
	if len(tl.Items) != 1 || tl.Items[0].What != "connected" || tl.Items[0].Source != "record" || tl.Items[0].RemoteAddr != w.local || tl.Items[0].Transport != "tcp" || tl.Items[0].Dialect != "text" {
		t.Errorf("%+v, want its connection, of its record", tl.Items)
	}
	w.send("DATA 1 hot\n")
	w.want("ACK 1\n")
	for range 3 {
		w.send("PING\n")
		w.want("PONG\n")
	}
	w.want("PING\n") // and no answer any more
	w.closed()
	tl = seen(t, api, "idle", "the close", func(e *client.TimelineEntry) bool { return e.What == "closed" })
	var got []string
	for _, e := range tl.Items {
		got = append(got, strings.TrimSpace(e.What+" "+e.Direction+e.Frame))
		switch e.What {
		case "heartbeats":
			if e.Count != 3 {
				t.Errorf("%d heartbeats, want 3", e.Count)
			}
		case "closed":
			if e.Reason != "heartbeat_timeout" || e.By != "gateway" || e.RemoteAddr != w.local || e.Dialect != "text" || e.Transport != "tcp" {
				t.Errorf("%+v, want the gateway to have closed it, and the connection", e)
			}
		}
	}
	want := []string{"connected", "frame indata", "frame outack", "heartbeats", "heartbeat_missed", "frame outclose", "closed"}
	slices.Sort(got[min(4, len(got)):]) // the CLOSE leaves beside the event
	slices.Sort(want[4:])
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// The refusals of a known client are in its timeline, also while another connection of
// it lives. A stranger has no line.
func TestTimelineOfARefusedDevice(t *testing.T) {
	a, api := timelineApp(t, func(c *config.Config) { c.Auth.DeviceToken = "the-right-token" })
	w := tap(t, a)
	w.send("REGISTER truck the-right-token\n")
	w.want("REGISTERED ")
	try := func(id string) {
		t.Helper()
		w := tap(t, a)
		w.send("REGISTER " + id + " a-wrong-token\n")
		w.want("CLOSE 3501 ")
		w.closed()
	}
	for range 3 {
		try("truck")
		try("stranger")
	}
	tl := seen(t, api, "truck", "the refusals", func(e *client.TimelineEntry) bool { return e.What == "refused" && e.Count == 3 })
	e := tl.Items[len(tl.Items)-1]
	if e.Reason != "unauthorized" || e.Source != "memory" || e.Dialect != "text" || e.Until.Before(e.At) || !strings.HasPrefix(e.RemoteAddr, "127.0.0.1:") {
		t.Errorf("%+v, want three refusals with the address of the last", e)
	}
	if st := a.timeline.Stats(); st.Lines != 1 {
		t.Errorf("%+v, want the line of the known client alone", st)
	}
	tl = seen(t, api, "stranger", "the refusals", func(e *client.TimelineEntry) bool { return e.What == "refused" && e.Count == 3 })
	if len(tl.Items) != 1 || tl.Items[0].Source != "record" {
		t.Errorf("%+v, want one entry of the list of refused devices", tl.Items)
	}
	if _, err := api.StartTrace(t.Context(), "truck", time.Minute); err != nil {
		t.Fatal(err)
	}
	try("truck")
	tl = seen(t, api, "truck", "a traced refusal", func(e *client.TimelineEntry) bool { return e.What == "frame" && e.Frame == "close" })
	for _, e := range tl.Items {
		if e.Frame == "register" && e.Text != "REGISTER truck *************\n" {
			t.Errorf("the trace has %q", e.Text)
		}
	}
	if _, err := api.Timeline(t.Context(), "nobody", client.TimelineQuery{}); err == nil {
		t.Error("an id that nothing is known of has a timeline")
	}
}

// The stream has what the list has, in its order, while a device talks.
func TestATimelineIsFollowedWhileADeviceTalks(t *testing.T) {
	t.Parallel()
	a, api := timelineApp(t)
	d := &speeches[2]
	first := tap(t, a)
	first.send(d.register("truck", 0, ""))
	first.want(d.registered)
	first.conn.Close()
	var followed []string
	var read atomic.Int32 // len(followed)
	ready, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for e, err := range api.FollowTimeline(t.Context(), "truck", client.TimelineQuery{}) {
			if err != nil {
				return // the client was forgotten
			}
			if e.Source == "record" {
				close(ready)
				continue
			}
			followed = append(followed, e.ID+e.What+e.Frame+e.State)
			read.Store(int32(len(followed)))
		}
	}()
	<-ready
	taps, _ := talk(t, a, api, "truck", d)
	remotes := map[time.Time]string{}
	tl := seen(t, api, "truck", "the last close", func(e *client.TimelineEntry) bool {
		if e.What == "connected" {
			remotes[e.Connection] = e.RemoteAddr
		}
		return e.What == "closed" && remotes[e.Connection] == taps[len(taps)-1].local
	})
	var want []string
	for _, e := range tl.Items {
		if e.Source == "memory" {
			want = append(want, e.ID+e.What+e.Frame+e.State)
		}
	}
	waitFor(t, func() bool { return int(read.Load()) >= len(want) })
	if err := api.Forget(t.Context(), "truck"); err != nil { // ends the stream
		t.Fatal(err)
	}
	<-done
	if !slices.Equal(followed, want) {
		t.Errorf("the stream has\n%q\nthe list has\n%q", followed, want)
	}
}

// Without timelines no part has an observer, so the default path is as it was.
func TestTimelinesThatAreOffHaveNoObserver(t *testing.T) {
	a, api := timelineApp(t, func(c *config.Config) { c.Events.Timeline = false })
	if c := a.tcpConfig(); a.timeline != nil || c.Protocol.Frames != nil || c.Observer != nil || a.gatewayConfig().Steps != nil || a.timelineStats() != nil {
		t.Error("a part has an observer")
	}
	w := tap(t, a)
	w.send("REGISTER truck\n")
	w.want("REGISTERED ")
	_, err := api.Timeline(t.Context(), "truck", client.TimelineQuery{})
	wantProblem(t, err, 409, client.CodeTimelineOff)
	_, err = api.StartTrace(t.Context(), "truck", time.Minute)
	wantProblem(t, err, 409, client.CodeTimelineOff)
}

// lines returns what entries say, and checks that they are in order.
func lines(t *testing.T, items []client.TimelineEntry) (all []string) {
	t.Helper()
	for i, e := range items {
		if i > 0 && e.At.Before(items[i-1].At) {
			t.Errorf("entry %d %+v is older than the one before", i, e)
		}
		all = append(all, strings.Join(strings.Fields(strings.Join([]string{e.Source, e.What, e.State, e.Reason, e.Text}, " ")), " "))
	}
	return all
}

// pagesOf reads a whole timeline in pages.
func pagesOf(t *testing.T, api *client.Client, id string, q client.TimelineQuery) (items []client.TimelineEntry) {
	t.Helper()
	for {
		tl, err := api.Timeline(t.Context(), id, q)
		if err != nil {
			t.Fatal(err)
		}
		items = append(tl.Items, items...)
		if q.Before = tl.Before; q.Before == "" {
			return items
		}
	}
}

// After a restart the event log has what the memory of the process before it had, but for
// frames. What is in memory is not shown twice.
func TestATimelineAfterARestart(t *testing.T) {
	t.Parallel()
	s := &scene{T: t, clock: &stepClock{}, cfg: testConfig(t.TempDir())}
	s.start()
	waiting := s.push("truck", "waits")
	other := s.text("bus")
	d := s.text("truck")
	d.say("ACK " + strings.Fields(d.hear())[1] + " done\n")
	acked(t, s.api, "truck", waiting)
	d.say("DATA 1 21.5\n")
	d.hear()
	other.say("DATA 1 of another\n")
	other.hear()
	d.say("BYE\n")
	s.offline("truck")
	waitFor(t, func() bool { // the event has the time at which it is stored
		p, err := s.app.gw.ClientEvents(gateway.ClientEventQuery{Client: "truck", Limit: 1, Scan: 10})
		return err == nil && len(p.Items) == 1 && p.Items[0].Type == gateway.EventClientDisconnected
	})
	s.clock.Step(time.Hour)
	before := s.app.now().Add(-time.Minute)
	s.text("truck")

	started := s.app.now()
	s.restart()
	past := []string{"log delivery queued", "log connected", "log delivery acked", "log uplink 21.5", "log closed client_closed", "log connected"}
	tl, err := s.api.Timeline(t.Context(), "truck", client.TimelineQuery{})
	if err != nil {
		t.Fatal(err)
	}
	want := append(slices.Clone(past), "log closed shutdown")
	if got := lines(t, tl.Items); !slices.Equal(got, want) || !tl.MemoryFrom.IsZero() || tl.Before != "" {
		t.Fatalf("after the restart %q, want %q; %+v", got, want, tl)
	}
	if tl.KeptSince.Before(started.Truncate(time.Microsecond)) || tl.KeptSince.After(s.app.now()) {
		t.Errorf("kept since %v, want the start after %v", tl.KeptSince, started)
	}
	if e := tl.Items[1]; e.RemoteAddr == "" || e.Session == "" || e.Dialect != "text" {
		t.Errorf("the connection is %+v", e)
	}
	if e := tl.Items[3]; e.Number != "1" || e.Bytes != 4 || e.Uplink == 0 {
		t.Errorf("the uplink is %+v", e)
	}

	d = s.text("truck")
	d.say("DATA 2 22.0\n")
	d.hear()
	tl = seen(t, s.api, "truck", "the new payload", func(e *client.TimelineEntry) bool { return e.Source == "memory" && e.Number == "2" })
	want = append(slices.Clone(past), "log closed shutdown", "record connected", "memory frame", "memory frame")
	if got := lines(t, tl.Items); !slices.Equal(got, want) || tl.MemoryFrom.IsZero() {
		t.Errorf("with new entries %q, want %q; in memory from %v", got, want, tl.MemoryFrom)
	}
	if got := lines(t, pagesOf(t, s.api, "truck", client.TimelineQuery{Limit: 3})); !slices.Equal(got, want) {
		t.Errorf("in pages of three %q, want %q", got, want)
	}
	if got := lines(t, pagesOf(t, s.api, "truck", client.TimelineQuery{Message: waiting})); !slices.Equal(got, []string{"log delivery queued", "log delivery acked"}) {
		t.Errorf("of the message: %q", got)
	}
	if got := lines(t, pagesOf(t, s.api, "truck", client.TimelineQuery{Until: before, Limit: 2})); !slices.Equal(got, past[:5]) {
		t.Errorf("until the hour: %q, want %q", got, past[:5])
	}
	if got := lines(t, pagesOf(t, s.api, "truck", client.TimelineQuery{Since: before})); !slices.Equal(got, want[5:]) {
		t.Errorf("since the hour: %q, want %q", got, want[5:])
	}
}

// A device has more entries than the memory keeps, over many connections: each final state,
// connection and close is there once.
func TestATimelineHasNothingTwice(t *testing.T) {
	a, api := timelineApp(t)
	var sessions, messages int
	for range 20 {
		d := wantAnswer(t, a, nil, "REGISTERED", "truck")
		sessions++
		for range 4 {
			m, err := api.Push(t.Context(), "truck", client.Push{Payload: client.Text("open")})
			if err != nil {
				t.Fatal(err)
			}
			d.say("ACK " + strings.Fields(d.hear())[1] + " done\n")
			acked(t, api, "truck", m.ID)
			messages++
		}
		d.say("BYE\n")
		waitFor(t, func() bool { c, err := api.Client(t.Context(), "truck"); return err == nil && !c.Online })
	}
	for _, limit := range []int{1000, 7} {
		seen := map[string]int{}
		for _, e := range pagesOf(t, api, "truck", client.TimelineQuery{Limit: limit}) {
			switch {
			case e.What == "connected":
				seen[e.Session]++
			case e.State == "acked":
				seen[e.Message]++
			case e.What == "closed":
				seen["closed"]++
			}
		}
		if seen["closed"] != sessions || len(seen) != 1+sessions+messages {
			t.Errorf("with pages of %d: %d closes and %d connections and acks, want %d and %d", limit, seen["closed"], len(seen)-1, sessions, sessions+messages)
		}
		for what, n := range seen {
			if n != 1 && what != "closed" {
				t.Errorf("with pages of %d: %s is there %d times", limit, what, n)
			}
		}
	}
}
