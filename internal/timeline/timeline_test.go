package timeline

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/protocol"
)

var (
	began  = time.Unix(1_763_800_000, 0)
	theMsg = gateway.MessageIDOf([16]byte{7})
)

func newBook(t *testing.T, c Config) *Book {
	b := New(c)
	t.Cleanup(b.Close)
	return b
}

// frame is a frame of a registered client, n seconds after began.
func frame(client string, typ protocol.FrameType, n int) protocol.Frame {
	b := []byte("DATA 1 x\n")
	return protocol.Frame{Client: client, Began: began, At: began.Add(time.Duration(n) * time.Second), Dialect: protocol.Text, Type: typ, Registered: true, Seq: 1, Size: len(b), Bytes: b}
}

func hello(client string) gateway.Hello {
	return gateway.Hello{Client: gateway.ClientID(client), Token: "top secret", Dialect: "v2", Transport: "tcp", Remote: netip.MustParseAddrPort("192.0.2.7:40112")}
}

// what returns the entries of a client in words.
func what(b *Book, client string) (list []string) {
	for _, e := range b.Read(gateway.ClientID(client)).Entries {
		s := e.Kind.String()
		switch e.Kind {
		case Framed:
			s += " " + e.Frame.String()
		case Stepped:
			s += " " + e.Step.String()
		case Closed, Refused:
			s += " " + e.Reason
		}
		if e.Count > 1 {
			s += fmt.Sprint(" ", e.Count)
		}
		list = append(list, s)
	}
	return list
}

func wantEntries(t *testing.T, b *Book, client string, want ...string) {
	t.Helper()
	if got := what(b, client); strings.Join(got, ", ") != strings.Join(want, ", ") {
		t.Errorf("%s has %q, want %q", client, got, want)
	}
}

func TestAnIdleClientHasNoLine(t *testing.T) {
	b := newBook(t, Config{})
	register := frame("idle", protocol.FrameRegister, 0)
	register.Registered = false
	b.Frame(register)
	b.Connected(began, hello("idle"), "ses_1")
	b.Frame(frame("idle", protocol.FrameRegisterAck, 0))
	for i := range 100 {
		ask := frame("idle", protocol.FrameHeartbeat, 10*i)
		ask.Out = true
		b.Frame(ask)
		b.Frame(frame("idle", protocol.FrameHeartbeatAck, 10*i))
	}
	out := frame("idle", protocol.FrameClose, 1000)
	out.Out = true
	b.Frame(out)
	b.Closed(began, hello("idle"), protocol.ReasonShutdown)
	if st := b.Stats(); st != (Stats{}) {
		t.Errorf("%+v, want nothing", st)
	}
}

func TestHeartbeatsAreCountedAndAMissedOneIsAnEntry(t *testing.T) {
	b := newBook(t, Config{})
	b.Frame(frame("a", protocol.FrameData, 0))
	for i := 1; i <= 5; i++ {
		b.Frame(frame("a", protocol.FrameHeartbeatAck, i))
	}
	b.Frame(frame("a", protocol.FrameData, 6))
	b.Frame(frame("a", protocol.FrameHeartbeat, 7)) // the device's own
	b.Closed(began, hello("a"), protocol.ReasonHeartbeatTimeout)
	wantEntries(t, b, "a", "frame data", "heartbeats 5", "frame data", "heartbeats", "heartbeat_missed", "closed heartbeat_timeout")
	e := b.Read("a").Entries[1]
	if !e.At.Equal(began.Add(time.Second)) || !e.Until.Equal(began.Add(5*time.Second)) {
		t.Errorf("heartbeats from %v to %v, want the first and the last one", e.At, e.Until)
	}
}

// Entries have the times of the clock, in order, until it is set back.
func TestEntriesFollowAClockThatIsSetBack(t *testing.T) {
	b := newBook(t, Config{})
	at := func(ms int) time.Time { return began.Add(time.Duration(ms) * time.Millisecond) }
	hour := int(time.Hour / time.Millisecond)
	for _, ms := range []int{0, 900, 850, 900 - hour, 950 - hour} {
		f := frame("a", protocol.FrameData, 0)
		f.At = at(ms)
		b.Frame(f)
	}
	var got []time.Time
	for _, e := range b.Read("a").Entries {
		got = append(got, e.At)
	}
	want := []time.Time{at(0), at(900), at(900), at(900 - hour), at(950 - hour)}
	if !slices.EqualFunc(got, want, time.Time.Equal) {
		t.Errorf("entries are of %v, want %v", got, want)
	}
}

