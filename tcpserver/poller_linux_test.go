package tcpserver

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/longwire/longwire/gateway"
)

func TestAdoptedSocketKeepsItsOptions(t *testing.T) {
	gw := newRecorder()
	srv := liveServer(t, gw.connect, drivenBy(DriverEpoll))
	call(t, srv).register("d")
	c := gw.session("d").link.(*conn)
	if _, ok := c.tr.(*polled); !ok {
		t.Fatalf("transport is %T, want *polled", c.tr)
	}
	for _, o := range []struct {
		name             string
		level, opt, want int
	}{
		{"SO_KEEPALIVE", unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
		{"TCP_KEEPIDLE", unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 60},
		{"TCP_KEEPINTVL", unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, 15},
		{"TCP_KEEPCNT", unix.IPPROTO_TCP, unix.TCP_KEEPCNT, 4},
		{"TCP_NODELAY", unix.IPPROTO_TCP, unix.TCP_NODELAY, 1},
	} {
		got, err := unix.GetsockoptInt(int(c.fd), o.level, o.opt)
		if err != nil || got != o.want {
			t.Errorf("%s = %d, %v, want %d", o.name, got, err, o.want)
		}
	}
	flags, err := unix.FcntlInt(uintptr(c.fd), unix.F_GETFD, 0)
	if err != nil || flags&unix.FD_CLOEXEC == 0 {
		t.Errorf("descriptor flags %#x, %v, want close-on-exec", flags, err)
	}
	if flags, err = unix.FcntlInt(uintptr(c.fd), unix.F_GETFL, 0); err != nil || flags&unix.O_NONBLOCK == 0 {
		t.Errorf("file flags %#x, %v, want not blocking", flags, err)
	}
}

// A plain server accepts bare sockets: it knows the device's address without
// asking, and a device that it turns away still reads why.
func TestBareSocketsAreConnections(t *testing.T) {
	for _, addr := range []string{"127.0.0.1:0", "[::1]:0", ":0"} {
		t.Run(addr, func(t *testing.T) {
			gw := newRecorder()
			srv := liveServer(t, gw.connect, drivenBy(DriverEpoll), func(c *Config) { c.Addr, c.MaxConns = addr, 1 })
			if _, ok := srv.ln.(*socketListener); !ok {
				t.Fatalf("listener is %T, want *socketListener", srv.ln)
			}
			d := call(t, srv)
			d.register("d")
			c := gw.session("d").link.(*conn)
			if got, want := c.remote.AddrPort(), addrPort(d.nc.LocalAddr()); got != want {
				t.Errorf("remote = %s, want the device's %s", got, want)
			}
			var code, retry int
			late := call(t, srv)
			late.say("REGISTER e")
			said := late.hear()
			if n, _ := fmt.Sscanf(said, "CLOSE %d %d overloaded", &code, &retry); n != 2 || code != 3005 {
				t.Errorf("the second device read %q, want CLOSE 3005", said)
			}
		})
	}
}

// Package net accepts if a preamble may read from the connection.
func TestPreamblesReadConnectionsOfPackageNet(t *testing.T) {
	srv := liveServer(t, newRecorder().connect, drivenBy(DriverEpoll), trustEverybody)
	if _, ok := srv.ln.(*net.TCPListener); !ok {
		t.Errorf("listener is %T, want *net.TCPListener", srv.ln)
	}
}

func TestReadiness(t *testing.T) {
	for events, want := range map[uint32]uint32{
		0:                            0,
		unix.EPOLLIN:                 canRead,
		unix.EPOLLOUT:                canWrite,
		unix.EPOLLIN | unix.EPOLLOUT: canRead | canWrite,
		unix.EPOLLPRI:                canRead | urgent,
		unix.EPOLLRDHUP:              canRead | hangUp,
		unix.EPOLLHUP:                canRead | canWrite | hangUp | gone,
		unix.EPOLLERR:                canRead | canWrite | hangUp | gone,
	} {
		if got := readiness(events); got != want {
			t.Errorf("readiness(%#x) = %b, want %b", events, got, want)
		}
	}
}

// A read stops at urgent data, which a telnet client sends for an interrupt. The input
// after it is read too, although no event reports it again.
func TestInputAfterUrgentDataIsRead(t *testing.T) {
	forEachDriver(t, func(t *testing.T, driver func(*Config)) {
		gw := newRecorder()
		asked, decide := make(chan struct{}), make(chan struct{})
		gw.onConnect = func(gateway.Hello) error {
			close(asked)
			<-decide
			return nil
		}
		d := call(t, liveServer(t, gw.connect, driver))
		d.say("REGISTER d")
		<-asked // the rest is in the socket before it is read
		d.say("PING")
		d.sayUrgent("!")
		d.say("PING")
		close(decide)
		if got := d.hear(); !strings.HasPrefix(got, "REGISTERED ") {
			t.Fatalf("answer to REGISTER = %q", got)
		}
		for range 2 {
			if got := d.hear(); got != "PONG" {
				t.Errorf("answer to PING = %q", got)
			}
		}
	})
}

func (p *phone) sayUrgent(text string) {
	p.t.Helper()
	raw, err := p.nc.SyscallConn()
	if err == nil {
		var sent error
		err = raw.Control(func(fd uintptr) { sent = unix.Sendto(int(fd), []byte(text), unix.MSG_OOB, nil) })
		err = errors.Join(err, sent)
	}
	if err != nil {
		p.t.Fatalf("say %q: %v", text, err)
	}
}
