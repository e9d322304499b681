package app

import (
	"math"
	"runtime/debug"
	"testing"
	"testing/fstest"

	"github.com/longwire/longwire/internal/config"
)

func TestMemoryLimitOfTheControlGroup(t *testing.T) {
	const group, root = "proc/self/cgroup", "sys/fs/cgroup/"
	for name, c := range map[string]struct {
		files map[string]string
		want  int64
	}{
		"no groups":           {nil, 0},
		"none":                {map[string]string{group: "0::/a/b\n", root + "a/b/memory.max": "max\n"}, 0},
		"none anywhere":       {map[string]string{group: "0::/a/b\n", root + "a/b/memory.max": "max\n", root + "a/memory.max": "max\n"}, 0},
		"own":                 {map[string]string{group: "0::/a/b\n", root + "a/b/memory.max": "1000\n"}, 1000},
		"of a container":      {map[string]string{group: "0::/\n", root + "memory.max": "1000\n"}, 1000},
		"named from outside":  {map[string]string{group: "0::/docker/abc\n", root + "memory.max": "1000\n"}, 1000},
		"of a group above":    {map[string]string{group: "0::/a/b/c\n", root + "a/b/c/memory.max": "max\n", root + "a/memory.max": "900\n"}, 900},
		"less above":          {map[string]string{group: "0::/a/b\n", root + "a/b/memory.max": "1000\n", root + "a/memory.max": "900\n"}, 900},
		"more above":          {map[string]string{group: "0::/a/b\n", root + "a/b/memory.max": "1000\n", root + "a/memory.max": "2000\n"}, 1000},
		"of another group":    {map[string]string{group: "0::/a/b\n", root + "a/c/memory.max": "1000\n"}, 0},
		"that cannot be read": {map[string]string{group: "0::/a\n", root + "a/memory.max": "a lot\n"}, 0},
		"outside of the root": {map[string]string{group: "0::/../b\n", root + "memory.max": "1000\n"}, 1000},
		"version 1 beside":    {map[string]string{group: "4:memory:/x\n0::/a\n", root + "a/memory.max": "1000\n"}, 1000},
		"version 1":           {map[string]string{group: "5:cpu,memory:/x\n", root + "memory/x/memory.limit_in_bytes": "1000\n", root + "memory.max": "7\n"}, 1000},
		"version 1, none":     {map[string]string{group: "4:memory:/x\n", root + "memory/x/memory.limit_in_bytes": "9223372036854771712\n"}, 0},
		"version 1, above":    {map[string]string{group: "4:memory:/x/y\n", root + "memory/x/memory.limit_in_bytes": "1000\n"}, 1000},
		"version 1, outside":  {map[string]string{group: "4:memory:/docker/abc\n", root + "memory/memory.limit_in_bytes": "1000\n"}, 1000},
		"both, less in 1":     {map[string]string{group: "4:memory:/x\n0::/a\n", root + "memory/x/memory.limit_in_bytes": "900\n", root + "a/memory.max": "1000\n"}, 900},
	} {
		files := fstest.MapFS{}
		for name, content := range c.files {
			files[name] = &fstest.MapFile{Data: []byte(content)}
		}
		if got := cgroupLimit(files); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}

func TestMemoryLimitIsToldToTheCollector(t *testing.T) {
	before := debug.SetMemoryLimit(math.MaxInt64)
	defer debug.SetMemoryLimit(before)
	if got := memoryLimit(8*config.GiB, fstest.MapFS{}); got != 8<<30 || debug.SetMemoryLimit(-1) != 8<<30 {
		t.Errorf("limit = %d, the collector's %d, want 8 GiB", got, debug.SetMemoryLimit(-1))
	}
	debug.SetMemoryLimit(4 << 30) // as GOMEMLIMIT does
	if got := memoryLimit(0, fstest.MapFS{}); got != 4<<30 {
		t.Errorf("limit = %d, want the collector's 4 GiB", got)
	}
	if got := memoryLimit(8*config.GiB, fstest.MapFS{}); got != 8<<30 || debug.SetMemoryLimit(-1) != 4<<30 {
		t.Errorf("limit = %d, the collector's %d, want 8 GiB and its own 4 GiB", got, debug.SetMemoryLimit(-1))
	}
}

// Where nobody says anything, nine tenths of the group's limit are the limit.
func TestMemoryLimitIsTakenFromTheGroup(t *testing.T) {
	before := debug.SetMemoryLimit(math.MaxInt64)
	defer debug.SetMemoryLimit(before)
	if got := memoryLimit(0, fstest.MapFS{}); got != 0 || debug.SetMemoryLimit(-1) != math.MaxInt64 {
		t.Errorf("limit = %d, the collector's %d, want none", got, debug.SetMemoryLimit(-1))
	}
	files := fstest.MapFS{"proc/self/cgroup": {Data: []byte("0::/\n")}, "sys/fs/cgroup/memory.max": {Data: []byte("10000000000\n")}}
	if got := memoryLimit(0, files); got != 9e9 || debug.SetMemoryLimit(-1) != 9e9 {
		t.Errorf("limit = %d, the collector's %d, want 9e9", got, debug.SetMemoryLimit(-1))
	}
	if got := memoryLimit(8*config.GiB, files); got != 8<<30 || debug.SetMemoryLimit(-1) != 8<<30 {
		t.Errorf("limit = %d, the collector's %d, want the setting's 8 GiB", got, debug.SetMemoryLimit(-1))
	}
}
