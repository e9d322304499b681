package tcpserver

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/longwire/longwire/gateway"
)

// A device that pauses reading gets everything later, in order and whole, and
// the gateway hears when there is room again.
func TestSlowReaderGetsEverythingInOrder(t *testing.T) {
	forEachDriver(t, func(t *testing.T, driver func(*Config)) {
		gw := newRecorder()
		srv := liveServer(t, gw.connect, driver, func(c *Config) {
			c.OutputBudget = 256 << 10
			c.Protocol.Window = 256
		})
		p := call(t, srv)
		p.nc.SetReadBuffer(64 << 10)
		p.register("slow")
		s := gw.session("slow")

		payload := func(i int) string { return strings.Repeat(fmt.Sprint(i%10), 40_000) }
		sent := 0
		for ; ; sent++ {
			if err := s.deliver(gateway.Seq(sent+1), payload(sent)); err != nil {
				if err != gateway.ErrLinkBusy {
					t.Fatalf("deliver %d: %v", sent, err)
				}
				break
			}
			// The turn moves output from the session to the socket meanwhile, so
			// more than the budget is taken in all; never more is held.
			if sent > 250 {
				t.Fatal("the budget is never used up")
			}
		}
		if held := heldBy(s); held > 256<<10 {
			t.Errorf("held %d bytes, budget %d", held, 256<<10)
		}
		for i := range sent {
			if got, want := p.hear(), fmt.Sprintf("DATA %d %s", i+1, payload(i)); got != want {
				t.Fatalf("line %d: %d bytes %.20q…, want %d bytes %.20q…", i, len(got), got, len(want), want)
			}
		}
		eventually(t, "the gateway hears that there is room", func() bool { return strings.Contains(gw.all(), "slow: writable") })
		if got := heldBy(s); got != 0 {
			t.Errorf("held %d bytes when all is read", got)
		}
		var want []string
		for i := range sent {
			want = append(want, fmt.Sprintf("slow: sent %d", i+1))
		}
		if got := without(gw.all(), "slow: writable", "slow: start"); got != strings.Join(want, "\n") {
			t.Errorf("gateway was told\n%s\nwant\n%s", got, strings.Join(want, "\n"))
		}
	})
}

func heldBy(s *recorded) int {
	c := s.link.(*conn)
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.heldLocked()
}

// all is what was written down so far.
func (r *recorder) all() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.log, "\n")
}

func without(log string, lines ...string) string {
	var kept []string
	for l := range strings.SplitSeq(log, "\n") {
		drop := false
		for _, x := range lines {
			drop = drop || l == x
		}
		if !drop {
			kept = append(kept, l)
		}
	}
	return strings.Join(kept, "\n")
}

func TestDeviceThatNeverReadsIsCutOffAndHurtsNobody(t *testing.T) {
	forEachDriver(t, func(t *testing.T, driver func(*Config)) {
		gw := newRecorder()
		srv := liveServer(t, gw.connect, driver, func(c *Config) {
			c.WriteTimeout = 300 * time.Millisecond
			c.Protocol.Window = 256
		})
		next := gateway.Seq(1)
		gw.onWritable = func(s *recorded) { // more than the kernel takes for it
			for s.id == "deaf" && s.deliver(next, strings.Repeat("x", 40_000)) == nil {
				next++
			}
		}
		gw.onStart = gw.onWritable
		deaf, other := call(t, srv), call(t, srv)
		deaf.nc.SetReadBuffer(4 << 10)
		other.register("other")
		deaf.register("deaf")
		for i := range 20 {
			other.say("PING")
			if got := other.hear(); got != "PONG" {
				t.Fatalf("answer %d to the other device = %q", i, got)
			}
		}
		eventually(t, "the deaf device is closed", func() bool { return strings.Contains(gw.all(), "deaf: closed slow_consumer") })
		eventually(t, "its socket too", func() bool { return srv.Stats().Open == 1 })
		if got := srv.Stats().SlowConsumers; got != 1 {
			t.Errorf("slow consumers = %d, want 1", got)
		}
	})
}

// A device that asks and never reads the answers is not listened to any more
// once its answers have used up the budget.
func TestFloodOfQuestionsIsBoundedByTheBudget(t *testing.T) {
	forEachDriver(t, func(t *testing.T, driver func(*Config)) {
		gw := newRecorder()
		srv := liveServer(t, gw.connect, driver, func(c *Config) {
			c.OutputBudget = 64 << 10
			c.WriteTimeout = 500 * time.Millisecond
		})
		p := call(t, srv)
		p.nc.SetReadBuffer(4 << 10)
		p.register("flood")
		link := gw.session("flood").link.(*conn)
		flood := []byte(strings.Repeat("PING\n", 2000))
		most := 0
		for {
			if _, err := p.nc.Write(flood); err != nil {
				break
			}
			link.mu.Lock()
			if link.cause == causeNone {
				most = max(most, link.heldLocked())
			}
			link.mu.Unlock()
		}
		if limit := 64<<10 + readBufferSize + 1<<10; most > limit {
			t.Errorf("held %d bytes, want at most %d", most, limit)
		}
		eventually(t, "the connection is closed", func() bool { return srv.Stats().Open == 0 })
	})
}

