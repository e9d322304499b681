package tcpserver

import (
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// systemKernel returns the kernel for pollers, nil on systems without one.
func systemKernel() kernel { return linux{} }

// linux implements kernel with epoll. Events are edge-triggered: a socket is
// registered once for all kinds of events, and costs no system call besides its
// reads and writes.
type linux struct{}

// adopt takes a socket's descriptor. It duplicates that of a net.TCPConn, because
// package net releases none. Both name the same open socket, so it keeps its
// options and stays non-blocking.
func (linux) adopt(nc net.Conn) (fd int32, ok bool) {
	if s, bare := nc.(*socket); bare {
		return int32(s.take()), true
	}
	tcp, isTCP := nc.(*net.TCPConn)
	if !isTCP {
		return -1, false
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return -1, false
	}
	n := -1
	if raw.Control(func(old uintptr) { n, err = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0) }) != nil || err != nil {
		return -1, false
	}
	return int32(n), true
}

func (linux) read(fd int32, p []byte) (int, error)  { return retry(receive, fd, p) }
func (linux) write(fd int32, p []byte) (int, error) { return retry(send, fd, p) }

// retry repeats a call that a signal interrupted.
func retry(call func(fd int32, p []byte) (int, syscall.Errno), fd int32, p []byte) (int, error) {
	for {
		n, errno := call(fd, p)
		switch errno {
		case 0:
			return n, nil
		case syscall.EINTR:
		case syscall.EAGAIN:
			return 0, errWouldBlock
		default:
			return 0, errno
		}
	}
}

func (linux) closeWrite(fd int32) { unix.Shutdown(int(fd), unix.SHUT_WR) }

func (linux) close(fd int32, reset bool) {
	if reset {
		unix.SetsockoptLinger(int(fd), unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	}
	unix.Close(int(fd))
}

// epollQueue is an epoll instance. Package os waits for its readiness, so that the
// waiting goroutine holds no thread.
type epollQueue struct {
	fd   int
	file *os.File // owns fd
	raw  syscall.RawConn
}

func (linux) newQueue() (eventQueue, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil { // so that package os polls it
		unix.Close(fd)
		return nil, os.NewSyscallError("fcntl", err)
	}
	q := &epollQueue{fd: fd, file: os.NewFile(uintptr(fd), "epoll")}
	q.raw, err = q.file.SyscallConn()
	if err == nil {
		err = q.file.SetReadDeadline(time.Time{}) // only a polled file has one
	}
	if err != nil {
		q.file.Close()
		return nil, err
	}
	return q, nil
}

func (q *epollQueue) watch(fd int32, generation uint32) error {
	return unix.EpollCtl(q.fd, unix.EPOLL_CTL_ADD, int(fd), &unix.EpollEvent{
		Events: unix.EPOLLIN | unix.EPOLLPRI | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET,
		Fd:     fd, Pad: int32(generation),
	})
}

// run handles events inside one raw Read that lasts until the file is closed.
// Between two waits no readiness is lost: package os reports an event that comes
// after EpollWait found none.
func (q *epollQueue) run(onEvent func(fd int32, generation, bits uint32), onBatchEnd func()) {
	events := make([]unix.EpollEvent, 128)
	q.raw.Read(func(uintptr) bool {
		for {
			n, err := unix.EpollWait(q.fd, events, 0)
			for _, e := range events[:max(n, 0)] {
				onEvent(e.Fd, uint32(e.Pad), readiness(e.Events))
			}
			onBatchEnd()
			if n < len(events) && err != unix.EINTR {
				return false
			}
		}
	})
}

// readiness translates epoll's bits. After an error both directions are ready,
// because each call returns the error.
func readiness(events uint32) (bits uint32) {
	if events&unix.EPOLLIN != 0 {
		bits |= canRead
	}
	if events&unix.EPOLLPRI != 0 {
		bits |= canRead | urgent
	}
	if events&unix.EPOLLOUT != 0 {
		bits |= canWrite
	}
	if events&unix.EPOLLRDHUP != 0 {
		bits |= canRead | hangUp
	}
	if events&(unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		bits |= canRead | canWrite | hangUp | gone
	}
	return bits
}

func (q *epollQueue) close() { q.file.Close() }
