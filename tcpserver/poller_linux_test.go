package tcpserver

import (
	"testing"

	"golang.org/x/sys/unix"
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

func TestReadiness(t *testing.T) {
	for events, want := range map[uint32]uint32{
		0:                            0,
		unix.EPOLLIN:                 canRead,
		unix.EPOLLOUT:                canWrite,
		unix.EPOLLIN | unix.EPOLLOUT: canRead | canWrite,
		unix.EPOLLRDHUP:              canRead | hangUp,
		unix.EPOLLHUP:                canRead | canWrite | hangUp,
		unix.EPOLLERR:                canRead | canWrite | hangUp,
	} {
		if got := readiness(events); got != want {
			t.Errorf("readiness(%#x) = %b, want %b", events, got, want)
		}
	}
}
