package test

import (
	"context"
	"fmt"
	"net"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/longwire/longwire/device"
)

// Devices that never read what they are sent cost one budget for all of them, and
// the process stays within its memory however many they are.
func TestReadersThatNeverReadStayWithinTheBudget(t *testing.T) {
	const devices, broadcasts, limit, most = 2000, 30, 128, 288 // MiB
	s := serve(t, "", t.TempDir(), "--tcp-memory-limit", fmt.Sprint(limit, "MiB"))
	dialer := net.Dialer{Control: func(_, _ string, raw syscall.RawConn) error {
		var err error
		if e := raw.Control(func(fd uintptr) { err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4<<10) }); e != nil {
			return e
		}
		return err
	}}
	for i := range devices {
		nc, err := dialer.DialContext(t.Context(), "tcp", s.tcpAddr)
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		// A long heartbeat, so that the budget and not the silence ends it.
		body := fmt.Sprintf(`{"id":"deaf-%d","heartbeat_ms":600000,"window":256}`, i)
		if _, err := nc.Write(append([]byte{1, 2, byte(len(body))}, body...)); err != nil {
			t.Fatal(err)
		}
	}
	waitFor(t, "all devices are online", func() bool { return s.metric(t, "longwire_clients_online") == devices })
	honest, err := device.New(device.Config{Addr: s.tcpAddr, ID: "honest"}) // acks everything
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { honest.Run(ctx) })
	defer running.Wait()
	defer cancel()
	waitFor(t, "the device that reads is online", func() bool { return s.online("honest") })
	payload := `{"to":{"all":true},"text":"` + strings.Repeat("x", 200_000) + `"}`
	for range broadcasts {
		if a, err := s.call("POST", "/v1/messages", "application/json", payload); err != nil || a.code != 202 {
			t.Fatalf("broadcast = %d, %v", a.code, err)
		}
		if a := s.push("honest", "?wait=20s", "hello"); a.code != 200 || a.Status != "acked" {
			t.Errorf("a push beside them = %d %s, want 200 acked", a.code, a.Status)
		}
	}
	var peak int64
	unchanged := time.Now()
	waitWithin(t, time.Minute, "the memory has stopped rising for 5 s", func() bool {
		if now := peakRSS(t, s.cmd.Process.Pid) >> 20; now > peak {
			peak, unchanged = now, time.Now()
		}
		return time.Since(unchanged) > 5*time.Second
	})
	if peak > most {
		t.Errorf("%d devices that never read took the process to %d MiB with a limit of %d, want at most %d", devices, peak, limit, most)
	} else {
		t.Logf("peak %d MiB", peak)
	}
}

var highWater = regexp.MustCompile(`(?m)^VmHWM:\s+(\d+) kB$`)

// peakRSS is the most memory that a process has had in RAM, in bytes.
func peakRSS(t *testing.T, pid int) int64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	m := highWater.FindSubmatch(text)
	if m == nil {
		t.Fatalf("no VmHWM in %s", text)
	}
	n, err := strconv.ParseInt(string(m[1]), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n << 10
}
