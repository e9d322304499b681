package bench

import (
	"net"
	"sync"
	"testing"
)

// moody refuses the first connections and serves the others like a bare server.
func moody(t *testing.T, refused int) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &floor{devices: newBareDevices()}
	var serving sync.WaitGroup
	serving.Go(func() {
		for n := 0; ; n++ {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			if n < refused {
				conn.Close()
				continue
			}
			s.devices.add(conn)
			serving.Go(func() { s.serveDevice(conn) })
		}
	})
	t.Cleanup(func() {
		ln.Close()
		s.devices.hangUp()
		serving.Wait()
	})
	return ln.Addr().String()
}

func TestPatientClientsComeBack(t *testing.T) {
	c := &simulated{}
	defer c.drop()
	times, err := c.join(t.Context(), join{Addr: moody(t, 3), Count: 5, Patient: true})
	if err != nil || times.total() != 5 || len(c.devices) != 5 {
		t.Errorf("%d of 5 clients joined, %v", len(c.devices), err)
	}
}

func TestRefusedClientsAreAnError(t *testing.T) {
	c := &simulated{}
	defer c.drop()
	if _, err := c.join(t.Context(), join{Addr: moody(t, 1), Count: 5}); err == nil || len(c.devices) != 0 {
		t.Errorf("%d clients joined where one was refused, %v; want an error and none", len(c.devices), err)
	}
}

func TestSourcesFollowTheNumberOfClients(t *testing.T) {
	for count, want := range map[int]int{1: leastSources, 5000: leastSources, 200_000: 21, 1_000_000: 101, 9_000_000: mostSources} {
		if got := (join{Count: count}).withDefaults().Sources; got != want {
			t.Errorf("%d clients come from %d addresses, want %d", count, got, want)
		}
	}
}
