package test

import (
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"
)

// front stands before a port of the gateway, as a load balancer does: for each plain
// connection it opens one to the gateway, with a PROXY header that names from() as the
// source, and TLS. It returns its address.
func front(t *testing.T, gateway string, from func() netip.Addr) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup // until the listener and all connections are closed
	var mu sync.Mutex          // guards open
	open := map[net.Conn]bool{}
	serving.Go(func() {
		for {
			near, err := ln.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open[near] = true
			mu.Unlock()
			source := from()
			serving.Go(func() {
				pass(near, gateway, source)
				mu.Lock()
				delete(open, near)
				mu.Unlock()
			})
		}
	})
	t.Cleanup(func() {
		ln.Close()
		mu.Lock()
		for nc := range open {
			nc.Close()
		}
		mu.Unlock()
		serving.Wait()
	})
	return ln.Addr().String()
}

// pass connects near with the gateway until one of them closes.
func pass(near net.Conn, gateway string, source netip.Addr) {
	defer near.Close()
	raw, err := net.Dial("tcp", gateway)
	if err != nil {
		return
	}
	defer raw.Close()
	raw.SetDeadline(time.Now().Add(30 * time.Second)) // of the handshake
	if _, err := raw.Write(proxyHeader(source)); err != nil {
		return
	}
	far := tls.Client(raw, &tls.Config{InsecureSkipVerify: true})
	if far.Handshake() != nil {
		return
	}
	raw.SetDeadline(time.Time{})
	back := make(chan struct{})
	go func() {
		io.Copy(near, far)
		near.Close()
		close(back)
	}()
	io.Copy(far, near)
	raw.Close()
	<-back
}

// proxyHeader is a PROXY header of version 2 for a connection over IPv6.
func proxyHeader(source netip.Addr) []byte {
	b := append([]byte("\r\n\r\n\x00\r\nQUIT\n"), 0x21, 0x21, 0, 36)
	from, to := source.As16(), netip.MustParseAddr("2001:db8::1").As16()
	b = append(append(b, from[:]...), to[:]...)
	return binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(b, 50_000), 443)
}