func TestRefusalsOfKnownClientsAloneAreKept(t *testing.T) {
	b := newBook(t, Config{Known: func(id gateway.ClientID) bool { return id == "known" }})
	for range 1000 {
		b.Refused(began, hello("known"), protocol.ReasonUnauthorized)
	}
	b.Refused(began, hello("known"), protocol.ReasonBlocked)
	for i := range 1000 {
		b.Refused(began, hello(fmt.Sprint("stranger-", i)), protocol.ReasonUnauthorized)
	}
	wantEntries(t, b, "known", "refused unauthorized 1000", "refused blocked")
	if e := b.Read("known").Entries[0]; e.Remote != "192.0.2.7:40112" || e.Transport != "tcp" || e.Dialect != "v2" {
		t.Errorf("%+v, want the address, the transport and the dialect", e)
	}
	if st := b.Stats(); st.Lines != 1 {
		t.Errorf("%+v, want the line of the known client alone", st)
	}
}

// A device that floods fills its own line; the others keep theirs.
func TestAFloodShortensNoOtherLine(t *testing.T) {
	b := newBook(t, Config{Memory: 1 << 20})
	const quiet = 300
	for i := range quiet {
		for n := range 3 {
			b.Frame(frame(fmt.Sprint("quiet-", i), protocol.FrameData, n))
		}
	}
	for flood := range 200 {
		for n := range 1000 {
			b.Frame(frame(fmt.Sprint("flood-", flood), protocol.FrameData, n))
		}
	}
	for i := range quiet {
		if n := len(b.Read(gateway.ClientID(fmt.Sprint("quiet-", i))).Entries); n != 3 {
			t.Fatalf("a quiet client has %d entries, want its 3", n)
		}
	}
	for flood := range 200 {
		p := b.Read(gateway.ClientID(fmt.Sprint("flood-", flood)))
		if n := len(p.Entries); n > MaxEntries || n > 0 && !p.Dropped {
			t.Errorf("a device that floods has %d entries, want at most %d, and the page to say so", n, MaxEntries)
		}
	}
	if st := b.Stats(); st.Bytes > 1<<20 {
		t.Errorf("%+v, want at most 1 MiB", st)
	}
}

// Three lines fill memory for two and a half. While all are in use none grows at the cost
// of another, also when their clients come in the order in which they would be shortened.
// One that is idle gives way.
func TestLinesInUseDoNotTakeTurns(t *testing.T) {
	const room = (lineSize + MaxEntries*entrySize) * 5 / 2
	b := newBook(t, Config{Memory: shards * room})
	clients := []string{"a"}
	for i := 0; len(clients) < 3; i++ {
		if id := fmt.Sprint("client-", i); b.shard(id) == b.shard("a") {
			clients = append(clients, id)
		}
	}
	at := began
	send := func(client string) (entries int) {
		at = at.Add(time.Second)
		f := frame(client, protocol.FrameData, 0)
		f.At = at
		b.Frame(f)
		return len(b.Read(gateway.ClientID(client)).Entries)
	}
	for range 2 * MaxEntries {
		for _, id := range clients {
			send(id)
		}
	}
	short := ""
	for range MaxEntries {
		for _, id := range clients {
			before := len(b.Read(gateway.ClientID(id)).Entries)
			after := send(id)
			if after != before {
				t.Fatalf("%s has %d entries behind one more, and had %d", id, after, before)
			}
			if after < MaxEntries {
				short = id
			}
		}
	}
	at = at.Add(time.Hour)
	for range MaxEntries {
		send(short)
	}
	if n := send(short); n != MaxEntries {
		t.Errorf("a line in use has %d entries while others are idle, want %d", n, MaxEntries)
	}
	if st := b.Stats(); st.Bytes > room {
		t.Errorf("%+v, want at most %d bytes", st, room)
	}
}

