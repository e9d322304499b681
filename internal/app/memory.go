package app

import (
	"io/fs"
	"math"
	"path"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"

	"github.com/longwire/longwire/internal/config"
)

// memoryLimit is how many bytes the process may use before new devices are
// refused, 0 for no limit: the setting, else GOMEMLIMIT, else nine tenths of
// what the container may have. The garbage collector is told the same, so that
// garbage alone does not reach it. root is the system's files.
func memoryLimit(setting config.Size, root fs.FS) uint64 {
	told := debug.SetMemoryLimit(-1)
	limit := int64(setting)
	switch {
	case limit > 0:
	case told < math.MaxInt64:
		return uint64(told)
	default:
		limit = cgroupLimit(root) / 10 * 9
	}
	if limit > 0 && limit < told {
		debug.SetMemoryLimit(limit)
	}
	return uint64(limit)
}

// cgroupLimit is the least memory limit of the process's control groups and
// those above them, of version 2 and of version 1, 0 where there is none, as on
// other systems than Linux.
func cgroupLimit(root fs.FS) (least int64) {
	b, err := fs.ReadFile(root, "proc/self/cgroup")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) { // number:controllers:group
		_, rest, _ := strings.Cut(strings.TrimSpace(line), ":")
		controllers, group, _ := strings.Cut(rest, ":")
		limit := int64(0)
		switch {
		case controllers == "":
			limit = groupLimit(root, "sys/fs/cgroup", group, "memory.max")
		case slices.Contains(strings.Split(controllers, ","), "memory"):
			limit = groupLimit(root, "sys/fs/cgroup/memory", group, "memory.limit_in_bytes")
		}
		if limit > 0 && (least == 0 || limit < least) {
			least = limit
		}
	}
	return least
}

// unlimited is what version 1 says where there is no limit, rounded down to
// pages of any size; version 2 says "max".
const unlimited = math.MaxInt64 &^ (1<<20 - 1)

// groupLimit is the least limit that the files called name tell of a group and
// of those above it; 0 for none. In a container the group may be named from
// outside: then only the topmost is there, which is the container's own.
func groupLimit(root fs.FS, top, group, name string) (least int64) {
	for dir := path.Join(top, group); strings.HasPrefix(dir, top); dir = path.Dir(dir) {
		b, err := fs.ReadFile(root, path.Join(dir, name))
		if err != nil {
			continue // the root group of version 2 has none
		}
		n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
		if err == nil && n > 0 && n < unlimited && (least == 0 || n < least) {
			least = n
		}
	}
	return least
}

// outputMemory leaves three quarters of the memory limit, if there is one, to the
// rest of the process: payloads, the store, and the room that buffers have left.
func outputMemory(wanted config.Size, limit uint64) int {
	if limit == 0 {
		return int(wanted)
	}
	return int(min(uint64(wanted), limit/4))
}
