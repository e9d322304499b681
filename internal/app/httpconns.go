package app

import "github.com/longwire/longwire/internal/openfiles"

const (
	storeFiles           = 768 // files of tables, logs and the rest of the process
	leastHTTPConnections = 16
)

// httpConnections fits the connections of the API to the process's limit of open
// files. Devices have their share. Callers get from the rest only files that the
// store does not need, because an idle caller must not stop a push. If the limit is
// low, callers get a third of that rest. 0 files = no limit; 0 devices = as many as
// the files allow.
func httpConnections(want, devices, files int) int {
	if files == 0 {
		return want
	}
	if devices == 0 {
		devices = openfiles.ForDevices(files)
	}
	rest := files - devices
	return max(leastHTTPConnections, min(want, max(rest-storeFiles, rest/3)))
}