func TestWhatIsDeliveredTogetherLeavesInOneWrite(t *testing.T) {
	forEachDriver(t, func(t *testing.T, driver func(*Config)) {
		gw := newRecorder()
		var want strings.Builder
		want.WriteString("REGISTERED ses_d" + greeting + "\n")
		for i := range 10 {
			fmt.Fprintf(&want, "DATA %d m%d\n", i+1, i)
		}
		gw.onStart = func(s *recorded) {
			for i := range 10 {
				if err := s.deliver(gateway.Seq(i+1), fmt.Sprint("m", i)); err != nil {
					t.Errorf("deliver: %v", err)
				}
			}
		}
		srv := liveServer(t, gw.connect, driver)
		p := call(t, srv)
		p.say("REGISTER d")
		buf := make([]byte, 4096)
		n, err := p.nc.Read(buf) // one segment on loopback
		if got := string(buf[:n]); got != want.String() || err != nil {
			t.Errorf("first read = %q, %v, want %q", got, err, want.String())
		}
	})
}

func TestInputByteByByte(t *testing.T) {
	forEachDriver(t, func(t *testing.T, driver func(*Config)) {
		gw := newRecorder()
		srv := liveServer(t, gw.connect, driver)
		p := call(t, srv)
		for _, b := range []byte("REGISTER d\r\nDATA 1 hello\r\nPING\r\n") {
			if _, err := p.nc.Write([]byte{b}); err != nil {
				t.Fatal(err)
			}
		}
		for _, want := range []string{"REGISTERED ses_d" + greeting, "PONG", "ACK 1"} {
			// The answer to DATA waits for the store, that to PING does not: they
			// may change places.
			got := p.hear()
			if got != want && !(strings.Contains("PONG ACK 1", got) && want != "REGISTERED ses_d"+greeting) {
				t.Errorf("heard %q, want %q", got, want)
			}
		}
		eventually(t, "the uplink arrives", func() bool { return strings.Contains(gw.all(), `d: received 1 "hello"`) })
	})
}

func TestManyUplinksArriveInOrder(t *testing.T) {
	forEachDriver(t, func(t *testing.T, driver func(*Config)) {
		gw := newRecorder()
		srv := liveServer(t, gw.connect, driver)
		p := call(t, srv)
		p.register("d")
		const n = 3000
		var b strings.Builder
		for i := 1; i <= n; i++ {
			fmt.Fprintf(&b, "DATA %d m\n", i)
		}
		go io.WriteString(p.nc, b.String())
		for i := 1; i <= n; i++ {
			if got, want := p.hear(), fmt.Sprint("ACK ", i); got != want {
				t.Fatalf("heard %q, want %q", got, want)
			}
		}
	})
}

func TestLostConnectionIsToldAtOnce(t *testing.T) {
	forEachDriver(t, func(t *testing.T, driver func(*Config)) {
		for _, c := range []struct {
			name, want string
			lose       func(*phone)
		}{
			{"end of file", "hung_up", func(p *phone) { p.nc.Close() }},
			{"reset", "connection_lost", func(p *phone) { p.nc.SetLinger(0); p.nc.Close() }},
			{"goodbye", "client_closed", func(p *phone) { p.say("BYE") }},
		} {
			t.Run(c.name, func(t *testing.T) {
				gw := newRecorder()
				srv := liveServer(t, gw.connect, driver)
				p := call(t, srv)
				p.register("d")
				c.lose(p)
				eventually(t, "closed "+c.want, func() bool { return strings.Contains(gw.all(), "d: closed "+c.want) })
				eventually(t, "the socket is closed", func() bool { return srv.Stats().Open == 0 })
			})
		}
	})
}

func TestServerLeavesNoGoroutineBehind(t *testing.T) {
	forEachDriver(t, func(t *testing.T, driver func(*Config)) {
		before := runtime.NumGoroutine()
		t.Run("life", func(t *testing.T) {
			gw := newRecorder()
			srv := liveServer(t, gw.connect, driver)
			for i := range 20 {
				p := call(t, srv)
				p.register(fmt.Sprint("d", i))
				p.say("DATA 1 x")
				p.hear()
			}
		})
		eventually(t, "all goroutines are gone", func() bool { return runtime.NumGoroutine() <= before })
	})
}

func TestCloseWithoutServe(t *testing.T) {
	srv, err := newServer(Config{Addr: "127.0.0.1:0"}, newRecorder().connect)
	if err != nil {
		t.Fatal(err)
	}
	if err := srv.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	if err := srv.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
}

func TestDevicesOverTLS(t *testing.T) {
	cert, pool := selfSigned(t)
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gw := newRecorder()
	srv := liveServer(t, gw.connect, func(c *Config) {
		c.Listener = tls.NewListener(inner, &tls.Config{Certificates: []tls.Certificate{cert}})
	})
	nc, err := tls.Dial("tcp", srv.Addr().String(), &tls.Config{RootCAs: pool, ServerName: "localhost"})
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(time.Minute))
	fmt.Fprint(nc, "REGISTER d\n")
	want := "REGISTERED ses_d" + greeting + "\n"
	got := make([]byte, len(want))
	if _, err := io.ReadFull(nc, got); err != nil || string(got) != want {
		t.Fatalf("answer = %q, %v, want %q", got, err, want)
	}
	big := strings.Repeat("x", 47_000)
	if err := gw.session("d").deliver(1, big); err != nil {
		t.Fatal(err)
	}
	want = "DATA 1 " + big + "\n"
	got = make([]byte, len(want))
	if _, err := io.ReadFull(nc, got); err != nil || string(got) != want {
		t.Fatalf("delivery of %d bytes differs: %v", len(want), err)
	}
	if tr := gw.session("d").link.Stats().Transport; tr != "tls" {
		t.Errorf("transport = %q, want tls", tr)
	}
}

// selfSigned makes a certificate for localhost.
func selfSigned(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"},
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}
