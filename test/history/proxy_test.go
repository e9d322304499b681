package history

import (
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// proxy stands between devices and the gateway and cuts connections: at a random
// byte of either direction, or at a random time.
type proxy struct {
	listener net.Listener
	target   string
	whole    bool // pass on each read in one write, as v1 needs it
	calm     atomic.Bool
	cuts     atomic.Int64

	mu    sync.Mutex
	rnd   *rand.Rand
	down  bool           // no connection gets through
	cut   map[int]func() // cuts a connection of now
	n     int            // connections so far
	conns sync.WaitGroup
}

func newProxy(t *testing.T, target string, whole bool, seed uint64) *proxy {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: listener, target: target, whole: whole, rnd: random(seed, "proxy"), cut: map[int]func(){}}
	p.conns.Go(p.accept)
	t.Cleanup(func() {
		listener.Close()
		p.conns.Wait()
	})
	return p
}

func (p *proxy) addr() string { return p.listener.Addr().String() }

// accept ends when the listener is closed, and every connection with its device.
func (p *proxy) accept() {
	for {
		device, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.conns.Go(func() { p.serve(device.(*net.TCPConn)) })
	}
}

// outage cuts every connection and lets none through, until it is over.
func (p *proxy) outage(down bool) {
	p.mu.Lock()
	p.down = down
	cuts := slices.Collect(maps.Values(p.cut))
	p.mu.Unlock()
	if down {
		for _, cut := range cuts {
			cut()
		}
	}
}

// enter notes a connection that an outage cuts; ok is false while there is one.
func (p *proxy) enter(cut func()) (leave func(), ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.down {
		return nil, false
	}
	p.n++
	n := p.n
	p.cut[n] = cut
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.cut, n)
	}, true
}

// fate is how one connection will be cut.
type fate struct {
	up, down int           // bytes until the cut
	after    time.Duration // or so much later
	reset    bool          // RST instead of FIN
	small    bool          // pass on a few bytes at a time
}

func (p *proxy) fate() fate {
	if p.calm.Load() {
		return fate{up: 1 << 40, down: 1 << 40, after: time.Hour}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	bytes := func() int { return 1 << p.rnd.IntN(18) * (8 + p.rnd.IntN(8)) / 8 }
	mean := 2 * time.Second
	if p.rnd.IntN(3) == 0 {
		mean = 50 * time.Millisecond
	}
	return fate{up: bytes(), down: bytes(), after: time.Duration(p.rnd.ExpFloat64() * float64(mean)),
		reset: p.rnd.IntN(2) == 0, small: !p.whole && p.rnd.IntN(4) == 0}
}

func (p *proxy) serve(device *net.TCPConn) {
	defer device.Close()
	upstream, err := net.Dial("tcp", p.target)
	if err != nil {
		return
	}
	gateway := upstream.(*net.TCPConn)
	defer gateway.Close()
	f := p.fate()
	var once sync.Once
	end := func(cut bool) {
		once.Do(func() {
			if cut {
				p.cuts.Add(1)
			}
			if f.reset {
				device.SetLinger(0)
				gateway.SetLinger(0)
			}
			device.Close()
			gateway.Close()
		})
	}
	leave, ok := p.enter(func() { end(true) })
	if !ok {
		return
	}
	defer leave()
	timer := time.AfterFunc(f.after, func() { end(true) })
	defer timer.Stop()
	var pumps sync.WaitGroup
	var over atomic.Bool
	pumps.Go(func() { end(pump(gateway, device, f.up, f.small, &over)) })
	pumps.Go(func() { end(pump(device, gateway, f.down, f.small, &over)) })
	pumps.Wait()
}

// pump passes bytes on until left of them have passed, which is a cut, or until
// either end is gone. The other direction ends before the last bytes pass: they
// may be half a message of v1, whose ack would be taken for that of the whole.
func pump(to io.Writer, from io.Reader, left int, small bool, over *atomic.Bool) (cut bool) {
	buf := make([]byte, 16<<10)
	if small {
		buf = buf[:61]
	}
	for {
		n, err := from.Read(buf)
		if over.Load() {
			return false
		}
		cut = n >= left
		if cut {
			n = left
			over.Store(true)
		}
		if _, e := to.Write(buf[:n]); e != nil {
			return false
		}
		if cut || err != nil {
			return cut
		}
		left -= n
	}
}
