//go:build !unix

package tcpserver

// maxConnsByFileLimit is a bound by memory, because the system has no limit of open
// files.
func maxConnsByFileLimit() int { return 1 << 20 }

// FileLimit returns how many files the process may have open, 0 for no limit.
func FileLimit() int { return 0 }

// ConnectionsOf has no use because FileLimit is 0.
func ConnectionsOf(files int) int { return files }
