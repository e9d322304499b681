package app

import "github.com/longwire/longwire/tcpserver"

const (
	storeFiles           = 768 // tables, logs and the rest of the process
	leastHTTPConnections = 16
)

// httpConnections fits the connections of the API to the files of the process.
// Devices have their part of them, and callers have no more of the rest than
// leaves the store its files: an idle caller must not stop a push. Where files
// are few, callers have a third of that rest. 0 files = no limit; 0 devices = as
// many as the files allow.
func httpConnections(want, devices, files int) int {
	if files == 0 {
		return want
	}
	if devices == 0 {
		devices = tcpserver.ConnectionsOf(files)
	}
	rest := files - devices
	return max(leastHTTPConnections, min(want, max(rest-storeFiles, rest/3)))
}
