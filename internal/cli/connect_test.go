package cli

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	sdk "github.com/longwire/longwire/device"
	"github.com/longwire/longwire/protocol"
)

// screen is an output that can be waited on.
type screen struct {
	mu      sync.Mutex
	text    bytes.Buffer
	changed chan struct{}
}

func newScreen() *screen { return &screen{changed: make(chan struct{})} }

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.changed)
	s.changed = make(chan struct{})
	return s.text.Write(p)
}

func (s *screen) await(t *testing.T, pattern string) {
	t.Helper()
	re := regexp.MustCompile(pattern)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		s.mu.Lock()
		text, changed := s.text.String(), s.changed
		s.mu.Unlock()
		if re.MatchString(text) {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			t.Fatalf("no %q on the screen:\n%s", pattern, text)
		}
	}
}

// A person answers by hand: no to the second message, then yes to the oldest.
func TestAnswersByHand(t *testing.T) {
	p, err := startDevicePort()
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	keyboard, typing := io.Pipe()
	out, errs := newScreen(), newScreen()
	code := make(chan int)
	go func() {
		code <- Main(t.Context(), Program{In: keyboard, Out: out, Err: errs, Env: []string{}},
			[]string{"connect", "--addr", p.listener.Addr().String(), "--id", "hand", "--ack", "manual", "--limit", "2"})
	}()
	out.await(t, `received +2  bye`)
	io.WriteString(typing, "ack 77\nnak 2 too late\n")
	out.await(t, `refused +77  no such message`)
	out.await(t, `answered +2  reject`)
	io.WriteString(typing, "ack\n")
	if got := <-code; got != exitOK {
		t.Errorf("exit code %d, want %d", got, exitOK)
	}
	typing.Close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if log, ok := p.await(ctx, func(s string) bool {
		return strings.Contains(s, `ack 2 reject "too late"`) && strings.Contains(s, `ack 1 ok ""`)
	}); !ok {
		t.Errorf("the device port saw:\n%s", log)
	}
}

// One line too many bytes long does not end what is typed.
func TestALongLineDoesNotEndTheInput(t *testing.T) {
	p, err := startDevicePort()
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	in := strings.NewReader(strings.Repeat("x", maxPayload+1) + "\nafter\nlast")
	out, errs := newScreen(), newScreen()
	ctx, leave := context.WithCancel(t.Context())
	code := make(chan int)
	go func() {
		code <- Main(ctx, Program{In: in, Out: out, Err: errs, Env: []string{}},
			[]string{"connect", "--addr", p.listener.Addr().String(), "--id", "hand", "--ack", "never"})
	}()
	out.await(t, `sent +1  after`)
	out.await(t, `sent +2  last`)
	errs.await(t, `longer than 262144 bytes`)
	leave()
	<-code
}

func TestALineThatIsTooLongIsSkipped(t *testing.T) {
	const limit = 5000 // beyond the reader's buffer
	lines := func(text ...string) *bufio.Reader { return bufio.NewReader(strings.NewReader(strings.Join(text, ""))) }
	full := strings.Repeat("x", limit)
	for name, tc := range map[string]struct {
		in   *bufio.Reader
		want []string // of the lines, "long" for one that is skipped
	}{
		"short":       {lines("a\n\r\n", "b\r\n", "c"), []string{"a", "", "b", "c"}},
		"at the end":  {lines("a\n"), []string{"a", ""}},
		"at bound":    {lines(full, "\n", full, "\r\n", full), []string{full, full, full}},
		"beyond it":   {lines(full, "x\n", "a\n", full, "x\r\n", "b\n", full, "x"), []string{"long", "a", "long", "b", "long"}},
		"far beyond":  {lines(full, full, full, "\n", "a\n"), []string{"long", "a", ""}},
		"of no bytes": {lines(), []string{""}},
	} {
		var got []string
		var err error
		for err == nil {
			var line string
			var long bool
			if line, long, err = nextLine(tc.in, limit); long {
				line = "long"
			}
			got = append(got, line)
		}
		if !slices.Equal(got, tc.want) || err != io.EOF {
			t.Errorf("%s: read %.80q and %v, want %.80q", name, got, err, tc.want)
		}
	}
}

// A device that comes back answers questions as it has answered the messages.
func TestAskedAfterReconnect(t *testing.T) {
	p, err := startDevicePort()
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	out, errs := newScreen(), newScreen()
	code := make(chan int)
	go func() {
		code <- Main(ctx, Program{In: strings.NewReader(""), Out: out, Err: errs, Env: []string{}},
			[]string{"connect", "--addr", p.listener.Addr().String(), "--id", "cut-off", "--ack", "reject", "--result", "jammed"})
	}()
	if log, ok := p.await(ctx, func(s string) bool {
		_, after, asked := strings.Cut(s, "ask 1\nask 2\n")
		return asked && strings.Contains(after, `ack 1 reject "jammed"`) && strings.Contains(after, `ack 2 reject "jammed"`)
	}); !ok {
		t.Errorf("the device port saw:\n%s", log)
	}
	out.await(t, `asked +1  reject`)
	cancel()
	<-code
}

