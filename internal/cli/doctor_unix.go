//go:build unix

package cli

import "golang.org/x/sys/unix"

// fileLimit checks the limit of open files, which bounds the sockets of one
// process. The Go runtime has already raised the soft limit to the hard one.
func fileLimit() finding {
	f := finding{Check: "open files", Status: "ok"}
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		f.Status, f.Value = "warn", "not known: "+err.Error()
		return f
	}
	limit := uint64(l.Cur)
	f.Value = thousands(limit)
	f.devices = max(1, limit-reservedFiles(limit))
	switch {
	case limit < 1024:
		f.Status, f.Advice = "bad", "raise it: ulimit -n 1048576, or LimitNOFILE= in the systemd unit"
	case limit < 65536:
		f.Status, f.Advice = "warn", "one per device: ulimit -n 1048576, or LimitNOFILE= in the systemd unit"
	}
	return f
}

func freeBytes(dir string) (uint64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, err
	}
	return uint64(st.Bavail) * uint64(st.Bsize), nil
}
