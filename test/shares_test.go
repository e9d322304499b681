package test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/longwire/longwire/test/loopback"
)

// One attacker at full rate beside a crowd of honest devices, for each resource
// that could be hoarded: every push to the honest ones is acked, none of them loses
// its connection, and the attacker leaves bounded traces. With LONGWIRE_TORTURE an
// attack takes 20 s, the crowd is 1,000, and 99 of 100 pushes take at most three
// times what they take without an attack, or 200 ms (1 s with TLS): the attacker shares
// the processors.
func TestNobodyTakesWhatOthersNeed(t *testing.T) {
	size, lasts := 300, 2*time.Second
	long := os.Getenv("LONGWIRE_TORTURE") != ""
	if long {
		size, lasts = 1000, 20*time.Second
	}
	for _, way := range []string{"open", "with keys", "with keys, TLS and PROXY from ever new networks"} {
		t.Run(way, func(t *testing.T) {
			args := []string{"--tcp-grace", "20s", "--tcp-max-unregistered", "512", "--tcp-max-unregistered-per-ip", "512", "--http-max-connections", "256", "--audit-file", "audit.log",
				"--data-max-disk", "24MiB", "--clients-max", fmt.Sprint(2*size + 3000)}
			var s *server
			var honestAddr string
			switch way {
			case "open":
				s = serve(t, "", t.TempDir(), args...)
				honestAddr = s.tcpAddr
			case "with keys":
				s = serveKeyed(t, args...)
				honestAddr = s.tcpAddr
			default:
				s, honestAddr = serveBehind(t, args...)
			}
			least := 200 * time.Millisecond
			if s.tcpAddr != honestAddr {
				least = time.Second // both ends of each handshake, and the load balancer, run on this machine
			}
			crowd := newFlock(t, honestAddr, "honest", size)
			crowd.fly()
			waitFor(t, "all are online", func() bool { return int(s.metric(t, "longwire_clients_online")) == size })
			const enough = 200
			quiet := s.pushWhile(t, crowd, enough, func() {})
			connected := crowd.attempts.Load() // a crowd that comes at once may displace some of its own, which come again
			for _, attack := range attacks {
				t.Run(attack.name, func(t *testing.T) {
					before := len(s.output())
					ctx, cancel := context.WithTimeout(t.Context(), lasts)
					defer cancel()
					rough := s.pushWhile(t, crowd, enough, func() { attack.run(ctx, t, s) })
					t.Logf("quiet %s; under attack %s", quiet, rough)
					if n := crowd.attempts.Load(); n != connected {
						t.Errorf("%d honest devices have connected %d times since they were online", size, n-connected)
					}
					if grown := len(s.output()) - before; grown > 1<<20 {
						t.Errorf("the log has grown by %d bytes", grown)
					}
					if p99 := func(l latencies) time.Duration { return l[len(l)*99/100] }; long && p99(rough) > max(3*p99(quiet), least) {
						t.Errorf("p99 is %v, without an attack %v", p99(rough), p99(quiet))
					}
				})
			}
			audit, err := os.ReadFile(s.cmd.Dir + "/audit.log")
			if err != nil {
				t.Fatal(err)
			}
			refused := 0
			for line := range bytes.Lines(audit) {
				if bytes.Contains(line, []byte(`"msg":"refused"`)) {
					refused += len(line)
				}
			}
			if refused > 1<<20 {
				t.Errorf("refused requests have %d bytes of the audit log", refused)
			}
		})
	}
}

const sharesKey = "lwk_0123456789abcdefghijklmnopqrstuv"

// serveKeyed is serve with an API key, which the server's own calls show.
func serveKeyed(t *testing.T, args ...string) *server {
	t.Helper()
	s := serve(t, "", t.TempDir(), append(args, "--auth-api-keys", sharesKey)...)
	s.http.Transport = bearing{s.http.Transport}
	return s
}

