//go:build !unix

package tcpserver

// maxConnsByFileLimit is a bound by memory where the system knows no limit of
// open files.
func maxConnsByFileLimit() int { return 1 << 20 }
