package tcpserver

import (
	"bufio"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"
)

// A trusted proxy may name the caller; what follows is read as if nothing had
// come before. Another one's header is input like any other.
func TestProxyListenerTakesTheHeaderOfTrustedProxies(t *testing.T) {
	v2 := append(append([]byte(nil), proxySignature...), 0x21, 0x11, 0, 12, 198, 51, 100, 1, 10, 0, 0, 1, 0, 80, 31, 144)
	for _, tt := range []struct {
		name, trusted, sent, remote, read string
	}{
		{"v1", "127.0.0.1/32", "PROXY TCP4 198.51.100.1 10.0.0.1 80 8080\r\nGET / HTTP/1.1\n", "198.51.100.1:80", "GET / HTTP/1.1\n"},
		{"v2", "127.0.0.1/32", string(v2) + "GET / HTTP/1.1\n", "198.51.100.1:80", "GET / HTTP/1.1\n"},
		{"none", "127.0.0.1/32", "POST / HTTP/1.1\n", "", "POST / HTTP/1.1\n"},
		{"untrusted", "10.0.0.0/8", "PROXY TCP4 198.51.100.1 10.0.0.1 80 8080\r\n", "", "PROXY TCP4 198.51.100.1 10.0.0.1 80 8080\r\n"},
		{"malformed", "127.0.0.1/32", "PROXY TCP4 nonsense\r\nGET / HTTP/1.1\n", "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			base, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			ln := ProxyListener(base, []netip.Prefix{netip.MustParsePrefix(tt.trusted)}, 10*time.Second)
			defer ln.Close()
			out, err := net.Dial("tcp", ln.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer out.Close()
			in, err := ln.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer in.Close()
			for _, b := range []byte(tt.sent) { // in pieces
				out.Write([]byte{b})
			}
			want := tt.remote
			if want == "" {
				want = out.LocalAddr().String()
			}
			if got := in.RemoteAddr().String(); got != want {
				t.Errorf("remote %s, want %s", got, want)
			}
			in.SetReadDeadline(time.Now().Add(time.Minute))
			got, err := bufio.NewReader(in).ReadString('\n')
			if got != tt.read || (err != nil) != (tt.read == "") || err == io.EOF {
				t.Errorf("read %q, %v, want %q", got, err, tt.read)
			}
		})
	}
}