// A message that a person has not answered is one to be sent again when the device comes
// back.
func TestUnansweredMessagesAreAskedForAgain(t *testing.T) {
	p, err := startDevicePort()
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	keyboard, typing := io.Pipe()
	defer typing.Close()
	ctx, cancel := context.WithCancel(t.Context())
	out, errs := newScreen(), newScreen()
	code := make(chan int)
	go func() {
		code <- Main(ctx, Program{In: keyboard, Out: out, Err: errs, Env: []string{}},
			[]string{"connect", "--addr", p.listener.Addr().String(), "--id", "cut-off", "--ack", "manual"})
	}()
	out.await(t, `received +2  bye`)
	io.WriteString(typing, "ack 2\n")
	out.await(t, `asked +1  send\n(?s:.*)asked +2  ok`)
	cancel()
	<-code
}

// dialing returns a device that connects by dial.
func dialing(t *testing.T, id string, dial func(context.Context, string) (net.Conn, error)) *device {
	t.Helper()
	d, err := newDevice(deviceConfig{Config: sdk.Config{Dialect: protocol.V2, Dial: dial}, reconnect: true, report: func(deviceEvent) {}}, id)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// A gateway that accepts a device and loses it at once is not asked more often than one
// that does not answer, and not before the time that it has named.
func TestReconnectsGrowRarer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const named = time.Second
		dials, early := 0, 0
		var lost atomic.Int64 // when, in ns
		d := dialing(t, "hand", func(context.Context, string) (net.Conn, error) {
			if dials++; time.Since(time.Unix(0, lost.Load())) < named {
				early++
			}
			ours, theirs := net.Pipe()
			go func() {
				s, in, done := protocol.NewServer(&protocol.Config{}, time.Now()), make(chan []byte), make(chan struct{})
				defer close(done)
				go readInto(ours, in, done)
				s.Receive(time.Now(), <-in)
				s.Accept(time.Now(), protocol.Registered{Session: "ses_1"})
				s.Close(protocol.Close{Code: protocol.CloseShutdown, Reason: protocol.ReasonShutdown, RetryAfter: named})
				_, _ = ours.Write(s.AppendOutput(nil))
				lost.Store(time.Now().UnixNano())
				ours.Close()
			}()
			return theirs, nil
		})
		ctx, cancel := context.WithCancel(t.Context())
		go d.run(ctx)
		time.Sleep(5 * time.Minute)
		cancel()
		<-d.ended
		if dials < 10 || dials > 50 {
			t.Errorf("%d connections in 5 minutes, want some 20", dials)
		}
		if early > 0 {
			t.Errorf("%d of %d connections came within the named time", early, dials)
		}
	})
}

// A proxy that answers in another protocol for a while does not end the device, but a
// registration that cannot be sent does.
func TestComesBackAfterAFaultOfTheOtherEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dials := 0
		dial := func(context.Context, string) (net.Conn, error) {
			dials++
			ours, theirs := net.Pipe()
			go func() {
				defer ours.Close()
				_, _ = ours.Read(make([]byte, 1000))
				_, _ = io.WriteString(ours, "HTTP/1.1 503 Service Unavailable\r\n\r\n")
				_, _ = io.Copy(io.Discard, ours)
			}()
			return theirs, nil
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := dialing(t, "hand", dial).run(ctx); err != nil || dials < 3 {
			t.Errorf("%d connections in a minute, then %v; want some, and no error", dials, err)
		}
		if err := dialing(t, "no spaces", dial).run(t.Context()); err == nil {
			t.Error("a registration that cannot be sent was tried again")
		}
		time.Sleep(time.Second) // virtual: the goroutines of the server end
	})
}

func TestParseTyped(t *testing.T) {
	for _, tt := range []struct {
		line   string
		manual bool
		want   command
	}{
		{"hello", false, command{uplink: []byte("hello")}},
		{"ack 1", false, command{uplink: []byte("ack 1")}},
		{"hello", true, command{uplink: []byte("hello")}},
		{"ack", true, command{code: protocol.AckOK}},
		{"ack e7 all done", true, command{seq: "e7", code: protocol.AckOK, result: []byte("all done")}},
		{"nak 12", true, command{seq: "12", code: protocol.AckReject}},
		{"retry 3", true, command{seq: "3", code: protocol.AckRetry}},
	} {
		got := parseTyped(tt.line, tt.manual)
		if string(got.uplink) != string(tt.want.uplink) || got.seq != tt.want.seq || got.code != tt.want.code || string(got.result) != string(tt.want.result) {
			t.Errorf("parseTyped(%q, %v) = %+v, want %+v", tt.line, tt.manual, got, tt.want)
		}
	}
}