// Entries come in lots into their lines. Whoever reads has all that came before, in its
// order, and a trace begins with its start.
func TestEntriesAreInTheirLinesBeforeAnyoneReads(t *testing.T) {
	b := newBook(t, Config{})
	data := func(i int) { b.Frame(frame("a", protocol.FrameData, i)) }
	data(1)
	if _, err := b.StartTrace(Trace{Client: "a", For: time.Minute}); err != nil {
		t.Fatal(err)
	}
	data(2)
	b.EndTrace("a")
	data(3)
	r, _ := b.Follow("a", 0)
	defer r.Close()
	data(4)
	got, err := r.Next(t.Context(), nil)
	if err != nil || len(got) != 4 {
		t.Fatalf("%d entries, %v, want 4", len(got), err)
	}
	for i, e := range got {
		if want := frame("a", protocol.FrameData, i+1).At; !e.At.Equal(want) {
			t.Errorf("entry %d is of %v, want %v", i, e.At, want)
		}
	}
	if p := b.Read("a"); p.Entries[0].Bytes != nil {
		t.Errorf("a frame before its trace has %q", p.Entries[0].Bytes)
	}
	for i := range 3 * maxNotes {
		b.Frame(frame("b", protocol.FrameData, i))
	}
	s := b.shard("b")
	if n := len(s.notes); n >= maxNotes {
		t.Errorf("%d entries wait, want fewer than %d", n, maxNotes)
	}
	b.Forgotten("b")
	if n := len(b.Read("b").Entries); n != 0 {
		t.Errorf("a forgotten client has %d entries", n)
	}
}

// Whatever the clients do, the bytes that the book counts are those that it takes.
func TestTheBoundOfAllLinesIsOfMemory(t *testing.T) {
	const room = 8 << 20
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	b := newBook(t, Config{Memory: room})
	for i := range 60_000 {
		id := fmt.Sprint("client-", i)
		b.Frame(frame(id, protocol.FrameData, i))
		b.Step(gateway.Step{Client: gateway.ClientID(id), At: began, Message: theMsg, Seq: 1, Kind: gateway.StepFailed, Reason: gateway.ReasonAttemptsUsedUp})
	}
	st := b.Stats()
	taken := int64(heap()) - int64(before)
	if st.Bytes > room || st.Bytes < room/2 || taken > room*5/4 {
		t.Errorf("%+v takes %d bytes of the heap, want at most %d", st, taken, room)
	}
	runtime.KeepAlive(b)
}

func TestAnOldLineGoes(t *testing.T) {
	b := newBook(t, Config{})
	b.Frame(frame("old", protocol.FrameData, 0))
	b.Frame(frame("old", protocol.FrameHeartbeatAck, int(keepIdle.Seconds())+1)) // is no use
	for i := range 10 * shards {
		b.Frame(frame(fmt.Sprint("new-", i), protocol.FrameData, int(keepIdle.Seconds())+2))
	}
	wantEntries(t, b, "old")
}

func TestAForgottenClientHasNoLineAndNoTrace(t *testing.T) {
	b := newBook(t, Config{})
	b.Frame(frame("a", protocol.FrameData, 0))
	if _, err := b.StartTrace(Trace{Client: "a", For: time.Minute}); err != nil {
		t.Fatal(err)
	}
	r, _ := b.Follow("a", 0)
	defer r.Close()
	b.Forgotten("a")
	if _, err := r.Next(t.Context(), nil); !errors.Is(err, ErrForgotten) {
		t.Errorf("the reader gets %v, want %v", err, ErrForgotten)
	}
	if st := b.Stats(); st != (Stats{}) {
		t.Errorf("%+v, want nothing", st)
	}
	b.Frame(frame("a", protocol.FrameData, 1))
	if e := b.Read("a").Entries; len(e) != 1 || e[0].Bytes != nil {
		t.Errorf("the next client of the id has %+v, want its one entry", e)
	}
}

func TestATraceEndsByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(Config{})
		defer b.Close()
		b.Frame(frame("a", protocol.FrameHeartbeat, 0))
		tr, err := b.StartTrace(Trace{Client: "a", For: 2 * time.Hour, Name: "support"})
		if err != nil || !tr.EndsAt.Equal(tr.StartedAt.Add(MaxTraceTime)) {
			t.Fatalf("%+v, %v, want it to end after %v", tr, err, MaxTraceTime)
		}
		b.Frame(frame("a", protocol.FrameHeartbeat, 1))
		time.Sleep(MaxTraceTime - time.Second)
		if list := b.Traces(); len(list) != 1 || list[0].Name != "support" || list[0].Frames != 1 || list[0].Bytes != 9 {
			t.Errorf("%+v, want the trace and its counts", list)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if list := b.Traces(); len(list) != 0 || b.Read("a").Trace != nil {
			t.Errorf("%+v, want none", list)
		}
		b.Frame(frame("a", protocol.FrameHeartbeat, 2))
		wantEntries(t, b, "a", "frame heartbeat", "heartbeats")
		if e := b.Read("a").Entries[0]; string(e.Bytes) != "DATA 1 x\n" {
			t.Errorf("the recorded frame has %q, want its bytes", e.Bytes)
		}
		if b.EndTrace("a") {
			t.Error("a trace was on")
		}
		if e := b.Read("a").Entries[0]; e.Bytes != nil {
			t.Errorf("the recorded frame has %q, want none after the end of traces", e.Bytes)
		}
	})
}

