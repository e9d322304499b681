//go:build unix

package deviceauth

import (
	"os"
	"syscall"
)

// keepOwner gives w the owner of an old file. Otherwise an edit by root would take the
// file from the account that the gateway runs under.
func keepOwner(w *os.File, old os.FileInfo) error {
	s, ok := old.Sys().(*syscall.Stat_t)
	if !ok || int(s.Uid) == os.Geteuid() && int(s.Gid) == os.Getegid() {
		return nil
	}
	return w.Chown(int(s.Uid), int(s.Gid))
}
