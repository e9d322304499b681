package protocol

import (
	"strings"
	"testing"
	"time"
)

// observed keeps the frames that it is notified of, and their bytes.
type observed struct {
	frames  []Frame
	in, out strings.Builder
}

func (o *observed) Frame(f Frame) {
	if f.Out {
		o.out.Write(f.Bytes)
	} else {
		o.in.Write(f.Bytes)
	}
	f.Bytes = append([]byte(nil), f.Bytes...)
	o.frames = append(o.frames, f)
}

func (o *observed) types() string {
	var list []string
	for _, f := range o.frames {
		s := "<"
		if f.Out {
			s = ">"
		}
		list = append(list, s+f.Type.String())
	}
	return strings.Join(list, " ")
}

// The frames that the observer is notified of are the bytes on the wire, in both
// directions and in each dialect.
func TestTheObserverSeesTheBytesOfTheWire(t *testing.T) {
	for _, c := range []struct {
		dialect                           Dialect
		register, ack, uplink, ping, want string
	}{
		{V1, "\x01#a", "\x06#", "\x05#up", "\x03#", "<register >register_ack >data <ack <data >ack <heartbeat >heartbeat_ack"},
		{Text, "REGISTER a\n", "ACK 7 done\n", "DATA 1 up\n", "PING\n", "<register >register_ack >data <ack <data >ack <heartbeat >heartbeat_ack >close"},
		{V2, string(appendV2(nil, message{kind: typeRegister, register: &Register{ID: "a"}})), string(appendV2(nil, message{kind: typeAck, seq: 7})),
			string(appendV2(nil, message{kind: typeData, seq: 1, payload: []byte("up")})), string(appendV2(nil, message{kind: typeHeartbeat})),
			"<register >register_ack >data <ack <data >ack <heartbeat >heartbeat_ack >close"},
	} {
		t.Run(c.dialect.String(), func(t *testing.T) {
			o := &observed{}
			now := time.Now()
			s := NewServer(&Config{Frames: o}, now)
			var in, out strings.Builder
			drain := func() {
				for range 10 {
					now = now.Add(50 * time.Millisecond) // beyond the gap of v1
					s.Advance(now)
					b := s.AppendOutputAt(now, nil)
					out.Write(b)
					s.Flushed(now, len(b))
				}
			}
			send := func(p string) {
				in.WriteString(p)
				s.Receive(now, []byte(p))
				drain()
			}
			send(c.register)
			s.Accept(now, Registered{Session: "ses_1"})
			drain()
			payload := "down \x05# down" // looks like a start of v1
			if err := s.Send(now, Data{Seq: 7, Payload: []byte(payload)}); err != nil {
				t.Fatal(err)
			}
			drain()
			send(c.ack)
			send(c.uplink)
			if err := s.AckData(now, 1, AckOK, nil); err != nil {
				t.Fatal(err)
			}
			drain()
			send(c.ping)
			s.Close(Close{Code: CloseKicked})
			drain()
			if o.in.String() != in.String() || o.out.String() != out.String() {
				t.Errorf("in %q and out %q, want %q and %q", o.in.String(), o.out.String(), in.String(), out.String())
			}
			if o.types() != c.want {
				t.Errorf("%s, want %s", o.types(), c.want)
			}
			for i, f := range o.frames {
				if f.Client != "a" || f.Size != len(f.Bytes) || f.Dialect != c.dialect || f.At.IsZero() || f.Registered != (i > 0) {
					t.Errorf("%+v", f)
				}
				if f.Out && f.Type == FrameData && f.Seq != 7 {
					t.Errorf("the payload has the number %d, want 7", f.Seq)
				}
			}
		})
	}
}

func TestMask(t *testing.T) {
	v2 := func(body string) string { return string(appendBody(nil, typeRegister, []byte(body))) }
	for _, c := range []struct {
		dialect  Dialect
		in, want string
	}{
		{V1, "\x01#truck", "\x01#truck"},
		{V1, "\x01#truck s3cret\r\n", "\x01#truck ********"},
		{Text, "REGISTER truck\n", "REGISTER truck\n"},
		{Text, "register truck s3cret heartbeat=5s\r\n", "register truck ****** heartbeat=5s\r\n"},
		{Text, "REGISTER truck - heartbeat=5s\n", "REGISTER truck - heartbeat=5s\n"},
		{Text, "REGISTER truck\u2003s3cret\n", "REGISTER truck\u2003******\n"},
		{V2, v2(`{"id":"truck"}`), v2(`{"id":"truck"}`)},
		{V2, v2(`{"token" : "s3cret","id":"truck"}`), v2(`{"token" : "******","id":"truck"}`)},
		{V2, v2(`{"tok\u0065n":"s3\u0063ret","labels":{"token":"x"},"id":"truck"}`), v2(`{"tok\u0065n":"***********","labels":{"token":"x"},"id":"truck"}`)},
		{V2, v2(`{"id":"truck","token":"a\"b"}`), v2(`{"id":"truck","token":"****"}`)},
		{V2, v2(`{"id":"truck","token":null}`), v2(`{"id":"truck","token":****}`)},
	} {
		before := strings.Clone(c.in)
		if got := string(Mask(c.dialect, []byte(c.in))); got != c.want {
			t.Errorf("%v %q is %q, want %q", c.dialect, c.in, got, c.want)
		}
		if c.in != before {
			t.Errorf("%q was changed", before)
		}
	}
}

// Input that is no frame may have a credential anywhere. Its bytes are left out before
// a registration, and when it may be one.
func TestTheObserverDoesNotSeeWhatMayBeACredential(t *testing.T) {
	o := &observed{}
	now := time.Now()
	s := NewServer(&Config{Frames: o}, now)
	s.Receive(now, []byte("REGISTER truck s3cret and more\nnonsense s3cret\n"))
	if len(o.frames) != 0 {
		t.Errorf("%+v, want none without a client", o.frames)
	}
	s.Receive(now, []byte("REGISTER truck\n"))
	s.Accept(now, Registered{Session: "ses_1"})
	s.Receive(now, []byte(" register truck s3cret\nnonsense\n"))
	if got, want := o.types(), "<register <malformed <malformed"; got != want {
		t.Fatalf("%s, want %s", got, want)
	}
	if f := o.frames[1]; len(f.Bytes) != 0 || f.Size != 23 || f.Reason == "" {
		t.Errorf("%+v, want the size and the reason alone", f)
	}
	if f := o.frames[2]; string(f.Bytes) != "nonsense\n" || f.Reason != ReasonUnknownCommand {
		t.Errorf("%+v, want the line and the reason", f)
	}
}
