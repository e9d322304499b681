package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// procWith makes a procfs of the files given as path, content pairs.
func procWith(t *testing.T, files ...string) host {
	t.Helper()
	dir := t.TempDir()
	for i := 0; i < len(files); i += 2 {
		name := filepath.Join(dir, files[i])
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(files[i+1]), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return host{proc: dir}
}

func TestKernelLimits(t *testing.T) {
	for _, tt := range []struct {
		name    string
		check   func(host) (finding, bool)
		files   []string
		status  string
		value   string
		devices uint64
	}{
		{"short backlog", host.backlog, []string{"sys/net/core/somaxconn", "128\n"}, "warn", "128", 0},
		{"long backlog", host.backlog, []string{"sys/net/core/somaxconn", "4096\n"}, "ok", "4,096", 0},
		{"few files left", host.systemFiles, []string{"sys/fs/file-max", "70000\n", "sys/fs/file-nr", "10000\t0\t70000\n"}, "warn", "10,000 of 70,000 in use", 60000},
		{"files without limit", host.systemFiles, []string{"sys/fs/file-max", "9223372036854775807\n", "sys/fs/file-nr", "10\t0\t9223372036854775807\n"}, "ok", "no limit", 9223372036854775797},
		{"full connection table", host.connTrack, []string{"sys/net/netfilter/nf_conntrack_max", "65536\n", "sys/net/netfilter/nf_conntrack_count", "65536\n"}, "warn", "65,536 of 65,536 in use", 1},
		{"ports", host.ports, []string{"sys/net/ipv4/ip_local_port_range", "32768\t60999\n"}, "", "32768–60999", 0},
	} {
		f, ok := tt.check(procWith(t, tt.files...))
		if !ok || f.Status != tt.status || f.Value != tt.value || f.devices != tt.devices {
			t.Errorf("%s: %+v (%v), want %q %q for %d devices", tt.name, f, ok, tt.status, tt.value, tt.devices)
		}
		if _, ok := tt.check(procWith(t)); ok {
			t.Errorf("%s: a verdict without the file", tt.name)
		}
	}
}

func TestMemoryAvailable(t *testing.T) {
	h := procWith(t, "meminfo", "MemTotal:  1000 kB\nMemAvailable:     2048 kB\n")
	if got, ok := memAvailable(filepath.Join(h.proc, "meminfo")); !ok || got != 2<<20 {
		t.Errorf("available = %d (%v), want 2 MiB", got, ok)
	}
}

func TestDiskSyncOfADirectoryThatCannotBeWritten(t *testing.T) {
	f := host{syncs: 1}.diskSync(filepath.Join(t.TempDir(), "none"))
	if f.Status != "bad" || !strings.Contains(f.Value, "no such file") {
		t.Errorf("finding = %+v", f)
	}
}

func TestDiskSyncLeavesNothingBehind(t *testing.T) {
	dir := t.TempDir()
	if f := (host{syncs: 3}).diskSync(dir); f.Status == "bad" {
		t.Errorf("finding = %+v", f)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v (%v)", left, err)
	}
}