func TestTracesAreBounded(t *testing.T) {
	b := newBook(t, Config{})
	start := func(client, tenant string) error {
		_, err := b.StartTrace(Trace{Client: gateway.ClientID(client), Tenant: tenant, For: time.Minute})
		return err
	}
	for i := range MaxTracesOfTenant {
		if err := start(fmt.Sprint("of-", i), "tenant"); err != nil {
			t.Fatal(err)
		}
	}
	if err := start("more", "tenant"); !errors.Is(err, ErrTooManyTraces) {
		t.Errorf("one more of the tenant: %v, want %v", err, ErrTooManyTraces)
	}
	if err := start("of-0", "tenant"); err != nil {
		t.Errorf("a longer one: %v", err)
	}
	for i := range MaxTraces - MaxTracesOfTenant {
		if err := start(fmt.Sprint("any-", i), ""); err != nil {
			t.Fatal(err)
		}
	}
	if err := start("more", ""); !errors.Is(err, ErrTooManyTraces) {
		t.Errorf("one more: %v, want %v", err, ErrTooManyTraces)
	}
	large := frame("of-0", protocol.FrameData, 0)
	large.Bytes = make([]byte, 100<<10)
	large.Size = len(large.Bytes)
	for range 1000 {
		b.Frame(large)
	}
	p := b.Read("of-0")
	sum := 0
	for _, e := range p.Entries {
		if sum += len(e.Bytes); !e.Cut || len(e.Bytes) != MaxFrameBytes {
			t.Fatalf("a frame of %d bytes has %d, want the first %d", e.Size, len(e.Bytes), MaxFrameBytes)
		}
	}
	if sum > MaxTraceBytes || sum < MaxTraceBytes/2 || !p.Dropped {
		t.Errorf("%d bytes are kept, want up to %d", sum, MaxTraceBytes)
	}
	for i := range 3 * maxTracedEntries {
		b.Frame(frame("of-1", protocol.FrameData, i))
	}
	if n := len(b.Read("of-1").Entries); n > maxTracedEntries {
		t.Errorf("%d entries, want at most %d", n, maxTracedEntries)
	}
}

func TestATraceMasksCredentials(t *testing.T) {
	b := newBook(t, Config{})
	if _, err := b.StartTrace(Trace{Client: "a", For: time.Minute}); err != nil {
		t.Fatal(err)
	}
	for d, register := range map[protocol.Dialect]string{protocol.Text: "REGISTER a s3cret heartbeat=5s\n", protocol.V1: "\x01#a s3cret",
		protocol.V2: "\x01\x02\x1b{\"id\":\"a\",\"token\":\"s3cret\"}"} {
		f := frame("a", protocol.FrameRegister, 0)
		f.Dialect, f.Bytes, f.Size, f.Registered = d, []byte(register), len(register), false
		b.Frame(f)
		all := b.Read("a").Entries
		e := all[len(all)-1]
		if want := strings.Replace(register, "s3cret", "******", 1); string(e.Bytes) != want {
			t.Errorf("%v: %q, want %q", d, e.Bytes, want)
		}
	}
}

