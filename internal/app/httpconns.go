package app

import (
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// cappedListener bounds the API's open connections, so that callers who hoard
// them cannot use up the files that devices and the store need. One that is too
// many is closed at once: those who are there stay, and nobody waits unseen in
// the backlog.
type cappedListener struct {
	net.Listener
	places chan struct{} // one element for each open connection
	log    *slog.Logger
	begun  time.Time
	warned atomic.Int64 // the last warning, as a duration since begun; 0 = none yet
}

// warnEvery spaces the log lines of refusals.
const warnEvery = time.Minute

func capConnections(ln net.Listener, most int, log *slog.Logger) net.Listener {
	return &cappedListener{Listener: ln, places: make(chan struct{}, most), log: log, begun: time.Now()}
}

func (l *cappedListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		select {
		case l.places <- struct{}{}:
			return &cappedConn{Conn: c, leave: sync.OnceFunc(func() { <-l.places })}, nil
		default:
			l.refuse(c)
		}
	}
}

func (l *cappedListener) refuse(c net.Conn) {
	now, told := int64(time.Since(l.begun)), l.warned.Load()
	if (told == 0 || now-told >= int64(warnEvery)) && l.warned.CompareAndSwap(told, now) {
		l.log.Warn("too many connections to the API: new ones are closed", "remote", c.RemoteAddr().String(), "http.max_connections", cap(l.places))
	}
	if t, ok := c.(*net.TCPConn); ok {
		t.SetLinger(0) // nothing was said, and no file is to linger
	}
	c.Close()
}

// cappedConn gives its place back when it is closed.
type cappedConn struct {
	net.Conn
	leave func()
}

func (c *cappedConn) Close() error {
	defer c.leave()
	return c.Conn.Close()
}