// serveBehind is serveKeyed behind load balancers: both ports take TLS with a PROXY header
// alone. Each connection to the server's addresses comes from another IPv6 /64; those to
// honestAddr all come from one, as devices behind one NAT do.
func serveBehind(t *testing.T, args ...string) (s *server, honestAddr string) {
	t.Helper()
	cert, key := certificate(t)
	tcpAddr, httpAddr := loopback.FreeAddr(t), loopback.FreeAddr(t)
	args = append([]string{"serve", "--tcp-addr", tcpAddr, "--http-addr", httpAddr, "--data-dir", t.TempDir(), "--auth-api-keys", sharesKey,
		"--tcp-tls", "required", "--tcp-tls-cert-file", cert, "--tcp-tls-key-file", key, "--tcp-proxy-trusted", "127.0.0.1/32",
		"--http-tls-cert-file", cert, "--http-tls-key-file", key, "--http-proxy-trusted", "127.0.0.1/32"}, args...)
	s = &server{process: run(t, longwire(t), args...), t: t,
		http: &http.Client{Timeout: time.Minute, Transport: bearing{&http.Transport{MaxIdleConnsPerHost: 64}}}}
	t.Cleanup(s.http.CloseIdleConnections)
	var networks atomic.Uint64
	rotating := func() netip.Addr {
		a := netip.MustParseAddr("2001:db8::7").As16()
		binary.BigEndian.PutUint32(a[4:], uint32(networks.Add(1)))
		return netip.AddrFrom16(a)
	}
	s.tcpAddr, s.url = front(t, tcpAddr, rotating), "http://"+front(t, httpAddr, rotating)
	s.awaitReady()
	return s, front(t, tcpAddr, func() netip.Addr { return netip.MustParseAddr("2001:db8:ffff::7") })
}

// bearing shows the key with each request.
type bearing struct{ http.RoundTripper }

func (b bearing) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+sharesKey)
	return b.RoundTripper.RoundTrip(r)
}

