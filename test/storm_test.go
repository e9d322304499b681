package test

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// All devices but a few are lost and come back at once: the few are served all
// the time and none of them is dropped, and every one of the crowd is online
// again. With LONGWIRE_TORTURE the crowd is 15,000.
func TestStorm(t *testing.T) {
	size := 2000
	if os.Getenv("LONGWIRE_TORTURE") != "" {
		size = 15_000
	}
	// The devices share this machine's processors with the gateway: one that is
	// slow to answer a heartbeat is not gone.
	s := serve(t, "", t.TempDir(), "--tcp-grace", "20s")
	few := newFlock(t, s.tcpAddr, "steady", 20)
	crowd := newFlock(t, s.tcpAddr, "crowd", size)
	online := func() int { return int(s.metric(t, "longwire_clients_online")) }
	few.fly()
	crowd.fly()
	waitFor(t, "all are online", func() bool { return online() == few.size+size })

	const enough = 400
	quiet := s.pushWhile(t, few, enough, func() {})
	var took time.Duration
	rough := s.pushWhile(t, few, 1, func() {
		crowd.scatter()
		waitFor(t, "the crowd is gone", func() bool { return online() <= few.size })
		begun := time.Now()
		crowd.fly()
		waitFor(t, "the crowd is back", func() bool { return online() == few.size+size })
		took = time.Since(begun)
	})

	t.Logf("%d devices were back after %v, with %d attempts", size, took.Round(time.Millisecond), crowd.attempts.Load())
	t.Logf("acked pushes to the others: quiet %s; in the storm %s", quiet, rough)
	if n := few.attempts.Load(); n != int64(few.size) {
		t.Errorf("the %d devices that stayed have connected %d times: some were dropped\n%s", few.size, n, s.page(t))
	}
	if n := s.metric(t, "longwire_tcp_panics_total"); n != 0 {
		t.Errorf("%v panics", n)
	}
}

// latencies are how long calls took, in order.
type latencies []time.Duration

func (l latencies) String() string {
	if len(l) == 0 {
		return "none"
	}
	at := func(q float64) time.Duration { return l[int(q*float64(len(l)-1))].Round(10 * time.Microsecond) }
	return fmt.Sprintf("%d, p50 %v, p99 %v, max %v", len(l), at(.5), at(.99), at(1))
}

// pushWhile pushes to the flock from four callers, each push with its ack, as
// long as work runs, and until there were enough of them. A push that is not
// acked within the wait is an error.
func (s *server) pushWhile(t *testing.T, f *flock, enough int, work func()) latencies {
	t.Helper()
	var mu sync.Mutex
	var all latencies
	var callers sync.WaitGroup
	var done atomic.Bool
	goOn := func() bool {
		mu.Lock()
		has := len(all)
		mu.Unlock()
		if has >= enough { // the processors are for the work
			pause(5 * time.Millisecond)
		}
		return !done.Load() || has < enough
	}
	for c := range 4 {
		callers.Go(func() {
			for i := c; goOn(); i++ {
				begun := time.Now()
				a, err := s.call(http.MethodPost, fmt.Sprintf("/v1/clients/%s/messages?mode=online&wait=30s", f.id(i%f.size)), "text/plain", "ping")
				if err != nil || a.code != http.StatusOK || a.Status != "acked" {
					t.Errorf("a push to a device that is online: %+v, %v", a, err)
					return
				}
				mu.Lock()
				all = append(all, time.Since(begun))
				mu.Unlock()
			}
		})
	}
	work()
	done.Store(true)
	callers.Wait()
	slices.Sort(all)
	return all
}

// metric is one number of /metrics.
func (s *server) metric(t testing.TB, name string) (value float64) {
	t.Helper()
	for line := range strings.Lines(s.page(t)) {
		if _, err := fmt.Sscanf(line, name+" %g", &value); err == nil {
			return value
		}
	}
	t.Fatalf("/metrics has no %s", name)
	return 0
}

func (s *server) page(t testing.TB) string {
	t.Helper()
	resp, err := s.http.Get(s.url + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	page, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(page)
}

// flock is a crowd of the smallest v2 devices, each one goroutine and one
// socket. They ack what they get and come back when they are lost.
type flock struct {
	addr, name string
	size       int
	attempts   atomic.Int64 // connections that were accepted

	stop   context.CancelFunc // of the present flight, nil before the first
	flying sync.WaitGroup
}

func newFlock(t *testing.T, addr, name string, size int) *flock {
	f := &flock{addr: addr, name: name, size: size}
	t.Cleanup(f.scatter)
	return f
}

func (f *flock) id(i int) string { return fmt.Sprintf("%s-%d", f.name, i) }

// fly connects all at once.
func (f *flock) fly() {
	ctx, cancel := context.WithCancel(context.Background())
	f.stop = cancel
	for i := range f.size {
		f.flying.Go(func() { f.keepConnected(ctx, f.id(i)) })
	}
}

// scatter cuts all connections at once.
func (f *flock) scatter() {
	if f.stop != nil {
		f.stop()
	}
	f.flying.Wait()
}

// keepConnected comes back with the back-off that the protocol asks for.
func (f *flock) keepConnected(ctx context.Context, id string) {
	for wait := 100 * time.Millisecond; ctx.Err() == nil; wait = min(2*wait, 5*time.Second) {
		var after time.Duration
		if c, err := (&net.Dialer{}).DialContext(ctx, "tcp", f.addr); err == nil {
			release := context.AfterFunc(ctx, func() { c.Close() })
			after = f.speak(c, id)
			release()
			c.Close()
		}
		select {
		case <-ctx.Done():
		case <-time.After(after + rand.N(wait)):
		}
	}
}

// speak registers and answers until the connection ends; it returns when the
// gateway wants to see the device again.
func (f *flock) speak(c net.Conn, id string) (retry time.Duration) {
	body := fmt.Sprintf(`{"id":%q}`, id)
	if _, err := c.Write(append([]byte{1, 2, byte(len(body))}, body...)); err != nil {
		return 0
	}
	r := bufio.NewReaderSize(c, 512)
	for {
		typ, body, err := readFrame(r)
		if err != nil {
			return 0
		}
		var answer []byte
		switch typ {
		case 2: // REGISTER_ACK
			f.attempts.Add(1)
		case 3: // HEARTBEAT
			answer = []byte{4, 2, 0}
		case 5: // DATA, ephemeral here: the ack repeats the number
			n := len(binary.AppendUvarint(nil, number(body)))
			answer = append([]byte{6, 0x22, byte(n + 1)}, body[:n]...)
			answer = append(answer, 0)
		case 7: // CLOSE
			return time.Duration(binary.BigEndian.Uint32(body[2:])) * time.Millisecond
		}
		if _, err := c.Write(answer); err != nil {
			return 0
		}
	}
}

func number(body []byte) uint64 { n, _ := binary.Uvarint(body); return n }

// readFrame reads one v2 frame.
func readFrame(r *bufio.Reader) (typ byte, body []byte, err error) {
	var head [2]byte
	if _, err = io.ReadFull(r, head[:]); err != nil {
		return 0, nil, err
	}
	n, err := binary.ReadUvarint(r)
	if err != nil {
		return 0, nil, err
	}
	body = make([]byte, n)
	_, err = io.ReadFull(r, body)
	return head[0], body, err
}
