//go:build unix

package private

import (
	"io/fs"
	"syscall"
)

// owner returns the numbers of a file's user and group, -1 if they are not known.
func owner(info fs.FileInfo) (uid, gid int) {
	s, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return -1, -1
	}
	return int(s.Uid), int(s.Gid)
}

// onlyRoots reports whether root owns the file, and by one name.
func onlyRoots(info fs.FileInfo) bool {
	s, ok := info.Sys().(*syscall.Stat_t)
	return ok && s.Uid == 0 && (info.IsDir() || s.Nlink == 1)
}
