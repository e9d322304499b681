package engine

import "github.com/longwire/longwire/internal/engine/disk"

// Names of files in a data directory.
const (
	nameDB         = "db"
	nameMark       = "MARK"
	nameFormat     = "FORMAT"
	nameLock       = "LOCK"
	nameCreating   = "CREATING"
	nameRestoring  = "RESTORING"
	nameQuarantine = "quarantine"
	nameRepaired   = "REPAIRED"
	markerManifest = "marker.manifest."
	markerFormat   = "marker.format-version."
	formatLine     = "longwire store, format %d\n" // of FORMAT
)

// Gaps between numbers, as the guide has them.
const (
	reserveBlock   = 1 << 16
	eventBlock     = 1 << 40
	branchGap      = 1 << 32
	eventBranchGap = 1 << 50
)

type mark = disk.Mark

var (
	readMark = disk.ReadMark
	makeDir  = disk.MakeDir
)
