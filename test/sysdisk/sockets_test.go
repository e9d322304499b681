//go:build linux

package sysdisk

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"regexp"
	"strconv"
	"strings"
	"sync"
)

// sockets is what left the process's sockets, from the trace.
type sockets struct {
	byPort map[int][]*stream  // 0: of the socket in the file system
	inodes map[string]*stream // of the process that runs
}

// stream is what was sent on one connection.
type stream struct {
	data  []byte
	sends []send
}

// send is one call: its bytes end at upto, and may have left from begin on.
type send struct{ begin, upto int }

var peerPort = regexp.MustCompile(`sin_port=htons\((\d+)\)`)

// process begins another process.
func (s *sockets) process() { s.inodes = map[string]*stream{} }

func (s *sockets) apply(m moment) {
	if !m.ended || m.failed() {
		return
	}
	if s.byPort == nil {
		s.byPort = map[int][]*stream{}
	}
	switch m.name {
	case "accept", "accept4":
		n := 0
		if port := peerPort.FindStringSubmatch(strings.Join(m.args, ",")); port != nil {
			n, _ = strconv.Atoi(port[1])
		}
		_, socket := descriptor(m.ret)
		c := &stream{}
		s.inodes[socket] = c
		s.byPort[n] = append(s.byPort[n], c)
	case "write", "writev", "sendto", "sendmsg":
		_, socket := m.fd(0)
		if c := s.inodes[socket]; c != nil {
			c.data = append(c.data, m.bytes(1)[:m.number()]...)
			c.sends = append(c.sends, send{m.begin, len(c.data)})
		}
	}
}

// sends reports whether a call writes to a socket.
func sends(c *call) bool {
	switch c.name {
	case "write", "writev", "sendto", "sendmsg":
		_, leads := c.fd(0)
		return strings.HasPrefix(leads, "socket:")
	}
	return false
}

// wire is the test's end of a connection. It keeps what it has read and written.
type wire struct {
	net.Conn
	port int

	mu        sync.Mutex
	got, said []byte
}

func (w *wire) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	w.mu.Lock()
	w.got = append(w.got, p[:n]...)
	w.mu.Unlock()
	return n, err
}

func (w *wire) Write(p []byte) (int, error) {
	w.mu.Lock()
	w.said = append(w.said, p...)
	w.mu.Unlock()
	return w.Conn.Write(p)
}

// so returns what was read and what was written so far.
func (w *wire) so() (got, said []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.got, w.said
}

// upto is how many bytes were read so far.
func (w *wire) upto() int {
	got, _ := w.so()
	return len(got)
}

// wires are all connections of the test.
type wires struct {
	mu  sync.Mutex
	all []*wire
}

func (ws *wires) dial(ctx context.Context, _, addr string) (net.Conn, error) {
	nc, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	w := &wire{Conn: nc, port: nc.LocalAddr().(*net.TCPAddr).Port}
	ws.mu.Lock()
	ws.all = append(ws.all, w)
	ws.mu.Unlock()
	return w, nil
}

// streamOf finds the gateway's end of a connection.
func (s *sockets) streamOf(w *wire) (*stream, error) {
	got, _ := w.so()
	var there []int
	for _, c := range s.byPort[w.port] {
		if bytes.HasPrefix(c.data, got) {
			return c, nil
		}
		there = append(there, len(c.data))
	}
	return nil, fmt.Errorf("the trace lacks the %d bytes that were read on port %d; of that it has %v bytes", len(got), w.port, there)
}

// left is the moment from which on the byte before upto may have left the
// gateway's socket.
func (s *sockets) left(w *wire, upto int) (int, error) {
	c, err := s.streamOf(w)
	if err != nil {
		return 0, err
	}
	for _, one := range c.sends {
		if one.upto >= upto {
			return one.begin, nil
		}
	}
	return 0, fmt.Errorf("byte %d of port %d is not in the trace", upto, w.port)
}
