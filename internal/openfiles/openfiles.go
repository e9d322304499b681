// Package openfiles divides the files that a process may have open.
package openfiles

// The reserve holds up to 512 tables and some logs of the store. The rest of it is
// for callers of the API and for refused connections that get a close.
const (
	leastReserve = 768
	mostReserve  = 2048
)

// ForDevices returns how many of files are for the connections of devices. The rest gets
// an eighth, between leastReserve and mostReserve, but never more than half.
func ForDevices(files int) int {
	reserve := min(max(files/8, leastReserve), mostReserve, files/2)
	return max(1, files-reserve)
}
