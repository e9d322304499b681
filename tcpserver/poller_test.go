package tcpserver

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/longwire/longwire/gateway"
)

// polledWorld runs f in virtual time on polled connections.
func polledWorld(t *testing.T, f func(w *world), options ...func(*Config)) {
	t.Helper()
	inBubbleOn(t, newSimKernel, f, options...)
}

// The end that comes with the last data has no event of its own.
func TestDataAndTheEndInOneEvent(t *testing.T) {
	polledWorld(t, func(w *world) {
		d := w.dial()
		d.nc.Write([]byte("REGISTER d\n"))
		d.nc.(*simDeviceEnd).CloseWrite()
		w.wantSaid("d: start", "d: closed hung_up")
		if got := w.srv.Stats().Open; got != 0 {
			t.Errorf("open = %d, want 0", got)
		}
	})
}

// A gateway that takes its time over a verdict holds up workers, not the
// goroutines that all other connections depend on.
func TestPollersDoNotWaitForTheGateway(t *testing.T) {
	polledWorld(t, func(w *world) {
		stuck := make(chan struct{})
		w.gw.onAcked = func(*recorded, gateway.Seq) { <-stuck }
		for i := range runtime.GOMAXPROCS(0) {
			id := fmt.Sprint("d", i)
			d := w.register(id)
			if err := w.gw.session(id).deliver(1, "x"); err != nil {
				t.Fatal(err)
			}
			d.say("ACK 1")
		}
		other := w.register("other")
		other.say("PING")
		other.wantHeard("PONG\n")
		close(stuck)
	}, func(c *Config) { c.Workers = runtime.GOMAXPROCS(0) + 1 })
}

// endless is a kernel in which one socket always has input that leads to
// nothing.
type endless struct {
	*simKernel
	fd    int32
	reads int
	limit int // reads, after which there is nothing more
}

func (k *endless) read(fd int32, p []byte) (int, error) {
	if fd != k.fd || k.reads >= k.limit {
		return k.simKernel.read(fd, p)
	}
	const line = "PONG\n"
	begun := k.reads * len(p) % len(line) // of a line that the last read has cut
	k.reads++
	return copy(p, strings.Repeat(line, len(p)/len(line)+2)[begun:]), nil
}

func TestFloodYieldsTheTurn(t *testing.T) {
	var k *endless
	inBubbleOn(t, func() *simKernel { k = &endless{simKernel: newSimKernel()}; return k.simKernel }, func(w *world) {
		w.register("flood")
		c := w.gw.session("flood").link.(*conn)
		k.fd, k.limit = c.fd, 200
		release := w.occupyWorker()

		r := &batch{p: w.srv.poll} // as a poller does
		r.onEvent(c.fd, c.generation, canRead)
		r.onBatchEnd()
		if most := turnEvents / eventsPerRead; k.reads != most {
			t.Errorf("one turn has read %d times, want %d", k.reads, most)
		}
		release()
		synctest.Wait()
		if k.reads != k.limit {
			t.Errorf("read %d times in all, want %d", k.reads, k.limit)
		}
	}, func(c *Config) { c.kernel = k; c.Workers = 1 })
}

// occupyWorker keeps a worker from all else until release.
func (w *world) occupyWorker() (release func()) {
	stuck := make(chan struct{})
	w.gw.onAcked = func(*recorded, gateway.Seq) { <-stuck }
	d := w.register("occupant")
	if err := w.gw.session("occupant").deliver(1, "x"); err != nil {
		w.Fatal(err)
	}
	d.say("ACK 1")
	return func() { close(stuck) }
}

// A number is given to a new socket as soon as the old one is closed.
func TestLateEventFindsNobodyUnderARecycledNumber(t *testing.T) {
	polledWorld(t, func(w *world) {
		old := w.register("old")
		was := w.gw.session("old").link.(*conn)
		old.say("BYE")
		w.pass(2 * time.Second)
		if w.srv.poll.conns.get(was.fd) != nil {
			t.Error("a closed connection can still be found")
		}
		w.sys.mu.Lock()
		w.sys.lastFD--
		w.sys.mu.Unlock()
		w.register("new")
		now := w.gw.session("new").link.(*conn)
		if now.fd != was.fd {
			t.Fatalf("the new socket has number %d, want %d again", now.fd, was.fd)
		}
		before := now.ready.Load()
		r := &batch{p: w.srv.poll}
		r.onEvent(was.fd, was.generation, canRead|canWrite|hangUp)
		if got := now.ready.Load(); got != before {
			t.Errorf("ready = %b after an event of the old socket, want %b", got, before)
		}
		r.onEvent(now.fd+1, now.generation, canRead) // nobody's
		r.onBatchEnd()
	})
}

// No system call is made on a closed socket: the kernel of the tests panics.
func TestEventsAfterTheEndAreHarmless(t *testing.T) {
	polledWorld(t, func(w *world) {
		d := w.register("d")
		c := w.gw.session("d").link.(*conn)
		d.say("BYE")
		w.pass(2 * time.Second)
		if _, turn := c.onReady(canRead | canWrite | hangUp); turn {
			c.drive(onPoller)
		}
		c.Flush()
		c.Close(gateway.Close{Code: gateway.CloseKicked})
		synctest.Wait()
		w.wantSaid("d: start", "d: closed client_closed")
	})
}

