package cli

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

func (h host) limits() []finding {
	all := []finding{fileLimit()}
	for _, check := range []func() (finding, bool){h.memory, h.backlog, h.systemFiles, h.connTrack, h.ports} {
		if f, ok := check(); ok {
			all = append(all, f)
		}
	}
	return all
}

// memory checks the free memory, also within the limit of a container.
func (h host) memory() (finding, bool) {
	f := finding{Check: "memory", Status: "ok"}
	free, ok := memAvailable(filepath.Join(h.proc, "meminfo"))
	if !ok {
		return f, false
	}
	f.Value = bytesize(free) + " available"
	if limit, ok := number("/sys/fs/cgroup/memory.max", 0); ok {
		used, _ := number("/sys/fs/cgroup/memory.current", 0)
		if room := limit - min(used, limit); room < free {
			free, f.Value = room, bytesize(room)+" left of the container's "+bytesize(limit)
		}
	}
	f.devices = max(1, free*8/10/(processBytesPerDevice+kernelBytesPerDevice))
	if free < 256<<20 {
		f.Status, f.Advice = "warn", "little memory besides the store's caches"
	}
	return f, true
}

func memAvailable(path string) (uint64, bool) {
	file, err := os.Open(path)
	if err != nil {
		return 0, false
	}
	defer file.Close()
	for s := bufio.NewScanner(file); s.Scan(); {
		if rest, ok := strings.CutPrefix(s.Text(), "MemAvailable:"); ok {
			kb, err := strconv.ParseUint(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			return kb << 10, err == nil
		}
	}
	return 0, false
}

// backlog checks how many connections the kernel queues before they are accepted. A
// mass reconnect needs many.
func (h host) backlog() (finding, bool) {
	f := finding{Check: "accept backlog", Status: "ok"}
	n, ok := number(filepath.Join(h.proc, "sys/net/core/somaxconn"), 0)
	f.Value = thousands(n)
	if n < 4096 {
		f.Status, f.Advice = "warn", "a mass reconnect overflows it: sysctl net.core.somaxconn=4096"
	}
	return f, ok
}

func (h host) systemFiles() (finding, bool) {
	f := finding{Check: "open files, all processes", Status: "ok"}
	limit, ok := number(filepath.Join(h.proc, "sys/fs/file-max"), 0)
	used, ok2 := number(filepath.Join(h.proc, "sys/fs/file-nr"), 0)
	free := limit - min(used, limit)
	f.Value = fmt.Sprintf("%s of %s in use", thousands(used), thousands(limit))
	if limit > 1<<62 {
		f.Value = "no limit"
	}
	f.devices = max(1, free)
	if free < 65536 {
		f.Status, f.Advice = "warn", "sysctl fs.file-max=2097152"
	}
	return f, ok && ok2
}

// connTrack checks the firewall's table, which has an entry per connection. The
// kernel drops packets silently when the table is full.
func (h host) connTrack() (finding, bool) {
	f := finding{Check: "connection tracking", Status: "ok"}
	limit, ok := number(filepath.Join(h.proc, "sys/net/netfilter/nf_conntrack_max"), 0)
	used, ok2 := number(filepath.Join(h.proc, "sys/net/netfilter/nf_conntrack_count"), 0)
	f.Value = fmt.Sprintf("%s of %s in use", thousands(used), thousands(limit))
	f.devices = max(1, limit-min(used, limit))
	if f.devices < 65536 {
		f.Status, f.Advice = "warn", "sysctl net.netfilter.nf_conntrack_max=1048576"
	}
	return f, ok && ok2
}

// ports counts the outgoing connections that this host can make. They bound
// simulated devices, not a gateway.
func (h host) ports() (finding, bool) {
	f := finding{Check: "ports for outgoing connections"}
	path := filepath.Join(h.proc, "sys/net/ipv4/ip_local_port_range")
	low, ok := number(path, 0)
	high, ok2 := number(path, 1)
	f.Value = fmt.Sprintf("%d–%d", low, high)
	f.Advice = fmt.Sprintf("\"longwire connect --count\" reaches %s devices from one address", thousands(high-min(low, high)+1))
	return f, ok && ok2 && high >= low
}

// Status bits of adjtimex(2).
const staUnsync = 0x0040

// clock checks the wall clock, and whether the kernel reports it as synchronised.
func (h host) clock() []finding {
	f := finding{Check: "clock synchronised", Status: "ok", Value: "yes"}
	var t unix.Timex
	if _, err := unix.Adjtimex(&t); err != nil {
		return []finding{monotonic()}
	}
	if t.Status&staUnsync != 0 {
		f.Status, f.Value = "warn", "no"
		f.Advice = "times and expiry follow this clock: run chrony or systemd-timesyncd"
	} else {
		f.Value = "yes, error at most " + brief(time.Duration(t.Maxerror)*time.Microsecond)
	}
	return []finding{monotonic(), f}
}
