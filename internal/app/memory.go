package app

import (
	"io/fs"
	"math"
	"os"
	"path"
	"runtime/debug"
	"strconv"
	"strings"

	"github.com/longwire/longwire/internal/config"
)

// memoryLimit is how many bytes the process may use before new devices are
// refused, 0 for no limit: the setting, else GOMEMLIMIT, else nine tenths of
// what the container may have. The garbage collector is told the same, so that
// garbage alone does not reach it.
func memoryLimit(setting config.Size) uint64 {
	told := debug.SetMemoryLimit(-1)
	limit := int64(setting)
	switch {
	case limit > 0:
	case told < math.MaxInt64:
		return uint64(told)
	default:
		limit = cgroupLimit(os.DirFS("/")) / 10 * 9
	}
	if limit > 0 && limit < told {
		debug.SetMemoryLimit(limit)
	}
	return uint64(limit)
}

// cgroupLimit is the least memory limit of the process's control group (v2) and
// those above it, 0 where there is none, as on other systems than Linux.
func cgroupLimit(root fs.FS) int64 {
	b, err := fs.ReadFile(root, "proc/self/cgroup")
	if err != nil {
		return 0
	}
	_, group, ok := strings.Cut(string(b), "0::/")
	if !ok {
		return 0
	}
	group, _, _ = strings.Cut(group, "\n")
	least := int64(0)
	for dir := path.Join("sys/fs/cgroup", group); dir != "sys/fs" && dir != "."; dir = path.Dir(dir) {
		b, err := fs.ReadFile(root, path.Join(dir, "memory.max"))
		if err != nil {
			continue // the root group has none
		}
		n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64) // "max" is none
		if err == nil && n > 0 && (least == 0 || n < least) {
			least = n
		}
	}
	return least
}