// What a device says while its answers use up the budget is read when it has
// taken them, though no event tells of it again.
func TestInputThatWaitedForTheBudgetIsRead(t *testing.T) {
	polledWorld(t, func(w *world) {
		d := w.dialSilently("192.0.2.1:1000")
		d.send("REGISTER d\n" + strings.Repeat("PING\n", 400)) // answers for one Read, twice the budget
		d.send("DATA 1 last\n")
		if got := w.gw.said(); got != "d: start" {
			t.Errorf("gateway was told %q before the device has read anything", got)
		}
		d.read()
		w.wantSaid(`d: received 1 "last"`)
	}, func(c *Config) { c.OutputBudget = 1 << 10 })
}

// A process that stood still beyond WriteTimeout finds the socket writable.
func TestStalledProcessDoesNotJudgeSlowness(t *testing.T) {
	polledWorld(t, func(w *world) {
		d := w.dialSilently("192.0.2.1:1000")
		d.say("REGISTER d")
		w.sys.stall()
		d.read()
		w.pass(w.srv.cfg.WriteTimeout + tick)
		if got := w.srv.Stats().SlowConsumers; got != 0 {
			t.Errorf("slow consumers = %d, want 0", got)
		}
		if got, want := d.heard(), "REGISTERED ses_d"+greeting+"\n"; !strings.HasPrefix(got, want) {
			t.Errorf("device heard %q, want %q first", got, want)
		}
	})
}

// When a deadline is seen late, what the device has said meanwhile is read
// before its silence is judged.
func TestStalledProcessReadsBeforeItJudgesSilence(t *testing.T) {
	polledWorld(t, func(w *world) {
		d := w.register("d")
		c := w.gw.session("d").link.(*conn)
		w.pass(5 * time.Second)
		w.sys.stall()
		d.say("PONG")
		c.mu.Lock()
		defer c.mu.Unlock()
		due, _ := c.proto.Deadline()
		if c.readBeforeTimeoutLocked(due.Add(lateness)) {
			t.Error("a deadline seen in time is put off")
		}
		late := due.Add(lateness + 1)
		if !c.readBeforeTimeoutLocked(late) || !c.takeInputLocked(late) {
			t.Error("a deadline seen late is not put off until the input is read")
		}
		if c.readBeforeTimeoutLocked(late) {
			t.Error("put off again, though nothing is due")
		}
	})
}

// refusing is a kernel that has no room for events.
type refusing struct {
	*simKernel
	queues int // that it gives
}

func (k *refusing) newQueue() (eventQueue, error) {
	if k.queues == 0 {
		return nil, errors.New("no queue")
	}
	q, err := k.simKernel.newQueue()
	return refusingQueue{q}, err
}

type refusingQueue struct{ eventQueue }

func (refusingQueue) watch(int32, uint32) error { return errors.New("no room") }

func TestConnectionsAreStreamsWhereTheSystemHasNoRoom(t *testing.T) {
	for name, queues := range map[string]int{"no queue": 0, "no place in it": 1} {
		t.Run(name, func(t *testing.T) {
			k := &refusing{newSimKernel(), queues}
			srv := liveServer(t, newRecorder().connect, func(c *Config) { c.kernel = adoptsAll{k} })
			p := call(t, srv)
			p.register("d")
			p.say("PING")
			if got := p.hear(); got != "PONG" {
				t.Errorf("heard %q, want PONG", got)
			}
		})
	}
}

// adoptsAll takes over any connection, to no use.
type adoptsAll struct{ *refusing }

func (adoptsAll) adopt(nc net.Conn) (int32, bool) { return 1, true }
func (adoptsAll) close(int32, bool)               {}

func TestDriverThatDoesNotExistIsRefused(t *testing.T) {
	for d, exists := range map[Driver]bool{
		"": true, DriverAuto: true, DriverPortable: true, DriverEpoll: systemKernel() != nil, "kqueue": false,
	} {
		srv, err := newServer(Config{Addr: "127.0.0.1:0", Driver: d}, newRecorder().connect)
		if (err == nil) != exists {
			t.Errorf("driver %q: %v, exists: %v", d, err, exists)
		}
		if err == nil {
			srv.Close()
		}
	}
}

func TestConnTable(t *testing.T) {
	var table connTable
	if got := table.get(5); got != nil {
		t.Errorf("an empty table has %v", got)
	}
	a, b := new(conn), new(conn)
	table.set(5, a)
	table.set(5000, b)
	for fd, want := range map[int32]*conn{-1: nil, 5: a, 6: nil, 5000: b, 5001: nil, 1 << 20: nil} {
		if got := table.get(fd); got != want {
			t.Errorf("get(%d) = %p, want %p", fd, got, want)
		}
	}
	table.set(5, nil)
	if got := table.get(5); got != nil {
		t.Errorf("get after the end = %p", got)
	}
}

func TestAddressKeepsAddressAndPort(t *testing.T) {
	for _, s := range []string{"192.0.2.1:80", "[2001:db8::1]:65535", "[::]:1", "0.0.0.0:0"} {
		want := netip.MustParseAddrPort(s)
		if got := addressOf(want).AddrPort(); got != want {
			t.Errorf("%v became %v", want, got)
		}
	}
	if got := addressOf(netip.AddrPort{}).AddrPort(); got.IsValid() {
		t.Errorf("no address became %v", got)
	}
	zoned := netip.MustParseAddrPort("[fe80::1%eth0]:1")
	if got, want := addressOf(zoned).AddrPort(), netip.MustParseAddrPort("[fe80::1]:1"); got != want {
		t.Errorf("%v became %v, want %v", zoned, got, want)
	}
}