// attacks run until ctx ends.
var attacks = []struct {
	name string
	run  func(ctx context.Context, t *testing.T, s *server)
}{
	{"writes without a key, with long paths", func(ctx context.Context, t *testing.T, s *server) {
		request := "POST /v1/clients/" + strings.Repeat("%01", 5000) + "/messages HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"
		for ctx.Err() == nil {
			nc := s.dialAPI(t)
			go io.Copy(io.Discard, nc)
			nc.SetDeadline(time.Now().Add(time.Second))
			for ctx.Err() == nil {
				if _, err := io.WriteString(nc, request); err != nil {
					break
				}
			}
			nc.Close()
		}
	}},
	{"idle connections to the API", func(ctx context.Context, t *testing.T, s *server) {
		hoard(ctx, 600, func() net.Conn {
			nc := s.dialAPI(t)
			io.WriteString(nc, "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
			return nc
		})
	}},
	{"idle bulk requests of the same key", func(ctx context.Context, t *testing.T, s *server) {
		hoard(ctx, 70, func() net.Conn {
			nc := s.dialAPI(t)
			io.WriteString(nc, "POST /v1/messages/bulk HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer "+sharesKey+"\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n")
			return nc
		})
	}},
	{"connections that do not register", func(ctx context.Context, t *testing.T, s *server) {
		hoard(ctx, 1000, func() net.Conn { return dialPort(t, s.tcpAddr) })
	}},
	{"frames that do not end", func(ctx context.Context, t *testing.T, s *server) {
		n := 0
		half := append([]byte{5, 2, 0xf0, 0xff, 0x0f}, bytes.Repeat([]byte{1}, 250_000)...)
		hoard(ctx, 400, func() net.Conn {
			n++
			nc := registered(t, s.tcpAddr, fmt.Sprintf("half-%d", n))
			nc.SetWriteDeadline(time.Now().Add(5 * time.Second))
			nc.Write(half)
			return nc
		})
	}},
	{"a device that sends without end", func(ctx context.Context, t *testing.T, s *server) {
		nc := registered(t, s.tcpAddr, "noisy")
		defer nc.Close()
		go io.Copy(io.Discard, nc)
		for n := byte(1); ctx.Err() == nil; n = n%100 + 1 {
			nc.SetWriteDeadline(time.Now().Add(200 * time.Millisecond))
			if _, err := nc.Write(append([]byte{5, 2, 0xe9, 0x07, n}, make([]byte, 1000)...)); err != nil && ctx.Err() == nil {
				nc.Close()
				nc = registered(t, s.tcpAddr, "noisy")
				go io.Copy(io.Discard, nc)
			}
		}
	}},
	{"uplinks that fill the disk", func(ctx context.Context, t *testing.T, s *server) {
		const size = 200_000
		frame := append([]byte{5, 2}, binary.AppendUvarint(nil, size+1)...)
		payload := make([]byte, size)
		nc := registered(t, s.tcpAddr, "hoarder")
		defer func() { nc.Close() }()
		go io.Copy(io.Discard, nc)
		for n := byte(1); ctx.Err() == nil; n = n%100 + 1 {
			rand.Read(payload) // what does not compress
			nc.SetWriteDeadline(time.Now().Add(time.Second))
			if _, err := nc.Write(append(append(frame[:len(frame):len(frame)], n), payload...)); err != nil && ctx.Err() == nil {
				nc.Close()
				nc = registered(t, s.tcpAddr, "hoarder")
				go io.Copy(io.Discard, nc)
			}
			if n%10 == 0 {
				s.wantStored(t)
			}
		}
	}},
	{"pushes that make clients known", func(ctx context.Context, t *testing.T, s *server) {
		s.wantStored(t) // so that the client is known
		for n := 0; ctx.Err() == nil; n++ {
			var lines strings.Builder
			for i := range 100 {
				fmt.Fprintf(&lines, `{"to":{"client":"made-%d-%d"},"text":"x","on_unknown":"queue"}`+"\n", n, i)
			}
			if a, err := s.callRaw("/v1/messages/bulk", "application/x-ndjson", lines.String()); err != nil || a != 200 {
				t.Errorf("a bulk request: %d, %v", a, err)
				return
			}
			s.wantStored(t)
		}
	}},
}

// wantStored wants a push to a client that is offline to be stored.
func (s *server) wantStored(t *testing.T) {
	t.Helper()
	a, err := s.call(http.MethodPost, "/v1/clients/absent/messages?on_unknown=queue&ttl=1s", "text/plain", "stored")
	if err != nil || a.code != http.StatusAccepted {
		t.Errorf("a push that is to be stored: %+v, %v", a, err)
	}
}

// callRaw posts a body and reads the answer to its end.
func (s *server) callRaw(path, contentType, body string) (code int, err error) {
	resp, err := s.http.Post(s.url+path, contentType, strings.NewReader(body))
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, err
}

// hoard opens n connections and keeps them until ctx ends, or for half a second without
// LONGWIRE_TORTURE; for each that the gateway closes it opens another one.
func hoard(ctx context.Context, n int, open func() net.Conn) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var mu sync.Mutex // of open
	var kept sync.WaitGroup
	for range n {
		mu.Lock()
		nc := open()
		mu.Unlock()
		kept.Go(func() {
			for {
				gone := make(chan struct{})
				go func() { io.Copy(io.Discard, nc); close(gone) }()
				select {
				case <-ctx.Done():
					nc.Close()
					<-gone
					return
				case <-gone:
					nc.Close()
				}
				mu.Lock()
				nc = open()
				mu.Unlock()
			}
		})
		if ctx.Err() != nil {
			break
		}
	}
	if os.Getenv("LONGWIRE_TORTURE") == "" {
		defer time.AfterFunc(500*time.Millisecond, cancel).Stop()
	}
	kept.Wait()
}

func dialPort(t *testing.T, addr string) net.Conn {
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Error(err)
		nc, _ = net.Pipe()
	}
	return nc
}

func (s *server) dialAPI(t *testing.T) net.Conn {
	return dialPort(t, strings.TrimPrefix(s.url, "http://"))
}

// registered returns the connection of a device that the gateway has accepted.
func registered(t *testing.T, addr, id string) net.Conn {
	nc := dialPort(t, addr)
	body := fmt.Sprintf(`{"id":%q,"heartbeat_ms":600000}`, id)
	nc.SetDeadline(time.Now().Add(time.Minute))
	nc.Write(append([]byte{1, 2, byte(len(body))}, body...))
	readFrame(bufio.NewReaderSize(nc, 512))
	nc.SetDeadline(time.Time{})
	return nc
}
