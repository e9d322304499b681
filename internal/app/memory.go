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

// memoryLimit returns how many bytes the process may use before it refuses new
// devices, 0 for no limit: the setting, else GOMEMLIMIT, else nine tenths of the
// container's limit. It gives the garbage collector the same limit, so that garbage
// alone does not reach it. root is the system's file tree.
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

// cgroupLimit returns the least memory limit of the process's control groups and
// the groups above them, of version 2 and of version 1. It returns 0 if there is no
// limit, and on systems other than Linux.
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

// unlimited is the value in version 1 that means no limit, rounded down to pages of
// any size. Version 2 writes "max".
const unlimited = math.MaxInt64 &^ (1<<20 - 1)

// groupLimit returns the least limit in the files called name of a group and of the
// groups above it, 0 for none. In a container the group's name may be the host's.
// Then only the topmost group has a file here, and its limit is the container's.
func groupLimit(root fs.FS, top, group, name string) (least int64) {
	group = path.Join("/", group) // a group beside the root of a namespace has a name that begins with /..
	for dir := path.Join(top, group); strings.HasPrefix(dir, top); dir = path.Dir(dir) {
		b, err := fs.ReadFile(root, path.Join(dir, name))
		if err != nil {
			continue // version 2 has no such file in its root group
		}
		n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
		if err == nil && n > 0 && n < unlimited && (least == 0 || n < least) {
			least = n
		}
	}
	return least
}

// outputMemory bounds the memory of waiting output by a quarter of the memory
// limit, if there is one. The rest of the process needs the other three quarters:
// payloads, the store, and free space in buffers.
func outputMemory(wanted config.Size, limit uint64) int {
	if limit == 0 {
		return int(wanted)
	}
	return int(min(uint64(wanted), limit/4))
}
