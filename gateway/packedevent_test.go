package gateway

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"
)

const (
	aSession = SessionID("ses_01890a5d-ac96-774b-bcce-b302099a8057")
	aMessage = MessageID("msg_01890a5d-ac96-774b-bcce-b302099a8058")
)

func TestIDsAreReadBackAsWritten(t *testing.T) {
	u, ok := parseUID(string(aMessage), messageKind)
	if !ok || u.text(messageKind) != string(aMessage) {
		t.Errorf("%s becomes %x and %s", aMessage, u, u.text(messageKind))
	}
	good := string(aMessage)
	for _, bad := range []string{"", "msg_", good[1:], good + "0", strings.ToUpper(good), "ses_" + good[4:], strings.Replace(good, "-", "0", 1),
		strings.Replace(good, "0", "g", 1), good[:20] + "-" + good[21:], good[:13] + "0" + good[14:]} {
		if u, ok := parseUID(bad, messageKind); ok && u.text(messageKind) != bad {
			t.Errorf("%q is taken for %s", bad, u.text(messageKind))
		}
	}
}

// Whatever an event has comes back out of its packed form: each member alone, with
// values that have a place in it and with values that have none.
func TestEveryMemberOfAnEventIsKept(t *testing.T) {
	values := []Event{
		{Type: EventMessageAcked, At: time.Unix(1_700_000_000, 123), Client: "a", Session: aSession, Reason: ReasonKicked, Dialect: "v2",
			Remote: "192.0.2.7:40000", Uplink: &Uplink{Payload: []byte("x")}, Message: aMessage, State: Acked, Attempts: 255,
			Result: []byte("done"), Counts: &Counts{Total: 3}},
		{Type: "another", At: time.Unix(1, 0), Client: "b", Session: "ses_1", Reason: "another", Dialect: "another",
			Remote: "[2001:db8::1]:1", Uplink: &Uplink{}, Message: "msg_1", State: Failed, Attempts: 256,
			Result: []byte{0}, Counts: &Counts{}},
	}
	check := func(e Event) {
		t.Helper()
		e.Seq = 7
		r := packEvent(&e, netip.AddrPort{})
		if e.Remote != "" {
			r = packEvent(&e, netip.MustParseAddrPort(e.Remote))
		}
		if d := cmp.Diff(e, r.event(7)); d != "" {
			t.Errorf("want -, got +:\n%s", d)
		}
	}
	check(Event{})
	for i := range reflect.TypeFor[Event]().NumField() {
		if f := reflect.TypeFor[Event]().Field(i); f.Name != "Seq" && reflect.ValueOf(values[0]).Field(i).IsZero() {
			t.Errorf("the first value has no %s, so this test does not cover it", f.Name)
		}
	}
	for _, v := range values {
		check(v)
		for i := range reflect.TypeFor[Event]().NumField() {
			var one Event
			reflect.ValueOf(&one).Elem().Field(i).Set(reflect.ValueOf(v).Field(i))
			check(one)
		}
	}
	for _, remote := range []string{"[fe80::1%eth0]:9", "[::ffff:192.0.2.7]:1"} {
		check(Event{Type: EventClientConnected, Remote: remote})
	}
}

// Frequent events need no memory besides their record.
func TestUsualEventsAreTheirRecords(t *testing.T) {
	for _, e := range []Event{
		{Type: EventClientConnected, At: time.Now(), Client: "a", Session: aSession, Dialect: "v2"},
		{Type: EventClientDisconnected, At: time.Now(), Client: "a", Session: aSession, Reason: ReasonHeartbeatTimeout},
		{Type: EventMessageAcked, At: time.Now(), Client: "a", Session: aSession, Message: aMessage, State: Acked, Attempts: 1},
		{Type: EventMessageExpired, At: time.Now(), Client: "a", Message: aMessage, State: Expired, Attempts: 3, Result: []byte{}},
	} {
		remote := netip.AddrPort{}
		if e.Type == EventClientConnected {
			remote = netip.MustParseAddrPort("192.0.2.7:40000")
		}
		if r := packEvent(&e, remote); r.rest != nil {
			t.Errorf("%s needs %+v", e.Type, *r.rest)
		}
	}
	if got := unsafe.Sizeof(packedEvent{}); got > 72 {
		t.Errorf("a packed event takes %d bytes, want at most 72", got)
	}
}

// The ring allocates chunks as it grows; chunks are not moved.
func TestEventRingGrowsByChunks(t *testing.T) {
	r := newEventRing(10*chunkLen, 1<<20, 1e6)
	chunks := func() (n int) {
		for _, c := range r.chunks {
			if c != nil {
				n++
			}
		}
		return n
	}
	if got := chunks(); got != 0 {
		t.Errorf("an empty ring has %d chunks", got)
	}
	for n := 1; n <= 25*chunkLen; n++ {
		r.add(Event{Type: EventMessageAcked, Attempts: n % 200})
		if held := min(n, 10*chunkLen); chunks() > (held-2)/chunkLen+2 || r.last+1-r.first != uint64(held) {
			t.Fatalf("%d chunks for %d events of %d", chunks(), r.last+1-r.first, held)
		}
	}
	for seq := r.first; seq <= r.last; seq++ {
		if got, want := r.at(seq).event(seq).Attempts, int(seq-1_000_000)%200; got != want {
			t.Fatalf("event %d has %d attempts, want %d", seq, got, want)
		}
	}
}