func TestAReaderThatIsTooSlowGetsAnOverflow(t *testing.T) {
	b := newBook(t, Config{})
	r, lost := b.Follow("a", 0)
	defer r.Close()
	if lost {
		t.Error("a new line has lost entries")
	}
	b.Frame(frame("a", protocol.FrameData, 0))
	got, err := r.Next(t.Context(), nil)
	if err != nil || len(got) != 1 {
		t.Fatalf("%+v, %v, want the entry", got, err)
	}
	seen := got[0].Number
	for i := range MaxFollowed + 1 {
		b.Frame(frame("a", protocol.FrameData, i))
	}
	if _, err := r.Next(t.Context(), nil); !errors.Is(err, ErrOverflow) {
		t.Errorf("%v, want %v", err, ErrOverflow)
	}
	again, lost := b.Follow("a", seen)
	defer again.Close()
	if got, err := again.Next(t.Context(), nil); err != nil || !lost || len(got) != MaxFollowed {
		t.Errorf("%d entries, lost %t, %v; want those that are kept, and to know of the others", len(got), lost, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := again.Next(ctx, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want the end of the wait", err)
	}
}

// Many goroutines feed and read lines that come and go. The race detector and the sums
// at the end judge.
func TestLinesUnderConcurrentUse(t *testing.T) {
	b := newBook(t, Config{Memory: 1 << 20, Known: func(gateway.ClientID) bool { return true }})
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 3000 {
				id := fmt.Sprint("c", (i*7+g)%50)
				b.Frame(frame(id, protocol.FrameData, i))
				b.Frame(frame(id, protocol.FrameHeartbeatAck, i))
				b.Refused(began, hello(id), protocol.ReasonBlocked)
				switch i % 100 {
				case 3:
					b.Forgotten(gateway.ClientID(id))
				case 5:
					b.StartTrace(Trace{Client: gateway.ClientID(id), For: time.Minute})
				case 7:
					b.EndTrace(gateway.ClientID(id))
				case 9:
					r, _ := b.Follow(gateway.ClientID(id), 0)
					r.take(nil)
					r.Close()
				case 11:
					b.Read(gateway.ClientID(id))
					b.Traces()
				}
			}
		})
	}
	wg.Wait()
	for i := range 50 {
		b.EndTrace(gateway.ClientID(fmt.Sprint("c", i)))
	}
	sum := 0
	for i := range b.shards {
		s := &b.shards[i]
		of := 0
		for _, l := range s.lines {
			of += l.size()
			if l.after == nil {
				t.Errorf("%s is in no list", l.client)
			}
		}
		if of != s.bytes {
			t.Errorf("a shard counts %d bytes, and has %d", s.bytes, of)
		}
		sum += of
	}
	if sum > 1<<20 {
		t.Errorf("%d bytes, want at most 1 MiB", sum)
	}
}

func TestAnEntryIsNotChangedBehindItsReader(t *testing.T) {
	b := newBook(t, Config{})
	if _, err := b.StartTrace(Trace{Client: "a", For: time.Minute}); err != nil {
		t.Fatal(err)
	}
	f := frame("a", protocol.FrameData, 0)
	b.Frame(f)
	got := b.Read("a").Entries[0]
	copy(f.Bytes, "XXXX") // the session uses its buffer again
	b.EndTrace("a")
	if !bytes.Equal(got.Bytes, []byte("DATA 1 x\n")) {
		t.Errorf("%q", got.Bytes)
	}
}

// A session that reads the store may transmit before the gateway is told of the acceptance.
// A page has the two in their order all the same; who follows has them as they came.
func TestADeliveryIsQueuedBeforeItIsSent(t *testing.T) {
	at := func(n int) time.Time { return began.Add(time.Duration(n) * time.Second) }
	step := func(kind gateway.StepKind, seq gateway.Seq, n int) gateway.Step {
		return gateway.Step{Client: "c", At: at(n), Message: theMsg, Seq: seq, Kind: kind}
	}
	b := newBook(t, Config{})
	b.Step(step(gateway.StepQueued, 1, 1))
	b.Frame(frame("c", protocol.FrameData, 3))
	b.Step(step(gateway.StepSent, 2, 3))
	b.Step(step(gateway.StepQueued, 2, 2))
	b.Step(step(gateway.StepAcked, 2, 4))
	wantEntries(t, b, "c", "delivery queued", "delivery queued", "frame data", "delivery sent", "delivery acked")
	last := time.Time{}
	for _, e := range b.Read("c").Entries {
		if e.At.Before(last) {
			t.Errorf("%s at %v comes behind %v", e.Step, e.At, last)
		}
		last = e.At
	}
	b.Step(step(gateway.StepSent, 2, 5)) // of another delivery than the next
	b.Step(step(gateway.StepQueued, 3, 4))
	r, _ := b.Follow("c", b.Read("c").Entries[0].Number)
	defer r.Close()
	b.Step(step(gateway.StepSent, 4, 7))
	b.Step(step(gateway.StepQueued, 4, 6))
	wantEntries(t, b, "c", "delivery queued", "delivery queued", "frame data", "delivery sent", "delivery acked",
		"delivery sent", "delivery queued", "delivery sent", "delivery queued")
}
