package tcpserver

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/longwire/longwire/gateway"
)

// Devices that come and go in every rude way at once, so that numbers of files
// are reused while events of their last owner are still on their way: what each
// gets is its own, and in the end nothing is left.
func TestRudeDevices(t *testing.T) {
	forEachDriver(t, func(t *testing.T, driver func(*Config)) {
		goroutines, files := runtime.NumGoroutine(), openFiles(t)
		t.Run("life", func(t *testing.T) {
			gw := newRecorder()
			gw.onStart = func(s *recorded) { s.deliver(1, "for "+s.id) }
			srv := liveServer(t, gw.connect, driver, func(c *Config) {
				c.LingerTimeout = 20 * time.Millisecond
				c.OutputBudget = 64 << 10
			})
			stop := make(chan struct{})
			var disturbers sync.WaitGroup
			disturbers.Go(func() { kickAtRandom(gw, stop) })
			var crowd sync.WaitGroup
			for i := range 8 {
				crowd.Go(func() {
					for j := range 60 {
						beRude(t, srv, fmt.Sprintf("d%d-%d", i, j))
					}
				})
			}
			crowd.Wait()
			close(stop)
			disturbers.Wait()
			eventually(t, "all connections are gone", func() bool { return srv.Stats().Open == 0 })
			if got := srv.Stats().Panics; got != 0 {
				t.Errorf("panics = %d", got)
			}
		})
		eventually(t, "all goroutines are gone", func() bool { return runtime.NumGoroutine() <= goroutines })
		eventually(t, "all files are closed", func() bool { return openFiles(t) <= files })
	})
}

// openFiles counts the files of this process, 0 where that cannot be seen.
func openFiles(t *testing.T) int {
	t.Helper()
	names, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	return len(names)
}

// kickAtRandom closes, forgets and asks for statistics, until stop.
func kickAtRandom(gw *recorder, stop chan struct{}) {
	for {
		gw.mu.Lock()
		var links []gateway.Link
		for id, s := range gw.sessions { // in random order
			if links = append(links, s.link); len(links) == 4 {
				break
			}
			if rand.N(100) == 0 {
				delete(gw.sessions, id)
			}
		}
		gw.mu.Unlock()
		for _, l := range links {
			switch rand.N(4) {
			case 0:
				l.Close(gateway.Close{Code: gateway.CloseKicked, Reason: gateway.ReasonKicked})
			case 1:
				l.Forget(1, false)
			case 2:
				l.Stats()
			default:
				l.Deliver(gateway.Transmission{Seq: 2, Payload: make([]byte, 30_000)})
				l.Flush()
			}
		}
		select {
		case <-stop:
			return
		default:
			runtime.Gosched()
		}
	}
}

// beRude is one connection that ends early in one way or another.
func beRude(t *testing.T, srv *Server, id string) {
	nc, err := net.Dial("tcp", srv.Addr().String())
	if err != nil {
		t.Errorf("dial: %v", err)
		return
	}
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(10 * time.Second))
	tcp := nc.(*net.TCPConn)
	rudeness := rand.N(6)
	if rudeness == 0 {
		return // says nothing
	}
	for _, part := range []string{"REG", "ISTER ", id, "\n"} { // may be cut off at any time
		if _, err := io.WriteString(nc, part); err != nil {
			return
		}
	}
	if rudeness == 1 {
		tcp.SetLinger(0) // a reset, before the answer is read
		return
	}
	answer := make([]byte, len("REGISTERED ses_"+id+greeting+"\n"))
	if n, err := io.ReadFull(nc, answer); err == nil || n > 15 {
		kicked := strings.HasPrefix(string(answer[:n]), "CLOSE 3002 ") // before it had its answer
		if got, want := string(answer[:n]), "REGISTERED ses_"+id+greeting+"\n"; got != want[:n] && !kicked {
			t.Errorf("answer to %s = %q", id, got)
		}
	}
	switch rudeness {
	case 2:
		io.WriteString(nc, "DATA 1 x\nPING\n") // the end comes with the last data
		tcp.CloseWrite()
		io.Copy(io.Discard, nc)
	case 3:
		io.WriteString(nc, "PING\nPING\nBYE\n")
		tcp.SetLinger(0)
	case 4:
		io.WriteString(nc, "DATA 1 half a li")
	default:
		io.WriteString(nc, "ACK 1\nBYE\n")
		io.Copy(io.Discard, nc)
	}
}
